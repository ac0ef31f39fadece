package attacks_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/gorilla/websocket"
)

// An OnConnect that takes its time, and refuses then, holds up no broadcast.
func TestHazard02_RefusalDuringBroadcast(t *testing.T) {
	for name, refuse := range map[string]func(socketio.Conn) error{
		"by an error": func(socketio.Conn) error { return errors.New("no") },
		"by Close":    func(c socketio.Conn) error { return c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			entered, release := make(chan struct{}), make(chan struct{})
			s := besiege(t, harness.HandshakeMode, impatient, func(s *siege) {
				s.OnConnect("/", func(c socketio.Conn) error {
					if session, ok := s.Auth.Session(c); ok && session.Subject() == "bob" {
						return nil
					}
					close(entered)
					<-release
					return refuse(c)
				})
			})
			c, _ := s.Dial(t, siotest.Options{Query: harness.WithToken(harness.TokenOf(t, "mallory"))})
			s.leaving = append(s.leaving, c.Abort)
			s.await("OnConnect", entered)
			broadcast := make(chan struct{})
			go func() {
				defer close(broadcast)
				s.BroadcastToNamespace("/", "news", "x")
				s.Plain.BroadcastToNamespace("/", "noise")
			}()
			select {
			case <-broadcast:
			case <-time.After(time.Second):
				t.Error("a broadcast waits for OnConnect")
			}
			close(release)
			s.await("broadcast", broadcast)
			s.survived()
		})
	}
}

// Who never polls, and who is refused, leaves no session, and hooks are told of whom they know.
func TestHazard04_LeakedSessions(t *testing.T) {
	t.Parallel()
	admitted := func(s *siege) {
		s.OnConnect("/", func(c socketio.Conn) error {
			if session, ok := s.Auth.Session(c); ok && session.Subject() == "banned" {
				return errors.New("no")
			}
			return nil
		})
		s.OnDisconnect("/", func(c socketio.Conn, _ string) {
			if session, ok := s.Auth.Session(c); !ok || session.Subject() == "banned" {
				s.ran.Add("OnDisconnect without OnConnect")
			}
		})
		s.OnError("/", func(c socketio.Conn, err error) {
			if c == nil {
				s.ran.Add("OnError without a Conn")
			}
		})
	}
	lazy := siotest.Options{ManualPoll: true, NoPing: true}
	t.Run("never polls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := besiegeInMemory(t, anonymity, impatient, admitted)
			for range 10 {
				s.anonymous(lazy)
				s.mallory(lazy)
				c, err := siotest.Dial(t.Context(), s.At.URL, siotest.Options{ManualPoll: true, NoPing: true, HTTP: s.At.Client})
				s.honest.Must(t).OK(err)
				c.Abort()
			}
			s.survived()
		})
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := besiegeInMemory(t, harness.HandshakeMode, engineio.Options{}, admitted)
			for _, transport := range []string{"polling", "websocket"} {
				for range 5 {
					c, must := s.Dial(t, siotest.Options{Transport: transport, Query: harness.WithToken(harness.TokenOf(t, "banned"))})
					s.leaving = append(s.leaving, c.Abort)
					harness.Expect(t, must.Rest(), "40", "44"+harness.Refusal("unauthorized", "unauthorized"), "41")
				}
			}
			s.survived()
		})
	})
}

// A session id cannot be guessed, and whoever guesses gets no answer but that.
func TestHazard10_GuessedSessionIDs(t *testing.T) {
	s := besiege(t, harness.HandshakeMode, engineio.Options{}, nil)
	victim := s.enter("bob", siotest.Options{})
	post := siotest.EncodeText(siotest.Text(`42["secret"]`))
	for n := range 64 {
		sid := strconv.FormatInt(int64(n), 36)
		resp, err := http.Post(s.At.URL+"/socket.io/?EIO=3&transport=polling&sid="+sid, plainText, strings.NewReader(post))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("a POST to sid %s: status %d", sid, resp.StatusCode)
		}
		if _, resp, err = s.webSocket(url.Values{"sid": {sid}}); err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("a WebSocket to sid %s: %v", sid, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	seen := make(map[string]bool)
	for range 20 {
		c := s.enter("bob", siotest.Options{})
		sid := c.SID()
		if len(sid) < 27 || seen[sid[:8]] {
			t.Errorf("session id %s has less than 160 random bits", sid)
		}
		seen[sid[:min(8, len(sid))]] = true
		c.Close()
	}
	victim.Must(t).Call("/", "echo", "x")
	victim.Close()
	s.survived()
}

// What comes after Close in the same segment is not dispatched.
func TestHazard12_FramesAfterClose(t *testing.T) {
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			s := besiege(t, harness.HandshakeMode, impatient, func(s *siege) {
				for _, nsp := range namespaces {
					s.OnConnect(nsp, func(c socketio.Conn) error { s.note(c, "connect "+nsp); return nil })
					s.OnDisconnect(nsp, func(c socketio.Conn, _ string) { s.note(c, "disconnect "+nsp) })
				}
				s.OnEvent("/", "closeme", func(c socketio.Conn) {
					c.Join("lobby")
					_ = c.Close()
					c.Join("cellar")
				})
			})
			c, must := s.mallory(siotest.Options{Transport: transport})
			var frames []siotest.Frame
			for _, packet := range []string{`42["closeme"]`, `42["secret"]`, "41", "40", "40/admin", `42/admin,["secret"]`, `42["secret"]`} {
				frames = append(frames, siotest.Text(packet))
			}
			_ = c.SendFrames(frames...)
			must.Closed()
			s.survived("connect /", "disconnect /")
		})
	}
}

// note records what happens to others than bob.
func (s *siege) note(c socketio.Conn, what string) {
	if session, ok := s.Auth.Session(c); !ok || session.Subject() != "bob" {
		s.ran.Add("%s", what)
	}
}

// Broadcasts do not reach those about whom it is not decided.
func TestHazard13_BroadcastsBeforeTheDecision(t *testing.T) {
	t.Parallel()
	shout := func(s *siege, sid string) {
		for _, nsp := range namespaces {
			s.BroadcastToNamespace(nsp, "news", "x")
			s.BroadcastToRoom(nsp, sid, "news", "x")
			s.Plain.BroadcastToNamespace(nsp, "news", "x")
			s.ForEach(nsp, sid, func(c socketio.Conn) {
				if _, ok := s.Auth.Session(c); !ok || nsp == "/admin" {
					s.ran.Add("ForEach in %s", nsp)
				}
				c.Emit("news", "x")
			})
		}
	}
	quiet := func(t *testing.T, must siotest.Must, nsp string) {
		t.Helper()
		for _, p := range must.Rest() {
			if name, _ := p.Event(); name == "news" && p.Namespace == nsp {
				t.Errorf("it heard %s", p.Raw)
			}
		}
	}
	t.Run("round trip", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := besiegeInMemory(t, anonymity, impatient, nil)
			for _, transport := range harness.Transports {
				c, must := s.anonymous(siotest.Options{Transport: transport})
				must.Join("/admin")
				must.Connected("/admin")
				shout(s, c.SID())
				quiet(t, must, "/")
			}
			s.survived()
		})
	})
	t.Run("handshake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			asked, release := make(chan struct{}), make(chan struct{})
			opts := harness.HandshakeMode
			opts.Secret = socketiojwt.SecretFunc(func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
				if sub, _ := token.Claims.GetSubject(); sub == "eve" {
					close(asked)
					<-release
					return nil, errors.New("no")
				}
				return []byte(harness.Secret), nil
			})
			s := besiegeInMemory(t, opts, impatient, nil)
			c, must := s.mallory(siotest.Options{Transport: "websocket"})
			must.Join("/admin?token=" + harness.TokenOf(t, "eve"))
			s.await("the decision", asked)
			shout(s, c.SID())
			close(release)
			must.Type("/admin", siotest.Error)
			must.Emit("/", "echo")
			c.Close()
			quiet(t, must, "/admin")
			s.survived()
		})
	})
}

// Nothing but GET begins a session, and no session keeps a huge URL.
func TestHazard18_MethodsAndURLs(t *testing.T) {
	s := besiege(t, socketiojwt.Options{}, engineio.Options{}, nil)
	target := s.At.URL + "/socket.io/?EIO=3&transport="
	client := &http.Client{Transport: &http.Transport{}}
	do := func(method, target string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, target, nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
		for _, transport := range []string{"polling", "websocket"} {
			if status := do(method, target+transport); status != http.StatusNoContent && status/100 != 4 {
				t.Errorf("%s: status %d", method, status)
			}
		}
	}
	for _, size := range []int{100_000, 900_000} {
		if status := do("GET", target+"polling&x="+strings.Repeat("x", size)); status/100 != 4 {
			t.Errorf("a URL of %d bytes: status %d", size, status)
		}
	}
	var heads sync.WaitGroup
	for range 20 {
		heads.Go(func() {
			for range 10 {
				do("HEAD", target+"polling")
			}
		})
	}
	s.within("HEAD", heads.Wait)
	client.CloseIdleConnections()
	if n := s.Count(); n > s.before.sessions {
		t.Errorf("there are %d sessions", n)
	}
	s.survived()
}

// OnError may close, whatever is broadcast meanwhile.
func TestHazard20_CloseFromOnError(t *testing.T) {
	var closed atomic.Int64
	s := besiege(t, harness.HandshakeMode, engineio.Options{}, func(s *siege) {
		s.OnError("/", func(c socketio.Conn, _ error) {
			closed.Add(1)
			_ = c.Close()
		})
	})
	stop, broadcasts := make(chan struct{}), sync.WaitGroup{}
	broadcasts.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				for range 20 {
					s.BroadcastToNamespace("/", "noise")
				}
			}
		}
	})
	const mallories = 24
	var conns []func()
	for i := range mallories {
		ws, _, err := s.webSocket(harness.WithToken(harness.TokenOf(t, "mallory")))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, func() {
			if i%4 == 0 {
				_ = ws.WriteMessage(websocket.TextMessage, []byte(`42["echo",{}]`)) // it takes a string
				for err := error(nil); err == nil; {                                // up to the close frame, which the server waits for
					_, _, err = ws.ReadMessage()
				}
				return
			}
			_ = ws.NetConn().(interface{ SetLinger(int) error }).SetLinger(0)
			_ = ws.Close()
		})
	}
	harness.Eventually(t, "all are in", func() bool { return s.Count() == s.before.sessions+mallories })
	for _, end := range conns {
		go end()
	}
	harness.Eventually(t, "OnError has closed them", func() bool { return closed.Load() >= mallories/4 && s.Count() <= s.before.sessions })
	close(stop)
	s.within("broadcast", broadcasts.Wait)
	s.survived()
}
