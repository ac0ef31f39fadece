package socketiojwt_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// A new session takes the place of the other one of its user, and of no one else's.
func TestSingleSession(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, handshake bool, transport string) {
		t.Parallel()
		s := harness.Start(t, socketiojwt.Options{Handshake: handshake, SingleSession: true}, func(s *harness.App) {
			s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
			s.OnEvent("/a", "x", func(socketio.Conn) {})
		})
		enter := func(raw string) siotest.Must {
			before := s.Auth.Stats().Authenticated
			o := siotest.Options{Transport: transport}
			if handshake {
				o.Query = harness.WithToken(raw)
			}
			_, must := s.Dial(t, o)
			must.NextRaw("40")
			if !handshake {
				must.Emit("/", "authenticate", map[string]string{"token": raw})
				must.NextRaw(`42["authenticated"]`)
			}
			harness.Eventually(t, "it has a session", func() bool { return s.Auth.Stats().Authenticated > before })
			return must
		}
		eve := enter(harness.TokenOf(t, "eve"))
		last := enter(harness.TokenOf(t, "bob"))
		for n := range 3 {
			next := enter(harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "jti": n}))
			ended(t, last.Rest(), "session_replaced", "session replaced")
			last = next
		}
		// Neither another namespace nor a newer token is a new session.
		last.Join("/a")
		last.NextRaw("40/a")
		last.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		last.NextRaw(`42["authenticated"]`)
		last.Call("/", "echo", "still here")
		eve.Call("/", "echo", "still here")
		harness.Eventually(t, "all are counted", func() bool {
			stats := s.Auth.Stats()
			return stats.Replaced == 3 && stats.Disconnected == 0 && stats.Active == 2
		})
	})
}

func TestSingleSessionNeedsIdentity(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true, SingleSession: true}, nil)
	_, must := s.Dial(t, siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.SignHS256(t, jwt.MapClaims{"id": 1}))})
	harness.Expect(t, must.Rest(), "44"+harness.Refusal("invalid_token", "jwt claim required"), "41")
}

// Two Authorizers of one connection share users, and do not take each other's session for that of
// another client.
func TestSingleSessionOfTwoAuthorizers(t *testing.T) {
	t.Parallel()
	opts := socketiojwt.Options{SingleSession: true, Revocations: socketiojwt.NewMemoryRevocations()}
	one, two := harness.Authorize(t, opts), harness.Authorize(t, opts)
	server := socketio.NewServer(socketiojwt.Harden(nil))
	sio := one.Protect(server, "/")
	sio.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	admin := two.Protect(server, "/admin")
	admin.OnEvent("/admin", "echo", func(_ socketio.Conn, text string) string { return text })
	at := harness.Loopback(t)
	harness.Serve(t, sio, at, sio)
	enter := func() siotest.Must {
		_, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.NextRaw(`42["authenticated"]`)
		must.Join("/admin")
		must.NextRaw("40/admin")
		must.Emit("/admin", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.NextRaw(`42/admin,["authenticated"]`)
		must.Call("/", "echo", "still here")
		must.Call("/admin", "echo", "still here")
		return must
	}
	first := enter()
	enter()
	if p := first.Next(); p.Type != siotest.Event {
		t.Errorf("got %s", p.Raw)
	}
	first.Rest()
}

// aheadRevocations are those of a node whose clock is an hour ahead.
type aheadRevocations struct{ socketiojwt.Revocations }

func (r aheadRevocations) Add(ctx context.Context, rev socketiojwt.Revocation) error {
	rev.IssuedBefore = rev.IssuedBefore.Add(time.Hour)
	return r.Revocations.Add(ctx, rev)
}

func (r aheadRevocations) Watch(f func(socketiojwt.Revocation)) {
	r.Revocations.Watch(func(rev socketiojwt.Revocation) {
		rev.IssuedBefore = rev.IssuedBefore.Add(-time.Hour)
		f(rev)
	})
}

// Whose clock is ahead makes nobody's later log-in the older one.
func TestSingleSessionWhenClocksDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := socketiojwt.NewMemoryRevocations()
		ahead := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{SingleSession: true, Revocations: aheadRevocations{list}}, nil)
		node := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{SingleSession: true, Revocations: list}, harness.Chat)
		_, first := ahead.Enter(t, false, "websocket", harness.TokenOf(t, "bob"))
		synctest.Wait() // node has heard
		_, second := node.Enter(t, false, "websocket", harness.TokenOf(t, "bob"))
		ended(t, first.Rest(), "session_replaced", "session replaced")
		synctest.Wait()
		second.NextRaw(`42["welcome","bob"]`)
		second.Call("/", "echo", "still here")
	})
}

// lateRevocations tell others after a second.
type lateRevocations struct{ socketiojwt.Revocations }

func (r lateRevocations) Add(ctx context.Context, rev socketiojwt.Revocation) error {
	time.Sleep(time.Second)
	return r.Revocations.Add(ctx, rev)
}

// The later one of two log-ins stays, also if they come at the same nanosecond, and if the first is given a newer
// token before its node has heard of the second.
func TestSingleSessionBeforeTheOtherIsHeardOf(t *testing.T) {
	t.Parallel()
	for _, apart := range []time.Duration{0, time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			opts := socketiojwt.Options{SingleSession: true, Revocations: lateRevocations{socketiojwt.NewMemoryRevocations()}}
			a, b := harness.StartAt(t, harness.InMemory(t), opts, nil), harness.StartAt(t, harness.InMemory(t), opts, harness.Chat)
			_, first := a.Enter(t, false, "websocket", harness.TokenOf(t, "bob"))
			time.Sleep(apart)
			_, second := b.Enter(t, false, "websocket", harness.TokenOf(t, "bob"))
			time.Sleep(apart)
			first.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			first.NextRaw(`42["authenticated"]`)
			time.Sleep(time.Minute)
			left := []int{a.Auth.Stats().Active, b.Auth.Stats().Active}
			if apart == 0 {
				if left[0]+left[1] != 1 {
					t.Errorf("%v sessions are left", left)
				}
				return
			}
			ended(t, first.Rest(), "session_replaced", "session replaced")
			second.NextRaw(`42["welcome","bob"]`)
			second.Call("/", "echo", "still here")
		})
	}
}

// Of log-ins at once on two nodes one stays, always, and hears nothing.
func TestSingleSessionOnTwoNodes(t *testing.T) {
	t.Parallel()
	list := socketiojwt.NewMemoryRevocations()
	opts := socketiojwt.Options{Handshake: true, SingleSession: true, Revocations: list}
	nodes := []*harness.App{harness.Start(t, opts, harness.Chat), harness.Start(t, opts, harness.Chat)}
	active := func() int { return nodes[0].Auth.Stats().Active + nodes[1].Auth.Stats().Active }
	for round := range 50 {
		token := harness.TokenOf(t, fmt.Sprint("user ", round))
		var logins sync.WaitGroup
		for n := range 4 {
			logins.Go(func() {
				_, must := nodes[n%2].Dial(t, siotest.Options{Transport: "websocket", Query: harness.WithToken(token)})
				// It may be replaced before it is in.
				if p := must.Next(); p.Raw != "40" && p.Raw != "44"+harness.Refusal("session_replaced", "session replaced") {
					t.Errorf("got %s", p.Raw)
				}
			})
		}
		logins.Wait()
		harness.Eventually(t, "one session is left", func() bool { return active() <= round+1 })
		if n := active(); n != round+1 {
			t.Fatalf("%d sessions of %d users", n, round+1)
		}
	}
	harness.Eventually(t, "150 sessions were replaced", func() bool {
		return nodes[0].Auth.Stats().Replaced+nodes[1].Auth.Stats().Replaced == 150
	})
}
