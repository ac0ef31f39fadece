//go:build unix

package redisrevoke_test

import (
	"context"
	"testing"

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
	a, b := two(t, s, patient)
	token := func(issuer, n string) string {
		return sign(t, jwt.MapClaims{"iss": issuer, "sub": n, "jti": n, "sid": n})
	}
	_, mustSouth := b.enter(t, token("south", "1"))
	for n, r := range map[string]socketiojwt.Revocation{
		"1": {Issuer: "north", TokenID: "1"}, "2": {Issuer: "north", Subject: "2"},
		"3": {Issuer: "north", SID: "3"}, "4": {Identity: "north 4"},
	} {
		_, mustNorth := b.enter(t, token("north", n))
		_, mustBeside := b.enter(t, token("south", n))
		a.add(t, r)
		ended(t, mustNorth, "invalid_token")
		b.refused(t, token("north", n), saysRevoked)
		alive(t, mustBeside)
		b.enter(t, token("south", n))
	}
	if n, err := a.auth.DisconnectUser(context.Background(), "south 1", nil); n != 0 || err != nil {
		t.Errorf("%d ended there, %v", n, err)
	}
	ended(t, mustSouth, "unauthorized")
}
