//go:build unix

package redisrevoke_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/redistest"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
)

// What docs/redis.md says of how Redis has to be set up.

// works requires that nodes can do all they have to: read, ask, add, and remove what is over.
func works(t *testing.T, s *server, opts redisrevoke.Options) {
	t.Helper()
	a, b := startNode(t, s, opts), startNode(t, s, opts)
	a.ready(t)
	b.ready(t)
	a.add(t, socketiojwt.Revocation{TokenID: "one", Until: time.Now().Add(time.Second)})
	b.knows(t, "one")
	eventually(t, "it is forgotten", func() bool {
		revoked, err := b.revoked(jwt.RegisteredClaims{ID: "one"})
		return !revoked && err == nil
	})
	for _, n := range []*node{a, b} {
		if n.log.has("level=WARN")() {
			t.Error(n.log.String())
		}
	}
}

// The user needs these commands, and SELECT for another database.
func TestPermissions(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	allow := []any{
		"SETUSER", "node", "on", ">secret", "resetkeys", "~socketiojwt:revocations", "~socketiojwt:epoch", "-@all",
		"+eval", "+exists", "+get", "+info", "+set", "+time", "+xadd", "+xdel", "+xread",
	}
	s.Do("ACL", allow...)
	as := func(options ...redis.DialOption) redisrevoke.Options {
		options = append(options, redis.DialUsername("node"), redis.DialPassword("secret"))
		return redisrevoke.Options{Dial: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", s.Addr(), options...)
		}}
	}
	works(t, s, as())
	if _, err := as(redis.DialDatabase(1)).Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "select") {
		t.Errorf("another database without SELECT: %v", err)
	}
	s.Do("ACL", "SETUSER", "node", "+select")
	works(t, s, as(redis.DialDatabase(1)))
}

// In a Cluster both keys have to be in one slot.
func TestCluster(t *testing.T) {
	t.Parallel()
	s := newRedis(t, append([]string{"--cluster-enabled", "yes", "--cluster-port", redistest.FreePort(t)}, forgets...))
	s.Start()
	s.Do("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	eventually(t, "the Cluster is up", func() bool {
		info, err := redis.String(s.Do("CLUSTER", "INFO"), nil)
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	n := startNode(t, s, redisrevoke.Options{})
	eventually(t, "two slots are an error", n.log.has("CROSSSLOT"))
	works(t, s, redisrevoke.Options{Prefix: "{socketiojwt}"})
}
