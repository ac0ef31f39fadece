package attacks_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// A client that leaves and joins faster than it is decided about gets each decision all
// the same, and keeps nothing busy.
func TestQuickLeavingAndJoining(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				s.OnConnect("/", func(socketio.Conn) error { return nil })
				s.OnEvent("/admin", "echo", func(_ socketio.Conn, text string) string { return text })
			}, "/admin")
			var clients sync.WaitGroup
			for range 50 {
				clients.Go(func() {
					c, err := siotest.Dial(t.Context(), s.At.URL, harness.Bob(t, transport))
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					err = c.SendFrames(siotest.Text("40/admin"), siotest.Text("41/admin"), siotest.Text("40/admin"))
					if err == nil {
						var id int64
						if id, err = c.EmitAck("/admin", "echo", "x"); err == nil {
							_, err = c.WaitAck(t.Context(), "/admin", id)
						}
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			clients.Wait()
		})
	}
}

// Joining with bad tokens costs no more verifications than `authenticate` may.
func TestRefusedJoinsAreAttempts(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnConnect("/", func(socketio.Conn) error { return nil })
	}, "/admin")
	_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	for i := range 8 {
		want := harness.Refusal("invalid_token", "jwt malformed")
		if i >= 5 {
			want = harness.Refusal("too_many_attempts", "too many attempts")
		}
		must.Join("/admin?token=bad")
		must.NextRaw("44/admin," + want)
		must.NextRaw("41/admin")
	}
}

// A client that vanishes while it waits for its own OnDisconnect is gone all the same.
func TestVanishingWhileOnDisconnectRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		s := harness.StartAt(t, harness.InMemory(t), harness.HandshakeMode, func(s *harness.App) {
			s.OnConnect("/", func(socketio.Conn) error { return nil })
			s.OnDisconnect("/admin", func(socketio.Conn, string) { <-release })
		})
		c, must := s.Dial(t, harness.Bob(t, "websocket"))
		must.Join("/admin")
		must.Connected("/admin")
		must.Send("41", "41/admin", "40/admin")
		synctest.Wait()
		c.Abort()
		time.Sleep(2 * time.Minute) // beyond the ping timeout
		if n := s.Count(); n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

// What OnConnect says of an authenticated client is no failed attempt.
func TestRefusedNamespacesAreNoAttempts(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		harness.Chat(s)
		s.OnConnect("/admin", func(socketio.Conn) error { return errors.New("bob is no admin") })
	})
	_, must := s.Dial(t, harness.Bob(t, "websocket"))
	must.Event("/", "welcome")
	for range 6 {
		must.Join("/admin")
		must.Type("/admin", siotest.Disconnect)
	}
	must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	must.NextRaw(`42["authenticated"]`)
}

// The reason and the end do not wait for the user's OnUnauthorized.
func TestSlowOnUnauthorized(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
			OnUnauthorized: func(*socketiojwt.Request, *socketiojwt.UnauthorizedError) { time.Sleep(time.Minute) },
		}, harness.Chat)
		began := time.Now()
		_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
		must.Rest()
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("closed after %v", took)
		}
		time.Sleep(time.Minute)
	})
}

func TestOnConnectMayWaitForAnAcknowledgement(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error {
			answered := make(chan string, 1)
			c.Emit("question", func(answer string) { answered <- answer })
			c.Emit("thanks", <-answered)
			return nil
		})
	})
	c, must := s.Dial(t, harness.Bob(t, "websocket"))
	must.OK(c.Ack("/", must.Event("/", "question").ID, "42"))
	must.NextRaw(`42["thanks","42"]`)
}

func TestOnErrorLeavesNoRoomsBehind(t *testing.T) {
	t.Parallel()
	var done harness.Record
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnEvent("/", "number", func(socketio.Conn, int) {})
		s.OnError("/", func(c socketio.Conn, _ error) { c.Close(); c.Join("errors"); done.Add("error") })
	})
	_, must := s.Dial(t, harness.Bob(t, "websocket"))
	must.Emit("/", "number", "none")
	must.Rest()
	done.Eventually(t, "error")
	harness.Eventually(t, "the room is empty", func() bool { return s.RoomLen("/", "errors") == 0 })
}

// Whatever is done to the plain server, a protected namespace stays shut.
func TestNothingGoesAroundProtect(t *testing.T) {
	t.Parallel()
	secret := func(socketio.Conn) string { return "SECRET" }
	for name, mistake := range map[string]func(*socketiojwt.Authorizer, *socketio.Server) *socketiojwt.Server{
		"the result is ignored": func(auth *socketiojwt.Authorizer, server *socketio.Server) *socketiojwt.Server {
			sio := auth.Protect(server)
			server.OnConnect("/", func(socketio.Conn) error { return nil })
			server.OnEvent("/", "ask", secret)
			_ = sio
			return nil
		},
		"the connect-hook is replaced": func(auth *socketiojwt.Authorizer, server *socketio.Server) *socketiojwt.Server {
			sio := auth.Protect(server)
			sio.OnConnect("/", func(socketio.Conn) error { return nil })
			server.OnConnect("/", func(socketio.Conn) error { return nil })
			server.OnEvent("/", "ask", secret)
			return sio
		},
		"a handler is on the plain server": func(auth *socketiojwt.Authorizer, server *socketio.Server) *socketiojwt.Server {
			sio := auth.Protect(server)
			sio.OnConnect("/", func(socketio.Conn) error { return nil })
			server.OnEvent("/", "ask", secret)
			return sio
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log harness.Record
				auth := harness.Authorize(t, socketiojwt.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				server := socketio.NewServer(socketiojwt.Harden(nil))
				sio := mistake(auth, server)
				at := harness.InMemory(t)
				if sio != nil {
					harness.Serve(t, sio, at, sio)
				} else {
					harness.Serve(t, server, at, server)
				}
				_, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
				must.NextRaw("40")
				must.Send(`420["ask"]`)
				for _, p := range must.Rest() {
					if strings.Contains(p.Raw, "SECRET") {
						t.Errorf("an anonymous client got %s", p.Raw)
					}
				}
				harness.SaidOnce(t, &log, "registered on the server itself", "level=ERROR", "namespace=/", "through the result of Protect")
			})
		})
	}

	t.Run("a namespace was there before", func(t *testing.T) {
		auth := harness.Authorize(t, socketiojwt.Options{})
		server := socketio.NewServer(socketiojwt.Harden(nil))
		server.OnEvent("/old", "ask", secret)
		sio := auth.Protect(server)
		at := harness.Loopback(t)
		harness.Serve(t, sio, at, sio)
		_, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Join("/old")
		must.NextRaw(`44/old,"Invalid namespace"`)
		must.Send(`42/old,0["ask"]`)
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.NextRaw(`42["authenticated"]`)
	})
}

// Broadcasts of the plain server, and rooms joined too early, reach nobody who is not
// authenticated either.
func TestPlainBroadcastsReachOnlyWhoIsAuthenticated(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, socketiojwt.Options{})
	server := socketio.NewServer(socketiojwt.Harden(nil))
	server.OnConnect("/", func(c socketio.Conn) error {
		go c.Join("everybody") // in here it could deadlock with a broadcast (hazard 2)
		return auth.OnConnect(c)
	})
	server.OnDisconnect("/", auth.OnDisconnect)
	server.OnConnect("/open", func(socketio.Conn) error { return nil })
	server.OnEvent("/", "authenticate", auth.OnAuthenticate)
	var kept atomic.Value
	server.OnEvent("/", "keep", auth.Guard(func(c socketio.Conn) { kept.Store(c) }))
	at := harness.Loopback(t)
	harness.Serve(t, server, at, auth.Handler(server))
	for n, transport := range harness.Transports {
		_, must := harness.Dial(t, at, siotest.Options{Transport: transport})
		must.NextRaw("40")
		harness.Eventually(t, "it is in the room", func() bool { return server.RoomLen("/", "everybody") == n+1 })
		server.BroadcastToNamespace("/", "news", "secret")
		server.BroadcastToRoom("/", "everybody", "news", "secret")
		must.Join("/open") // its CONNECT is written by the goroutine that had to write the news
		if p := must.Next(); p.Type != siotest.Connect || p.Namespace != "/open" {
			t.Errorf("it heard %s", p.Raw)
		}
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.NextRaw(`42["authenticated"]`)
		must.Emit("/", "keep")
		harness.Eventually(t, "the socket is kept", func() bool { return kept.Load() != nil })
		server.BroadcastToRoom("/", "everybody", "news", "for all")
		must.NextRaw(`42["news","for all"]`)
	}
}

// Close of a server that was never started must not crash it either (hazard 23): the sessions
// are on their way to Serve, also of those who have left.
func TestCloseWithoutServe(t *testing.T) {
	t.Parallel()
	const clients = 3
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			auth := harness.Authorize(t, harness.HandshakeMode)
			server := socketio.NewServer(socketiojwt.Harden(nil))
			server.OnConnect("/", auth.OnConnect) // what is on the server itself goes through Serve
			sio := auth.Protect(server, "/admin")
			at := harness.Loopback(t)
			handled := make(chan struct{}, clients+1)
			served := harness.ServeHTTP(at, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sio.ServeHTTP(w, r)
				handled <- struct{}{}
			}))
			ctx, leave := context.WithCancel(t.Context())
			o := harness.Bob(t, transport)
			var group sync.WaitGroup
			for range clients {
				group.Go(func() { // over polling it waits for the answer, which never comes
					if c, err := siotest.Dial(ctx, at.URL, o); err == nil {
						c.Abort()
					}
				})
			}
			harness.Eventually(t, "all have a session", func() bool { return sio.Count() == clients })
			leave()
			group.Wait()
			for range clients {
				<-handled
			}
			closed := make(chan error, 1)
			go func() { closed <- sio.Close() }()
			harness.Eventually(t, "it is closing", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second) // before it is, a session is opened and waits
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.URL+"/socket.io/?EIO=3&transport=polling", nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Close = true
				response, err := http.DefaultClient.Do(r)
				<-handled
				if err != nil {
					return false
				}
				_ = response.Body.Close()
				return response.StatusCode == http.StatusServiceUnavailable
			})
			go sio.Serve() // at last
			if err := <-closed; err != nil {
				t.Error(err)
			}
			_ = served.Close()
		})
	}
}

// go-socket.io puts a socket into the room of its own before it calls the connect-hook.
func TestPlainBroadcastsDoNotReachWhoIsJustJoining(t *testing.T) {
	for _, handshake := range []bool{false, true} {
		s := harness.Start(t, socketiojwt.Options{Handshake: handshake}, func(s *harness.App) {
			s.OnConnect("/admin", func(socketio.Conn) error { return nil })
		}, "/admin")
		stop := make(chan struct{})
		var broadcasts sync.WaitGroup
		broadcasts.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.Plain.BroadcastToNamespace("/admin", "news", "secret")
				}
			}
		})
		for range 100 {
			c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
			must.NextRaw("40")
			must.Join("/admin")
			must.OK(c.SendPacket("2end"))
			for {
				p, err := c.NextEngine(t.Context())
				if err != nil || p.Type == siotest.EnginePong {
					break
				}
				if strings.Contains(p.String(), "secret") {
					t.Error("it got ", p)
				}
			}
			c.Abort()
		}
		close(stop)
		broadcasts.Wait()
	}
}

// A client that leaves and joins again while go-socket.io is busy has two lives there at once. The
// hook decides about the one that go-socket.io is connecting.
func TestHooksOfLivesThatOverlap(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, harness.HandshakeMode)
	server := socketio.NewServer(socketiojwt.Harden(nil))
	busy := make(chan struct{})
	server.OnConnect("/", func(socketio.Conn) error { return nil })
	server.OnEvent("/", "slow", func(socketio.Conn) { <-busy })
	server.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	server.OnConnect("/chat", auth.OnConnect)
	server.OnDisconnect("/chat", auth.OnDisconnect)
	at := harness.Loopback(t)
	harness.Serve(t, server, at, auth.Handler(server))
	for range 10 {
		c, must := harness.Dial(t, at, harness.Bob(t, "websocket"))
		must.NextRaw("40")
		for _, packet := range []string{`42["slow"]`, `40/chat`, `42["slow"]`, `41/chat`, `40/chat`} {
			must.Send(packet)
		}
		must.OK(c.SendPacket("2end")) // who is answered was read
		for {
			p, err := c.NextEngine(t.Context())
			must.OK(err)
			if p.Type == siotest.EnginePong {
				break
			}
		}
		busy <- struct{}{}
		busy <- struct{}{}
		must.NextRaw("40/chat")
		harness.Eventually(t, "its session ends", func() bool { return auth.DisconnectSubject("bob", nil) == 1 })
		must.Event("/chat", "unauthorized")
		must.NextRaw("41/chat")
		server.BroadcastToNamespace("/chat", "news", "secret")
		must.Call("/", "echo", "nothing else came")
		c.Close()
	}
}

// In protocol 5 a question mark is part of a namespace's name, and go-socket.io takes it for the end of one: a client
// that asks for /admin?x must not be in /admin, nor in a root that it has not asked for.
func TestQuestionMarkInTheNameOfAForeignNamespace(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"/admin", "/"} {
		for _, handshake := range []bool{true, false} {
			auth := harness.Authorize(t, socketiojwt.Options{Handshake: handshake})
			plain := socketio.NewServer(socketiojwt.Harden(nil))
			ran := make(chan string, 10)
			for _, namespace := range []string{"/", "/admin"} {
				plain.OnConnect(namespace, auth.OnConnect)
				plain.OnEvent(namespace, "authenticate", auth.OnAuthenticate)
				plain.OnDisconnect(namespace, auth.OnDisconnect)
				plain.OnEvent(namespace, "secret", func(c socketio.Conn) string { ran <- c.Namespace(); return "secret" })
			}
			at := harness.Loopback(t)
			harness.Serve(t, plain, at, auth.Handler(plain))
			c := siotest.MustDial(t, at.URL, siotest.Options{Version: 4, Transport: "websocket"})
			must := c.Must(t)
			must.Send("40"+name+"?x,", "42"+name+`?x,1["secret"]`)
			must.NextRaw("44" + name + `?x,{"message":"Invalid namespace"}`)
			c.Abort()
			harness.Eventually(t, "it is gone", func() bool { return plain.Count() == 0 })
			if len(ran) > 0 {
				t.Errorf("%s, handshake %t: an event reached namespace %q of a client without a token", name, handshake, <-ran)
			}
		}
	}
}
