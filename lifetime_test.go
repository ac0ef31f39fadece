package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// tokenFor makes a token for sub that expires after life.
func tokenFor(tb testing.TB, sub string, life time.Duration) string {
	tb.Helper()
	return signHS256(tb, jwt.MapClaims{"sub": sub, "exp": time.Now().Add(life).Unix()})
}

// enter connects a client and gets it in, in either mode.
func (s *testServer) enter(t *testing.T, handshake bool, transport, raw string) (*siotest.Client, siotest.Must) {
	t.Helper()
	o := siotest.Options{Transport: transport}
	if handshake {
		o.Query = withToken(raw)
	}
	before := s.auth.Stats().Active
	c, must := s.dial(t, o)
	must.NextRaw("40")
	if handshake { // the root's CONNECT comes before the session
		eventually(t, "it has a session", func() bool { return s.auth.Stats().Active > before })
	} else {
		must.Emit("/", "authenticate", map[string]string{"token": raw})
		must.NextRaw(`42["authenticated"]`)
	}
	return c, must
}

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
	unauthorized(tb, packets[0], code, message)
}

func modes(t *testing.T, f func(t *testing.T, handshake bool, transport string)) {
	for _, handshake := range []bool{true, false} {
		for _, transport := range []string{"polling", "websocket"} {
			t.Run(fmt.Sprintf("handshake=%v/%s", handshake, transport), func(t *testing.T) { f(t, handshake, transport) })
		}
	}
}

func TestSessionEndsWithItsToken(t *testing.T) {
	modes(t, func(t *testing.T, handshake bool, transport string) {
		synctest.Test(t, func(t *testing.T) {
			gone, refused := make(chan string, 1), make(chan string, 1)
			var s *testServer
			s = startAt(t, inMemory(t), socketiojwt.Options{
				Handshake:     handshake,
				ParserOptions: []jwt.ParserOption{jwt.WithLeeway(7 * time.Second)},
				OnUnauthorized: func(r *socketiojwt.Request, err *socketiojwt.UnauthorizedError) {
					refused <- r.Namespace + " " + err.Message
				},
			}, func(ts *testServer) {
				ts.OnDisconnect("/", func(c socketio.Conn, reason string) {
					session, _ := s.auth.Session(c)
					gone <- session.Subject() + ", " + reason
				})
			})
			began := time.Now()
			packets, _ := rest(s.enter(t, handshake, transport, tokenFor(t, "bob", time.Minute)))
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
			if stats := s.auth.Stats(); stats.Expired != 1 || stats.Active != 0 || len(stats.Refused) != 0 {
				t.Errorf("stats %+v", stats)
			}
		})
	})
}

func TestSessionsThatDoNotEnd(t *testing.T) {
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
				s := startAt(t, inMemory(t), test.opts, chat)
				if seconds, ok := test.token["exp"].(int); ok {
					test.token["exp"] = time.Now().Unix() + int64(seconds)
				}
				c, must := s.enter(t, false, "websocket", signHS256(t, test.token))
				must.NextRaw(`42["welcome","bob"]`)
				time.Sleep(24 * time.Hour)
				must.Call("/", "echo", "still here")
				c.Close()
			})
		})
	}
}

func TestExpiryWarning(t *testing.T) {
	modes(t, func(t *testing.T, handshake bool, transport string) {
		synctest.Test(t, func(t *testing.T) {
			s := startAt(t, inMemory(t), socketiojwt.Options{Handshake: handshake, ExpiryWarning: 30 * time.Second}, nil)
			began := time.Now()
			c, must := s.enter(t, handshake, transport, tokenFor(t, "bob", 2*time.Minute))
			time.Sleep(85 * time.Second)
			must.NextRaw(`42["token_expiring",{"expiresIn":30}]`)
			if took := time.Since(began); took < 90*time.Second || took > 91*time.Second {
				t.Errorf("warned after %v", took)
			}
			// A short-lived token is warned of at half-time, or clients would refresh without end.
			must.Emit("/", "authenticate", map[string]string{"token": tokenFor(t, "bob", 40*time.Second)})
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
	modes(t, func(t *testing.T, handshake bool, transport string) {
		synctest.Test(t, func(t *testing.T) {
			connects := 0
			s := startAt(t, inMemory(t), socketiojwt.Options{
				Handshake: handshake,
				UserRoom:  func(s *socketiojwt.Session) string { return "user:" + s.Subject() },
			}, func(s *testServer) {
				s.OnConnect("/", func(c socketio.Conn) error { connects++; c.Join("mine"); return nil })
				s.OnEvent("/", "session", func(c socketio.Conn) string {
					session, _ := s.auth.Session(c)
					return session.RawToken()
				})
			})
			c, must := s.enter(t, handshake, transport, tokenFor(t, "bob", time.Minute))

			time.Sleep(30 * time.Second)
			second := tokenFor(t, "bob", time.Hour)
			must.Emit("/", "authenticate", map[string]string{"token": second})
			must.NextRaw(`42["authenticated"]`)
			for _, refused := range []struct{ token, message string }{
				{tokenFor(t, "eve", 2*time.Hour), "jwt subject changed"},
				{signHS256(t, jwt.MapClaims{"exp": time.Now().Add(2 * time.Hour).Unix()}), "jwt subject changed"},
				{tokenFor(t, "bob", -time.Minute), "jwt expired"},
				{"nonsense", "jwt malformed"},
			} {
				must.Emit("/", "authenticate", map[string]string{"token": refused.token})
				unauthorized(t, must.Event("/", "unauthorized"), "invalid_token", refused.message)
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
			if stats := s.auth.Stats(); stats.Refreshed != 1 || stats.Expired != 1 {
				t.Errorf("stats %+v", stats)
			}
		})
	})
}

// A refresh that is being verified when the old token expires is too late, and not half.
func TestRefreshTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startAt(t, inMemory(t), socketiojwt.Options{
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
		_, must := s.enter(t, false, "websocket", tokenFor(t, "bob", 10*time.Second))
		time.Sleep(8 * time.Second)
		must.Emit("/", "authenticate", map[string]string{"token": signHS256(t, jwt.MapClaims{
			"sub": "bob", "slow": true, "exp": time.Now().Add(time.Hour).Unix(),
		})})
		ended(t, must.Rest(), "invalid_token", "jwt expired")
		if stats := s.auth.Stats(); stats.Refreshed != 0 || stats.Active != 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// A token that expires while Accept decides does not make a session.
func TestTokenExpiresWhileItIsVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startAt(t, inMemory(t), socketiojwt.Options{
			Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
				time.Sleep(3 * time.Second)
				return nil, nil
			},
		}, nil)
		_, must := s.dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Emit("/", "authenticate", map[string]string{"token": tokenFor(t, "bob", 2*time.Second)})
		ended(t, must.Rest(), "invalid_token", "jwt expired")
		synctest.Wait() // it is counted after it is told
		if stats := s.auth.Stats(); stats.Authenticated != 0 || stats.Refused["invalid_token"] != 1 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// With a public root only the protected namespaces end, and the client may authenticate anew:
// by a new token, not by the one that its handshake carried.
func TestExpiryWithAPublicRoot(t *testing.T) {
	for _, handshake := range []bool{true, false} {
		t.Run(fmt.Sprintf("handshake=%v", handshake), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				subjects := make(chan string, 2)
				s := startAt(t, inMemory(t), socketiojwt.Options{Handshake: handshake}, func(s *testServer) {
					s.OnConnect("/", func(socketio.Conn) error { return nil })
					s.OnEvent("/", "ping", func(socketio.Conn) string { return "pong" })
					s.OnConnect("/admin", func(c socketio.Conn) error {
						session, _ := s.auth.Session(c)
						c.Emit("welcome", session.Subject())
						return nil
					})
					s.OnDisconnect("/admin", func(c socketio.Conn, _ string) {
						session, _ := s.auth.Session(c)
						subjects <- session.Subject()
					})
				}, "/admin")
				first := tokenFor(t, "bob", time.Minute)
				o := siotest.Options{Transport: "websocket"}
				if handshake {
					o.Query = withToken(first)
				}
				c, must := s.dial(t, o)
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
				unauthorized(t, must.Next(), "invalid_token", "jwt expired")
				must.NextRaw("41/admin")
				if got := <-subjects; got != "bob" {
					t.Errorf("OnDisconnect found the session of %q", got)
				}
				must.Call("/", "ping")

				if handshake {
					must.Join("/admin")
					must.NextRaw("44/admin," + e("invalid_token", "jwt expired"))
					must.NextRaw("41/admin")
				}
				join(tokenFor(t, "eve", time.Hour)) // it is a new session, and so may be anybody's
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
	synctest.Test(t, func(t *testing.T) {
		s := startAt(t, inMemory(t), socketiojwt.Options{}, func(s *testServer) {
			s.OnConnect("/a", func(socketio.Conn) error { return nil })
		})
		c, must := s.enter(t, false, "websocket", tokenFor(t, "bob", time.Minute))
		must.Join("/a")
		must.NextRaw("40/a")
		must.Send("41")
		packets, _ := rest(c, must)
		if len(packets) != 2 || packets[1].Raw != "41/a" {
			t.Fatalf("got %v", packets)
		}
		unauthorized(t, packets[0], "invalid_token", "jwt expired")
	})
}

// The verdict of the gate counts once. After a Disconnect, Accept is asked again.
func TestVerdictCountsOnce(t *testing.T) {
	var accepted atomic.Int64
	auth := mustAuthorize(t, socketiojwt.Options{
		Handshake: true,
		Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			if accepted.Add(1) > 1 {
				return nil, &socketiojwt.UnauthorizedError{Code: "banned", Message: "banned since"}
			}
			return nil, nil
		},
	})
	server := socketio.NewServer(hardened())
	server.OnConnect("/", func(socketio.Conn) error { return nil })
	server.OnConnect("/admin", auth.OnConnect)
	server.OnDisconnect("/admin", auth.OnDisconnect)
	at := loopback(t)
	serve(t, server, at, auth.Handler(server))
	c, must := dial(t, at, siotest.Options{Transport: "websocket", Query: withToken(tokenOf(t, "bob"))})
	must.NextRaw("40")
	must.Join("/admin")
	must.NextRaw("40/admin")
	if n := auth.DisconnectSubject("bob", nil); n != 1 {
		t.Fatalf("%d ended", n)
	}
	unauthorized(t, must.Next(), "unauthorized", "unauthorized")
	must.NextRaw("41/admin")
	must.Join("/admin")
	must.NextRaw("44/admin," + e("banned", "banned since"))
	must.NextRaw("41/admin")
	c.Close()
}

// Every namespace is told.
func TestExpiryInEveryNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startAt(t, inMemory(t), socketiojwt.Options{Handshake: true, ExpiryWarning: 10 * time.Second}, func(s *testServer) {
			for _, nsp := range []string{"/", "/a", "/b"} {
				s.OnConnect(nsp, func(socketio.Conn) error { return nil })
			}
		})
		c, must := s.enter(t, true, "websocket", tokenFor(t, "bob", time.Minute))
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
				unauthorized(t, p, "invalid_token", "jwt expired")
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

func TestDisconnect(t *testing.T) {
	s := start(t, socketiojwt.Options{}, chat)
	bob, bobsToo, eve := must(t, s, "bob"), must(t, s, "bob"), must(t, s, "eve")

	var subjects []string
	for session := range s.auth.Sessions() {
		subjects = append(subjects, session.Subject())
	}
	slices.Sort(subjects)
	if got := fmt.Sprint(subjects); got != "[bob bob eve]" {
		t.Errorf("sessions of %s", got)
	}
	for range s.auth.Sessions() {
		break
	}

	for _, nobody := range []string{"", "carol"} {
		if n := s.auth.DisconnectSubject(nobody, nil); n != 0 {
			t.Errorf("%d sessions of %q ended", n, nobody)
		}
	}
	if n := s.auth.DisconnectSubject("bob", nil); n != 2 {
		t.Errorf("%d sessions of bob ended", n)
	}
	ended(t, bob.Rest(), "unauthorized", "unauthorized")
	ended(t, bobsToo.Rest(), "unauthorized", "unauthorized")
	if n := s.auth.DisconnectSubject("bob", nil); n != 0 {
		t.Errorf("%d sessions of bob ended twice", n)
	}

	isEve := func(session *socketiojwt.Session) bool { return session.Subject() == "eve" }
	if n := s.auth.Disconnect(isEve, &socketiojwt.UnauthorizedError{Code: "maintenance", Message: "back soon"}); n != 1 {
		t.Errorf("%d sessions of eve ended", n)
	}
	ended(t, eve.Rest(), "maintenance", "back soon")
	if n := s.auth.Disconnect(func(*socketiojwt.Session) bool { return true }, nil); n != 0 {
		t.Errorf("%d sessions left", n)
	}
	if stats := s.auth.Stats(); stats.Disconnected != 3 || stats.Active != 0 {
		t.Errorf("stats %+v", stats)
	}
	must(t, s, "bob") // the token is still good
}

// A session is found by its subject whichever of its neighbours has gone before.
func TestDisconnectOneByOne(t *testing.T) {
	for gone := range 4 {
		s := start(t, socketiojwt.Options{}, nil)
		for n := range 4 {
			s.enter(t, false, "websocket", signHS256(t, jwt.MapClaims{"sub": "bob", "jti": n}))
		}
		isIt := func(session *socketiojwt.Session) bool { return session.TokenID() == fmt.Sprint(gone) }
		if n := s.auth.Disconnect(isIt, nil); n != 1 {
			t.Errorf("%d sessions of one token", n)
		}
		if n := s.auth.DisconnectSubject("bob", nil); n != 3 {
			t.Errorf("%d sessions left when %d has gone", n, gone)
		}
	}
}

// A session that was refreshed while match looked at it is looked at again.
func TestDisconnectWhileItIsRefreshed(t *testing.T) {
	s := start(t, socketiojwt.Options{}, chat)
	c, must := s.enter(t, false, "websocket", signHS256(t, jwt.MapClaims{"sub": "bob", "jti": "old"}))
	must.NextRaw(`42["welcome","bob"]`)
	looks := 0
	n := s.auth.Disconnect(func(session *socketiojwt.Session) bool {
		if looks++; looks == 1 {
			must.Emit("/", "authenticate", map[string]string{"token": signHS256(t, jwt.MapClaims{"sub": "bob", "jti": "new"})})
			must.NextRaw(`42["authenticated"]`)
		}
		return session.TokenID() == "old"
	}, nil)
	if n != 0 || looks != 2 {
		t.Errorf("%d ended after %d looks", n, looks)
	}
	must.Call("/", "echo", "still here")
	c.Close()
}

// With the root goes the connection, so its public namespaces are told to go, too.
func TestRootEndsPublicNamespaces(t *testing.T) {
	s := start(t, socketiojwt.Options{Revocations: socketiojwt.NewMemoryRevocations()}, func(s *testServer) {
		s.OnConnect("/public", func(socketio.Conn) error { return nil })
	}, "/")
	_, must := s.enter(t, false, "websocket", tokenOf(t, "bob"))
	must.Join("/public")
	must.NextRaw("40/public")
	if n := s.auth.DisconnectSubject("bob", nil); n != 1 {
		t.Errorf("%d ended", n)
	}
	unauthorized(t, must.Next(), "unauthorized", "unauthorized")
	must.NextRaw("41")
	expect(t, must.Rest(), "41/public")
}

// must connects a client and gets it in.
func must(t *testing.T, s *testServer, sub string) siotest.Must {
	t.Helper()
	_, must := s.enter(t, false, "websocket", tokenOf(t, sub))
	must.NextRaw(fmt.Sprintf(`42["welcome",%q]`, sub))
	return must
}

func TestUserRoom(t *testing.T) {
	s := start(t, socketiojwt.Options{Optional: true, UserRoom: func(s *socketiojwt.Session) string {
		switch s.Subject() {
		case "nobody":
			return ""
		case "mallory":
			panic("no room for mallory")
		}
		return "user:" + s.Subject()
	}}, func(s *testServer) {
		s.OnConnect("/", func(c socketio.Conn) error { c.Emit("rooms", len(c.Rooms())); return nil })
	})
	connect := func(sub string) (*siotest.Client, siotest.Must) {
		c, must := s.dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Event("/", "rooms")
		if sub != "" {
			must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, sub)})
			must.NextRaw(`42["authenticated"]`)
		}
		return c, must
	}
	connect("")
	connect("nobody")
	connect("mallory")
	first, must1 := connect("bob")
	_, must2 := connect("bob")
	eventually(t, "bob's sockets are in his room", func() bool { return s.RoomLen("/", "user:bob") == 2 })
	s.BroadcastToRoom("/", "user:bob", "mail", 1)
	must1.NextRaw(`42["mail",1]`)
	must2.NextRaw(`42["mail",1]`)
	first.Close()
	eventually(t, "one left", func() bool { return s.RoomLen("/", "user:bob") == 1 })
	s.auth.DisconnectSubject("bob", nil)
	eventually(t, "bob is offline", func() bool { return s.RoomLen("/", "user:bob") == 0 })
}

func TestLifetimeOptions(t *testing.T) {
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

func revoke(t *testing.T, m socketiojwt.Revocations, r socketiojwt.Revocation) {
	t.Helper()
	if r.Until.IsZero() {
		r.Until = time.Now().Add(time.Hour)
	}
	if err := m.Add(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

func TestRevocation(t *testing.T) {
	modes(t, func(t *testing.T, handshake bool, transport string) {
		synctest.Test(t, func(t *testing.T) {
			list := socketiojwt.NewMemoryRevocations()
			s := startAt(t, inMemory(t), socketiojwt.Options{Handshake: handshake, Revocations: list}, nil)
			time.Sleep(time.Minute)
			token := func(claims jwt.MapClaims) string {
				all := jwt.MapClaims{"sub": "bob", "iat": time.Now().Unix()}
				for name, value := range claims {
					all[name] = value
				}
				return signHS256(t, all)
			}
			refused := func(raw, message string) {
				t.Helper()
				o := siotest.Options{Transport: transport}
				if handshake {
					o.Query = withToken(raw)
				}
				_, must := s.dial(t, o)
				if !handshake {
					must.NextRaw("40")
					must.Emit("/", "authenticate", map[string]string{"token": raw})
				}
				rest := must.Rest()
				if handshake {
					expect(t, rest, "44"+e("invalid_token", message), "41")
					return
				}
				ended(t, rest, "invalid_token", message)
			}

			one, two := token(jwt.MapClaims{"jti": "one"}), token(jwt.MapClaims{"jti": "two"})
			number := token(jwt.MapClaims{"jti": 3, "sub": 7})
			_, mustOne := s.enter(t, handshake, transport, one)
			c2, mustTwo := s.enter(t, handshake, transport, two)
			_, mustNumber := s.enter(t, handshake, transport, number)
			synctest.Wait() // a handshake's CONNECT is sent before the client is in

			revoke(t, list, socketiojwt.Revocation{TokenID: "one"})
			ended(t, mustOne.Rest(), "invalid_token", "jwt revoked")
			refused(one, "jwt revoked")
			revoke(t, list, socketiojwt.Revocation{TokenID: "3", Reason: &socketiojwt.UnauthorizedError{Code: "bye", Message: "logged out"}})
			ended(t, mustNumber.Rest(), "bye", "logged out")
			refused(number, "jwt revoked")

			// A refresh on a revoked token is refused, and leaves the session as it was.
			mustTwo.Emit("/", "authenticate", map[string]string{"token": one})
			unauthorized(t, mustTwo.Event("/", "unauthorized"), "invalid_token", "jwt revoked")

			time.Sleep(2 * time.Second)
			newer := token(nil)
			time.Sleep(2 * time.Second)
			// All that were issued up to now, but not what another subject has.
			_, mustEve := s.enter(t, handshake, transport, token(jwt.MapClaims{"sub": "eve"}))
			synctest.Wait()
			revoke(t, list, socketiojwt.Revocation{Subject: "bob"})
			ended(t, mustTwo.Rest(), "invalid_token", "jwt revoked")
			<-c2.Done()
			refused(newer, "jwt revoked")
			refused(signHS256(t, jwt.MapClaims{"sub": "bob"}), "jwt revoked")
			time.Sleep(time.Second)
			_, mustAgain := s.enter(t, handshake, transport, token(nil))
			synctest.Wait()

			// A session that was refreshed goes by its newer token.
			revoke(t, list, socketiojwt.Revocation{Subject: "bob", IssuedBefore: time.Now().Add(-time.Second)})
			mustAgain.Emit("/", "authenticate", map[string]string{"token": token(jwt.MapClaims{"jti": "four"})})
			mustAgain.NextRaw(`42["authenticated"]`)
			revoke(t, list, socketiojwt.Revocation{TokenID: "two"})
			revoke(t, list, socketiojwt.Revocation{TokenID: "four"})
			ended(t, mustAgain.Rest(), "invalid_token", "jwt revoked")

			if n := s.auth.DisconnectSubject("eve", &socketiojwt.UnauthorizedError{Code: "kicked"}); n != 1 {
				t.Errorf("%d sessions of eve", n)
			}
			ended(t, mustEve.Rest(), "kicked", "unauthorized")

			refused(token(jwt.MapClaims{"jti": []int{1}}), "jwt malformed")
			if stats := s.auth.Stats(); stats.Revoked != 4 || stats.Disconnected != 1 || stats.Active != 0 {
				t.Errorf("stats %+v", stats)
			}
		})
	})
}

// The `jti` is found in claims of any type.
func TestRevocationOfCustomClaims(t *testing.T) {
	for name, newClaims := range map[string]func() jwt.Claims{
		"registered": func() jwt.Claims { return &jwt.RegisteredClaims{} },
		"pointer":    func() jwt.Claims { return &jwt.MapClaims{} },
	} {
		t.Run(name, func(t *testing.T) {
			list := socketiojwt.NewMemoryRevocations()
			s := start(t, socketiojwt.Options{Revocations: list, NewClaims: newClaims}, nil)
			raw := signHS256(t, jwt.MapClaims{"sub": "bob", "jti": "one"})
			_, must := s.enter(t, false, "websocket", raw)
			for session := range s.auth.Sessions() {
				if session.TokenID() != "one" {
					t.Errorf("token id %q", session.TokenID())
				}
			}
			revoke(t, list, socketiojwt.Revocation{TokenID: "one"})
			ended(t, must.Rest(), "invalid_token", "jwt revoked")
		})
	}
}

// touchyClaims panic when they are asked when they were issued, which only revocations do.
type touchyClaims struct{ jwt.RegisteredClaims }

func (touchyClaims) GetIssuedAt() (*jwt.NumericDate, error) { panic("a bug") }

func TestRevocationOfClaimsThatPanic(t *testing.T) {
	s := start(t, socketiojwt.Options{
		Revocations: socketiojwt.NewMemoryRevocations(),
		NewClaims:   func() jwt.Claims { return &touchyClaims{} },
	}, nil)
	_, must := s.dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
	ended(t, must.Rest(), "unauthorized", "unauthorized")
}

// lameRevocations cannot say.
type lameRevocations struct {
	socketiojwt.Revocations
	answer func() (bool, error)
}

func (l lameRevocations) Revoked(context.Context, *jwt.RegisteredClaims) (bool, error) {
	return l.answer()
}

func TestRevocationsThatFail(t *testing.T) {
	for name, answer := range map[string]func() (bool, error){
		"error": func() (bool, error) { return false, errors.New("internal: no connection") },
		"panic": func() (bool, error) { panic("internal: a bug") },
		"stuck": func() (bool, error) { select {} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if name == "stuck" { // and is abandoned, but a bubble has to end
					stop := make(chan struct{})
					defer close(stop)
					answer = func() (bool, error) { <-stop; return false, nil }
				}
				s := startAt(t, inMemory(t), socketiojwt.Options{Handshake: true, Revocations: lameRevocations{socketiojwt.NewMemoryRevocations(), answer}}, nil)
				_, must := s.dial(t, siotest.Options{Query: withToken(tokenOf(t, "bob"))})
				// No 41: the client comes back.
				expect(t, must.Rest(), "44"+e("server_busy", "server busy"))
			})
		})
	}
}

// A token that is revoked between its check and the moment its session can be found does not
// make a session.
func TestRevokedWhileItIsAccepted(t *testing.T) {
	list := socketiojwt.NewMemoryRevocations()
	s := start(t, socketiojwt.Options{
		Handshake:   true,
		Revocations: list,
		Accept: func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
			revoke(t, list, socketiojwt.Revocation{Subject: "somebody else"})
			if sub, _ := token.Claims.GetSubject(); sub == "bob" {
				revoke(t, list, socketiojwt.Revocation{Subject: "bob"})
			}
			return nil, nil
		},
	}, func(s *testServer) {
		s.OnConnect("/", func(c socketio.Conn) error {
			if session, _ := s.auth.Session(c); session.Subject() == "bob" {
				t.Error("bob is in")
			}
			return nil
		})
	})
	_, must := s.dial(t, siotest.Options{Query: withToken(tokenOf(t, "bob"))})
	rest := must.Rest()
	expect(t, rest[len(rest)-2:], "44"+e("invalid_token", "jwt revoked"), "41")
	_, must = s.dial(t, siotest.Options{Query: withToken(tokenOf(t, "eve"))})
	must.NextRaw("40")
}

func TestMemoryRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := socketiojwt.NewMemoryRevocations()
		now := time.Now()
		for _, wrong := range []struct {
			socketiojwt.Revocation
			want string
		}{
			{socketiojwt.Revocation{Until: now}, "socketiojwt: Revocation: set TokenID, SID, Subject or Identity; nothing is revoked without, and a token that has none of them cannot be"},
			{socketiojwt.Revocation{TokenID: "x", Subject: "y", Until: now}, "socketiojwt: Revocation: TokenID and Subject are both set; revoke them one by one"},
			{socketiojwt.Revocation{TokenID: "x"}, "socketiojwt: Revocation: set Until to when the last token it concerns has expired"},
			{socketiojwt.Revocation{TokenID: "x", SessionsOnly: true, Until: now}, "socketiojwt: Revocation: SessionsOnly needs SID, Subject or Identity"},
		} {
			if err := list.Add(context.Background(), wrong.Revocation); err == nil || err.Error() != wrong.want {
				t.Errorf("got %v, want %s", err, wrong.want)
			}
		}

		revoked := func(claims jwt.RegisteredClaims) bool {
			yes, err := list.Revoked(context.Background(), &claims)
			return yes || err != nil
		}
		at := func(d time.Duration) *jwt.NumericDate { return jwt.NewNumericDate(now.Add(d)) }
		revoke(t, list, socketiojwt.Revocation{TokenID: "a", Until: now.Add(time.Minute)})
		revoke(t, list, socketiojwt.Revocation{Subject: "bob", Until: now.Add(time.Minute)})
		revoke(t, list, socketiojwt.Revocation{Subject: "bob", IssuedBefore: now.Add(-time.Hour), Until: now.Add(time.Second)})
		revoke(t, list, socketiojwt.Revocation{Subject: "eve", SessionsOnly: true})
		for _, test := range []struct {
			jwt.RegisteredClaims
			want bool
		}{
			{jwt.RegisteredClaims{ID: "a"}, true},
			{jwt.RegisteredClaims{ID: "b"}, false},
			{jwt.RegisteredClaims{}, false},
			{jwt.RegisteredClaims{Subject: "a", ID: "bob"}, false},
			{jwt.RegisteredClaims{Subject: "bob"}, true},
			{jwt.RegisteredClaims{Subject: "bob", IssuedAt: at(0)}, true},
			{jwt.RegisteredClaims{Subject: "bob", IssuedAt: at(-time.Minute)}, true},
			{jwt.RegisteredClaims{Subject: "bob", IssuedAt: at(time.Second)}, true}, // it is yet to come
			{jwt.RegisteredClaims{Subject: "eve", IssuedAt: at(-time.Minute)}, false},
		} {
			if got := revoked(test.RegisteredClaims); got != test.want {
				t.Errorf("%+v: revoked %v", test.RegisteredClaims, got)
			}
		}
		if n := len(slices.Collect(list.All())); n != 2 {
			t.Errorf("%d are kept", n)
		}
		time.Sleep(2 * time.Second)
		if revoked(jwt.RegisteredClaims{Subject: "bob", IssuedAt: at(time.Second)}) {
			t.Error("a token that was issued later is revoked")
		}
		if !revoked(jwt.RegisteredClaims{Subject: "bob"}) {
			t.Error("a shorter revocation cuts the longer one short")
		}
		revoke(t, list, socketiojwt.Revocation{TokenID: "a", Until: now.Add(2 * time.Minute)})
		revoke(t, list, socketiojwt.Revocation{TokenID: "a", Until: now.Add(5 * time.Second)})
		time.Sleep(time.Minute)
		if revoked(jwt.RegisteredClaims{Subject: "bob"}) || !revoked(jwt.RegisteredClaims{ID: "a"}) {
			t.Error("each is kept until its own time")
		}
		if all := slices.Collect(list.All()); len(all) != 1 || all[0].TokenID != "a" {
			t.Errorf("kept: %+v", all)
		}
		time.Sleep(time.Minute)
		if n := len(slices.Collect(list.All())); n != 0 {
			t.Errorf("%d are kept for ever", n)
		}
	})
}

// What expires at the same time is not forgotten by one caller, who would wait for it, and is over all
// the same.
func TestMuchIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many, atOnce = 3500, 1000
		list := socketiojwt.NewMemoryRevocations()
		until := time.Now().Add(time.Minute)
		for i := range many {
			revoke(t, list, socketiojwt.Revocation{TokenID: fmt.Sprint(i), Until: until})
		}
		time.Sleep(time.Minute)
		for i := range many {
			before := list.Kept()
			if revoked, err := list.Revoked(context.Background(), &jwt.RegisteredClaims{ID: fmt.Sprint(i)}); revoked || err != nil {
				t.Fatalf("token %d: revoked %v, %v", i, revoked, err)
			}
			if n := before - list.Kept(); n > atOnce {
				t.Fatalf("one caller forgets %d", n)
			}
			if i == 0 {
				if n := len(slices.Collect(list.All())); n != 0 {
					t.Errorf("%d that are over are listed", n)
				}
			}
		}
		if n := list.Kept(); n != 0 {
			t.Errorf("%d are kept for ever", n)
		}
	})
}

// When a client leaves, nothing holds on to its session: no timer until exp, no index.
func TestSessionIsCollected(t *testing.T) {
	var kept atomic.Int64
	s := start(t, socketiojwt.Options{
		ExpiryWarning: time.Minute,
		Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			user := new([64]byte)
			kept.Add(1)
			runtime.AddCleanup(user, func(struct{}) { kept.Add(-1) }, struct{}{})
			return user, nil
		},
	}, nil)
	for _, transport := range transports {
		c, must := s.enter(t, false, transport, tokenFor(t, "bob", time.Hour))
		must.Emit("/", "authenticate", map[string]string{"token": tokenFor(t, "bob", 2*time.Hour)})
		must.NextRaw(`42["authenticated"]`)
		c.Close()
		c, _ = s.enter(t, false, transport, tokenFor(t, "eve", time.Hour))
		s.auth.DisconnectSubject("eve", nil)
		<-c.Done()
	}
	eventually(t, "all is collected", func() bool {
		runtime.GC()
		return kept.Load() == 0
	})
	for session := range s.auth.Sessions() {
		t.Errorf("%v is left", session)
	}
}

// quickClaims expire to the millisecond.
type quickClaims struct {
	jwt.RegisteredClaims
	Millis int64 `json:"ms"`
}

func (c quickClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	return &jwt.NumericDate{Time: time.UnixMilli(c.Millis)}, nil
}

// Refresh, expiry, revocation, Disconnect and the client's own leaving race for each session. It
// ends once, by one of them, and nothing of it is left.
func TestEndsThatRace(t *testing.T) {
	list := socketiojwt.NewMemoryRevocations()
	var in, out atomic.Int64
	s := start(t, socketiojwt.Options{
		Revocations:   list,
		NewClaims:     func() jwt.Claims { return &quickClaims{} },
		MaxAttempts:   1000, // refreshes may come when their token has expired
		ExpiryWarning: 3 * time.Millisecond,
		UserRoom:      func(s *socketiojwt.Session) string { return s.Subject() },
	}, func(s *testServer) {
		for _, nsp := range []string{"/", "/a"} {
			s.OnConnect(nsp, func(socketio.Conn) error { in.Add(1); return nil })
			s.OnDisconnect(nsp, func(c socketio.Conn, _ string) {
				out.Add(1)
				if _, ok := s.auth.Session(c); !ok {
					t.Error("OnDisconnect without a session")
				}
			})
		}
	})
	token := func(sub string, life time.Duration) map[string]string {
		return map[string]string{"token": signWith(t, jwt.SigningMethodHS256, []byte(testSecret), quickClaims{
			jwt.RegisteredClaims{Subject: sub, ID: sub, IssuedAt: jwt.NewNumericDate(time.Now())}, time.Now().Add(life).UnixMilli(),
		})}
	}
	var clients sync.WaitGroup
	for n := range 40 {
		clients.Go(func() {
			sub, life := fmt.Sprint("user ", n), time.Duration(10+n%20)*time.Millisecond
			c, must := s.dial(t, siotest.Options{Transport: transports[n%3]})
			must.Join("/a")
			must.Emit("/", "authenticate", token(sub, time.Hour))
			must.Event("/", "authenticated")
			var racers sync.WaitGroup
			racers.Go(func() {
				for range 5 { // some come too late
					_ = c.Emit("/", "authenticate", token(sub, life))
				}
			})
			racers.Go(func() { s.auth.DisconnectSubject(fmt.Sprint("user ", n-n%7), nil) })
			racers.Go(func() {
				if n%3 == 0 {
					revoke(t, list, socketiojwt.Revocation{Subject: sub})
				}
			})
			racers.Go(func() {
				if n%4 == 0 {
					revoke(t, list, socketiojwt.Revocation{TokenID: sub})
				}
			})
			racers.Go(func() {
				if n%5 == 0 {
					s.auth.Disconnect(func(session *socketiojwt.Session) bool { return session.Subject() == sub }, nil)
				}
			})
			if n%7 == 1 {
				c.Abort()
			}
			racers.Wait()
			if n%2 == 0 { // the others expire
				s.auth.DisconnectSubject(sub, nil)
			}
			for life := 50 * time.Millisecond; ; life *= 2 { // on a busy machine it may come too late
				_ = c.Emit("/", "authenticate", token(sub, life))
				select {
				case <-c.Done():
					return
				case <-time.After(2 * life):
				}
			}
		})
	}
	clients.Wait()
	eventually(t, "the server has noticed that they left", func() bool {
		stats := s.auth.Stats()
		return stats.Active == 0 && stats.Pending == 0 && in.Load() == out.Load()
	})
	for session := range s.auth.Sessions() {
		t.Errorf("%v is left", session)
	}
	stats := s.auth.Stats()
	if stats.Authenticated != 40 {
		t.Errorf("stats %+v", stats)
	}
	if ends := stats.Expired + stats.Revoked + stats.Disconnected; ends > stats.Authenticated || stats.Expired == 0 || stats.Revoked == 0 || stats.Disconnected == 0 {
		t.Errorf("%d ended of %d: %+v", ends, stats.Authenticated, stats)
	}
	eventually(t, "the rooms are empty", func() bool { return len(s.Rooms("/")) == 0 && len(s.Rooms("/a")) == 0 })
}

// A session that ends before its handshake is through ends with the reason, too.
func TestDisconnectedWhileItIsWelcomed(t *testing.T) {
	s := start(t, socketiojwt.Options{Handshake: true}, nil)
	defer meanwhile(2, func() {
		s.auth.Disconnect(func(*socketiojwt.Session) bool { return true }, nil)
	})()
	for i := range 200 {
		_, must := s.dial(t, siotest.Options{Transport: "websocket", Query: withToken(tokenOf(t, "bob"))})
		rest := must.Rest()
		if n := len(rest); n < 2 || !strings.Contains(rest[n-2].Raw, `"code":"unauthorized"`) || rest[n-1].Raw != "41" {
			t.Fatalf("try %d: the client got %v", i, rest)
		}
	}
}

// KeepExpired lets sessions outlive their tokens. It lets nobody in on one that has expired, and
// that Revocations have forgotten by then.
func TestKeepExpiredAndRevokedWhileItIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := socketiojwt.NewMemoryRevocations()
		s := startAt(t, inMemory(t), socketiojwt.Options{
			KeepExpired: true,
			Revocations: list,
			Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
				time.Sleep(3 * time.Second)
				return nil, nil
			},
		}, nil)
		_, must := s.dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		exp := time.Now().Add(2 * time.Second)
		must.Emit("/", "authenticate", map[string]string{"token": signHS256(t, jwt.MapClaims{"jti": "one", "exp": exp.Unix()})})
		time.Sleep(time.Second)
		revoke(t, list, socketiojwt.Revocation{TokenID: "one", Until: exp})
		ended(t, must.Rest(), "invalid_token", "jwt expired")
	})
}

// What is still to be done for a socket whose session has ended is done in the name of that one, also
// when the connection has another by then.
func TestOnDisconnectFindsTheSessionThatEnded(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	left := make(chan string, 2)
	s := start(t, socketiojwt.Options{
		Handshake: true,
		Accept: func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
			if sub, _ := token.Claims.GetSubject(); sub == "eve" {
				close(asked)
				<-release
			}
			return nil, nil
		},
	}, func(s *testServer) {
		for _, name := range []string{"/a", "/b"} {
			s.OnDisconnect(name, func(c socketio.Conn, _ string) {
				session, _ := s.auth.Session(c)
				left <- name + " " + session.Subject()
			})
		}
	}, "/a", "/b")
	c, must := s.dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	must.Send("40/a?token=" + tokenOf(t, "bob"))
	must.NextRaw("40/a")
	must.Send("40/b?token=" + tokenOf(t, "eve"))
	<-asked
	s.auth.DisconnectSubject("bob", nil)
	close(release)
	unauthorized(t, must.Next(), "unauthorized", "unauthorized")
	must.NextRaw("41/a")
	must.NextRaw("40/b")
	c.Close()
	for _, want := range []string{"/a bob", "/b eve"} {
		if got := <-left; got != want {
			t.Errorf("OnDisconnect found %q, want %q", got, want)
		}
	}
}

// slowRevocations take their time to say no.
type slowRevocations struct{ socketiojwt.Revocations }

func (slowRevocations) Revoked(context.Context, *jwt.RegisteredClaims) (bool, error) {
	time.Sleep(10 * time.Millisecond)
	return false, nil
}

// Clients get in while others are revoked all the time. Who is meant is checked again, but no
// longer than Timeout.
func TestRevocationsThatNeverCease(t *testing.T) {
	for name, test := range map[string]struct {
		sub  string
		want string
	}{
		"of others": {"eve", `["authenticated"]`},
		"of bob":    {"bob", `"code":"server_busy"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := slowRevocations{socketiojwt.NewMemoryRevocations()}
				s := startAt(t, inMemory(t), socketiojwt.Options{Revocations: list, Timeout: time.Second}, nil)
				defer meanwhile(1, func() {
					<-time.After(time.Millisecond)
					revoke(t, list, socketiojwt.Revocation{Subject: test.sub})
				})()
				c, must := s.dial(t, siotest.Options{Transport: "websocket"})
				defer c.Close()
				must.NextRaw("40")
				began := time.Now()
				must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
				p := must.Next()
				if took := time.Since(began); !strings.Contains(p.Raw, test.want) || took > 1100*time.Millisecond {
					t.Errorf("got %s after %v", p.Raw, took)
				}
			})
		})
	}
}

// Who leaves the protected root before the session is there does not stay without one, which would
// never end.
func TestLeavingTheRootBeforeTheSession(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	var times atomic.Int64
	list := socketiojwt.NewMemoryRevocations()
	auth := mustAuthorize(t, socketiojwt.Options{
		Handshake: true,
		Revocations: lameRevocations{list, func() (bool, error) {
			if times.Add(1) == 2 { // after the gate's
				close(asked)
				<-release
			}
			return false, nil
		}},
		Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			revoke(t, list, socketiojwt.Revocation{Subject: "bob"})
			return nil, nil
		},
	})
	// Of a root of ours the client hears when it is in. go-socket.io's says CONNECT before.
	server := socketio.NewServer(hardened())
	server.OnConnect("/", auth.OnConnect)
	server.OnDisconnect("/", auth.OnDisconnect)
	at := loopback(t)
	serve(t, server, at, auth.Handler(server))
	defer close(release)
	_, must := dial(t, at, siotest.Options{Transport: "websocket", Query: withToken(tokenOf(t, "bob"))})
	must.NextRaw("40")
	<-asked
	must.Send("41")
	expect(t, must.Rest())
}

// The verdict of the gate is no answer to a namespace that is joined much later: the token may have
// been revoked by another node, and nobody knows.
func TestVerdictDoesNotKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		auth := mustAuthorize(t, socketiojwt.Options{
			Handshake: true,
			Revocations: lameRevocations{socketiojwt.NewMemoryRevocations(), func() (bool, error) {
				if away.Load() {
					return false, errors.New("no connection")
				}
				return false, nil
			}},
		})
		server := socketio.NewServer(hardened())
		server.OnConnect("/", func(socketio.Conn) error { return nil })
		server.OnConnect("/admin", auth.OnConnect)
		at := inMemory(t)
		serve(t, server, at, auth.Handler(server))
		c, must := dial(t, at, siotest.Options{Transport: "websocket", Query: withToken(tokenOf(t, "bob"))})
		must.NextRaw("40")
		time.Sleep(time.Hour)
		away.Store(true)
		must.Join("/admin")
		must.NextRaw("44/admin," + e("server_busy", "server busy"))
		c.Close()
	})
}

// Trouble with Revocations does not use up the attempts of who tries to stay.
func TestRefreshWhileRevocationsAreAway(t *testing.T) {
	var away atomic.Bool
	s := start(t, socketiojwt.Options{MaxAttempts: 2, Revocations: lameRevocations{socketiojwt.NewMemoryRevocations(), func() (bool, error) {
		if away.Load() {
			return false, errors.New("no connection")
		}
		return false, nil
	}}}, nil)
	token := map[string]string{"token": tokenOf(t, "bob")}
	c, must := s.enter(t, false, "websocket", token["token"])
	away.Store(true)
	for range 3 {
		must.Emit("/", "authenticate", token)
		unauthorized(t, must.Next(), "server_busy", "server busy")
	}
	away.Store(false)
	must.Emit("/", "authenticate", token)
	must.NextRaw(`42["authenticated"]`)
	c.Close()
}

// After the disconnect of a namespace comes no broadcast of it.
func TestNoBroadcastAfterTheEnd(t *testing.T) {
	s := start(t, socketiojwt.Options{}, func(s *testServer) {
		s.OnConnect("/", func(socketio.Conn) error { return nil })
		s.OnConnect("/a", func(socketio.Conn) error { return nil })
		s.OnEvent("/", "late", func(c socketio.Conn) { c.Emit("later") })
	}, "/a")
	defer meanwhile(4, func() {
		<-time.After(time.Microsecond)
		s.BroadcastToNamespace("/a", "news")
	})()
	for range 200 {
		c, must := s.dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Join("/a")
		must.NextRaw("40/a")
		must.Emit("/a", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
		must.Event("/a", "news")
		s.auth.DisconnectSubject("bob", nil)
		if _, err := c.Wait(t.Context(), func(p siotest.Packet) bool { return p.Raw == "41/a" }); err != nil {
			t.Fatal(err)
		}
		must.Emit("/", "late")
		for p := must.Next(); p.Raw != `42["later"]`; p = must.Next() {
			t.Errorf("then came %s", p.Raw)
		}
		c.Close()
	}
}

// What still runs for a socket that has ended does not take its successor out of the rooms.
func TestSuccessorWaitsForHandlers(t *testing.T) {
	s := start(t, socketiojwt.Options{Handshake: true}, func(s *testServer) {
		s.OnConnect("/", func(socketio.Conn) error { return nil })
		s.OnConnect("/a", func(c socketio.Conn) error { c.Join("mine"); return nil })
		s.OnEvent("/a", "echo", func(_ socketio.Conn, text string) string { return text })
	}, "/a")
	c, must := s.dial(t, siotest.Options{Transport: "websocket", Query: withToken(tokenOf(t, "bob"))})
	must.NextRaw("40")
	must.Join("/a")
	must.NextRaw("40/a")
	must.Call("/a", "echo", "x")
	entered, release := make(chan struct{}), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		s.ForEach("/a", "mine", func(c socketio.Conn) {
			close(entered)
			<-release
			c.Join("late")
		})
	})
	<-entered
	s.auth.DisconnectSubject("bob", nil)
	must.Next()
	must.NextRaw("41/a")
	must.Join("/a")
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	must.NextRaw("40/a")
	running.Wait()
	must.Call("/a", "echo", "x")
	for room, want := range map[string]int{"mine": 1, "late": 0} {
		if n := s.RoomLen("/a", room); n != want {
			t.Errorf("%d in room %s", n, room)
		}
	}
	c.Close()
}

// The clock of an issuer may be ahead: what was used before a subject is revoked was issued before, and
// what says that it will be issued is too.
func TestRevocationAndAClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := socketiojwt.NewMemoryRevocations()
		s := startAt(t, inMemory(t), socketiojwt.Options{Handshake: true, Revocations: list}, chat)
		token := func(ahead time.Duration) string {
			return signHS256(t, jwt.MapClaims{"sub": "bob", "iat": time.Now().Add(ahead).Unix(), "exp": time.Now().Add(time.Hour).Unix()})
		}
		enter := func(token string) siotest.Must {
			_, must := s.dial(t, siotest.Options{Transport: "websocket", Query: withToken(token)})
			return must
		}
		must := enter(token(30 * time.Second))
		must.Event("/", "welcome")
		unused := token(30 * time.Second)
		time.Sleep(time.Second)
		if err := list.Add(t.Context(), socketiojwt.Revocation{Subject: "bob", Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		unauthorized(t, must.Event("/", "unauthorized"), "invalid_token", "jwt revoked")
		must.NextRaw("41")
		enter(unused).NextRaw("44" + e("invalid_token", "jwt revoked"))
		time.Sleep(2 * time.Second)
		enter(token(0)).Event("/", "welcome")
		enter(token(10 * time.Second)).NextRaw("44" + e("invalid_token", "jwt revoked")) // nobody can tell
		time.Sleep(time.Minute)
		enter(token(time.Second)).Event("/", "welcome") // no clock is that far ahead
		enter(token(2 * time.Minute)).NextRaw("44" + e("invalid_token", "jwt revoked"))
	})
}
