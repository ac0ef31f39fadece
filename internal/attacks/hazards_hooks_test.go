package attacks_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
	gorilla "github.com/gorilla/websocket"
)

// The hazards 21 to 40, which the hooks and Protect close. Each test plays one against a
// whole server.

// Whatever ForEach's function does to a socket, it holds up nobody and leaves nothing.
func TestHazard21_CloseInsideForEach(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			s := harness.Start(t, harness.HandshakeMode, harness.Chat)
			_, honest := s.Honest(t, transport)
			victim, must := s.Honest(t, transport)
			s.ForEach("/", victim.SID(), func(c socketio.Conn) {
				c.Leave(victim.SID())
				c.Join("room")
				s.BroadcastToNamespace("/", "all", "from inside")
				_ = c.Close()
			})
			must.Closed()
			honest.Event("/", "all")
			s.BroadcastToNamespace("/", "all", "and after it")
			honest.Event("/", "all")
			harness.Served(t, honest)
			harness.Eventually(t, "the victim is in no room", func() bool { return s.RoomLen("/", "room") == 0 && s.Count() == 1 })
		})
	}
}

// Leaving the root does not get around the deadline, and there is no second life after it.
func TestHazard24_LeavingTheRoot(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	for _, transport := range []string{"polling", "websocket"} {
		for _, packets := range [][]string{{"41"}, {"41", "40"}, {"41", "40", `42["echo","x"]`}} {
			t.Run(fmt.Sprint(transport, " ", packets), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var ran harness.Record
					s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Timeout: timeout}, func(s *harness.App) {
						s.OnConnect("/", func(c socketio.Conn) error { ran.Add("OnConnect of %q", c.Namespace()); return nil })
						s.OnEvent("/", "echo", func(socketio.Conn, string) { ran.Add("echo") })
					})
					began := time.Now()
					c, must := s.Dial(t, siotest.Options{Transport: transport})
					must.NextRaw("40")
					for _, packet := range packets {
						_ = c.SendText(packet) // it may be closed already
					}
					for c.CloseReason() == "" && time.Since(began) < time.Minute {
						_ = c.SendPacket("2") // PING
						time.Sleep(timeout / 4)
					}
					synctest.Wait()
					if took := time.Since(began); took > timeout+time.Second || s.Count() != 0 {
						t.Errorf("after %v there are %d sessions", took, s.Count())
					}
					if ran.String() != "" {
						t.Errorf("these ran: %s", &ran)
					}
				})
			})
		}
		t.Run(transport+" authenticated", func(t *testing.T) {
			var ran harness.Record
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				s.OnConnect("/", func(c socketio.Conn) error { ran.Add("+%q", c.Namespace()); return nil })
				s.OnDisconnect("/", func(c socketio.Conn, _ string) { ran.Add("-%q", c.Namespace()) })
				s.OnEvent("/", "event", func(c socketio.Conn) { ran.Add("event of %q", c.Namespace()) })
				s.OnEvent("/other", "event", func(socketio.Conn) string { return "" })
			})
			_, must := s.Dial(t, harness.Bob(t, transport))
			must.Join("/other")
			must.Connected("/other")
			must.Send("41", "40", `42["event"]`)
			must.Call("/other", "event") // all before it was handled
			ran.Eventually(t, `+"/", -"/"`)
		})
	}
}

// An upgrade with another token, and without the header, changes nothing of who a client is.
func TestHazard25_IdentitySurvivesTheUpgrade(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnEvent("/", "who", func(c socketio.Conn) string {
			session, _ := s.Auth.Session(c)
			u := c.URL()
			return strings.Join([]string{session.Subject(), session.ID(), u.Query().Get("token"),
				c.RemoteHeader().Get("Authorization"), c.RemoteAddr().String()}, " ")
		})
	})
	c, must := s.Dial(t, siotest.Options{Header: http.Header{"Authorization": {"Bearer " + harness.TokenOf(t, "bob")}}})
	who := string(must.Call("/", "who").Data)
	if !strings.HasPrefix(who, `["bob `) || strings.Contains(who, c.SID()) || !strings.Contains(who, "127.0.0.1:") {
		t.Fatalf("got %s", who)
	}

	u := "ws" + strings.TrimPrefix(s.At.URL, "http") + "/socket.io/?EIO=3&transport=websocket&sid=" + c.SID() + "&token=" + harness.TokenOf(t, "eve")
	ws, _, err := gorilla.DefaultDialer.Dial(u, http.Header{"Authorization": {"Bearer " + harness.TokenOf(t, "eve")}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	for _, step := range []struct{ send, want string }{
		{"2probe", "3probe"},
		{"5", ""},
		{`427["who"]`, "437" + who},
	} {
		if err := ws.WriteMessage(gorilla.TextMessage, []byte(step.send)); err != nil {
			t.Fatal(err)
		}
		if step.want == "" {
			continue
		}
		if _, got, err := ws.ReadMessage(); err != nil || string(got) != step.want {
			t.Errorf("got %s, %v, want %s", got, err, step.want)
		}
	}
}

// Events that a client sends from `connect` on, while OnConnect still runs, all arrive
// through the upgrade: once, in order, each acknowledged.
func TestHazard28_EventsDuringTheUpgrade(t *testing.T) {
	t.Parallel()
	const clients, events = 20, 40
	var counts sync.Map
	var began sync.WaitGroup
	began.Add(clients)
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error {
			counts.Store(c.ID(), new(int))
			began.Wait() // until all clients have sent something
			return nil
		})
		s.OnEvent("/", "n", func(c socketio.Conn, i int) int {
			v, _ := counts.Load(c.ID())
			n := v.(*int)
			*n++
			return 1000**n + i
		})
	})
	play := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*siotest.DefaultTimeout)
		defer cancel()
		c, err := siotest.Dial(ctx, s.At.URL, harness.Bob(t, "polling"))
		if err != nil {
			began.Done()
			return err
		}
		defer c.Close()
		upgraded := make(chan error, 1)
		for i := range events {
			if _, err := c.EmitAck("/", "n", i); err != nil {
				return fmt.Errorf("event %d: %w", i, err)
			}
			if i == 1 {
				began.Done()
				go func() { upgraded <- c.UpgradeNow(ctx) }()
			}
		}
		for i := range events {
			p, err := c.WaitAck(ctx, "/", int64(i))
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("[%d]", 1000*(i+1)+i); string(p.Data) != want {
				return fmt.Errorf("event %d was answered by %s, want %s", i, p.Data, want)
			}
		}
		return <-upgraded
	}
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			if err := play(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// The session id that a client learns can be used at once.
func TestHazard29_SessionIDWorksAtOnce(t *testing.T) {
	const clients, atOnce = 1000, 20
	s := harness.Start(t, harness.HandshakeMode, harness.Chat)
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for range clients / atOnce {
				c, err := siotest.Dial(t.Context(), s.At.URL, siotest.Options{ManualPoll: true, NoPing: true, Query: harness.WithToken(harness.TokenOf(t, "bob"))})
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.SendPacket(`420["echo","x"]`); err != nil {
					t.Error(err)
				}
				if _, _, err := c.Poll(t.Context()); err != nil {
					t.Error(err)
				}
				c.Close()
			}
		})
	}
	group.Wait()
	harness.Eventually(t, "all are gone", func() bool { return s.Count() == 0 })
}

// What a handler notes on the Conn, OnConnect and OnDisconnect see without a lock of their own,
// and what is broadcast to many is not written to. The race detector is the judge.
func TestHazard32_NoDataRaces(t *testing.T) {
	const clients = 10
	var early, left sync.WaitGroup
	early.Add(clients)
	left.Add(clients)
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error {
			early.Wait() // until each has sent an event, which comes too early
			c.SetContext(1)
			return nil
		})
		s.OnEvent("/", "count", func(c socketio.Conn) int {
			n := c.Context().(int) + 1
			c.SetContext(n)
			return n
		})
		s.OnEvent("/", "all", func(socketio.Conn) {
			news := map[string]any{"a": []int{1, 2, 3}}
			s.BroadcastToNamespace("/", "news", news)
			news["a"] = "changed"
		})
		s.OnDisconnect("/", func(c socketio.Conn, _ string) {
			if n := c.Context().(int); n != 11 {
				t.Errorf("OnDisconnect counts %d", n)
			}
			left.Done()
		})
	})
	var group sync.WaitGroup
	for i := range clients {
		c, must := s.Dial(t, harness.Bob(t, harness.Transports[i%len(harness.Transports)]))
		group.Go(func() {
			id, err := c.EmitAck("/", "count")
			early.Done()
			must.OK(err)
			must.Ack("/", id)
			for i := range 10 {
				if i > 0 {
					must.Call("/", "count")
				}
				must.Emit("/", "all")
				must.Event("/", "news")
			}
			c.Close()
		})
	}
	group.Wait()
	left.Wait()
}

// A client that sends CONNECT again is not connected again.
func TestHazard34_ConnectAgain(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			var ran harness.Record
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				for _, name := range []string{"/", "/other"} {
					s.OnConnect(name, func(c socketio.Conn) error { ran.Add("+%s", c.Namespace()); return nil })
					s.OnEvent(name, "mark", func(socketio.Conn) string { return "" })
				}
				s.OnDisconnect("/", func(socketio.Conn, string) { ran.Add("-") })
			})
			c, must := s.Dial(t, harness.Bob(t, transport))
			must.NextRaw("40")
			for range 5 {
				must.Send("40", "40/other", "40", "40/other", "40/")
			}
			must.NextRaw("40/other")
			id, err := c.EmitAck("/other", "mark") // all before it was handled
			must.OK(err)
			if p := must.Next(); p.ID != id {
				t.Errorf("got %s besides", p.Raw)
			}
			must.Call("/", "mark")
			c.Close()
			ran.Eventually(t, "+/, +/other, -")
		})
	}
}

// No panic of the user's code ends the process or leaves anything.
func TestHazard35_PanicsInCallbacks(t *testing.T) {
	t.Parallel()
	for how, bug := range map[string]func(){
		"panic":           func() { panic("internal") },
		"nil dereference": func() { _ = *(*int)(nil) },
	} {
		for _, where := range []string{"Secret", "Accept", "OnAuthenticated", "OnUnauthorized", "OnConnect", "OnEvent", "OnError", "OnDisconnect"} {
			t.Run(where+" "+how, func(t *testing.T) {
				var reached harness.Record
				at := func(place, subject string) {
					if place == where && subject == "eve" {
						reached.Add("%s", place)
						bug()
					}
				}
				subject := func(token *jwt.Token) string { return token.Claims.(jwt.MapClaims)["sub"].(string) }
				var auth *socketiojwt.Authorizer
				of := func(c socketio.Conn) string {
					session, _ := auth.Session(c)
					return session.Subject()
				}
				var log harness.Record
				s := harness.Start(t, socketiojwt.Options{
					Handshake: true,
					Logger:    slog.New(slog.NewTextHandler(&log, nil)),
					Secret: socketiojwt.SecretFunc(func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
						at("Secret", subject(token))
						return harness.Secret, nil
					}),
					Accept: func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
						at("Accept", subject(token))
						if where == "OnUnauthorized" && subject(token) == "eve" {
							return nil, errors.New("refused")
						}
						return nil, nil
					},
					OnAuthenticated: func(_ socketio.Conn, session *socketiojwt.Session) { at("OnAuthenticated", session.Subject()) },
					OnUnauthorized:  func(*socketiojwt.Request, *socketiojwt.UnauthorizedError) { at("OnUnauthorized", "eve") },
				}, func(s *harness.App) {
					auth = s.Auth
					harness.Chat(s)
					s.OnConnect("/", func(c socketio.Conn) error { at("OnConnect", of(c)); return nil })
					s.OnDisconnect("/", func(c socketio.Conn, _ string) { at("OnDisconnect", of(c)) })
					s.OnError("/", func(c socketio.Conn, _ error) { at("OnError", of(c)) })
					s.OnEvent("/", "bug", func(c socketio.Conn) {
						at("OnEvent", of(c))
						c.Emit("x", make(chan int)) // an error
					})
				})
				_, honest := s.Honest(t, "websocket")
				c, err := siotest.Dial(t.Context(), s.At.URL, siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, "eve"))})
				if err == nil {
					_ = c.SendPacket(`42["bug"]`)
					if where != "OnDisconnect" {
						reached.Eventually(t, where)
					}
					c.Close()
				}
				reached.Eventually(t, where)
				harness.Served(t, honest)
				harness.Eventually(t, "the other is gone", func() bool { return s.Count() == 1 })
				if where != "OnEvent" { // which go-socket.io recovers
					harness.Eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), "a callback panicked") })
				}
			})
		}
	}
}

// A callback that ends its goroutine ends nothing of ours.
func TestCallbacksThatEndTheirGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
			OnAuthenticated: func(socketio.Conn, *socketiojwt.Session) { runtime.Goexit() },
			OnUnauthorized:  func(*socketiojwt.Request, *socketiojwt.UnauthorizedError) { runtime.Goexit() },
		}, harness.Chat)
		_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Emit("/", "echo", "too early")
		if rest := must.Rest(); len(rest) != 2 || rest[1].Raw != "41" {
			t.Errorf("got %v", rest)
		}
		_, must = s.Dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.NextRaw(`42["authenticated"]`)
		must.NextRaw(`42["welcome","bob"]`)
		must.Call("/", "echo", "still here")
	})
}

// A CheckOrigin that panics leaves nothing of its connection, and another upgrade may follow,
// with the gate and without.
func TestPanicsInCheckOrigin(t *testing.T) {
	t.Parallel()
	const good = "https://app.example"
	for _, gated := range []bool{true, false} {
		t.Run(fmt.Sprintf("gate %t", gated), func(t *testing.T) {
			auth := harness.Authorize(t, harness.HandshakeMode)
			plain := socketio.NewServer(socketiojwt.Harden(&engineio.Options{
				Transports: []transport.Transport{polling.Default, &websocket.Transport{
					CheckOrigin: func(r *http.Request) bool { return r.Header["Origin"][0] == good },
				}},
			}))
			sio := auth.Protect(plain)
			sio.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
			handler := http.Handler(sio)
			if !gated {
				handler = plain
			}
			at := harness.Loopback(t)
			harness.Serve(t, sio, at, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // and closes it
				defer func() {
					if recover() != nil {
						panic(http.ErrAbortHandler) // which net/http does not log
					}
				}()
				handler.ServeHTTP(w, r)
			}))
			if _, err := siotest.Dial(t.Context(), at.URL, harness.Bob(t, "websocket")); err == nil {
				t.Error("CheckOrigin did not panic")
			}
			c, must := harness.Dial(t, at, harness.Bob(t, "polling"))
			if err := c.Probe(t.Context()); err == nil {
				t.Error("CheckOrigin did not panic")
			}
			u := "ws" + strings.TrimPrefix(at.URL, "http") + "/socket.io/?EIO=3&transport=websocket&sid=" + c.SID()
			conn, _, err := gorilla.DefaultDialer.Dial(u, http.Header{"Origin": {good}})
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			must.Call("/", "echo", "x")
		})
	}
}

// A preflight may ask for the Authorization header, starts nothing, and a page that may not
// talk to the server learns nothing from it; a refusal can be read by a page that may.
func TestHazard40_Preflight(t *testing.T) {
	t.Parallel()
	const good = "https://app.example"
	allow := func(r *http.Request) bool { return r.Header.Get("Origin") == good }
	auth := harness.Authorize(t, harness.HandshakeMode)
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(&engineio.Options{
		Transports: []transport.Transport{&polling.Transport{CheckOrigin: allow}, websocket.Default},
	})))
	at := harness.Loopback(t)
	harness.Serve(t, sio, at, sio)
	for _, method := range []string{http.MethodOptions, http.MethodGet} {
		for _, origin := range []string{good, "https://evil.example"} {
			r, err := http.NewRequest(method, at.URL+"/socket.io/?"+url.Values{"EIO": {"3"}, "transport": {"polling"}}.Encode(), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Origin", origin)
			r.Close = true
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			header := response.Header
			wantOrigin, wantHeaders := "", ""
			if origin == good {
				wantOrigin = good
				if method == http.MethodOptions {
					wantHeaders = "Content-Type, Authorization"
				}
			}
			if header.Get("Access-Control-Allow-Origin") != wantOrigin || header.Get("Access-Control-Allow-Headers") != wantHeaders {
				t.Errorf("%s from %s is answered %s with %v", method, origin, response.Status, header)
			}
		}
	}
	if n := sio.Count(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}
