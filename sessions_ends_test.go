package socketiojwt_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-socketiojwt/socketiojwt"
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
		s := start(t, socketiojwt.Options{
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
		_, must := s.dial(t, siotest.Options{Query: withToken(tokenOf(t, "bob"))})
		rest := must.Rest()
		expect(t, rest[max(0, len(rest)-2):], "44"+e("invalid_token", "jwt revoked"), "41")
		if n := s.auth.Stats().Active; n != 0 {
			t.Errorf("%d others: %d sessions", others, n)
		}
	}
}

// An identity that is empty is a mistake also where no other node has to be told.
func TestDisconnectUserOfNobody(t *testing.T) {
	t.Parallel()
	auth := mustAuthorize(t, socketiojwt.Options{})
	if n, err := auth.DisconnectUser(t.Context(), "", nil); n != 0 || err == nil || !strings.Contains(err.Error(), "Options.Identity") {
		t.Errorf("%d ended, %v", n, err)
	}
}

// OnDisconnect finds the session of a socket that its client left before the session ended.
func TestOnDisconnectOfWhoLeftBeforeTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var left record
		s := startAt(t, inMemory(t), handshakeMode, func(s *testServer) {
			s.OnEvent("/", "hold", func(socketio.Conn) { <-release })
			s.OnDisconnect("/a", func(c socketio.Conn, _ string) {
				session, ok := s.auth.Session(c)
				if !ok {
					left.add("nobody")
					return
				}
				left.add("%s", session.Subject())
			})
		})
		_, must := s.dial(t, bob(t, "websocket"))
		must.NextRaw("40")
		must.Join("/a")
		must.NextRaw("40/a")
		must.Send(`42["hold"]`, "41/a")
		synctest.Wait()
		if n := s.auth.DisconnectSubject("bob", nil); n != 1 {
			t.Errorf("%d sessions ended", n)
		}
		close(release)
		ended(t, must.Rest(), "unauthorized", "unauthorized")
		synctest.Wait()
		left.eventually(t, "bob")
	})
}

// A session whose client is gone cannot be ended any more, and is not counted twice.
func TestEndOfWhoIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var session *socketiojwt.Session
		var told record
		opts := handshakeMode
		opts.OnEnded = func(*socketiojwt.Session, *socketiojwt.UnauthorizedError) { told.add("ended") }
		s := startAt(t, inMemory(t), opts, func(s *testServer) {
			s.OnConnect("/", func(c socketio.Conn) error {
				session, _ = s.auth.Session(c)
				return nil
			})
		})
		c, must := s.dial(t, bob(t, "websocket"))
		must.NextRaw("40")
		c.Close()
		synctest.Wait()
		if session.End(nil) {
			t.Error("it was ended")
		}
		synctest.Wait()
		if stats := s.auth.Stats(); stats.Active != 0 || stats.Disconnected != 0 || told.String() != "" {
			t.Errorf("stats %+v, told %q", stats, told.String())
		}
	})
}
