package socketiojwt_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
	"github.com/googollee/go-socket.io/parser"
)

// record keeps what happened, in order.
type record struct {
	mu     sync.Mutex
	events []string
}

func (r *record) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

func (r *record) Write(line []byte) (int, error) {
	r.add("%s", line)
	return len(line), nil
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.events, ", ")
}

func (r *record) eventually(tb testing.TB, want string) {
	tb.Helper()
	for end := time.Now().Add(siotest.DefaultTimeout); r.String() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("got %q, want %q", r, want)
		}
	}
}

func bob(tb testing.TB, transport string) siotest.Options {
	return siotest.Options{Transport: transport, Query: withToken(tokenOf(tb, "bob"))}
}

var handshakeMode = socketiojwt.Options{Handshake: true}

func TestOnConnectMayEmitJoinBroadcastAndTakeItsTime(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			var done record
			release := make(chan struct{})
			s := start(t, handshakeMode, func(s *testServer) {
				s.OnConnect("/", func(c socketio.Conn) error {
					c.Join("lobby")
					c.Emit("first")
					s.BroadcastToNamespace("/", "second")
					s.BroadcastToRoom("/", "lobby", "third")
					<-release
					done.add("connected")
					return nil
				})
				s.OnEvent("/", "event", func(socketio.Conn) { done.add("event") })
				s.OnDisconnect("/", func(socketio.Conn, string) { done.add("disconnected") })
			})
			c, must := s.dial(t, bob(t, transport))
			must.Send(`42["event"]`)
			for _, want := range []string{"40", `42["first"]`, `42["second"]`, `42["third"]`} {
				must.NextRaw(want)
			}
			close(release)
			done.eventually(t, "connected, event")
			c.Abort()
			if transport == "polling" {
				return // only the ping timeout tells
			}
			done.eventually(t, "connected, event, disconnected")
		})
	}
}

func TestOnConnectErrorRefusesThatNamespaceOnly(t *testing.T) {
	for name, test := range map[string]struct {
		refuse func() error
		logged string
	}{
		"error":                 {func() error { return errors.New("the database said: internal") }, "the database said: internal"},
		"panic":                 {func() error { panic("internal") }, "a callback panicked"},
		"nil with a type":       {func() error { return (*fs.PathError)(nil) }, "a callback panicked"},
		"goroutine ends":        {func() error { runtime.Goexit(); return nil }, ""},
		"UnauthorizedError":     {func() error { return &socketiojwt.UnauthorizedError{Code: "unauthorized", Message: "unauthorized"} }, ""},
		"empty":                 {func() error { return &socketiojwt.UnauthorizedError{} }, ""},
		"nil UnauthorizedError": {func() error { return (*socketiojwt.UnauthorizedError)(nil) }, "a callback failed"},
	} {
		t.Run(name, func(t *testing.T) {
			var done, log record
			opts := handshakeMode
			opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s := start(t, opts, func(s *testServer) {
				s.OnConnect("/", func(socketio.Conn) error { return nil })
				s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
				s.OnConnect("/banned", func(c socketio.Conn) error {
					c.Join("room")
					return test.refuse()
				})
				s.OnEvent("/banned", "event", func(socketio.Conn) { done.add("event") })
				s.OnDisconnect("/banned", func(socketio.Conn, string) { done.add("disconnected") })
			})
			c, must := s.dial(t, bob(t, "websocket"))
			must.NextRaw("40")
			must.Join("/banned")
			must.NextRaw("40/banned")
			must.NextRaw("44/banned," + e("unauthorized", "unauthorized"))
			must.NextRaw("41/banned")
			must.Send(`42/banned,["event"]`)
			must.Call("/", "echo", "alive")
			c.Close()
			eventually(t, "the rooms are empty", func() bool { return s.RoomLen("/banned", "room") == 0 && s.Count() == 0 })
			if done.String() != "" {
				t.Errorf("these ran: %s", done.String())
			}
			if got := log.String(); !strings.Contains(got, test.logged) || (test.logged == "") != (got == "") {
				t.Errorf("logged %q, want %q", got, test.logged)
			}
		})
	}
	t.Run("root", func(t *testing.T) {
		s := start(t, handshakeMode, func(s *testServer) {
			s.OnConnect("/", func(socketio.Conn) error { return errors.New("internal") })
		})
		_, must := s.dial(t, bob(t, "polling"))
		expect(t, must.Rest(), "40", "44"+e("unauthorized", "unauthorized"), "41")
	})
}

func TestOnDisconnectRunsOnce(t *testing.T) {
	for name, leave := range map[string]func(*siotest.Client, siotest.Must){
		"client says 41":      func(c *siotest.Client, _ siotest.Must) { _ = c.Leave("/"); c.Close() },
		"client closes":       func(c *siotest.Client, _ siotest.Must) { c.Close() },
		"client vanishes":     func(c *siotest.Client, _ siotest.Must) { c.Abort() },
		"server closes":       func(_ *siotest.Client, m siotest.Must) { m.Emit("/", "close"); m.Closed() },
		"after a panic":       func(c *siotest.Client, m siotest.Must) { m.Emit("/", "panic"); m.Call("/", "echo", "x"); c.Close() },
		"client breaks rules": func(_ *siotest.Client, m siotest.Must) { m.Send("4nonsense"); m.Closed() },
		"closed eight times":  func(_ *siotest.Client, m siotest.Must) { m.Emit("/", "close8"); m.Closed() },
	} {
		t.Run(name, func(t *testing.T) {
			var done record
			s := start(t, handshakeMode, func(s *testServer) {
				for _, nsp := range []string{"/", "/other"} {
					s.OnConnect(nsp, func(c socketio.Conn) error { done.add("+%s", c.Namespace()); return nil })
					s.OnDisconnect(nsp, func(c socketio.Conn, _ string) {
						c.Emit("goodbye")
						_ = c.Close()
						c.Join("too late")
						session, ok := s.auth.Session(c)
						if !ok || session.Subject() != "bob" {
							t.Error("no session in OnDisconnect")
						}
						if nsp == "/" {
							done.add("-%s", "/")
						}
					})
				}
				s.OnEvent("/", "close", func(c socketio.Conn) { _ = c.Close() })
				s.OnEvent("/", "close8", func(c socketio.Conn) {
					for range 8 {
						go c.Close()
					}
				})
				s.OnEvent("/", "panic", func(socketio.Conn) { panic("a bug") })
				s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
			})
			c, must := s.dial(t, bob(t, "websocket"))
			must.NextRaw("40")
			done.eventually(t, "+/")
			leave(c, must)
			done.eventually(t, "+/, -/")
			eventually(t, "it is gone", func() bool { return s.Count() == 0 })
			if n := s.RoomLen("/", "too late"); n != 0 {
				t.Error("it is still in a room")
			}
			done.eventually(t, "+/, -/")
		})
	}
}

func TestUnauthenticatedSocketsNeverReachTheUsersCode(t *testing.T) {
	var done record
	s := start(t, socketiojwt.Options{}, func(s *testServer) {
		s.OnConnect("/", func(socketio.Conn) error { done.add("OnConnect"); return nil })
		s.OnDisconnect("/", func(socketio.Conn, string) { done.add("OnDisconnect") })
		s.OnError("/", func(socketio.Conn, error) { done.add("OnError") })
		s.OnEvent("/", "event", func(socketio.Conn) { done.add("OnEvent") })
	})
	for _, transport := range transports {
		for _, packet := range []string{`42["event"]`, `42["event"`, "41", `42["authenticate",{"token":"x"}]`} {
			c, must := s.dial(t, siotest.Options{Transport: transport})
			must.NextRaw("40")
			_ = c.SendPacket(packet)
			must.Closed()
		}
	}
	eventually(t, "all are gone", func() bool { return s.Count() == 0 })
	if done.String() != "" {
		t.Errorf("these ran: %s", done.String())
	}
}

// Handlers of any signature go-socket.io takes keep it.
func TestGuardedHandlers(t *testing.T) {
	type point struct{ X, Y int }
	s := start(t, handshakeMode, func(s *testServer) {
		s.OnEvent("/", "none", func(socketio.Conn) {})
		s.OnEvent("/", "string", func(_ socketio.Conn, a string) string { return a })
		s.OnEvent("/", "any", func(c socketio.Conn, a any) { c.Emit("any", a) })
		s.OnEvent("/", "many", func(_ socketio.Conn, a string, b int, c []bool) (string, int, []bool) { return a, b, c })
		s.OnEvent("/", "struct", func(_ socketio.Conn, p point) point { return point{p.Y, p.X} })
		s.OnEvent("/", "pointer", func(_ socketio.Conn, p *point) int { return p.X })
		s.OnEvent("/", "binary", func(_ socketio.Conn, b *parser.Buffer) *parser.Buffer {
			return &parser.Buffer{Data: append([]byte("got "), b.Data...)}
		})
		s.OnEvent("/", "ask", func(c socketio.Conn) {
			c.Emit("question", func(answer string) { c.Emit("thanks", answer) })
		})
	})
	for _, transport := range transports {
		c, must := s.dial(t, bob(t, transport))
		must.NextRaw("40")
		for _, test := range []struct {
			event string
			args  []any
			want  string
		}{
			{"string", []any{"a"}, `["a"]`},
			{"many", []any{"a", 1, []bool{true}}, `["a",1,[true]]`},
			{"struct", []any{point{1, 2}}, `[{"X":2,"Y":1}]`},
			{"pointer", []any{point{1, 2}}, `[1]`},
		} {
			if got := string(must.Call("/", test.event, test.args...).Data); got != test.want {
				t.Errorf("%s: got %s, want %s", test.event, got, test.want)
			}
		}
		must.Emit("/", "none")
		must.Emit("/", "any", map[string]any{"a": []int{1}})
		must.NextRaw(`42["any",{"a":[1]}]`)
		var data []byte
		must.OK(must.Call("/", "binary", []byte{0, 255}).Decode(&data))
		if string(data) != "got \x00\xff" {
			t.Errorf("binary: %q", data)
		}
		must.Emit("/", "ask")
		must.OK(c.Ack("/", must.Event("/", "question").ID, "42"))
		must.NextRaw(`42["thanks","42"]`)
	}
}

func TestBroadcastsReachAuthenticatedSocketsOnce(t *testing.T) {
	for name, optional := range map[string]bool{"others wait": false, "others are guests": true} {
		t.Run(name, func(t *testing.T) {
			s := start(t, socketiojwt.Options{Optional: optional, CloseGrace: -1}, func(s *testServer) {
				s.OnConnect("/", func(c socketio.Conn) error {
					c.Join("a")
					c.Join("b")
					return nil
				})
				s.OnEvent("/", "mark", func(socketio.Conn) string { return "" })
			})
			var authenticated, others []*siotest.Client
			for _, transport := range transports {
				c, must := s.dial(t, siotest.Options{Transport: transport})
				must.NextRaw("40")
				must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
				must.NextRaw(`42["authenticated"]`)
				must.Call("/", "mark") // OnConnect is done
				authenticated = append(authenticated, c)
				other, must := s.dial(t, siotest.Options{Transport: transport})
				must.NextRaw("40")
				others = append(others, other)
			}
			if !s.BroadcastToNamespace("/", "news", "x") {
				t.Error("it says that there is no root")
			}
			for _, c := range authenticated {
				must := c.Must(t)
				must.NextRaw(`42["news","x"]`)
				id, err := c.EmitAck("/", "mark")
				must.OK(err)
				if p := must.Next(); p.ID != id {
					t.Errorf("got %s besides", p.Raw)
				}
			}
			for _, other := range others {
				// What answers a wrong token comes after a broadcast would have come.
				must := other.Must(t)
				must.Emit("/", "authenticate")
				if name, _ := must.Next().Event(); name != "unauthorized" {
					t.Errorf("got %s", name)
				}
			}
		})
	}
}

// Arguments may be changed as soon as a broadcast has returned (hazard 32). What cannot be
// encoded is reported by go-socket.io as ever.
func TestBroadcastArguments(t *testing.T) {
	var done record
	s := start(t, handshakeMode, func(s *testServer) {
		s.OnConnect("/", func(c socketio.Conn) error { c.Join("room"); c.Emit("hello"); return nil })
		s.OnError("/", func(_ socketio.Conn, err error) { done.add("%v", err) })
	})
	var clients []siotest.Must
	for _, transport := range transports {
		_, must := s.dial(t, bob(t, transport))
		must.Event("/", "hello")
		clients = append(clients, must)
	}
	data := map[string]any{"text": "<é😀>"}
	for i := range 20 {
		data["n"] = i
		s.BroadcastToNamespace("/", "news", data, nil, []int{1})
		s.BroadcastToRoom("/", "room", "news", data, nil, []int{1})
	}
	for _, must := range clients {
		for i := range 20 {
			for range 2 {
				var got map[string]any
				must.OK(must.Event("/", "news").Decode(&got))
				if got["n"] != float64(i) || got["text"] != "<é😀>" {
					t.Fatalf("got %v, want number %d", got, i)
				}
			}
		}
	}
	s.BroadcastToNamespace("/", "bad", make(chan int))
	eventually(t, "the errors are reported", func() bool { return strings.Count(done.String(), "unsupported type") == len(transports) })
}

func TestForEachMayCloseAndSeesAdmittedSocketsOnly(t *testing.T) {
	s := start(t, socketiojwt.Options{}, func(s *testServer) {
		s.OnConnect("/", func(c socketio.Conn) error { c.Join("lobby"); c.Emit("hello"); return nil })
	})
	waiting, must := s.dial(t, siotest.Options{})
	must.NextRaw("40")
	open, must := s.dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
	must.Event("/", "hello")

	var closed int
	for _, sid := range []string{waiting.SID(), open.SID()} {
		if !s.ForEach("/", sid, func(c socketio.Conn) { closed++; _ = c.Close() }) {
			t.Error("it says that there is no root")
		}
	}
	must.Closed()
	// A socket that is closed leaves the rooms that f joins, too.
	must2 := func() siotest.Must {
		_, must := s.dial(t, siotest.Options{Transport: "websocket"})
		must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
		must.Event("/", "hello")
		return must
	}()
	ended := false
	s.ForEach("/", "lobby", func(c socketio.Conn) {
		ended = true
		_ = c.Close()
		must2.Closed()
		c.Join("too late")
	})
	eventually(t, "it is in no room", func() bool { return s.RoomLen("/", "too late") == 0 })
	if !ended {
		t.Error("it saw nobody in the room")
	}
	if closed != 1 {
		t.Errorf("it saw %d sockets", closed)
	}
	if s.ForEach("/nosuch", "x", func(socketio.Conn) {}) {
		t.Error("it says that there is a namespace")
	}
}

// OnError may close the connection while broadcasts run (hazard 20).
func TestOnErrorMayClose(t *testing.T) {
	s := start(t, handshakeMode, func(s *testServer) {
		s.OnEvent("/", "bad", func(c socketio.Conn) { c.Emit("x", make(chan int)) }) // cannot be encoded
		s.OnError("/", func(c socketio.Conn, err error) { _ = c.Close() })
	})
	stop := make(chan struct{})
	var broadcasts sync.WaitGroup
	broadcasts.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.BroadcastToNamespace("/", "news")
			}
		}
	})
	for range 10 {
		c, must := s.dial(t, bob(t, "websocket"))
		must.Emit("/", "bad")
		<-c.Done()
	}
	close(stop)
	broadcasts.Wait()
}

func TestPublicNamespacesAreSafeToo(t *testing.T) {
	var done record
	s := start(t, handshakeMode, func(s *testServer) {
		s.OnConnect("/", func(c socketio.Conn) error { c.Emit("hello", "anybody"); return nil })
		s.OnDisconnect("/", func(socketio.Conn, string) { done.add("-") })
		s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
		s.OnEvent("/", "authenticate", func(socketio.Conn, string) string { return "the application's own" })
		s.OnConnect("/admin", func(socketio.Conn) error { return nil })
	}, "/admin")
	c, must := s.dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	must.NextRaw(`42["hello","anybody"]`)
	must.Call("/", "echo", strings.Repeat("x", 10_000))
	must.Call("/", "authenticate", "x")
	s.BroadcastToNamespace("/", "news")
	must.NextRaw(`42["news"]`)
	c.Close()
	done.eventually(t, "-")
}

func TestTwoAuthorizersOnOneServer(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			users := mustAuthorize(t, handshakeMode)
			admins := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret("a different secret of at least 32 bytes")})
			server := socketio.NewServer(hardened())
			userSide, adminSide := users.Protect(server, "/"), admins.Protect(server, "/admin")
			who := func(auth *socketiojwt.Authorizer) func(socketio.Conn) string {
				return func(c socketio.Conn) string {
					session, ok := auth.Session(c)
					if !ok {
						return ""
					}
					return session.Subject()
				}
			}
			userSide.OnEvent("/", "who", who(users))
			userSide.OnEvent("/admin", "who", who(admins)) // whichever of them registers it
			at := loopback(t)
			serve(t, adminSide, at, adminSide)

			_, must := dial(t, at, siotest.Options{Transport: "polling"})
			refused := e("credentials_required", "no token provided")
			expect(t, must.Rest(), "44"+refused, "41", "44/admin,"+refused, "41/admin")

			_, must = dial(t, at, bob(t, transport))
			must.NextRaw("40")
			must.Join("/admin")
			must.NextRaw("40/admin")
			if got := string(must.Call("/", "who").Data); got != `["bob"]` {
				t.Errorf("root: %s", got)
			}
			must.Emit("/admin", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
			unauthorized(t, must.Next(), "invalid_token", "invalid signature")
			must.NextRaw("41/admin")
			must.Join("/admin")
			must.NextRaw("40/admin")
			raw := signWith(t, jwt.SigningMethodHS256, []byte("a different secret of at least 32 bytes"), jwt.MapClaims{"sub": "alice"})
			must.Emit("/admin", "authenticate", map[string]string{"token": raw})
			must.NextRaw(`42/admin,["authenticated"]`)
			if got := string(must.Call("/admin", "who").Data); got != `["alice"]` {
				t.Errorf("admin: %s", got)
			}
		})
	}
}

func TestProtectPanicsOnMistakes(t *testing.T) {
	auth := mustAuthorize(t, handshakeMode)
	for name, mistake := range map[string]func(){
		"the same namespace twice": func() {
			server := socketio.NewServer(hardened())
			auth.Protect(server, "/a")
			auth.Protect(server, "/a")
		},
		"everything twice": func() {
			server := socketio.NewServer(hardened())
			auth.Protect(server)
			auth.Protect(server)
		},
		"registered as public before": func() {
			server := socketio.NewServer(hardened())
			auth.Protect(server, "/a").OnConnect("/b", func(socketio.Conn) error { return nil })
			auth.Protect(server, "/b")
		},
		"a name without a slash": func() { auth.Protect(socketio.NewServer(hardened()), "admin") },
		"own authenticate handler": func() {
			auth.Protect(socketio.NewServer(hardened())).OnEvent("/", "authenticate", func(socketio.Conn) {})
		},
		"handler without Conn": func() {
			auth.Protect(socketio.NewServer(hardened())).OnEvent("/", "x", func(string) {})
		},
		"no function": func() { auth.Guard("x") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "socketiojwt: ") {
					t.Errorf("panic says %q", got)
				}
			}()
			mistake()
		})
	}
}

// Harden keeps what is configured, and Protect finds it all the same.
func TestProtectWithOtherEngineOptions(t *testing.T) {
	for name, opts := range map[string]*engineio.Options{
		"polling only":   {Transports: []transport.Transport{polling.Default}},
		"websocket only": {Transports: []transport.Transport{websocket.Default}},
		"a checker": {RequestChecker: func(r *http.Request) (http.Header, error) {
			if r.URL.Query().Get("token") == "" {
				return nil, errors.New("no")
			}
			return nil, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			auth := mustAuthorize(t, handshakeMode)
			sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(opts)))
			at := loopback(t)
			serve(t, sio, at, sio)
			if opts.Transports != nil && len(opts.Transports) != 1 {
				t.Error("Harden changed its argument")
			}
			for _, transport := range []string{"polling", "websocket"} {
				if name == "websocket only" && transport == "polling" || name == "polling only" && transport == "websocket" {
					response, body := get(t, at.url+"/socket.io/?EIO=3&transport="+transport)
					if response.StatusCode != 400 || body != `{"code":0,"message":"Transport unknown"}` {
						t.Errorf("%s: %s %s", transport, response.Status, body)
					}
					continue
				}
				c, must := dial(t, at, bob(t, transport))
				must.NextRaw("40")
				if upgrades := len(c.Open().Upgrades); upgrades != 0 && name == "polling only" {
					t.Error("it offers an upgrade")
				}
			}
		})
	}
}

func TestCloseDrains(t *testing.T) {
	var left atomic.Int32
	auth := mustAuthorize(t, handshakeMode)
	sio := auth.Protect(socketio.NewServer(hardened()))
	sio.OnConnect("/", func(c socketio.Conn) error { c.Emit("hello"); return nil })
	sio.OnDisconnect("/", func(socketio.Conn, string) { left.Add(1) })
	at := loopback(t)
	serve(t, sio, at, sio)
	var clients []*siotest.Client
	for range 10 {
		for _, transport := range transports {
			c, must := dial(t, at, bob(t, transport))
			must.Event("/", "hello")
			clients = append(clients, c)
		}
	}
	stop := make(chan struct{})
	var knocking sync.WaitGroup
	for range 4 { // clients that connect while the server closes crash go-socket.io (hazard 23)
		knocking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if c, err := siotest.Dial(t.Context(), at.url, bob(t, "polling")); err == nil {
					c.Close()
				}
			}
		})
	}
	if err := sio.Close(); err != nil {
		t.Fatal(err)
	}
	if n := int(left.Load()); n < len(clients) {
		t.Errorf("OnDisconnect ran %d times for %d clients", n, len(clients))
	}
	close(stop)
	knocking.Wait()
	for _, c := range clients {
		c.Must(t).Closed()
	}
	if response, _ := get(t, at.url+"/socket.io/?EIO=3&transport=polling"); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new client gets %s", response.Status)
	}
}

// What comes and goes leaves nothing behind.
func TestNothingIsKept(t *testing.T) {
	for name, client := range map[string]func(tb testing.TB, s *testServer, transport string){
		"refused at the gate": func(tb testing.TB, s *testServer, transport string) {
			if transport == "upgrade" {
				transport = "polling"
			}
			c, err := siotest.Dial(tb.Context(), s.at.url, siotest.Options{Transport: transport, Query: withToken("x")})
			if err != nil {
				tb.Error(err)
				return
			}
			<-c.Done()
			c.Close()
		},
		"authenticated": func(tb testing.TB, s *testServer, transport string) {
			c, err := siotest.Dial(tb.Context(), s.at.url, bob(tb, transport))
			if err != nil {
				tb.Error(err)
				return
			}
			if _, err := c.WaitEvent(tb.Context(), "/", "hello"); err != nil {
				tb.Error(err)
			}
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, handshakeMode, func(s *testServer) {
				s.OnConnect("/", func(c socketio.Conn) error { c.Join("room"); c.Emit("hello"); return nil })
			})
			run := func(n int) {
				var group sync.WaitGroup
				for i := range 20 {
					group.Go(func() {
						for j := i; j < n; j += 20 {
							client(t, s, transports[j%3])
						}
					})
				}
				group.Wait()
				eventually(t, "all are gone", func() bool { return s.Count() == 0 && s.RoomLen("/", "room") == 0 })
			}
			measure := func() (heap uint64, goroutines int) {
				for range 3 {
					runtime.GC()
				}
				var stats runtime.MemStats
				runtime.ReadMemStats(&stats)
				return stats.HeapAlloc, runtime.NumGoroutine()
			}
			run(200) // pools and caches fill
			heapBefore, _ := measure()
			goroutinesBefore := runtime.NumGoroutine()
			run(1000)
			eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutinesBefore })
			// A kept connection is more than 2 KiB.
			if heap, _ := measure(); heap > heapBefore+1<<20 {
				t.Errorf("the heap grew from %d to %d bytes", heapBefore, heap)
			}
		})
	}
}
