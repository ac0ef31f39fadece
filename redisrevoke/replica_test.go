//go:build unix

package redisrevoke_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/redistest"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
)

// Redis whose data become those of another.

// replicates is a Redis that forgets, and gives its data to replicas at once.
var replicates = append([]string{"--repl-diskless-sync-delay", "0"}, forgets...)

// follows makes s a replica of another, and waits until it has the other's data.
func (s *server) follows(master *server) {
	s.tb.Helper()
	host, port, _ := net.SplitHostPort(master.Addr())
	s.Do("REPLICAOF", host, port)
	eventually(s.tb, "the replica has the data of its master", func() bool {
		return s.info("replication", "master_link_status") == "up"
	})
}

// promote makes s a master.
func (s *server) promote() { s.tb.Helper(); s.Do("REPLICAOF", "NO", "ONE") }

// lagging starts a second Redis that has what s holds, with its epoch, and is a master of its own from
// then on. ready waits for a node of s, as the epoch changes when the first replica comes.
func lagging(t *testing.T, s *server, ready func()) *server {
	t.Helper()
	other := newRedis(t, replicates)
	other.Start()
	other.follows(s)
	ready()
	eventually(t, "the replica has the epoch", func() bool {
		get := func(s *server) string { return fmt.Sprintf("%s", s.Do("GET", "socketiojwt:epoch")) }
		return get(s) == get(other)
	})
	other.promote()
	return other
}

// knows requires that a node never lets in a token that is revoked, and waits until it knows so.
func (n *node) knows(tb testing.TB, id string) {
	tb.Helper()
	eventually(tb, "the node knows", func() bool {
		revoked, err := n.revoked(jwt.RegisteredClaims{ID: id})
		if !revoked && err == nil {
			tb.Fatalf("the node accepts %s, which is revoked", id)
		}
		return revoked
	})
}

// Redis gets the data of a replica of its own that lagged, with the same epoch, and goes on as a
// master. No connection is lost by that.
func TestRedisTakesOverOtherData(t *testing.T) {
	t.Parallel()
	s := startRedis(t, replicates)
	a, b := two(t, s, redisrevoke.Options{})
	other := lagging(t, s, func() { a.ready(t) })
	b.ready(t)
	token := sign(t, jwt.MapClaims{"jti": "live"})
	_, must := b.enter(t, token)
	a.add(t, socketiojwt.Revocation{TokenID: "lost"})
	b.knows(t, "lost")

	s.follows(other)
	s.promote()
	c := startNode(t, s, redisrevoke.Options{})
	c.knows(t, "lost")
	for _, n := range []*node{a, b, c} {
		n.ready(t)
		n.knows(t, "lost")
	}
	alive(t, must)
	c.addAtLast(t, socketiojwt.Revocation{TokenID: "live"})
	ended(t, must, "invalid_token")
}

// A node that only has its connection of before sees that the data are others.
func TestRedisTakesOverOtherDataUnseen(t *testing.T) {
	t.Parallel()
	s := startRedis(t, replicates)
	var closed atomic.Bool
	n, err := redisrevoke.New(redisrevoke.Options{Dial: func(ctx context.Context) (redis.Conn, error) {
		if closed.Load() {
			return nil, errors.New("as it was told to")
		}
		return s.Dial(ctx)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	waitFor(t, n)
	other := lagging(t, s, func() { waitFor(t, n) })
	closed.Store(true)
	s.follows(other)
	s.promote()
	if err := check(n); err == nil {
		t.Error("the node judges by data of which it does not know what they lack")
	}
	closed.Store(false)
	waitFor(t, n)
}

// What a replica holds is not all that was added: new tokens are refused, and Add fails, also where
// the replica would take it.
func TestRedisIsAReplica(t *testing.T) {
	t.Parallel()
	for name, readOnly := range map[string]string{"read-only": "yes", "writable": "no"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRedis(t, append([]string{"--replica-read-only", readOnly}, replicates...))
			a, b := two(t, s, redisrevoke.Options{})
			good := sign(t, jwt.MapClaims{"jti": "good"})
			_, must := b.enter(t, good)
			// Its master is away, so it keeps what it has.
			s.Do("REPLICAOF", "127.0.0.1", redistest.FreePort(t))
			b.refused(t, good, saysBusy)
			if a.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "one"})) == nil {
				t.Error("Add succeeded on a replica")
			}
			eventually(t, "it is logged", a.log.has("redis is a replica"))
			c := startNode(t, s, redisrevoke.Options{})
			c.refused(t, good, saysBusy)
			eventually(t, "it is logged", c.log.has("redis is a replica"))
			if c.log.has(`msg="redisrevoke: connected"`)() {
				t.Error("a node that starts reads from a replica")
			}

			s.promote()
			for _, n := range []*node{a, b, c} {
				n.ready(t)
				n.knows(t, "one")
			}
			alive(t, must)
		})
	}
}

// The nodes move to a replica that lacked the last writes.
func TestFailover(t *testing.T) {
	t.Parallel()
	s := startRedis(t, replicates)
	var current atomic.Pointer[server]
	current.Store(s)
	dial := func(ctx context.Context) (redis.Conn, error) { return current.Load().Dial(ctx) }
	a, b := startNode(t, s, redisrevoke.Options{Dial: dial}), startNode(t, s, redisrevoke.Options{Dial: dial})
	a.ready(t)
	b.ready(t)
	other := lagging(t, s, func() { a.ready(t) })
	a.add(t, socketiojwt.Revocation{TokenID: "lost"})
	b.knows(t, "lost")

	current.Store(other)
	s.follows(other) // as a sentinel does with a master that comes back
	c := startNode(t, other, redisrevoke.Options{})
	c.knows(t, "lost")
	for _, n := range []*node{a, b, c} {
		n.ready(t)
		n.knows(t, "lost")
	}
	c.addAtLast(t, socketiojwt.Revocation{TokenID: "after"})
	a.knows(t, "after")
	b.knows(t, "after")
}

// A node whose two connections are to two masters moves to the one that Dial leads to, with what it
// knows.
func TestRedisIsTwo(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{"follow moves first": "cmd=xread", "serve moves first": "cmd=xdel"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := startRedis(t, forgets), startRedis(t, forgets)
			var current atomic.Pointer[server]
			current.Store(first)
			n := startNode(t, first, redisrevoke.Options{Dial: func(ctx context.Context) (redis.Conn, error) {
				return current.Load().Dial(ctx)
			}})
			n.ready(t)
			n.add(t, socketiojwt.Revocation{TokenID: "one"})
			other := startNode(t, second, redisrevoke.Options{})
			other.ready(t)

			current.Store(second)
			eventually(t, "one of the connections is cut", func() bool { return first.cut(command) })
			if command == "cmd=xread" {
				eventually(t, "it has moved", func() bool { return strings.Count(n.log.String(), "redisrevoke: connected") == 2 })
			}
			if err := n.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "two"})); err == nil {
				if revoked, err := other.revoked(jwt.RegisteredClaims{ID: "two"}); !revoked && err == nil {
					t.Error("Add succeeded, and another node accepts the token")
				}
			}
			for _, id := range []string{"one", "two"} {
				eventually(t, "the other node knows", func() bool {
					revoked, err := other.revoked(jwt.RegisteredClaims{ID: id})
					return revoked && err == nil
				})
			}
			n.ready(t)
		})
	}
}

// What an old master takes while the node reads what the new one holds is written there.
func TestAddWhileAnotherRedisIsRead(t *testing.T) {
	t.Parallel()
	first, second := startRedis(t, forgets), startRedis(t, forgets)
	var current atomic.Pointer[server]
	current.Store(first)
	var holding atomic.Bool
	reading, added := make(chan struct{}), make(chan struct{})
	n, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) {
			s := current.Load()
			conn, err := s.Dial(ctx)
			return &sendConn{conn, func(name string, args []any) error {
				switch {
				case name != "XREAD" || !holding.Load():
				case s == second:
					holding.Store(false)
					close(reading)
					<-added
				case args[0] != "BLOCK": // what Add has written is there
					current.Store(second)
					select {
					case <-reading:
					case <-added: // too late; Close waits for this
					}
				}
				return nil
			}}, err
		},
		Timeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	waitFor(t, n)
	holding.Store(true)
	err = n.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "one"}))
	close(added)
	if err != nil {
		t.Error(err)
	}
	eventually(t, "the new master has it", func() bool { return second.length() == 2 })
}

// cut closes a connection whose last command that was, and reports whether there is one.
func (s *server) cut(command string) bool {
	s.tb.Helper()
	clients, err := redis.String(s.Do("CLIENT", "LIST", "TYPE", "normal"), nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	for line := range strings.Lines(clients) {
		if strings.Contains(line, command) {
			id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
			s.Do("CLIENT", "KILL", "ID", id)
			return true
		}
	}
	return false
}
