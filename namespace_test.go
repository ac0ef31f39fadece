package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

func eachWay(t *testing.T, f func(t *testing.T, version int, transport string, handshake bool)) {
	for _, version := range []int{3, 4} {
		for _, transport := range harness.Transports {
			for _, handshake := range []bool{true, false} {
				t.Run(fmt.Sprintf("EIO=%d/%s/handshake=%t", version, transport, handshake), func(t *testing.T) {
					f(t, version, transport, handshake)
				})
			}
		}
	}
}

// Each protected namespace that a client joins is asked for, in either mode, and a refusal there is that
// of the one namespace.
func TestAcceptNamespace(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, version int, transport string, handshake bool) {
		var asked, ran harness.Record
		s := harness.Start(t, socketiojwt.Options{
			Handshake: handshake,
			Logger:    slog.New(slog.DiscardHandler), // a panic would reach the default one
			AcceptNamespace: func(_ context.Context, s *socketiojwt.Session, namespace string) error {
				asked.Add("%s %s", s.Subject(), namespace)
				switch namespace {
				case "/admin":
					return &socketiojwt.UnauthorizedError{Code: "no_admin", Message: "not an admin"}
				case "/broken":
					return errors.New("internal")
				case "/panics":
					panic("internal")
				}
				return nil
			},
		}, func(s *harness.App) {
			for _, namespace := range []string{"/", "/chat", "/admin", "/broken", "/panics"} {
				s.OnConnect(namespace, func(c socketio.Conn) error { ran.Add("%s", namespace); return nil })
				s.OnEvent(namespace, "echo", func(_ socketio.Conn, text string) string { return text })
			}
		})
		must := harness.Knock(t, s, version, transport, handshake)
		if version == 4 || handshake {
			must.Connected("/")
		}
		if !handshake {
			must.Event("/", "authenticated")
		}
		must.Call("/", "echo", "x")
		must.Join("/chat")
		must.Connected("/chat")
		must.Call("/chat", "echo", "x")
		for name, want := range map[string]*socketiojwt.UnauthorizedError{
			"/admin":  {Code: "no_admin", Message: "not an admin"},
			"/broken": {Code: "unauthorized", Message: "unauthorized"},
			"/panics": {Code: "unauthorized", Message: "unauthorized"},
		} {
			for range 2 {
				must.Join(name)
				e := fmt.Sprintf(`{"message":%q,"code":%q,"type":"UnauthorizedError"}`, want.Message, want.Code)
				if version == 4 {
					must.NextRaw("44" + name + "," + harness.ConnectError(want.Code, want.Message))
				} else {
					must.NextRaw("44" + name + "," + e)
					must.NextRaw("41" + name)
				}
			}
		}
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")}) // is no joining
		must.Event("/", "authenticated")
		must.Call("/chat", "echo", "x")
		if ran.String() != "/, /chat" {
			t.Errorf("OnConnect ran of %s", &ran)
		}
		if n := strings.Count(asked.String(), "bob"); n != 8 {
			t.Errorf("asked %d times: %s", n, &asked)
		}
	})
}

// The namespace where the client authenticates may be the one that it must not join.
func TestAcceptNamespaceOfTheRoot(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, version int, transport string, handshake bool) {
		s := harness.Start(t, socketiojwt.Options{
			Handshake: handshake,
			AcceptNamespace: func(context.Context, *socketiojwt.Session, string) error {
				return &socketiojwt.UnauthorizedError{Code: "nobody", Message: "nobody gets in"}
			},
		}, func(s *harness.App) {
			s.OnConnect("/", func(socketio.Conn) error { t.Error("OnConnect ran"); return nil })
		})
		must := harness.Knock(t, s, version, transport, handshake)
		switch {
		case version == 4:
			must.NextRaw("44" + harness.ConnectError("nobody", "nobody gets in"))
		case handshake:
			must.NextRaw(`44{"message":"nobody gets in","code":"nobody","type":"UnauthorizedError"}`)
			must.NextRaw("41")
			must.Closed()
		default:
			if _, args := must.Event("/", "unauthorized").Event(); string(args[0]) != harness.ConnectError("nobody", "nobody gets in") {
				t.Errorf("unauthorized %s", args)
			}
			must.NextRaw("41")
			must.Closed()
		}
	})
}

// What a client sends while a namespace is asked about is kept; a client that leaves meanwhile, or a callback
// that comes too late, leaves nothing behind.
func TestSlowAcceptNamespace(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, version int, transport string, handshake bool) {
		asked, answer := make(chan string, 100), make(chan error)
		s := harness.Start(t, socketiojwt.Options{
			Handshake: handshake,
			AcceptNamespace: func(ctx context.Context, _ *socketiojwt.Session, namespace string) error {
				if namespace == "/" {
					return nil
				}
				asked <- namespace
				select {
				case err := <-answer:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			},
		}, func(s *harness.App) {
			s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
			s.OnEvent("/admin", "echo", func(_ socketio.Conn, text string) string { return text })
			s.OnConnect("/admin", func(c socketio.Conn) error { c.Emit("hello"); return nil })
		})
		must := harness.Knock(t, s, version, transport, handshake)
		must.Call("/", "echo", "x")
		must.Join("/admin")
		<-asked
		must.Send(`42/admin,77["echo","early"]`)
		must.Call("/", "echo", "others do not wait")
		answer <- nil
		must.Connected("/admin")
		must.Event("/admin", "hello")
		must.Ack("/admin", 77)

		for range 5 {
			must.Send("41/admin")
			must.Join("/admin")
		}
		<-asked
		answer <- nil
		must.Call("/", "echo", "x")
	})
}

// An AcceptNamespace that takes too long is no verdict: the client may try again.
func TestAcceptNamespaceThatTakesTooLong(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{
		Handshake: true,
		Timeout:   100 * time.Millisecond,
		AcceptNamespace: func(ctx context.Context, _ *socketiojwt.Session, namespace string) error {
			if namespace == "/" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		},
	}, func(s *harness.App) { s.OnEvent("/admin", "x", func(socketio.Conn) {}) })
	_, must := s.Dial(t, harness.Bob(t, "websocket"))
	must.Connected("/")
	must.Join("/admin")
	must.NextRaw(`44/admin,{"message":"server busy","code":"server_busy","type":"UnauthorizedError"}`)
}

// A guest who authenticates is asked about, too.
func TestAcceptNamespaceOfGuests(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		s := harness.Start(t, socketiojwt.Options{
			Optional: true,
			AcceptNamespace: func(_ context.Context, s *socketiojwt.Session, _ string) error {
				if s.Subject() == "eve" {
					return &socketiojwt.UnauthorizedError{Code: "banned", Message: "not eve"}
				}
				return nil
			},
		}, func(s *harness.App) {
			s.OnEvent("/", "whoami", func(c socketio.Conn) string { session, _ := s.Auth.Session(c); return session.Subject() })
		})
		enter := func(subject string) siotest.Must {
			must := siotest.MustDial(t, s.At.URL, siotest.Options{Version: version, Transport: "websocket"}).Must(t)
			if version == 4 {
				must.Join("/")
			}
			must.Connected("/")
			must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, subject)})
			return must
		}
		must := enter("bob")
		must.Event("/", "authenticated")
		if p := must.Call("/", "whoami"); string(p.Args()[0]) != `"bob"` {
			t.Errorf("whoami %s", p.Raw)
		}
		must = enter("eve")
		if _, args := must.Event("/", "unauthorized").Event(); string(args[0]) != harness.ConnectError("banned", "not eve") {
			t.Errorf("unauthorized %s", args)
		}
		must.Closed()
	}
}

// With the hooks one by one AcceptNamespace decides as with Protect.
func TestAcceptNamespaceWithHooks(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		for _, handshake := range []bool{true, false} {
			t.Run(fmt.Sprintf("EIO=%d/handshake=%t", version, handshake), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { acceptNamespaceWithHooks(t, version, handshake) })
			})
		}
	}
}

func acceptNamespaceWithHooks(t *testing.T, version int, handshake bool) {
	asked, answer := make(chan string, 10), make(chan error)
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: handshake,
		AcceptNamespace: func(_ context.Context, s *socketiojwt.Session, namespace string) error {
			if namespace == "/" {
				return nil
			}
			asked <- namespace
			return <-answer
		}})
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	ran := make(chan string, 10)
	for _, name := range []string{"/", "/admin", "/b"} {
		plain.OnConnect(name, auth.OnConnect)
		plain.OnEvent(name, "authenticate", auth.OnAuthenticate)
		plain.OnDisconnect(name, auth.OnDisconnect)
		plain.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { ran <- name; return text })
	}
	at := harness.InMemory(t)
	harness.Serve(t, plain, at, auth.Handler(plain))
	must := harness.Knock(t, &harness.App{At: at, Auth: auth}, version, "websocket", handshake)
	if !handshake {
		must.Event("/", "authenticated")
	}
	must.Call("/", "echo", "x")
	<-ran
	for _, name := range []string{"/admin", "/b"} {
		must.Join(name)
		must.Send("42" + name + `,9["echo","early"]`)
		if got := <-asked; got != name {
			t.Errorf("asked about %s", got)
		}
		synctest.Wait()
		if len(ran) > 0 {
			t.Errorf("it ran in %s", <-ran)
		}
		if name == "/admin" {
			answer <- nil
			must.Ack(name, 9)
			<-ran
		} else {
			answer <- &socketiojwt.UnauthorizedError{Code: "no", Message: "no"}
			must.Type(name, 4)
		}
	}
	must.Call("/", "echo", "x")
	if got := <-ran; got != "/" {
		t.Errorf("it ran in %s", got)
	}
}

// The session of another namespace has a socket asked about whose own token is still being verified: that is
// answered all the same.
func TestAcceptNamespaceAnswersAuthenticate(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { acceptNamespaceAnswersAuthenticate(t, version) })
		})
	}
}

func acceptNamespaceAnswersAuthenticate(t *testing.T, version int) {
	verifying, verify := make(chan bool, 1), make(chan bool)
	asked, answer := make(chan bool, 1), make(chan bool)
	s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
		Accept: func(_ context.Context, r *socketiojwt.Request, _ *jwt.Token) (any, error) {
			if r.Namespace == "/admin" {
				verifying <- true
				<-verify
			}
			return nil, nil
		},
		AcceptNamespace: func(_ context.Context, _ *socketiojwt.Session, namespace string) error {
			if namespace == "/admin" {
				asked <- true
				<-answer
			}
			return nil
		},
	}, func(s *harness.App) {
		for _, name := range []string{"/", "/admin"} {
			s.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { return text })
		}
	})
	_, must := s.Dial(t, siotest.Options{Version: version, Transport: "websocket"})
	if version == 4 {
		must.Join("/")
	}
	must.Connected("/")
	must.Join("/admin")
	must.Connected("/admin")
	must.Emit("/admin", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	<-verifying
	must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	<-asked
	verify <- true
	must.Event("/", "authenticated")
	synctest.Wait()
	if n := s.Auth.Stats().Refreshed; n != 1 {
		t.Errorf("the token of /admin was accepted %d times", n)
	}
	answer <- true
	must.Event("/admin", "authenticated")
}

// The session that AcceptNamespace was asked about is the one that lets the socket in: not another's that came when
// that had ended.
func TestAcceptNamespaceOfAnotherSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, acceptNamespaceOfAnotherSession)
}

func acceptNamespaceOfAnotherSession(t *testing.T) {
	asked, answer := make(chan bool, 10), make(chan bool, 10)
	who := make(chan string, 10)
	s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
		Handshake: true,
		AcceptNamespace: func(_ context.Context, s *socketiojwt.Session, namespace string) error {
			if namespace != "/admin" {
				return nil
			}
			if s.Subject() != "alice" {
				return &socketiojwt.UnauthorizedError{Code: "no_admin", Message: "not an admin"}
			}
			asked <- true
			<-answer
			return nil
		},
	}, func(s *harness.App) {
		for _, name := range []string{"/chat", "/news"} {
			s.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { return text })
		}
		s.OnConnect("/admin", func(c socketio.Conn) error {
			session, _ := s.Auth.Session(c)
			who <- session.Subject()
			return nil
		})
	})
	_, must := s.Dial(t, siotest.Options{Version: 4, Transport: "websocket"})
	must.JoinWith("/chat", harness.Auth{"token": harness.TokenOf(t, "alice")})
	must.Connected("/chat")
	must.Join("/admin")
	<-asked
	s.Auth.DisconnectSubject("alice", nil)
	must.Event("/chat", "unauthorized")
	must.JoinWith("/news", harness.Auth{"token": harness.TokenOf(t, "eve")})
	synctest.Wait()
	if n := s.Auth.Stats().Active; n != 1 {
		t.Errorf("%d sessions, and eve should have one", n)
	}
	answer <- true
	synctest.Wait()
	if len(who) > 0 {
		t.Errorf("%s is in /admin", <-who)
	}
	must.Connected("/news")
}

// Who leaves a namespace and joins it again while it is being decided about the first life has a second one.
func TestLeaveAndJoinWhileItIsDecided(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		for _, what := range []string{"AcceptNamespace", "AcceptNamespace, no at first", "Accept"} {
			t.Run(fmt.Sprintf("EIO=%d/%s", version, what), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					lives, asked := make(chan bool, 10), 0
					opts := socketiojwt.Options{}
					if what == "Accept" {
						opts.Accept = func(_ context.Context, r *socketiojwt.Request, _ *jwt.Token) (any, error) {
							if r.Namespace == "/chat" {
								time.Sleep(time.Second)
							}
							return nil, nil
						}
					} else {
						opts.AcceptNamespace = func(_ context.Context, _ *socketiojwt.Session, namespace string) error {
							if namespace == "/chat" {
								time.Sleep(time.Second)
								if asked++; asked == 1 && what != "AcceptNamespace" {
									return &socketiojwt.UnauthorizedError{Code: "no", Message: "no"}
								}
							}
							return nil
						}
					}
					s := harness.StartAt(t, harness.InMemory(t), opts, func(s *harness.App) {
						s.OnConnect("/chat", func(socketio.Conn) error { lives <- true; return nil })
						s.OnEvent("/chat", "echo", func(_ socketio.Conn, text string) string { return text })
					})
					must := harness.Knock(t, s, version, "websocket", false)
					must.Event("/", "authenticated")
					must.Join("/chat")
					if what == "Accept" {
						must.Connected("/chat")
						must.Emit("/chat", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")}) // a newer one
					}
					must.Send("41/chat", "40/chat", `42/chat,7["echo","x"]`)
					must.Ack("/chat", 7)
					want := 2
					if asked == 2 && what != "AcceptNamespace" {
						want = 1
					}
					if n := len(lives); n != want {
						t.Errorf("%d lives", n)
					}
				})
			})
		}
	}
}

// CloseGrace is for who is not authenticated: a client whose good token came in time is not disconnected while
// AcceptNamespace is asked.
func TestAcceptNamespaceOutlastsCloseGrace(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
					CloseGrace: 100 * time.Millisecond,
					AcceptNamespace: func(context.Context, *socketiojwt.Session, string) error {
						time.Sleep(300 * time.Millisecond)
						return nil
					},
				}, nil)
				_, must := s.Dial(t, siotest.Options{Version: version, Transport: "websocket"})
				if version == 4 {
					must.Join("/")
				}
				must.Connected("/")
				must.Emit("/", "authenticate", map[string]string{"token": "bad"})
				must.Event("/", "unauthorized")
				must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
				must.Event("/", "authenticated")
			})
		})
	}
}

// A guest of a namespace where AcceptNamespace has yet to agree, or does not, has no session there.
func TestAcceptNamespaceGivesGuestsNoSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, acceptNamespaceGivesGuestsNoSession)
}

func acceptNamespaceGivesGuestsNoSession(t *testing.T) {
	running, run := make(chan bool, 1), make(chan bool)
	asked, answer := make(chan bool, 1), make(chan bool)
	who := make(chan string, 1)
	s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
		Optional: true,
		AcceptNamespace: func(_ context.Context, _ *socketiojwt.Session, namespace string) error {
			if namespace != "/admin" {
				return nil
			}
			asked <- true
			<-answer
			return &socketiojwt.UnauthorizedError{Code: "no_admin", Message: "not an admin"}
		},
	}, func(s *harness.App) {
		s.OnEvent("/admin", "slow", func(socketio.Conn) { running <- true; <-run })
		s.OnEvent("/admin", "whoami", func(c socketio.Conn) {
			if session, ok := s.Auth.Session(c); ok {
				who <- session.Subject()
			} else {
				who <- "a guest"
			}
		})
	})
	_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.Connected("/")
	must.Join("/admin")
	must.Connected("/admin")
	must.Emit("/admin", "slow")
	must.Emit("/admin", "whoami")
	<-running
	must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "eve")})
	<-asked
	run <- true
	if name := <-who; name != "a guest" {
		t.Errorf("%s has a session in /admin", name)
	}
	answer <- true
	must.Event("/admin", "unauthorized")
}
