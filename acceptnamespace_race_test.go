package socketiojwt_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// The session of another namespace has a socket asked about whose own token is still being verified: that is
// answered all the same.
func TestAcceptNamespaceAnswersAuthenticate(t *testing.T) {
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { acceptNamespaceAnswersAuthenticate(t, version) })
		})
	}
}

func acceptNamespaceAnswersAuthenticate(t *testing.T, version int) {
	verifying, verify := make(chan bool, 1), make(chan bool)
	asked, answer := make(chan bool, 1), make(chan bool)
	s := startAt(t, inMemory(t), socketiojwt.Options{
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
	}, func(s *testServer) {
		for _, name := range []string{"/", "/admin"} {
			s.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { return text })
		}
	})
	_, must := s.dial(t, siotest.Options{Version: version, Transport: "websocket"})
	if version == 4 {
		must.Join("/")
	}
	must.Connected("/")
	must.Join("/admin")
	must.Connected("/admin")
	must.Emit("/admin", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
	<-verifying
	must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
	<-asked
	verify <- true
	must.Event("/", "authenticated")
	synctest.Wait()
	if n := s.auth.Stats().Refreshed; n != 1 {
		t.Errorf("the token of /admin was accepted %d times", n)
	}
	answer <- true
	must.Event("/admin", "authenticated")
}

// The session that AcceptNamespace was asked about is the one that lets the socket in: not another's that came when
// that had ended.
func TestAcceptNamespaceOfAnotherSession(t *testing.T) {
	synctest.Test(t, acceptNamespaceOfAnotherSession)
}

func acceptNamespaceOfAnotherSession(t *testing.T) {
	asked, answer := make(chan bool, 10), make(chan bool, 10)
	who := make(chan string, 10)
	s := startAt(t, inMemory(t), socketiojwt.Options{
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
	}, func(s *testServer) {
		for _, name := range []string{"/chat", "/news"} {
			s.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { return text })
		}
		s.OnConnect("/admin", func(c socketio.Conn) error {
			session, _ := s.auth.Session(c)
			who <- session.Subject()
			return nil
		})
	})
	_, must := s.dial(t, siotest.Options{Version: 4, Transport: "websocket"})
	must.JoinWith("/chat", auth{"token": tokenOf(t, "alice")})
	must.Connected("/chat")
	must.Join("/admin")
	<-asked
	s.auth.DisconnectSubject("alice", nil)
	must.Event("/chat", "unauthorized")
	must.JoinWith("/news", auth{"token": tokenOf(t, "eve")})
	synctest.Wait()
	if n := s.auth.Stats().Active; n != 1 {
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
					s := startAt(t, inMemory(t), opts, func(s *testServer) {
						s.OnConnect("/chat", func(socketio.Conn) error { lives <- true; return nil })
						s.OnEvent("/chat", "echo", func(_ socketio.Conn, text string) string { return text })
					})
					must := enterAs(t, s, version, "websocket", false)
					must.Event("/", "authenticated")
					must.Join("/chat")
					if what == "Accept" {
						must.Connected("/chat")
						must.Emit("/chat", "authenticate", map[string]string{"token": tokenOf(t, "bob")}) // a newer one
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
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startAt(t, inMemory(t), socketiojwt.Options{
					CloseGrace: 100 * time.Millisecond,
					AcceptNamespace: func(context.Context, *socketiojwt.Session, string) error {
						time.Sleep(300 * time.Millisecond)
						return nil
					},
				}, nil)
				_, must := s.dial(t, siotest.Options{Version: version, Transport: "websocket"})
				if version == 4 {
					must.Join("/")
				}
				must.Connected("/")
				must.Emit("/", "authenticate", map[string]string{"token": "bad"})
				must.Event("/", "unauthorized")
				must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
				must.Event("/", "authenticated")
			})
		})
	}
}

// A guest of a namespace where AcceptNamespace has yet to agree, or does not, has no session there.
func TestAcceptNamespaceGivesGuestsNoSession(t *testing.T) {
	synctest.Test(t, acceptNamespaceGivesGuestsNoSession)
}

func acceptNamespaceGivesGuestsNoSession(t *testing.T) {
	running, run := make(chan bool, 1), make(chan bool)
	asked, answer := make(chan bool, 1), make(chan bool)
	who := make(chan string, 1)
	s := startAt(t, inMemory(t), socketiojwt.Options{
		Optional: true,
		AcceptNamespace: func(_ context.Context, _ *socketiojwt.Session, namespace string) error {
			if namespace != "/admin" {
				return nil
			}
			asked <- true
			<-answer
			return &socketiojwt.UnauthorizedError{Code: "no_admin", Message: "not an admin"}
		},
	}, func(s *testServer) {
		s.OnEvent("/admin", "slow", func(socketio.Conn) { running <- true; <-run })
		s.OnEvent("/admin", "whoami", func(c socketio.Conn) {
			if session, ok := s.auth.Session(c); ok {
				who <- session.Subject()
			} else {
				who <- "a guest"
			}
		})
	})
	_, must := s.dial(t, siotest.Options{Transport: "websocket"})
	must.Connected("/")
	must.Join("/admin")
	must.Connected("/admin")
	must.Emit("/admin", "slow")
	must.Emit("/admin", "whoami")
	<-running
	must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "eve")})
	<-asked
	run <- true
	if name := <-who; name != "a guest" {
		t.Errorf("%s has a session in /admin", name)
	}
	answer <- true
	must.Event("/admin", "unauthorized")
}
