//go:build unix

package redisrevoke_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/gomodule/redigo/redis"
)

// writeBack restarts a Redis that forgets under nodes that know n revocations. It returns how long new
// tokens are refused, from when Redis is there again until the last node lets them in, and how many
// entries the nodes write.
func writeBack(tb testing.TB, nodes, n int) (refused time.Duration, written int) {
	tb.Helper()
	s := startRedis(tb, forgets)
	s.fill(n, time.Now().Add(time.Hour))
	all := make([]*redisrevoke.Revocations, nodes)
	for i := range all {
		all[i] = s.revocations(tb)
		defer all[i].Close()
	}
	for _, r := range all {
		waitFor(tb, r)
	}
	s.restart()
	began := time.Now()
	var waiting sync.WaitGroup
	for _, r := range all {
		waiting.Go(func() { waitFor(tb, r) })
	}
	waiting.Wait()
	refused = time.Since(began)
	_, calls, _ := strings.Cut(s.info("commandstats", "cmdstat_xadd"), "calls=")
	if _, err := fmt.Sscanf(calls, "%d", &written); err != nil {
		tb.Fatal(err)
	}
	return refused, written
}

// How long new tokens are refused, and how much is written, when Redis was restarted and has lost all.
func BenchmarkWriteBack(b *testing.B) {
	for _, nodes := range []int{1, 20, 51} {
		b.Run(fmt.Sprintf("%d nodes, 10000 revocations", nodes), func(b *testing.B) {
			for b.Loop() {
				refused, written := writeBack(b, nodes, 10000)
				b.ReportMetric(refused.Seconds(), "s-refused")
				b.ReportMetric(float64(written), "entries")
			}
		})
	}
}

// Nodes share the work of writing back: what one has written while another was slow, that one does not write
// again.
func TestWritingBackIsShared(t *testing.T) {
	t.Parallel()
	const n, page = 3500, 500
	s := startRedis(t, forgets)
	s.fill(n, time.Now().Add(time.Hour))
	var adds atomic.Int64
	hold := sync.OnceFunc(func() {
		eventually(t, "the other node has written all", func() bool { return s.length() > n })
	})
	slow, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) {
			conn, err := s.dial(ctx)
			return &lateConn{&heldConn{Conn: conn, hold: hold}, func() {}, &adds}, err
		},
		Timeout: 3 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fast := s.revocations(t)
	defer fast.Close()
	waitFor(t, slow)
	waitFor(t, fast)
	s.restart()
	waitFor(t, slow)
	if err := slow.Close(); err != nil {
		t.Error(err)
	}
	if got := adds.Load(); got > page {
		t.Errorf("the slow node wrote %d entries, want its first page of %d at most", got, page)
	}
}
