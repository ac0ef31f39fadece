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
	"testing"
	"testing/synctest"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
)

func TestOnConnectMayEmitJoinBroadcastAndTakeItsTime(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			var done harness.Record
			release := make(chan struct{})
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				s.OnConnect("/", func(c socketio.Conn) error {
					c.Join("lobby")
					c.Emit("first")
					s.BroadcastToNamespace("/", "second")
					s.BroadcastToRoom("/", "lobby", "third")
					<-release
					done.Add("connected")
					return nil
				})
				s.OnEvent("/", "event", func(socketio.Conn) { done.Add("event") })
				s.OnDisconnect("/", func(socketio.Conn, string) { done.Add("disconnected") })
			})
			c, must := s.Dial(t, harness.Bob(t, transport))
			must.Send(`42["event"]`)
			for _, want := range []string{"40", `42["first"]`, `42["second"]`, `42["third"]`} {
				must.NextRaw(want)
			}
			close(release)
			done.Eventually(t, "connected, event")
			c.Abort()
			if transport == "polling" {
				return // only the ping timeout tells
			}
			done.Eventually(t, "connected, event, disconnected")
		})
	}
}

func TestOnConnectErrorRefusesThatNamespaceOnly(t *testing.T) {
	t.Parallel()
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
			var done, log harness.Record
			opts := harness.HandshakeMode
			opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s := harness.Start(t, opts, func(s *harness.App) {
				s.OnConnect("/", func(socketio.Conn) error { return nil })
				s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
				s.OnConnect("/banned", func(c socketio.Conn) error {
					c.Join("room")
					return test.refuse()
				})
				s.OnEvent("/banned", "event", func(socketio.Conn) { done.Add("event") })
				s.OnDisconnect("/banned", func(socketio.Conn, string) { done.Add("disconnected") })
			})
			c, must := s.Dial(t, harness.Bob(t, "websocket"))
			must.NextRaw("40")
			must.Join("/banned")
			must.NextRaw("40/banned")
			must.NextRaw("44/banned," + harness.Refusal("unauthorized", "unauthorized"))
			must.NextRaw("41/banned")
			must.Send(`42/banned,["event"]`)
			must.Call("/", "echo", "alive")
			c.Close()
			harness.Eventually(t, "the rooms are empty", func() bool { return s.RoomLen("/banned", "room") == 0 && s.Count() == 0 })
			if done.String() != "" {
				t.Errorf("these ran: %s", done.String())
			}
			harness.Eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), test.logged) })
			if got := log.String(); !strings.Contains(got, test.logged) || (test.logged == "") != (got == "") {
				t.Errorf("logged %q, want %q", got, test.logged)
			}
		})
	}
	t.Run("root", func(t *testing.T) {
		s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
			s.OnConnect("/", func(socketio.Conn) error { return errors.New("internal") })
		})
		_, must := s.Dial(t, harness.Bob(t, "polling"))
		harness.Expect(t, must.Rest(), "40", "44"+harness.Refusal("unauthorized", "unauthorized"), "41")
	})
}

func TestOnDisconnectRunsOnce(t *testing.T) {
	t.Parallel()
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
			var done harness.Record
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				for _, nsp := range []string{"/", "/other"} {
					s.OnConnect(nsp, func(c socketio.Conn) error { done.Add("+%s", c.Namespace()); return nil })
					s.OnDisconnect(nsp, func(c socketio.Conn, _ string) {
						c.Emit("goodbye")
						_ = c.Close()
						c.Join("too late")
						session, ok := s.Auth.Session(c)
						if !ok || session.Subject() != "bob" {
							t.Error("no session in OnDisconnect")
						}
						if nsp == "/" {
							done.Add("-%s", "/")
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
			c, must := s.Dial(t, harness.Bob(t, "websocket"))
			must.NextRaw("40")
			done.Eventually(t, "+/")
			leave(c, must)
			done.Eventually(t, "+/, -/")
			harness.Eventually(t, "it is gone", func() bool { return s.Count() == 0 })
			if n := s.RoomLen("/", "too late"); n != 0 {
				t.Error("it is still in a room")
			}
			done.Eventually(t, "+/, -/")
		})
	}
}

func TestUnauthenticatedSocketsNeverReachTheUsersCode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var done harness.Record
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{}, func(s *harness.App) {
			s.OnConnect("/", func(socketio.Conn) error { done.Add("OnConnect"); return nil })
			s.OnDisconnect("/", func(socketio.Conn, string) { done.Add("OnDisconnect") })
			s.OnError("/", func(socketio.Conn, error) { done.Add("OnError") })
			s.OnEvent("/", "event", func(socketio.Conn) { done.Add("OnEvent") })
		})
		for _, transport := range harness.Transports {
			for _, packet := range []string{`42["event"]`, `42["event"`, "41", `42["authenticate",{"token":"x"}]`} {
				c, must := s.Dial(t, siotest.Options{Transport: transport})
				must.NextRaw("40")
				_ = c.SendPacket(packet)
				must.Closed()
			}
		}
		harness.Eventually(t, "all are gone", func() bool { return s.Count() == 0 })
		synctest.Wait()
		if done.String() != "" {
			t.Errorf("these ran: %s", done.String())
		}
	})
}

// OnError may close the connection while broadcasts run (hazard 20).
func TestOnErrorMayClose(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
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
		c, must := s.Dial(t, harness.Bob(t, "websocket"))
		must.Emit("/", "bad")
		<-c.Done()
	}
	close(stop)
	broadcasts.Wait()
}

func TestPublicNamespacesAreSafeToo(t *testing.T) {
	t.Parallel()
	var done harness.Record
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error { c.Emit("hello", "anybody"); return nil })
		s.OnDisconnect("/", func(socketio.Conn, string) { done.Add("-") })
		s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
		s.OnEvent("/", "authenticate", func(socketio.Conn, string) string { return "the application's own" })
		s.OnConnect("/admin", func(socketio.Conn) error { return nil })
	}, "/admin")
	c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	must.NextRaw(`42["hello","anybody"]`)
	must.Call("/", "echo", strings.Repeat("x", 10_000))
	must.Call("/", "authenticate", "x")
	s.BroadcastToNamespace("/", "news")
	must.NextRaw(`42["news"]`)
	c.Close()
	done.Eventually(t, "-")
}

func TestTwoAuthorizersOnOneServer(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			users := harness.Authorize(t, harness.HandshakeMode)
			admins := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret("a different secret of at least 32 bytes")})
			server := socketio.NewServer(socketiojwt.Harden(nil))
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
			at := harness.Loopback(t)
			harness.Serve(t, adminSide, at, adminSide)

			_, must := harness.Dial(t, at, siotest.Options{Transport: "polling"})
			refused := harness.Refusal("credentials_required", "no token provided")
			harness.Expect(t, must.Rest(), "44"+refused, "41", "44/admin,"+refused, "41/admin")

			_, must = harness.Dial(t, at, harness.Bob(t, transport))
			must.NextRaw("40")
			must.Join("/admin")
			must.NextRaw("40/admin")
			if got := string(must.Call("/", "who").Data); got != `["bob"]` {
				t.Errorf("root: %s", got)
			}
			must.Emit("/admin", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			harness.Unauthorized(t, must.Next(), "invalid_token", "invalid signature")
			must.NextRaw("41/admin")
			must.Join("/admin")
			must.NextRaw("40/admin")
			raw := harness.Sign(t, jwt.SigningMethodHS256, []byte("a different secret of at least 32 bytes"), jwt.MapClaims{"sub": "alice"})
			must.Emit("/admin", "authenticate", map[string]string{"token": raw})
			must.NextRaw(`42/admin,["authenticated"]`)
			if got := string(must.Call("/admin", "who").Data); got != `["alice"]` {
				t.Errorf("admin: %s", got)
			}
		})
	}
}

func TestProtectPanicsOnMistakes(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, harness.HandshakeMode)
	for name, mistake := range map[string]func(){
		"the same namespace twice": func() {
			server := socketio.NewServer(socketiojwt.Harden(nil))
			auth.Protect(server, "/a")
			auth.Protect(server, "/a")
		},
		"everything twice": func() {
			server := socketio.NewServer(socketiojwt.Harden(nil))
			auth.Protect(server)
			auth.Protect(server)
		},
		"registered as public before": func() {
			server := socketio.NewServer(socketiojwt.Harden(nil))
			auth.Protect(server, "/a").OnConnect("/b", func(socketio.Conn) error { return nil })
			auth.Protect(server, "/b")
		},
		"a name without a slash": func() { auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)), "admin") },
		"own authenticate handler": func() {
			auth.Protect(socketio.NewServer(socketiojwt.Harden(nil))).OnEvent("/", "authenticate", func(socketio.Conn) {})
		},
		"handler without Conn": func() {
			auth.Protect(socketio.NewServer(socketiojwt.Harden(nil))).OnEvent("/", "x", func(string) {})
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

func TestNamespaceWithoutASlashIsLogged(t *testing.T) {
	var log harness.Record
	auth := harness.Authorize(t, socketiojwt.Options{Logger: harness.LogTo(&log)})
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	for _, name := range []string{"", "/", "/chat", "admin", "admin"} {
		sio.OnDisconnect(name, func(socketio.Conn, string) {})
	}
	const line = `level=ERROR msg="socketiojwt: handlers of a namespace are never called, because its name does not start with a slash" namespace=admin`
	if got := log.String(); !strings.Contains(got, line) || strings.Count(got, "level=ERROR") != 1 {
		t.Errorf("the log says %q", got)
	}
}

// Harden keeps what is configured, and Protect finds it all the same.
func TestProtectWithOtherEngineOptions(t *testing.T) {
	t.Parallel()
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
			auth := harness.Authorize(t, harness.HandshakeMode)
			sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(opts)))
			at := harness.Loopback(t)
			harness.Serve(t, sio, at, sio)
			if opts.Transports != nil && len(opts.Transports) != 1 {
				t.Error("Harden changed its argument")
			}
			for _, transport := range []string{"polling", "websocket"} {
				if name == "websocket only" && transport == "polling" || name == "polling only" && transport == "websocket" {
					response, body := harness.Get(t, at.URL+"/socket.io/?EIO=3&transport="+transport)
					if response.StatusCode != 400 || body != `{"code":0,"message":"Transport unknown"}` {
						t.Errorf("%s: %s %s", transport, response.Status, body)
					}
					continue
				}
				c, must := harness.Dial(t, at, harness.Bob(t, transport))
				must.NextRaw("40")
				if upgrades := len(c.Open().Upgrades); upgrades != 0 && name == "polling only" {
					t.Error("it offers an upgrade")
				}
			}
		})
	}
}

// What comes and goes leaves nothing behind.
func TestNothingIsKept(t *testing.T) {
	for name, client := range map[string]func(tb testing.TB, s *harness.App, transport string){
		"refused at the gate": func(tb testing.TB, s *harness.App, transport string) {
			if transport == "upgrade" {
				transport = "polling"
			}
			c, err := siotest.Dial(tb.Context(), s.At.URL, siotest.Options{Transport: transport, Query: harness.WithToken("x")})
			if err != nil {
				tb.Error(err)
				return
			}
			<-c.Done()
			c.Close()
		},
		"authenticated": func(tb testing.TB, s *harness.App, transport string) {
			c, err := siotest.Dial(tb.Context(), s.At.URL, harness.Bob(tb, transport))
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
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				s.OnConnect("/", func(c socketio.Conn) error { c.Join("room"); c.Emit("hello"); return nil })
			})
			run := func(n int) {
				var group sync.WaitGroup
				for i := range 20 {
					group.Go(func() {
						for j := i; j < n; j += 20 {
							client(t, s, harness.Transports[j%3])
						}
					})
				}
				group.Wait()
				harness.Eventually(t, "all are gone", func() bool { return s.Count() == 0 && s.RoomLen("/", "room") == 0 })
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
			harness.Eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutinesBefore })
			// A kept connection is more than 2 KiB.
			if heap, _ := measure(); heap > heapBefore+1<<20 {
				t.Errorf("the heap grew from %d to %d bytes", heapBefore, heap)
			}
		})
	}
}
