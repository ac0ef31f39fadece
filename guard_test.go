package socketiojwt_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"
)

// What docs/hooks.md promises of the hooks one by one, and what it says does not hold.

// A server's own hooks run once for each client, with the gate and without.
func TestPlainHooksRunOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		gated   bool
		version int
	}{{false, 3}, {true, 3}, {true, 4}} {
		for _, transport := range harness.Transports {
			t.Run(fmt.Sprintf("gate %t/EIO=%d/%s", test.gated, test.version, transport), func(t *testing.T) {
				t.Parallel()
				auth := harness.Authorize(t, socketiojwt.Options{})
				plain := socketio.NewServer(socketiojwt.Harden(nil))
				var ran harness.Record
				for _, name := range []string{"/", "/a"} {
					plain.OnConnect(name, func(socketio.Conn) error { ran.Add("+%s", name); return nil })
					plain.OnDisconnect(name, func(socketio.Conn, string) { ran.Add("-%s", name) })
					plain.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { return text })
				}
				at := harness.Loopback(t)
				if test.gated {
					harness.Serve(t, plain, at, auth.Handler(plain))
				} else {
					harness.Serve(t, plain, at, plain)
				}
				c, must := harness.Dial(t, at, siotest.Options{Version: test.version, Transport: transport})
				if test.version == 4 {
					must.Join("/")
				}
				must.Call("/", "echo", "x")
				must.Join("/a")
				must.Call("/a", "echo", "x")
				must.OK(c.Leave("/a"))
				must.Call("/", "echo", "x")
				c.Close()
				ran.Eventually(t, "+/, +/a, -/a, -/")
			})
		}
	}
}

// A gate that is given the server itself knows its namespaces: one that is not there is refused alone,
// and there is a root, without which go-socket.io keeps sessions for ever. Behind another handler an
// unknown namespace ends the connection.
func TestHandlerKnowsTheNamespacesOfItsServer(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("EIO=%d/known %t", version, known), func(t *testing.T) {
				t.Parallel()
				auth := harness.Authorize(t, socketiojwt.Options{})
				plain := socketio.NewServer(socketiojwt.Harden(nil))
				next := http.Handler(plain)
				if !known {
					next = http.HandlerFunc(plain.ServeHTTP)
					plain.OnConnect("/", func(socketio.Conn) error { return nil })
				}
				plain.OnConnect("/admin", auth.OnConnect)
				plain.OnEvent("/admin", "authenticate", auth.OnAuthenticate)
				plain.OnDisconnect("/admin", auth.OnDisconnect)
				at := harness.Loopback(t)
				harness.Serve(t, plain, at, auth.Handler(next)) // and requires that no session is left
				_, must := harness.Dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
				must.Join("/admin")
				must.Connected("/admin")
				must.Join("/none")
				if !known {
					must.Closed()
					return
				}
				must.Refused("/none")
				must.Emit("/admin", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
				must.Event("/admin", "authenticated")
			})
		}
	}
}

// In a namespace with the hook, handlers run for admitted sockets only, wrapped in Guard or not. In one
// without, those that are not wrapped run for everybody, and those that are for nobody.
func TestHandlersOfHooks(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		for _, handshake := range []bool{false, true} {
			t.Run(fmt.Sprintf("EIO=%d/handshake %t", version, handshake), func(t *testing.T) {
				t.Parallel()
				auth := harness.Authorize(t, socketiojwt.Options{Handshake: handshake})
				plain := socketio.NewServer(socketiojwt.Harden(nil))
				plain.OnConnect("/", func(socketio.Conn) error { return nil })
				plain.OnConnect("/open", func(socketio.Conn) error { return nil })
				harness.RegisterHooks(plain, auth, "/admin")
				var ran harness.Record
				for _, name := range []string{"/open", "/admin"} {
					plain.OnEvent(name, "bare", func(socketio.Conn) { ran.Add("bare %s", name) })
					plain.OnEvent(name, "guarded", auth.Guard(func(socketio.Conn) { ran.Add("guarded %s", name) }))
					plain.OnEvent(name, "mark", func(socketio.Conn) string { return "" })
				}
				at := harness.Loopback(t)
				handler := auth.Handler(plain)
				if version == 3 {
					handler = plain // the gate would ask for a token
				}
				harness.Serve(t, plain, at, handler)
				_, must := harness.Dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
				must.Join("/open")
				must.Connected("/open")
				must.Join("/admin")
				must.Send(`42/admin,["bare"]`, `42/admin,["guarded"]`, `42/open,["bare"]`, `42/open,["guarded"]`)
				must.Call("/open", "mark")
				ran.Eventually(t, "bare /open")

				o := harness.Bob(t, "websocket")
				o.Version = version
				_, must = harness.Dial(t, at, o)
				must.Join("/admin")
				if !handshake {
					must.Connected("/admin")
					must.Emit("/admin", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
				}
				must.Send(`42/admin,["bare"]`, `42/admin,["guarded"]`)
				must.Call("/admin", "mark")
				ran.Eventually(t, "bare /open, bare /admin, guarded /admin")
			})
		}
	}
}

// The plain server's OnDisconnect and OnError run for strangers, too, who have no session.
func TestPlainHooksRunForStrangers(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			t.Parallel()
			auth := harness.Authorize(t, socketiojwt.Options{})
			plain := socketio.NewServer(socketiojwt.Harden(nil))
			harness.RegisterHooks(plain, auth, "/")
			var ran harness.Record
			plain.OnDisconnect("/", func(c socketio.Conn, reason string) {
				session, known := auth.Session(c)
				ran.Add("OnDisconnect %v %t", session, known)
				auth.OnDisconnect(c, reason)
			})
			failed := make(chan struct{})
			var once sync.Once
			plain.OnError("/", func(socketio.Conn, error) { once.Do(func() { close(failed) }) })
			at := harness.Loopback(t)
			harness.Serve(t, plain, at, auth.Handler(plain))
			for try := 0; ; try++ { // OnError runs unless go-socket.io has closed the connection before
				if try == 100 {
					t.Fatal("OnError never ran")
				}
				c, must := harness.Dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
				if version == 4 {
					must.Join("/")
				}
				must.Connected("/")
				seen := 0
				plain.ForEach("/", c.SID(), func(c socketio.Conn) { c.Emit("news"); seen++ })
				if n := plain.Count(); n != 1 || version == 3 && seen != 1 {
					t.Errorf("Count is %d, ForEach saw %d", n, seen)
				}
				c.Close()
				if packets, _ := c.Rest(t.Context()); len(packets) > 0 {
					t.Errorf("it heard %v", rawOf(packets))
				}
				harness.Eventually(t, "it is gone", func() bool { return plain.Count() == 0 })
				select {
				case <-failed:
					ran.Eventually(t, strings.Repeat(", OnDisconnect <nil> false", try+1)[2:])
					return
				default:
				}
			}
		})
	}
}

// BroadcastToNamespace of the plain server sends a copy for each room that a socket is in. A room that
// OnAuthenticated joins reaches each admitted socket once. Strangers hear neither.
func TestBroadcastsOfThePlainServerComeOnceForEachRoom(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		for _, transport := range harness.Transports {
			t.Run(fmt.Sprintf("EIO=%d/%s", version, transport), func(t *testing.T) {
				t.Parallel()
				auth := harness.Authorize(t, socketiojwt.Options{
					UserRoom:        func(s *socketiojwt.Session) string { return s.Subject() },
					OnAuthenticated: func(c socketio.Conn, _ *socketiojwt.Session) { c.Join("admitted") },
				})
				plain := socketio.NewServer(socketiojwt.Harden(nil))
				harness.RegisterHooks(plain, auth, "/")
				plain.OnEvent("/", "mark", auth.Guard(func(socketio.Conn) string { return "" }))
				at := harness.Loopback(t)
				harness.Serve(t, plain, at, auth.Handler(plain))
				must := harness.Knock(t, &harness.App{At: at, Auth: auth}, version, transport, false)
				must.Event("/", "authenticated")
				must.Call("/", "mark") // OnAuthenticated has returned
				_, stranger := harness.Dial(t, at, siotest.Options{Version: version, Transport: transport})
				if version == 4 {
					stranger.Join("/")
				}
				stranger.Connected("/")
				for _, test := range []struct {
					broadcast func()
					copies    int
				}{
					{func() { plain.BroadcastToNamespace("/", "news") }, 3}, // its own room, bob's, and admitted
					{func() { plain.BroadcastToRoom("/", "admitted", "news") }, 1},
				} {
					test.broadcast()
					copies := 0
					must.Send(`429["mark"]`) // go-socket.io writes its acknowledgement behind the copies
					for p := must.Next(); p.Raw != `439[""]`; p = must.Next() {
						copies++
					}
					if copies != test.copies {
						t.Errorf("%d copies, want %d", copies, test.copies)
					}
				}
				stranger.Emit("/", "authenticate", "")
				if p := stranger.Next(); !strings.Contains(p.Raw, "unauthorized") {
					t.Errorf("a stranger got %s", p.Raw)
				}
			})
		}
	}
}

// A client that leaves the root and asks for it again, while go-socket.io has yet to connect it, gets in.
func TestRootIsAskedForAgainBeforeItsHookRuns(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, harness.HandshakeMode)
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	harness.RegisterHooks(plain, auth, "/")
	entered, proceed := make(chan struct{}), make(chan struct{})
	plain.OnConnect("/", func(c socketio.Conn) error {
		entered <- struct{}{}
		<-proceed
		return auth.OnConnect(c)
	})
	plain.OnEvent("/", "echo", auth.Guard(func(_ socketio.Conn, text string) string { return text }))
	at := harness.Loopback(t)
	harness.Serve(t, plain, at, auth.Handler(plain))
	o := harness.Bob(t, "websocket")
	o.Version = 4
	c, must := harness.Dial(t, at, o)
	must.Join("/")
	<-entered
	must.Send("41", "40")
	harness.WaitUntilRead(t, c, 4)
	proceed <- struct{}{}
	<-entered
	proceed <- struct{}{}
	must.Connected("/")
	must.Call("/", "echo", "x")
}

// Who does not register OnDisconnect loses nothing: what ends is forgotten when the client joins again,
// or is gone.
func TestHooksWithoutOnDisconnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		auth := harness.Authorize(t, harness.HandshakeMode)
		plain := socketio.NewServer(socketiojwt.Harden(nil))
		plain.OnConnect("/", func(socketio.Conn) error { return nil })
		plain.OnConnect("/admin", auth.OnConnect)
		at := harness.InMemory(t)
		harness.Serve(t, plain, at, auth.Handler(plain))
		for _, version := range []int{3, 4} {
			o := harness.Bob(t, "websocket")
			o.Version = version
			c, must := harness.Dial(t, at, o)
			for range 3 {
				must.Join("/admin")
				must.Connected("/admin")
				must.OK(c.Leave("/admin"))
			}
			c.Close()
		}
		ctx, cancel := within(time.Minute)
		defer cancel()
		if err := auth.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A client that asks for a namespace faster than OnUnauthorized is told of its refusals is disconnected.
func TestRefusalsFasterThanOnUnauthorized(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: true, OnUnauthorized: func(*socketiojwt.Request, *socketiojwt.UnauthorizedError) { <-hold }})
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	plain.OnConnect("/", func(socketio.Conn) error { return nil })
	harness.RegisterHooks(plain, auth, "/admin")
	at := harness.Loopback(t)
	harness.Serve(t, plain, at, plain)
	defer close(hold)
	c, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	for refusals := 0; ; refusals++ {
		if refusals > 200 {
			t.Fatal("it goes on")
		}
		_ = c.Join("/admin") // unless it was disconnected
		if _, err := c.WaitType(t.Context(), "/admin", siotest.Disconnect); err != nil {
			return
		}
	}
}

// The gate takes the root for protected, also where the hooks are on /admin only: clients 1.x and 2.x
// need a token for it then, but hold none of the MaxPending places.
func TestGateInFrontOfAPublicRoot(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{false, true} {
		for _, version := range []int{3, 4} {
			t.Run(fmt.Sprintf("EIO=%d/handshake %t", version, handshake), func(t *testing.T) {
				t.Parallel()
				auth := harness.Authorize(t, socketiojwt.Options{Handshake: handshake, MaxPending: 8})
				plain := socketio.NewServer(socketiojwt.Harden(nil))
				plain.OnConnect("/", func(socketio.Conn) error { return nil })
				harness.RegisterHooks(plain, auth, "/admin")
				at := harness.Loopback(t)
				harness.Serve(t, plain, at, auth.Handler(plain))
				for range 20 {
					_, must := harness.Dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
					if version == 4 {
						must.Join("/")
					}
					if handshake && version == 3 {
						must.NextRaw("44" + harness.Refusal("credentials_required", "no token provided"))
						continue
					}
					must.Connected("/")
				}
				// Clients 1.x and 2.x are told CONNECT before go-socket.io has called the hook of the root.
				harness.Eventually(t, "nobody is pending", func() bool { return auth.Stats().Pending == 0 })
			})
		}
	}
}

// A socket that ended while OnAuthenticated ran stays in none of the rooms that OnAuthenticated joins.
func TestHooksLeaveNoRoomsBehind(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		synctest.Test(t, func(t *testing.T) {
			entered, proceed := make(chan struct{}), make(chan struct{})
			auth := harness.Authorize(t, socketiojwt.Options{Handshake: true, OnAuthenticated: func(c socketio.Conn, _ *socketiojwt.Session) {
				entered <- struct{}{}
				<-proceed
				c.Join("admitted")
			}})
			plain := socketio.NewServer(socketiojwt.Harden(nil))
			plain.OnConnect("/", func(socketio.Conn) error { return nil })
			harness.RegisterHooks(plain, auth, "/admin")
			at := harness.InMemory(t)
			harness.Serve(t, plain, at, auth.Handler(plain))
			for _, leave := range []func(*siotest.Client){
				func(c *siotest.Client) { _ = c.Leave("/admin") },
				func(*siotest.Client) { auth.DisconnectSubject("bob", nil) },
				(*siotest.Client).Close,
			} {
				o := harness.Bob(t, "websocket")
				o.Version = version
				c, must := harness.Dial(t, at, o)
				must.Join("/admin")
				<-entered
				leave(c)
				synctest.Wait()
				proceed <- struct{}{}
				synctest.Wait()
				if rooms := plain.Rooms("/admin"); len(rooms) > 0 {
					t.Errorf("EIO=%d: these are left: %v", version, rooms)
				}
			}
		})
	}
}

// A guest runs handlers, without a session, and hears what is broadcast to the namespace, not to a room
// that OnAuthenticated joins.
func TestGuestsOfHooks(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			t.Parallel()
			auth := harness.Authorize(t, socketiojwt.Options{Handshake: true, Optional: true, OnAuthenticated: func(c socketio.Conn, _ *socketiojwt.Session) { c.Join("admitted") }})
			plain := socketio.NewServer(socketiojwt.Harden(nil))
			harness.RegisterHooks(plain, auth, "/")
			plain.OnEvent("/", "known", auth.Guard(func(c socketio.Conn) bool { _, known := auth.Session(c); return known }))
			at := harness.Loopback(t)
			harness.Serve(t, plain, at, auth.Handler(plain))
			_, must := harness.Dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
			if version == 4 {
				must.Join("/")
			}
			must.Connected("/")
			if got := string(must.Call("/", "known").Data); got != "[false]" {
				t.Error(got)
			}
			plain.BroadcastToRoom("/", "admitted", "to the room")
			plain.BroadcastToNamespace("/", "to all")
			must.NextRaw(`42["to all"]`)
		})
	}
}

// A client that asks again as soon as it is refused is answered each time.
func TestHooksAnswerWhoComesBackAtOnce(t *testing.T) {
	const clients, times = 4, 1500
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: true})
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	plain.OnConnect("/", func(socketio.Conn) error { return nil })
	harness.RegisterHooks(plain, auth, "/admin")
	at := harness.Loopback(t)
	harness.Serve(t, plain, at, plain)
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			_, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
			for range times {
				must.Join("/admin")
				must.Type("/admin", siotest.Disconnect)
			}
		})
	}
	group.Wait()
}

// Handlers of any signature go-socket.io takes keep it.
func TestGuardedHandlers(t *testing.T) {
	t.Parallel()
	type point struct{ X, Y int }
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
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
	for _, transport := range harness.Transports {
		c, must := s.Dial(t, harness.Bob(t, transport))
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
