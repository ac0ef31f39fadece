//go:build unix

package redisrevoke_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
)

// Failover, with the old master dead, gone, made a replica, or alive.

// withReplica starts a master and a replica of it.
func withReplica(t *testing.T, args ...string) (master, replica *server) {
	t.Helper()
	args = append(args, replicates...)
	master, replica = startRedis(t, args), newRedis(t, args)
	replica.Start()
	replica.follows(master)
	return master, replica
}

// startSentinel starts a sentinel that looks after a master with a replica.
func startSentinel(t *testing.T, master *server) (sentinel *server) {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Addr())
	sentinel = newRedis(t, nil)
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	err := os.WriteFile(config, fmt.Appendf(nil, `
sentinel monitor master %s %s 1
sentinel down-after-milliseconds master 1000
sentinel failover-timeout master 5000
`, host, port), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	sentinel.ConfigureBy(config, "--sentinel")
	sentinel.Start()
	eventually(t, "the sentinel knows the replica", func() bool {
		replicas, err := redis.Values(sentinel.Do("SENTINEL", "REPLICAS", "master"), nil)
		if err != nil || len(replicas) != 1 {
			return false
		}
		state, err := redis.StringMap(replicas[0], nil)
		return err == nil && state["flags"] == "slave" && state["master-link-status"] == "ok"
	})
	return sentinel
}

// No token that is revoked is let in while a sentinel puts another master in the place of one. One that
// was stopped, or was well, goes on as a master for some seconds.
func TestSentinel(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: 10,000 tries for each trouble take long")
	}
	for name, harm := range map[string]func(master, sentinel *server){
		"the master is killed": func(master, _ *server) { master.Kill() },
		"the master stands still, and goes on beside the other": func(master, sentinel *server) {
			master.Pause()
			sentinel.movesFrom(master)
			master.Resume()
		},
		"planned": func(master, sentinel *server) {
			sentinel.Do("SENTINEL", "FAILOVER", "master")
			sentinel.movesFrom(master)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, replica := withReplica(t)
			sentinel := startSentinel(t, master)
			dial := func(ctx context.Context) (redis.Conn, error) {
				return dialMaster(ctx, []string{sentinel.Addr()}, "master")
			}
			took := try(t, same(dial, 3), func() {
				harm(master, sentinel)
				replica.isFollowedBy(3)
			})
			within(t, 15*time.Second, took)
		})
	}
}

// movesFrom waits until a sentinel names another master.
func (s *server) movesFrom(master *server) {
	s.tb.Helper()
	eventually(s.tb, "there is another master", func() bool {
		addr, err := redis.Strings(s.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "master"), nil)
		return err == nil && net.JoinHostPort(addr[0], addr[1]) != master.Addr()
	})
}

// isFollowedBy waits until so many nodes follow what is added there.
func (s *server) isFollowedBy(nodes int) {
	s.tb.Helper()
	eventually(s.tb, fmt.Sprintf("%d nodes follow", nodes), func() bool {
		conn, err := s.Dial(context.Background())
		if err != nil {
			return false
		}
		defer conn.Close()
		clients, err := redis.String(conn.Do("CLIENT", "LIST", "TYPE", "normal")) // a sentinel may close that
		return err == nil && strings.Count(clients, "cmd=xread") == nodes
	})
}

// anyMaster leads to the first that says that it is a master.
func anyMaster(servers ...*server) dialer {
	return func(ctx context.Context) (redis.Conn, error) {
		for _, s := range servers {
			conn, err := s.Dial(ctx)
			if err != nil {
				continue
			}
			role, err := redis.Values(conn.Do("ROLE"))
			if err == nil && string(role[0].([]byte)) == "master" {
				return conn, nil
			}
			conn.Close()
		}
		return nil, errors.New("there is no master")
	}
}

// Without a sentinel.
func TestReplication(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: 10,000 tries for each trouble take long")
	}
	t.Run("FAILOVER", func(t *testing.T) {
		t.Parallel()
		master, replica := withReplica(t)
		within(t, 10*time.Second, try(t, same(anyMaster(master, replica), 3), func() {
			master.Do("FAILOVER")
			replica.isFollowedBy(3)
		}))
	})
	t.Run("a demotion", func(t *testing.T) {
		t.Parallel()
		master, replica := withReplica(t)
		within(t, 10*time.Second, try(t, same(anyMaster(replica, master), 3), func() {
			replica.promote()
			master.follows(replica)
			replica.isFollowedBy(3)
		}))
	})
	// No connection is lost, and nodes are led to the new master one after another.
	t.Run("the old master goes on", func(t *testing.T) {
		t.Parallel()
		master, replica := withReplica(t)
		var moved [3]atomic.Bool
		var dials []dialer
		for i := range moved {
			dials = append(dials, func(ctx context.Context) (redis.Conn, error) {
				if moved[i].Load() {
					return replica.Dial(ctx)
				}
				return master.Dial(ctx)
			})
		}
		within(t, 10*time.Second, try(t, dials, func() {
			replica.promote()
			for i := range moved {
				moved[i].Store(true)
				time.Sleep(200 * time.Millisecond)
			}
			replica.isFollowedBy(3)
		}))
		if role := master.info("replication", "role"); role != "master" {
			t.Errorf("the old master is a %s", role)
		}
	})
}

// What happens to a Redis that is alone.
func TestTriesWhileRedisIsHarmed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: 10,000 tries for each trouble take long")
	}
	for name, harm := range map[string]func(*server){
		"restart":       (*server).Restart,
		"restart twice": func(s *server) { s.Restart(); s.Restart() },
		"pause":         func(s *server) { s.Pause(); time.Sleep(1500 * time.Millisecond); s.Resume() },
		"connections closed": func(s *server) {
			for range 20 {
				s.hangUp()
				time.Sleep(20 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRedis(t, forgets)
			within(t, 10*time.Second, try(t, same(s.Dial, 2), func() { harm(s) }))
		})
	}
	t.Run("black holes", func(t *testing.T) {
		t.Parallel()
		s := startRedis(t, forgets)
		p := startProxy(t, s.Addr())
		within(t, 4*time.Second, try(t, []dialer{p.dial, s.Dial}, func() {
			for range 3 {
				p.forget()
				time.Sleep(time.Second)
			}
		}))
	})
}

// Both connections of a node stay open, to a master that another has replaced. It moves to where Dial
// leads, with what it knows.
func TestOldMasterThatLosesNoConnection(t *testing.T) {
	t.Parallel()
	master, replica := withReplica(t)
	var current atomic.Pointer[server]
	current.Store(master)
	n := startNode(t, master, redisrevoke.Options{Dial: func(ctx context.Context) (redis.Conn, error) {
		return current.Load().Dial(ctx)
	}})
	n.ready(t)
	replica.promote()
	n.add(t, socketiojwt.Revocation{TokenID: "one"})
	current.Store(replica)
	other := startNode(t, replica, redisrevoke.Options{})
	other.knows(t, "one")
	other.ready(t)
	other.addAtLast(t, socketiojwt.Revocation{TokenID: "two"})
	if revoked, err := n.revoked(jwt.RegisteredClaims{ID: "two"}); !revoked {
		t.Errorf("revoked %v, %v", revoked, err)
	}
}

// The answer to whoever asks, or adds, when the master has become a replica is that of the new master.
func TestFirstQuestionAfterDemotion(t *testing.T) {
	t.Parallel()
	for name, question := range map[string]func(n *node) error{
		"Add": func(n *node) error {
			return n.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "one"}))
		},
		"Revoked": func(n *node) error { return check(n.Revocations) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, replica := withReplica(t)
			n := startNode(t, master, redisrevoke.Options{Dial: anyMaster(replica, master)})
			n.ready(t)
			replica.promote()
			master.follows(replica)
			if err := question(n); err == nil || !strings.Contains(err.Error(), "is being read") && !strings.Contains(err.Error(), "lost data") {
				t.Errorf("got %v, want that the other Redis has yet to be read", err)
			}
		})
	}
}

// Of two masters, one that has fewer replicas left than min-replicas-to-write asks for is asked by nobody: a node that can reach no other lets nobody in, and says that others do not know
// what is revoked there.
func TestOneSideOnly(t *testing.T) {
	t.Parallel()
	master, replica := withReplica(t, "--min-replicas-max-lag", "2")
	third := newRedis(t, replicates) // is on the side of the old master
	third.Start()
	third.follows(master)
	master.Do("CONFIG", "SET", "min-replicas-to-write", 2)
	cut := startNode(t, master, redisrevoke.Options{})
	cut.ready(t)

	replica.promote()
	other := startNode(t, replica, redisrevoke.Options{})
	other.ready(t)
	other.add(t, socketiojwt.Revocation{TokenID: "one"})
	for range manyTries / 10 {
		if revoked, err := cut.revoked(jwt.RegisteredClaims{ID: "one"}); !revoked && err == nil {
			t.Fatal("a node that can reach only the old master lets in what is revoked")
		}
	}
	if err := cut.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "two"})); err == nil {
		t.Error("Add succeeded on the old master")
	}
	eventually(t, "it is logged", cut.log.has("min-replicas-to-write"))
	master.follows(replica)
	master.promote() // a replica may come back, and so may the master
	master.Do("CONFIG", "SET", "min-replicas-to-write", 0)
	cut.ready(t)
}
