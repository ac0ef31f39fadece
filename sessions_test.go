package socketiojwt_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

func TestDisconnect(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{}, harness.Chat)
	bob, bobsToo, eve := must(t, s, "bob"), must(t, s, "bob"), must(t, s, "eve")

	var subjects []string
	for session := range s.Auth.Sessions() {
		subjects = append(subjects, session.Subject())
	}
	slices.Sort(subjects)
	if got := fmt.Sprint(subjects); got != "[bob bob eve]" {
		t.Errorf("sessions of %s", got)
	}
	for range s.Auth.Sessions() {
		break
	}

	for _, nobody := range []string{"", "carol"} {
		if n := s.Auth.DisconnectSubject(nobody, nil); n != 0 {
			t.Errorf("%d sessions of %q ended", n, nobody)
		}
	}
	if n := s.Auth.DisconnectSubject("bob", nil); n != 2 {
		t.Errorf("%d sessions of bob ended", n)
	}
	ended(t, bob.Rest(), "unauthorized", "unauthorized")
	ended(t, bobsToo.Rest(), "unauthorized", "unauthorized")
	if n := s.Auth.DisconnectSubject("bob", nil); n != 0 {
		t.Errorf("%d sessions of bob ended twice", n)
	}

	isEve := func(session *socketiojwt.Session) bool { return session.Subject() == "eve" }
	if n := s.Auth.Disconnect(isEve, &socketiojwt.UnauthorizedError{Code: "maintenance", Message: "back soon"}); n != 1 {
		t.Errorf("%d sessions of eve ended", n)
	}
	ended(t, eve.Rest(), "maintenance", "back soon")
	if n := s.Auth.Disconnect(func(*socketiojwt.Session) bool { return true }, nil); n != 0 {
		t.Errorf("%d sessions left", n)
	}
	harness.Eventually(t, "all are counted", func() bool {
		stats := s.Auth.Stats()
		return stats.Disconnected == 3 && stats.Active == 0
	})
	must(t, s, "bob") // the token is still good
}

// A session is found by its subject whichever of its neighbours has gone before.
func TestDisconnectOneByOne(t *testing.T) {
	t.Parallel()
	for gone := range 4 {
		s := harness.Start(t, socketiojwt.Options{}, nil)
		for n := range 4 {
			s.Enter(t, false, "websocket", harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "jti": n}))
		}
		isIt := func(session *socketiojwt.Session) bool { return session.TokenID() == fmt.Sprint(gone) }
		if n := s.Auth.Disconnect(isIt, nil); n != 1 {
			t.Errorf("%d sessions of one token", n)
		}
		if n := s.Auth.DisconnectSubject("bob", nil); n != 3 {
			t.Errorf("%d sessions left when %d has gone", n, gone)
		}
	}
}

// A session that was refreshed while match looked at it is looked at again.
func TestDisconnectWhileItIsRefreshed(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{}, harness.Chat)
	c, must := s.Enter(t, false, "websocket", harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "jti": "old"}))
	must.NextRaw(`42["welcome","bob"]`)
	looks := 0
	n := s.Auth.Disconnect(func(session *socketiojwt.Session) bool {
		if looks++; looks == 1 {
			must.Emit("/", "authenticate", map[string]string{"token": harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "jti": "new"})})
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
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Revocations: socketiojwt.NewMemoryRevocations()}, func(s *harness.App) {
		s.OnConnect("/public", func(socketio.Conn) error { return nil })
	}, "/")
	_, must := s.Enter(t, false, "websocket", harness.TokenOf(t, "bob"))
	must.Join("/public")
	must.NextRaw("40/public")
	if n := s.Auth.DisconnectSubject("bob", nil); n != 1 {
		t.Errorf("%d ended", n)
	}
	harness.Unauthorized(t, must.Next(), "unauthorized", "unauthorized")
	must.NextRaw("41")
	harness.Expect(t, must.Rest(), "41/public")
}

// must connects a client and gets it in.
func must(t *testing.T, s *harness.App, sub string) siotest.Must {
	t.Helper()
	_, must := s.Enter(t, false, "websocket", harness.TokenOf(t, sub))
	must.NextRaw(fmt.Sprintf(`42["welcome",%q]`, sub))
	return must
}

func TestUserRoom(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Optional: true, UserRoom: func(s *socketiojwt.Session) string {
		switch s.Subject() {
		case "nobody":
			return ""
		case "mallory":
			panic("no room for mallory")
		}
		return "user:" + s.Subject()
	}}, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error { c.Emit("rooms", len(c.Rooms())); return nil })
	})
	connect := func(sub string) (*siotest.Client, siotest.Must) {
		c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Event("/", "rooms")
		if sub != "" {
			must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, sub)})
			must.NextRaw(`42["authenticated"]`)
		}
		return c, must
	}
	connect("")
	connect("nobody")
	connect("mallory")
	first, must1 := connect("bob")
	_, must2 := connect("bob")
	harness.Eventually(t, "bob's sockets are in his room", func() bool { return s.RoomLen("/", "user:bob") == 2 })
	s.BroadcastToRoom("/", "user:bob", "mail", 1)
	must1.NextRaw(`42["mail",1]`)
	must2.NextRaw(`42["mail",1]`)
	first.Close()
	harness.Eventually(t, "one left", func() bool { return s.RoomLen("/", "user:bob") == 1 })
	s.Auth.DisconnectSubject("bob", nil)
	harness.Eventually(t, "bob is offline", func() bool { return s.RoomLen("/", "user:bob") == 0 })
}

// When a client leaves, nothing holds on to its session: no timer until exp, no index.
func TestSessionIsCollected(t *testing.T) {
	var kept atomic.Int64
	s := harness.Start(t, socketiojwt.Options{
		ExpiryWarning: time.Minute,
		Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			user := new([64]byte)
			kept.Add(1)
			runtime.AddCleanup(user, func(struct{}) { kept.Add(-1) }, struct{}{})
			return user, nil
		},
	}, nil)
	for _, transport := range harness.Transports {
		c, must := s.Enter(t, false, transport, harness.TokenFor(t, "bob", time.Hour))
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenFor(t, "bob", 2*time.Hour)})
		must.NextRaw(`42["authenticated"]`)
		c.Close()
		c, _ = s.Enter(t, false, transport, harness.TokenFor(t, "eve", time.Hour))
		s.Auth.DisconnectSubject("eve", nil)
		<-c.Done()
	}
	harness.Eventually(t, "all is collected", func() bool {
		runtime.GC()
		return kept.Load() == 0
	})
	for session := range s.Auth.Sessions() {
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
	t.Parallel()
	list := socketiojwt.NewMemoryRevocations()
	var in, out atomic.Int64
	s := harness.Start(t, socketiojwt.Options{
		Revocations:   list,
		NewClaims:     func() jwt.Claims { return &quickClaims{} },
		MaxAttempts:   1000, // refreshes may come when their token has expired
		ExpiryWarning: 3 * time.Millisecond,
		UserRoom:      func(s *socketiojwt.Session) string { return s.Subject() },
	}, func(s *harness.App) {
		for _, nsp := range []string{"/", "/a"} {
			s.OnConnect(nsp, func(socketio.Conn) error { in.Add(1); return nil })
			s.OnDisconnect(nsp, func(c socketio.Conn, _ string) {
				out.Add(1)
				if _, ok := s.Auth.Session(c); !ok {
					t.Error("OnDisconnect without a session")
				}
			})
		}
	})
	token := func(sub string, life time.Duration) map[string]string {
		return map[string]string{"token": harness.Sign(t, jwt.SigningMethodHS256, []byte(harness.Secret), quickClaims{
			jwt.RegisteredClaims{Subject: sub, ID: sub, IssuedAt: jwt.NewNumericDate(time.Now())}, time.Now().Add(life).UnixMilli(),
		})}
	}
	var clients sync.WaitGroup
	for n := range 40 {
		clients.Go(func() {
			sub, life := fmt.Sprint("user ", n), time.Duration(10+n%20)*time.Millisecond
			c, must := s.Dial(t, siotest.Options{Transport: harness.Transports[n%3]})
			must.Join("/a")
			must.Emit("/", "authenticate", token(sub, time.Hour))
			must.Event("/", "authenticated")
			var racers sync.WaitGroup
			racers.Go(func() {
				for range 5 { // some come too late
					_ = c.Emit("/", "authenticate", token(sub, life))
				}
			})
			racers.Go(func() { s.Auth.DisconnectSubject(fmt.Sprint("user ", n-n%7), nil) })
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
					s.Auth.Disconnect(func(session *socketiojwt.Session) bool { return session.Subject() == sub }, nil)
				}
			})
			if n%7 == 1 {
				c.Abort()
			}
			racers.Wait()
			if n%2 == 0 { // the others expire
				s.Auth.DisconnectSubject(sub, nil)
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
	harness.Eventually(t, "the server has noticed that they left", func() bool {
		stats := s.Auth.Stats()
		return stats.Active == 0 && stats.Pending == 0 && in.Load() == out.Load()
	})
	for session := range s.Auth.Sessions() {
		t.Errorf("%v is left", session)
	}
	stats := s.Auth.Stats()
	if stats.Authenticated != 40 {
		t.Errorf("stats %+v", stats)
	}
	if ends := stats.Expired + stats.Revoked + stats.Disconnected; ends > stats.Authenticated || stats.Expired == 0 || stats.Revoked == 0 || stats.Disconnected == 0 {
		t.Errorf("%d ended of %d: %+v", ends, stats.Authenticated, stats)
	}
	harness.Eventually(t, "the rooms are empty", func() bool { return len(s.Rooms("/")) == 0 && len(s.Rooms("/a")) == 0 })
}

// A session that ends before its handshake is through ends with the reason, too.
func TestDisconnectedWhileItIsWelcomed(t *testing.T) {
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, nil)
	defer harness.Meanwhile(2, func() {
		s.Auth.Disconnect(func(*socketiojwt.Session) bool { return true }, nil)
	})()
	for i := range 100 {
		_, must := s.Dial(t, siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, "bob"))})
		rest := must.Rest()
		if n := len(rest); n < 2 || !strings.Contains(rest[n-2].Raw, `"code":"unauthorized"`) || rest[n-1].Raw != "41" {
			t.Fatalf("try %d: the client got %v", i, rest)
		}
	}
}

// What is still to be done for a socket whose session has ended is done in the name of that one, also
// when the connection has another by then.
func TestOnDisconnectFindsTheSessionThatEnded(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	left := make(chan string, 2)
	s := harness.Start(t, socketiojwt.Options{
		Handshake: true,
		Accept: func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
			if sub, _ := token.Claims.GetSubject(); sub == "eve" {
				close(asked)
				<-release
			}
			return nil, nil
		},
	}, func(s *harness.App) {
		for _, name := range []string{"/a", "/b"} {
			s.OnDisconnect(name, func(c socketio.Conn, _ string) {
				session, _ := s.Auth.Session(c)
				left <- name + " " + session.Subject()
			})
		}
	}, "/a", "/b")
	c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	must.Send("40/a?token=" + harness.TokenOf(t, "bob"))
	must.NextRaw("40/a")
	must.Send("40/b?token=" + harness.TokenOf(t, "eve"))
	<-asked
	s.Auth.DisconnectSubject("bob", nil)
	close(release)
	harness.Unauthorized(t, must.Next(), "unauthorized", "unauthorized")
	must.NextRaw("41/a")
	must.NextRaw("40/b")
	c.Close()
	for _, want := range []string{"/a bob", "/b eve"} {
		if got := <-left; got != want {
			t.Errorf("OnDisconnect found %q, want %q", got, want)
		}
	}
}

// Who leaves the protected root before the session is there does not stay without one, which would
// never end.
func TestLeavingTheRootBeforeTheSession(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	var times atomic.Int64
	list := socketiojwt.NewMemoryRevocations()
	auth := harness.Authorize(t, socketiojwt.Options{
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
	server := socketio.NewServer(socketiojwt.Harden(nil))
	server.OnConnect("/", auth.OnConnect)
	server.OnDisconnect("/", auth.OnDisconnect)
	at := harness.Loopback(t)
	harness.Serve(t, server, at, auth.Handler(server))
	defer close(release)
	_, must := harness.Dial(t, at, siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, "bob"))})
	must.NextRaw("40")
	<-asked
	must.Send("41")
	harness.Expect(t, must.Rest())
}

// After the disconnect of a namespace comes no broadcast of it.
func TestNoBroadcastAfterTheEnd(t *testing.T) {
	s := harness.Start(t, socketiojwt.Options{}, func(s *harness.App) {
		s.OnConnect("/", func(socketio.Conn) error { return nil })
		s.OnConnect("/a", func(socketio.Conn) error { return nil })
		s.OnEvent("/", "late", func(c socketio.Conn) { c.Emit("later") })
	}, "/a")
	defer harness.Meanwhile(4, func() {
		<-time.After(time.Microsecond)
		s.BroadcastToNamespace("/a", "news")
	})()
	for range 100 {
		c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Join("/a")
		must.NextRaw("40/a")
		must.Emit("/a", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.Event("/a", "news")
		s.Auth.DisconnectSubject("bob", nil)
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
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, func(s *harness.App) {
		s.OnConnect("/", func(socketio.Conn) error { return nil })
		s.OnConnect("/a", func(c socketio.Conn) error { c.Join("mine"); return nil })
		s.OnEvent("/a", "echo", func(_ socketio.Conn, text string) string { return text })
	}, "/a")
	c, must := s.Dial(t, siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, "bob"))})
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
	s.Auth.DisconnectSubject("bob", nil)
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
