//go:build unix

package redisrevoke_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
)

// How often tokens that are revoked are tried while something happens to Redis.
const manyTries = 10_000

type dialer func(context.Context) (redis.Conn, error)

// trial is nodes that revoke tokens and try them on each other.
type trial struct {
	t     *testing.T
	nodes []*redisrevoke.Revocations
	log   logged

	tries   atomic.Int64
	mu      sync.Mutex
	known   []string        // what Add has said that all know
	longest []time.Duration // for which each node refused new tokens
}

// try revokes tokens on some nodes and tries each on all of them, while harm is done and until
// manyTries are over. No token is let in from when Add has said that all know. It returns for how long, at
// most, a node refused new tokens.
func try(t *testing.T, dials []dialer, harm func()) time.Duration {
	t.Helper()
	tr := &trial{t: t, longest: make([]time.Duration, len(dials))}
	defer func() {
		if t.Failed() {
			t.Log(tr.log.String())
		}
	}()
	for i, dial := range dials {
		r, err := redisrevoke.New(redisrevoke.Options{
			Dial:   dial,
			Logger: slog.New(slog.NewTextHandler(&tr.log, nil)).With("node", i),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		tr.nodes = append(tr.nodes, r)
	}
	for _, r := range tr.nodes {
		waitFor(t, r)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for i := range tr.nodes {
		for worker := range 4 {
			running.Go(func() { tr.revoke(ctx, i, worker) })
		}
		running.Go(func() { tr.enter(ctx, i) })
	}
	tr.until(manyTries / 4)
	harm()
	for _, r := range tr.nodes {
		waitFor(t, r)
	}
	tr.until(manyTries)
	stop()
	running.Wait()

	late, err := redisrevoke.New(redisrevoke.Options{Dial: dials[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	waitFor(t, late)
	for _, r := range append(tr.nodes, late) {
		for _, id := range tr.known {
			if revoked, err := r.Revoked(context.Background(), &jwt.RegisteredClaims{ID: id}); !revoked {
				t.Fatalf("at the end %s is revoked: %v, %v", id, revoked, err)
			}
		}
	}
	longest := slices.Max(tr.longest)
	t.Logf("%d tokens revoked, tried %d times; new tokens were refused for %v at most", len(tr.known), tr.tries.Load(), longest.Round(time.Millisecond))
	return longest
}

func (tr *trial) until(n int64) {
	tr.t.Helper()
	for tr.tries.Load() < n && !tr.t.Failed() { // on a busy machine they take long
		before := tr.tries.Load()
		eventually(tr.t, "more tokens are tried", func() bool { return tr.tries.Load() >= min(n, before+100) })
	}
}

// revoke revokes one token after another on a node, and tries each on all.
func (tr *trial) revoke(ctx context.Context, node, worker int) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("%d-%d-%d", node, worker, i)
		if tr.nodes[node].Add(ctx, lasting(socketiojwt.Revocation{TokenID: id})) != nil {
			time.Sleep(10 * time.Millisecond) // what fails is written later, and should not be too much
			continue
		}
		for n := range tr.nodes {
			tr.one(ctx, n, id)
		}
		tr.mu.Lock()
		tr.known = append(tr.known, id)
		id = tr.known[rand.N(len(tr.known))]
		tr.mu.Unlock()
		tr.one(ctx, rand.N(len(tr.nodes)), id)
	}
}

func (tr *trial) one(ctx context.Context, node int, id string) {
	revoked, err := tr.nodes[node].Revoked(ctx, &jwt.RegisteredClaims{ID: id})
	if !revoked && err == nil {
		tr.t.Errorf("%s is revoked, and node %d lets it in", id, node)
	}
	tr.tries.Add(1)
}

// enter notes for how long good tokens are refused.
func (tr *trial) enter(ctx context.Context, node int) {
	last := time.Now()
	for ctx.Err() == nil {
		if check(tr.nodes[node]) == nil {
			tr.longest[node] = max(tr.longest[node], time.Since(last))
			last = time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// within requires that no node refused new tokens for longer.
func within(t *testing.T, most, took time.Duration) {
	t.Helper()
	if took > most {
		t.Errorf("new tokens were refused for %v, want %v at most", took, most)
	}
}

func same(dial dialer, n int) (all []dialer) {
	for range n {
		all = append(all, dial)
	}
	return all
}
