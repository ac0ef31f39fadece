package attacks_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
)

// Clients that leave, are disconnected and are refused at any moment leave no place behind, and no events that are
// kept for ever, whoever serves their namespaces.
func TestPlacesAfterWhatever(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: nearly 3,000 clients take some seconds")
	}
	for _, how := range []string{"protected", "two Authorizers, public root", "hooks"} {
		for _, handshake := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/handshake=%t", how, handshake), func(t *testing.T) {
				t.Parallel()
				pause := func() {
					for range rand.IntN(100) {
						runtime.Gosched()
					}
				}
				opts := socketiojwt.Options{
					Handshake: handshake, Timeout: 500 * time.Millisecond, MaxPending: 30, Optional: handshake,
					CloseGrace: time.Millisecond,
					Accept:     func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { pause(); return nil, nil },
					AcceptNamespace: func(_ context.Context, _ *socketiojwt.Session, namespace string) error {
						pause()
						switch rand.IntN(4) {
						case 0:
							return &socketiojwt.UnauthorizedError{Code: "no", Message: "no", Retryable: rand.IntN(2) == 0}
						}
						return nil
					},
				}
				names := []string{"/", "/a", "/b"}
				auth := harness.Authorize(t, opts)
				plain := socketio.NewServer(socketiojwt.Harden(&engineio.Options{PingInterval: time.Second, PingTimeout: 2 * time.Second}))
				at := harness.Loopback(t)
				another := harness.Authorize(t, opts)
				switch how {
				case "hooks":
					for _, name := range names {
						plain.OnConnect(name, auth.OnConnect)
						plain.OnEvent(name, "authenticate", auth.OnAuthenticate)
						plain.OnDisconnect(name, auth.OnDisconnect)
						plain.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { return text })
					}
					harness.Serve(t, plain, at, auth.Handler(plain))
				default:
					var s *socketiojwt.Server
					if how == "protected" {
						s = auth.Protect(plain)
					} else {
						another.Protect(plain, "/a")
						s = auth.Protect(plain, "/b")
					}
					for _, name := range names {
						s.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { return text })
					}
					harness.Serve(t, s, at, s)
				}
				var group sync.WaitGroup
				for range 8 {
					group.Go(func() {
						for range 60 {
							version := 3 + rand.IntN(2)
							o := siotest.Options{Version: version, Transport: harness.Transports[rand.IntN(2)]}
							if handshake && rand.IntN(3) > 0 {
								o.Query = harness.WithToken(harness.TokenOf(t, "bob"))
							}
							ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
							c, err := siotest.Dial(ctx, at.URL, o)
							if err != nil {
								cancel()
								continue
							}
							for range rand.IntN(12) {
								name := names[rand.IntN(3)]
								token := map[string]string{"token": harness.TokenOf(t, []string{"bob", "eve"}[rand.IntN(2)])}
								switch rand.IntN(6) {
								case 0:
									_ = c.Join(name)
								case 1:
									if version == 4 {
										_ = c.JoinWith(name, token)
									}
								case 2:
									_ = c.Emit(name, "authenticate", token)
								case 3:
									_ = c.Leave(name)
								case 4:
									_ = c.Emit(name, "echo", "x")
								case 5:
									if rand.IntN(2) == 0 {
										auth.DisconnectSubject("bob", nil)
									}
									pause()
								}
							}
							if rand.IntN(2) == 0 {
								c.Abort()
							} else {
								c.Close()
							}
							cancel()
						}
					})
				}
				group.Wait()
				harness.Eventually(t, "nobody has a place", func() bool { return auth.Stats().Pending == 0 && another.Stats().Pending == 0 })
			})
		}
	}
}
