//go:build unix

package redisrevoke_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
)

// A newer session on another node ends the older one. Of those that began while Redis was away one stays
// when it is back, the last.
func TestSingleSession(t *testing.T) {
	t.Parallel()
	s := startRedis(t, keeps)
	opts := redisrevoke.Options{FailOpen: true}
	a, b := startNode(t, s, opts, single), startNode(t, s, opts, single)
	a.ready(t)
	b.ready(t)
	bob := sign(t, jwt.MapClaims{"sub": "bob"})
	_, first := a.enter(t, bob)
	_, second := b.enter(t, bob)
	ended(t, first, "session_replaced")
	alive(t, second)

	s.Kill()
	_, third := a.enter(t, bob)
	_, fourth := b.enter(t, bob)
	ended(t, second, "session_replaced") // on its own node
	alive(t, third)
	s.Start()
	ended(t, third, "session_replaced")
	alive(t, fourth)
	if n := a.auth.Stats().Active + b.auth.Stats().Active; n != 1 {
		t.Errorf("%d sessions are left", n)
	}
}

// What narrows a revocation goes through Redis, too.
func TestNarrowRevocations(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	a, b := two(t, s)
	north := sign(t, jwt.MapClaims{"iss": "north", "sub": "42", "jti": "1", "sid": "s"})
	south := sign(t, jwt.MapClaims{"iss": "south", "sub": "42", "jti": "1", "sid": "s"})
	_, mustSouth := b.enter(t, south)
	for _, r := range []socketiojwt.Revocation{
		{Issuer: "north", TokenID: "1"}, {Issuer: "north", Subject: "42"}, {Issuer: "north", SID: "s"}, {Identity: "north 42"},
	} {
		r.Until = time.Now().Add(time.Second)
		_, mustNorth := b.enter(t, north)
		a.add(t, r)
		ended(t, mustNorth, "invalid_token")
		b.refused(t, north, saysRevoked)
		alive(t, mustSouth)
		eventually(t, "it is over", func() bool { return time.Now().After(r.Until) })
	}
	if n, err := a.auth.DisconnectUser(context.Background(), "south 42", nil); n != 0 || err != nil {
		t.Errorf("%d ended there, %v", n, err)
	}
	ended(t, mustSouth, "unauthorized")
}
