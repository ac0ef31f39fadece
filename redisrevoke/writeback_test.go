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

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/gomodule/redigo/redis"
)

// writeBack restarts a Redis under nodes that know n revocations. It returns how long new
// tokens are refused, from when Redis is there again until the last node lets them in, and how many
// entries the nodes write.
func writeBack(tb testing.TB, args []string, nodes, n int) (refused time.Duration, written int) {
	tb.Helper()
	s := startRedis(tb, args)
	s.fill(n, time.Now().Add(time.Hour))
	all := make([]*redisrevoke.Revocations, nodes)
	for i := range all {
		all[i] = s.revocations(tb)
		defer all[i].Close()
	}
	for _, r := range all {
		waitFor(tb, r)
	}
	s.Restart()
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

// revoked returns what the stream says, without what comes twice.
func (s *server) revoked() map[string]bool {
	s.tb.Helper()
	entries, err := redis.Values(s.Do("XRANGE", "socketiojwt:revocations", "-", "+"), nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	all := make(map[string]bool)
	for _, e := range entries {
		fields, err := redis.StringMap(e.([]any)[1], nil)
		if err != nil {
			s.tb.Fatal(err)
		}
		if text, ok := fields["revocation"]; ok {
			all[text] = true
		}
	}
	return all
}

// How long new tokens are refused, and how much is written, when Redis was restarted.
func BenchmarkWriteBack(b *testing.B) {
	for name, args := range map[string][]string{"forgets": forgets, "keeps": keeps} {
		for _, nodes := range []int{1, 20, 51} {
			b.Run(fmt.Sprintf("Redis %s, %d nodes, 10000 revocations", name, nodes), func(b *testing.B) {
				for b.Loop() {
					refused, written := writeBack(b, args, nodes, 10000)
					b.ReportMetric(refused.Seconds(), "s-refused")
					b.ReportMetric(float64(written), "entries")
				}
			})
		}
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
		eventually(t, "the other node has written all", func() bool { return len(s.revoked()) == n })
	})
	slow, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) {
			conn, err := s.Dial(ctx)
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
	s.Restart()
	waitFor(t, slow)
	if err := slow.Close(); err != nil {
		t.Error(err)
	}
	if got := adds.Load(); got > page {
		t.Errorf("the slow node wrote %d entries, want its first page of %d at most", got, page)
	}
}

// What waits to be written is written once the node knows what Redis holds, and not with every question until
// then: there would be more to read all the time.
func TestNothingIsWrittenWhileTheStreamIsRead(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	var holding, reading atomic.Bool
	var adds atomic.Int64
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	n := s.seen(new(logged), func(name string, args []any) error {
		switch {
		case name == "XADD":
			adds.Add(1)
		case name == "XREAD" && args[len(args)-1] == "0-0" && holding.Load():
			reading.Store(true)
			<-release
		}
		return nil
	})
	t.Cleanup(let) // before the node is closed
	waitFor(t, n)
	s.Kill()
	if n.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "one"})) == nil {
		t.Error("Add succeeded without Redis")
	}
	holding.Store(true)
	adds.Store(0)
	s.Start()
	eventually(t, "the node reads what there is", reading.Load)
	for range 20 {
		if check(n) == nil {
			t.Error("the node judges before it has read all")
		}
	}
	holding.Store(false)
	let()
	waitFor(t, n)
	if got := adds.Load(); got != 1 {
		t.Errorf("it was written %d times", got)
	}
}
