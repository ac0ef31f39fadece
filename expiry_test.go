package socketiojwt_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// rest waits for the end, half a day at most, and says how long that took.
func rest(c *siotest.Client, must siotest.Must) ([]siotest.Packet, time.Duration) {
	began := time.Now()
	select {
	case <-c.Done():
	case <-time.After(12 * time.Hour):
	}
	return must.Rest(), time.Since(began)
}

// ended checks that the client is told why, then disconnected, and nothing else.
func ended(tb testing.TB, packets []siotest.Packet, code, message string) {
	tb.Helper()
	if len(packets) != 2 || packets[1].Raw != "41" {
		tb.Fatalf("got %v, want unauthorized and 41", packets)
	}
	harness.Unauthorized(tb, packets[0], code, message)
}

func modes(t *testing.T, f func(t *testing.T, handshake bool, transport string)) {
	for _, handshake := range []bool{true, false} {
		for _, transport := range []string{"polling", "websocket"} {
			t.Run(fmt.Sprintf("handshake=%v/%s", handshake, transport), func(t *testing.T) { f(t, handshake, transport) })
		}
	}
}

func TestSessionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, handshake bool, transport string) {
		synctest.Test(t, func(t *testing.T) {
			gone, refused := make(chan string, 1), make(chan string, 1)
			var s *harness.App
			s = harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
				Handshake:     handshake,
				ParserOptions: []jwt.ParserOption{jwt.WithLeeway(7 * time.Second)},
				OnUnauthorized: func(r *socketiojwt.Request, err *socketiojwt.UnauthorizedError) {
					refused <- r.Namespace + " " + err.Message
				},
			}, func(ts *harness.App) {
				ts.OnDisconnect("/", func(c socketio.Conn, reason string) {
					session, _ := s.Auth.Session(c)
					gone <- session.Subject() + ", " + reason
				})
			})
			began := time.Now()
			packets, _ := rest(s.Enter(t, handshake, transport, harness.TokenFor(t, "bob", time.Minute)))
			ended(t, packets, "invalid_token", "jwt expired")
			if took := time.Since(began); took < 67*time.Second || took > 68*time.Second {
				t.Errorf("ended after %v, want exp and leeway, 67s", took)
			}
			if got := <-gone; got != "bob, server namespace disconnect" {
				t.Errorf("OnDisconnect got %q", got)
			}
			if got := <-refused; got != "/ jwt expired" {
				t.Errorf("OnUnauthorized got %q", got)
			}
			synctest.Wait()
			if stats := s.Auth.Stats(); stats.Expired != 1 || stats.Active != 0 || len(stats.Refused) != 0 {
				t.Errorf("stats %+v", stats)
			}
		})
	})
}

func TestSessionsThatDoNotEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		opts  socketiojwt.Options
		token jwt.MapClaims
	}{
		{"KeepExpired", socketiojwt.Options{KeepExpired: true}, jwt.MapClaims{"sub": "bob", "exp": 60}},
		{"no exp", socketiojwt.Options{}, jwt.MapClaims{"sub": "bob"}},
		{"no check", socketiojwt.Options{ParserOptions: []jwt.ParserOption{jwt.WithoutClaimsValidation()}}, jwt.MapClaims{"sub": "bob", "exp": -60}},
		{"far away", socketiojwt.Options{}, jwt.MapClaims{"sub": "bob", "exp": 1 << 50}},
		{"a clock of its own", socketiojwt.Options{ParserOptions: []jwt.ParserOption{
			jwt.WithTimeFunc(func() time.Time { return time.Unix(0, 0) }),
		}}, jwt.MapClaims{"sub": "bob", "exp": -60}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := harness.StartAt(t, harness.InMemory(t), test.opts, harness.Chat)
				if seconds, ok := test.token["exp"].(int); ok {
					test.token["exp"] = time.Now().Unix() + int64(seconds)
				}
				c, must := s.Enter(t, false, "websocket", harness.SignHS256(t, test.token))
				must.NextRaw(`42["welcome","bob"]`)
				time.Sleep(24 * time.Hour)
				must.Call("/", "echo", "still here")
				c.Close()
			})
		})
	}
}

func TestExpiryWarning(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, handshake bool, transport string) {
		synctest.Test(t, func(t *testing.T) {
			s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: handshake, ExpiryWarning: 30 * time.Second}, nil)
			began := time.Now()
			c, must := s.Enter(t, handshake, transport, harness.TokenFor(t, "bob", 2*time.Minute))
			time.Sleep(85 * time.Second)
			must.NextRaw(`42["token_expiring",{"expiresIn":30}]`)
			if took := time.Since(began); took < 90*time.Second || took > 91*time.Second {
				t.Errorf("warned after %v", took)
			}
			// A short-lived token is warned of at half-time, or clients would refresh without end.
			must.Emit("/", "authenticate", map[string]string{"token": harness.TokenFor(t, "bob", 40*time.Second)})
			must.NextRaw(`42["authenticated"]`)
			time.Sleep(19 * time.Second)
			began = time.Now()
			must.NextRaw(`42["token_expiring",{"expiresIn":20}]`)
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("warned again %v later", took)
			}
			packets, took := rest(c, must)
			ended(t, packets, "invalid_token", "jwt expired")
			if took < 19*time.Second || took > 21*time.Second {
				t.Errorf("ended %v after the warning", took)
			}
		})
	})
}

func TestRefreshInPlace(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, handshake bool, transport string) {
		synctest.Test(t, func(t *testing.T) {
			connects := 0
			s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
				Handshake: handshake,
				UserRoom:  func(s *socketiojwt.Session) string { return "user:" + s.Subject() },
			}, func(s *harness.App) {
				s.OnConnect("/", func(c socketio.Conn) error { connects++; c.Join("mine"); return nil })
				s.OnEvent("/", "session", func(c socketio.Conn) string {
					session, _ := s.Auth.Session(c)
					return session.RawToken()
				})
			})
			c, must := s.Enter(t, handshake, transport, harness.TokenFor(t, "bob", time.Minute))

			time.Sleep(30 * time.Second)
			second := harness.TokenFor(t, "bob", time.Hour)
			must.Emit("/", "authenticate", map[string]string{"token": second})
			must.NextRaw(`42["authenticated"]`)
			for _, refused := range []struct{ token, message string }{
				{harness.TokenFor(t, "eve", 2*time.Hour), "jwt subject changed"},
				{harness.SignHS256(t, jwt.MapClaims{"exp": time.Now().Add(2 * time.Hour).Unix()}), "jwt subject changed"},
				{harness.TokenFor(t, "bob", -time.Minute), "jwt expired"},
				{"nonsense", "jwt malformed"},
			} {
				must.Emit("/", "authenticate", map[string]string{"token": refused.token})
				harness.Unauthorized(t, must.Event("/", "unauthorized"), "invalid_token", refused.message)
			}
			if got := string(must.Call("/", "session").Data); got != fmt.Sprintf("[%q]", second) {
				t.Error("the session is of another token")
			}
			for _, room := range []string{"mine", "user:bob"} {
				if n := s.RoomLen("/", room); n != 1 {
					t.Errorf("%d in room %s", n, room)
				}
			}
			packets, took := rest(c, must)
			ended(t, packets, "invalid_token", "jwt expired")
			if took < time.Hour-time.Second || took > time.Hour+time.Second {
				t.Errorf("ended %v after the refresh", took)
			}
			if connects != 1 {
				t.Errorf("OnConnect ran %d times", connects)
			}
			synctest.Wait()
			if stats := s.Auth.Stats(); stats.Refreshed != 1 || stats.Expired != 1 {
				t.Errorf("stats %+v", stats)
			}
		})
	})
}

// A refresh that is being verified when the old token expires is too late, and not half.
func TestRefreshTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
			Accept: func(ctx context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
				if claims := token.Claims.(jwt.MapClaims); claims["slow"] != nil {
					select {
					case <-time.After(3 * time.Second):
					case <-ctx.Done():
					}
				}
				return nil, nil
			},
		}, nil)
		_, must := s.Enter(t, false, "websocket", harness.TokenFor(t, "bob", 10*time.Second))
		time.Sleep(8 * time.Second)
		must.Emit("/", "authenticate", map[string]string{"token": harness.SignHS256(t, jwt.MapClaims{
			"sub": "bob", "slow": true, "exp": time.Now().Add(time.Hour).Unix(),
		})})
		ended(t, must.Rest(), "invalid_token", "jwt expired")
		synctest.Wait()
		if stats := s.Auth.Stats(); stats.Refreshed != 0 || stats.Active != 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// A token that expires while Accept decides does not make a session.
func TestTokenExpiresWhileItIsVerified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
			Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
				time.Sleep(3 * time.Second)
				return nil, nil
			},
		}, nil)
		_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenFor(t, "bob", 2*time.Second)})
		ended(t, must.Rest(), "invalid_token", "jwt expired")
		synctest.Wait() // it is counted after it is told
		if stats := s.Auth.Stats(); stats.Authenticated != 0 || stats.Refused["invalid_token"] != 1 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// With a public root only the protected namespaces end, and the client may authenticate anew:
// by a new token, not by the one that its handshake carried.
func TestExpiryWithAPublicRoot(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		t.Run(fmt.Sprintf("handshake=%v", handshake), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				subjects := make(chan string, 2)
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: handshake}, func(s *harness.App) {
					s.OnConnect("/", func(socketio.Conn) error { return nil })
					s.OnEvent("/", "ping", func(socketio.Conn) string { return "pong" })
					s.OnConnect("/admin", func(c socketio.Conn) error {
						session, _ := s.Auth.Session(c)
						c.Emit("welcome", session.Subject())
						return nil
					})
					s.OnDisconnect("/admin", func(c socketio.Conn, _ string) {
						session, _ := s.Auth.Session(c)
						subjects <- session.Subject()
					})
				}, "/admin")
				first := harness.TokenFor(t, "bob", time.Minute)
				o := siotest.Options{Transport: "websocket"}
				if handshake {
					o.Query = harness.WithToken(first)
				}
				c, must := s.Dial(t, o)
				must.NextRaw("40")
				join := func(raw string) {
					if handshake {
						must.Send("40/admin?token=" + raw)
						must.NextRaw("40/admin")
						return
					}
					must.Join("/admin")
					must.NextRaw("40/admin")
					must.Emit("/admin", "authenticate", map[string]string{"token": raw})
					must.NextRaw(`42/admin,["authenticated"]`)
				}
				join(first)
				must.NextRaw(`42/admin,["welcome","bob"]`)

				time.Sleep(59 * time.Second)
				harness.Unauthorized(t, must.Next(), "invalid_token", "jwt expired")
				must.NextRaw("41/admin")
				if got := <-subjects; got != "bob" {
					t.Errorf("OnDisconnect found the session of %q", got)
				}
				must.Call("/", "ping")

				if handshake {
					must.Join("/admin")
					must.NextRaw("44/admin," + harness.Refusal("invalid_token", "jwt expired"))
					must.NextRaw("41/admin")
				}
				join(harness.TokenFor(t, "eve", time.Hour)) // it is a new session, and so may be anybody's
				must.NextRaw(`42/admin,["welcome","eve"]`)
				c.Close()
				if got := <-subjects; got != "eve" {
					t.Errorf("OnDisconnect found the session of %q", got)
				}
			})
		})
	}
}

// Who has left the protected root has nothing to stay for when the session ends.
func TestExpiryWithoutTheRoot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{}, func(s *harness.App) {
			s.OnConnect("/a", func(socketio.Conn) error { return nil })
		})
		c, must := s.Enter(t, false, "websocket", harness.TokenFor(t, "bob", time.Minute))
		must.Join("/a")
		must.NextRaw("40/a")
		must.Send("41")
		packets, _ := rest(c, must)
		if len(packets) != 2 || packets[1].Raw != "41/a" {
			t.Fatalf("got %v", packets)
		}
		harness.Unauthorized(t, packets[0], "invalid_token", "jwt expired")
	})
}

// Every namespace is told.
func TestExpiryInEveryNamespace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: true, ExpiryWarning: 10 * time.Second}, func(s *harness.App) {
			for _, nsp := range []string{"/", "/a", "/b"} {
				s.OnConnect(nsp, func(socketio.Conn) error { return nil })
			}
		})
		c, must := s.Enter(t, true, "websocket", harness.TokenFor(t, "bob", time.Minute))
		for _, nsp := range []string{"/a", "/b"} {
			must.Join(nsp)
			must.NextRaw("40" + nsp)
		}
		time.Sleep(50 * time.Second)
		must.NextRaw(`42["token_expiring",{"expiresIn":10}]`)
		must.NextRaw(`42/a,["token_expiring",{"expiresIn":10}]`)
		must.NextRaw(`42/b,["token_expiring",{"expiresIn":10}]`)
		var told []string
		packets, _ := rest(c, must)
		for _, p := range packets {
			if p.Type == siotest.Event {
				harness.Unauthorized(t, p, "invalid_token", "jwt expired")
			}
			told = append(told, fmt.Sprint(p.Type, p.Namespace))
		}
		slices.Sort(told)
		want := fmt.Sprint([]string{"1/", "1/a", "1/b", "2/", "2/a", "2/b"})
		if fmt.Sprint(told) != want {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

func TestLifetimeOptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		opts socketiojwt.Options
		want string
	}{
		{socketiojwt.Options{ExpiryWarning: -1}, "socketiojwt: ExpiryWarning: negative (-1ns); leave it 0 for no warning"},
		{socketiojwt.Options{Revocations: (*socketiojwt.MemoryRevocations)(nil)}, "socketiojwt: Revocations: a nil *socketiojwt.MemoryRevocations; make one, or leave it out"},
	} {
		test.opts.Secret = socketiojwt.StaticSecret("a secret of thirty-two bytes, or so")
		if _, err := socketiojwt.Authorize(test.opts); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

// KeepExpired lets sessions outlive their tokens. It lets nobody in on one that has expired, and
// that Revocations have forgotten by then.
func TestKeepExpiredAndRevokedWhileItIsAccepted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := socketiojwt.NewMemoryRevocations()
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
			KeepExpired: true,
			Revocations: list,
			Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
				time.Sleep(3 * time.Second)
				return nil, nil
			},
		}, nil)
		_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		exp := time.Now().Add(2 * time.Second)
		must.Emit("/", "authenticate", map[string]string{"token": harness.SignHS256(t, jwt.MapClaims{"jti": "one", "exp": exp.Unix()})})
		time.Sleep(time.Second)
		revoke(t, list, socketiojwt.Revocation{TokenID: "one", Until: exp})
		ended(t, must.Rest(), "invalid_token", "jwt expired")
	})
}

// slowRevocations take their time to say no.
type slowRevocations struct{ socketiojwt.Revocations }

func (slowRevocations) Revoked(context.Context, *jwt.RegisteredClaims) (bool, error) {
	time.Sleep(10 * time.Millisecond)
	return false, nil
}
