package socketiojwt_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// A token that is revoked while it is accepted is refused, however many other revocations come behind
// that one.
func TestRevokedAmongMany(t *testing.T) {
	t.Parallel()
	for _, others := range []int{0, 1, 63, 64, 65, 200} {
		list := socketiojwt.NewMemoryRevocations()
		asked := false
		s := harness.Start(t, socketiojwt.Options{
			Handshake:   true,
			Revocations: list,
			Accept: func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
				if sub, _ := token.Claims.GetSubject(); sub == "bob" && !asked {
					asked = true
					revoke(t, list, socketiojwt.Revocation{Subject: "bob"})
					for n := range others {
						revoke(t, list, socketiojwt.Revocation{Subject: fmt.Sprint("other ", n)})
					}
				}
				return nil, nil
			},
		}, nil)
		_, must := s.Dial(t, siotest.Options{Query: harness.WithToken(harness.TokenOf(t, "bob"))})
		rest := must.Rest()
		harness.Expect(t, rest[max(0, len(rest)-2):], "44"+harness.Refusal("invalid_token", "jwt revoked"), "41")
		harness.Eventually(t, fmt.Sprint("the session is gone, with ", others, " others"), func() bool { return s.Auth.Stats().Active == 0 })
	}
}

// An identity that is empty is a mistake also where no other node has to be told.
func TestDisconnectUserOfNobody(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, socketiojwt.Options{})
	if n, err := auth.DisconnectUser(t.Context(), "", nil); n != 0 || err == nil || !strings.Contains(err.Error(), "Options.Identity") {
		t.Errorf("%d ended, %v", n, err)
	}
}

// OnDisconnect finds the session of a socket that its client left before the session ended.
func TestOnDisconnectOfWhoLeftBeforeTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var left harness.Record
		s := harness.StartAt(t, harness.InMemory(t), harness.HandshakeMode, func(s *harness.App) {
			s.OnEvent("/", "hold", func(socketio.Conn) { <-release })
			s.OnDisconnect("/a", func(c socketio.Conn, _ string) {
				session, ok := s.Auth.Session(c)
				if !ok {
					left.Add("nobody")
					return
				}
				left.Add("%s", session.Subject())
			})
		})
		_, must := s.Dial(t, harness.Bob(t, "websocket"))
		must.NextRaw("40")
		must.Join("/a")
		must.NextRaw("40/a")
		must.Send(`42["hold"]`, "41/a")
		synctest.Wait()
		if n := s.Auth.DisconnectSubject("bob", nil); n != 1 {
			t.Errorf("%d sessions ended", n)
		}
		close(release)
		ended(t, must.Rest(), "unauthorized", "unauthorized")
		synctest.Wait()
		left.Eventually(t, "bob")
	})
}

// A session whose client is gone cannot be ended any more, and is not counted twice.
func TestEndOfWhoIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var session *socketiojwt.Session
		var told harness.Record
		opts := harness.HandshakeMode
		opts.OnEnded = func(*socketiojwt.Session, *socketiojwt.UnauthorizedError) { told.Add("ended") }
		s := harness.StartAt(t, harness.InMemory(t), opts, func(s *harness.App) {
			s.OnConnect("/", func(c socketio.Conn) error {
				session, _ = s.Auth.Session(c)
				return nil
			})
		})
		c, must := s.Dial(t, harness.Bob(t, "websocket"))
		must.NextRaw("40")
		c.Close()
		synctest.Wait()
		if session.End(nil) {
			t.Error("it was ended")
		}
		synctest.Wait()
		if stats := s.Auth.Stats(); stats.Active != 0 || stats.Disconnected != 0 || told.String() != "" {
			t.Errorf("stats %+v, told %q", stats, told.String())
		}
	})
}

// Audience.End of a public namespace ends its sockets, and not the sessions that their connections have
// elsewhere.
func TestEndOfAPublicNamespace(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
		s.OnEvent("/public", "x", func(socketio.Conn) {})
	}, "/")
	_, must := s.Dial(t, harness.Bob(t, "websocket"))
	must.NextRaw("40")
	must.Join("/public")
	must.NextRaw("40/public")
	if n := s.In("/public").End(nil); n != 1 {
		t.Errorf("%d ended", n)
	}
	must.Type("/public", siotest.Disconnect)
	must.Call("/", "echo", "still here")
	if stats := s.Auth.Stats(); stats.Active != 1 || stats.Disconnected != 0 {
		t.Errorf("stats %+v", stats)
	}
}

// Another node counts a user that is disconnected as that, and not as revoked.
func TestDisconnectUserIsCountedOnAllNodes(t *testing.T) {
	t.Parallel()
	opts := socketiojwt.Options{Handshake: true, Revocations: socketiojwt.NewMemoryRevocations()}
	a, b := harness.Start(t, opts, nil), harness.Start(t, opts, nil)
	_, must := b.Dial(t, harness.Bob(t, "websocket"))
	must.NextRaw("40")
	if n, err := a.Auth.DisconnectUser(t.Context(), "bob", nil); n != 0 || err != nil {
		t.Errorf("%d ended here, %v", n, err)
	}
	ended(t, must.Rest(), "unauthorized", "unauthorized")
	if stats := b.Auth.Stats(); stats.Disconnected != 1 || stats.Revoked != 0 || stats.Replaced != 0 || stats.Active != 0 {
		t.Errorf("stats %+v", stats)
	}
}

// Sessions without a subject have none in common.
func TestDisconnectSubjectOfNobody(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	})
	_, must := s.Dial(t, siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.SignHS256(t, jwt.MapClaims{"id": 1}))})
	must.NextRaw("40")
	if n := s.Auth.DisconnectSubject("", nil); n != 0 {
		t.Errorf("%d ended", n)
	}
	must.Call("/", "echo", "still here")
}
