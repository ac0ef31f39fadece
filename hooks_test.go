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
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// What docs/hooks.md promises of the hooks one by one, and what it says does not hold.

// A server's own hooks run once for each client, with the gate and without.
func TestPlainHooksRunOnce(t *testing.T) {
	for _, test := range []struct {
		gated   bool
		version int
	}{{false, 3}, {true, 3}, {true, 4}} {
		for _, transport := range transports {
			t.Run(fmt.Sprintf("gate %t/EIO=%d/%s", test.gated, test.version, transport), func(t *testing.T) {
				t.Parallel()
				auth := mustAuthorize(t, socketiojwt.Options{})
				plain := socketio.NewServer(hardened())
				var ran record
				for _, name := range []string{"/", "/a"} {
					plain.OnConnect(name, func(socketio.Conn) error { ran.add("+%s", name); return nil })
					plain.OnDisconnect(name, func(socketio.Conn, string) { ran.add("-%s", name) })
					plain.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { return text })
				}
				at := loopback(t)
				if test.gated {
					serve(t, plain, at, auth.Handler(plain))
				} else {
					serve(t, plain, at, plain)
				}
				c, must := dial(t, at, siotest.Options{Version: test.version, Transport: transport})
				if test.version == 4 {
					must.Join("/")
				}
				must.Call("/", "echo", "x")
				must.Join("/a")
				must.Call("/a", "echo", "x")
				must.OK(c.Leave("/a"))
				must.Call("/", "echo", "x")
				c.Close()
				ran.eventually(t, "+/, +/a, -/a, -/")
			})
		}
	}
}

// A gate that is given the server itself knows its namespaces: one that is not there is refused alone,
// and there is a root, without which go-socket.io keeps sessions for ever. Behind another handler an
// unknown namespace ends the connection.
func TestHandlerKnowsTheNamespacesOfItsServer(t *testing.T) {
	for _, version := range []int{3, 4} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("EIO=%d/known %t", version, known), func(t *testing.T) {
				t.Parallel()
				auth := mustAuthorize(t, socketiojwt.Options{})
				plain := socketio.NewServer(hardened())
				next := http.Handler(plain)
				if !known {
					next = http.HandlerFunc(plain.ServeHTTP)
					plain.OnConnect("/", func(socketio.Conn) error { return nil })
				}
				plain.OnConnect("/admin", auth.OnConnect)
				plain.OnEvent("/admin", "authenticate", auth.OnAuthenticate)
				plain.OnDisconnect("/admin", auth.OnDisconnect)
				at := loopback(t)
				serve(t, plain, at, auth.Handler(next)) // and requires that no session is left
				_, must := dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
				must.Join("/admin")
				must.Connected("/admin")
				must.Join("/none")
				if !known {
					must.Closed()
					return
				}
				must.Refused("/none")
				must.Emit("/admin", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
				must.Event("/admin", "authenticated")
			})
		}
	}
}

// hook registers an Authorizer's hooks for some namespaces.
func hook(server *socketio.Server, auth *socketiojwt.Authorizer, names ...string) {
	for _, name := range names {
		server.OnConnect(name, auth.OnConnect)
		server.OnEvent(name, "authenticate", auth.OnAuthenticate)
		server.OnDisconnect(name, auth.OnDisconnect)
	}
}

// In a namespace with the hook, handlers run for admitted sockets only, wrapped in Guard or not. In one
// without, those that are not wrapped run for everybody, and those that are for nobody.
func TestHandlersOfHooks(t *testing.T) {
	for _, version := range []int{3, 4} {
		for _, handshake := range []bool{false, true} {
			t.Run(fmt.Sprintf("EIO=%d/handshake %t", version, handshake), func(t *testing.T) {
				t.Parallel()
				auth := mustAuthorize(t, socketiojwt.Options{Handshake: handshake})
				plain := socketio.NewServer(hardened())
				plain.OnConnect("/", func(socketio.Conn) error { return nil })
				plain.OnConnect("/open", func(socketio.Conn) error { return nil })
				hook(plain, auth, "/admin")
				var ran record
				for _, name := range []string{"/open", "/admin"} {
					plain.OnEvent(name, "bare", func(socketio.Conn) { ran.add("bare %s", name) })
					plain.OnEvent(name, "guarded", auth.Guard(func(socketio.Conn) { ran.add("guarded %s", name) }))
					plain.OnEvent(name, "mark", func(socketio.Conn) string { return "" })
				}
				at := loopback(t)
				handler := auth.Handler(plain)
				if version == 3 {
					handler = plain // the gate would ask for a token
				}
				serve(t, plain, at, handler)
				_, must := dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
				must.Join("/open")
				must.Connected("/open")
				must.Join("/admin")
				must.Send(`42/admin,["bare"]`, `42/admin,["guarded"]`, `42/open,["bare"]`, `42/open,["guarded"]`)
				must.Call("/open", "mark")
				ran.eventually(t, "bare /open")

				o := bob(t, "websocket")
				o.Version = version
				_, must = dial(t, at, o)
				must.Join("/admin")
				if !handshake {
					must.Connected("/admin")
					must.Emit("/admin", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
				}
				must.Send(`42/admin,["bare"]`, `42/admin,["guarded"]`)
				must.Call("/admin", "mark")
				ran.eventually(t, "bare /open, bare /admin, guarded /admin")
			})
		}
	}
}

// The plain server's OnDisconnect and OnError run for strangers, too, who have no session.
func TestPlainHooksRunForStrangers(t *testing.T) {
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			t.Parallel()
			auth := mustAuthorize(t, socketiojwt.Options{})
			plain := socketio.NewServer(hardened())
			hook(plain, auth, "/")
			var ran record
			plain.OnDisconnect("/", func(c socketio.Conn, reason string) {
				session, known := auth.Session(c)
				ran.add("OnDisconnect %v %t", session, known)
				auth.OnDisconnect(c, reason)
			})
			failed := make(chan struct{})
			var once sync.Once
			plain.OnError("/", func(socketio.Conn, error) { once.Do(func() { close(failed) }) })
			at := loopback(t)
			serve(t, plain, at, auth.Handler(plain))
			for try := 0; ; try++ { // OnError runs unless go-socket.io has closed the connection before
				if try == 100 {
					t.Fatal("OnError never ran")
				}
				c, must := dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
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
				eventually(t, "it is gone", func() bool { return plain.Count() == 0 })
				select {
				case <-failed:
					if got, want := ran.String(), strings.Repeat(", OnDisconnect <nil> false", try+1)[2:]; got != want {
						t.Errorf("got %s", got)
					}
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
	for _, version := range []int{3, 4} {
		for _, transport := range transports {
			t.Run(fmt.Sprintf("EIO=%d/%s", version, transport), func(t *testing.T) {
				t.Parallel()
				auth := mustAuthorize(t, socketiojwt.Options{
					UserRoom:        func(s *socketiojwt.Session) string { return s.Subject() },
					OnAuthenticated: func(c socketio.Conn, _ *socketiojwt.Session) { c.Join("admitted") },
				})
				plain := socketio.NewServer(hardened())
				hook(plain, auth, "/")
				plain.OnEvent("/", "mark", auth.Guard(func(socketio.Conn) string { return "" }))
				at := loopback(t)
				serve(t, plain, at, auth.Handler(plain))
				must := enterAs(t, &testServer{at: at, auth: auth}, version, transport, false)
				must.Event("/", "authenticated")
				must.Call("/", "mark") // OnAuthenticated has returned
				_, stranger := dial(t, at, siotest.Options{Version: version, Transport: transport})
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
					must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")}) // is answered behind the copies
					for p := must.Next(); p.Raw != `42["authenticated"]`; p = must.Next() {
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
	auth := mustAuthorize(t, handshakeMode)
	plain := socketio.NewServer(hardened())
	hook(plain, auth, "/")
	entered, proceed := make(chan struct{}), make(chan struct{})
	plain.OnConnect("/", func(c socketio.Conn) error {
		entered <- struct{}{}
		<-proceed
		return auth.OnConnect(c)
	})
	plain.OnEvent("/", "echo", auth.Guard(func(_ socketio.Conn, text string) string { return text }))
	at := loopback(t)
	serve(t, plain, at, auth.Handler(plain))
	o := bob(t, "websocket")
	o.Version = 4
	c, must := dial(t, at, o)
	must.Join("/")
	<-entered
	must.Send("41", "40")
	wasRead(t, c, 4)
	proceed <- struct{}{}
	<-entered
	proceed <- struct{}{}
	must.Connected("/")
	must.Call("/", "echo", "x")
}

// Who does not register OnDisconnect loses nothing: what ends is forgotten when the client joins again,
// or is gone.
func TestHooksWithoutOnDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := mustAuthorize(t, handshakeMode)
		plain := socketio.NewServer(hardened())
		plain.OnConnect("/", func(socketio.Conn) error { return nil })
		plain.OnConnect("/admin", auth.OnConnect)
		at := inMemory(t)
		serve(t, plain, at, auth.Handler(plain))
		for _, version := range []int{3, 4} {
			o := bob(t, "websocket")
			o.Version = version
			c, must := dial(t, at, o)
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
	auth := mustAuthorize(t, socketiojwt.Options{Handshake: true, OnUnauthorized: func(*socketiojwt.Request, *socketiojwt.UnauthorizedError) { <-hold }})
	plain := socketio.NewServer(hardened())
	plain.OnConnect("/", func(socketio.Conn) error { return nil })
	hook(plain, auth, "/admin")
	at := loopback(t)
	serve(t, plain, at, plain)
	defer close(hold)
	c, must := dial(t, at, siotest.Options{Transport: "websocket"})
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
	for _, handshake := range []bool{false, true} {
		for _, version := range []int{3, 4} {
			t.Run(fmt.Sprintf("EIO=%d/handshake %t", version, handshake), func(t *testing.T) {
				t.Parallel()
				auth := mustAuthorize(t, socketiojwt.Options{Handshake: handshake, MaxPending: 8})
				plain := socketio.NewServer(hardened())
				plain.OnConnect("/", func(socketio.Conn) error { return nil })
				hook(plain, auth, "/admin")
				at := loopback(t)
				serve(t, plain, at, auth.Handler(plain))
				for range 20 {
					_, must := dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
					if version == 4 {
						must.Join("/")
					}
					if handshake && version == 3 {
						must.NextRaw("44" + e("credentials_required", "no token provided"))
						continue
					}
					must.Connected("/")
				}
				// Clients 1.x and 2.x are told CONNECT before go-socket.io has called the hook of the root.
				eventually(t, "nobody is pending", func() bool { return auth.Stats().Pending == 0 })
			})
		}
	}
}

// A socket that ended while OnAuthenticated ran stays in none of the rooms that OnAuthenticated joins.
func TestHooksLeaveNoRoomsBehind(t *testing.T) {
	for _, version := range []int{3, 4} {
		synctest.Test(t, func(t *testing.T) {
			entered, proceed := make(chan struct{}), make(chan struct{})
			auth := mustAuthorize(t, socketiojwt.Options{Handshake: true, OnAuthenticated: func(c socketio.Conn, _ *socketiojwt.Session) {
				entered <- struct{}{}
				<-proceed
				c.Join("admitted")
			}})
			plain := socketio.NewServer(hardened())
			plain.OnConnect("/", func(socketio.Conn) error { return nil })
			hook(plain, auth, "/admin")
			at := inMemory(t)
			serve(t, plain, at, auth.Handler(plain))
			for _, leave := range []func(*siotest.Client){
				func(c *siotest.Client) { _ = c.Leave("/admin") },
				func(*siotest.Client) { auth.DisconnectSubject("bob", nil) },
				(*siotest.Client).Close,
			} {
				o := bob(t, "websocket")
				o.Version = version
				c, must := dial(t, at, o)
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
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			t.Parallel()
			auth := mustAuthorize(t, socketiojwt.Options{Handshake: true, Optional: true, OnAuthenticated: func(c socketio.Conn, _ *socketiojwt.Session) { c.Join("admitted") }})
			plain := socketio.NewServer(hardened())
			hook(plain, auth, "/")
			plain.OnEvent("/", "known", auth.Guard(func(c socketio.Conn) bool { _, known := auth.Session(c); return known }))
			at := loopback(t)
			serve(t, plain, at, auth.Handler(plain))
			_, must := dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
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
	t.Parallel()
	const clients, times = 4, 1500
	auth := mustAuthorize(t, socketiojwt.Options{Handshake: true})
	plain := socketio.NewServer(hardened())
	plain.OnConnect("/", func(socketio.Conn) error { return nil })
	hook(plain, auth, "/admin")
	at := loopback(t)
	serve(t, plain, at, plain)
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			_, must := dial(t, at, siotest.Options{Transport: "websocket"})
			for range times {
				must.Join("/admin")
				must.Type("/admin", siotest.Disconnect)
			}
		})
	}
	group.Wait()
}
