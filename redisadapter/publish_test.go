//go:build unix

package redisadapter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/redistest"
	"github.com/go-socketiojwt/socketiojwt/redisadapter"
)

// slow is a Timeout that these tests do not wait for.
func slow(o *redisadapter.Options) { o.Timeout = time.Minute }

// within ends the test unless f returns in time.
func within(t *testing.T, most time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(most):
		t.Fatalf("%s takes more than %v", what, most)
	}
}

// What Redis has taken makes room in the queue.
func TestQueueEmpties(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := startNode(t, s, slow, func(o *redisadapter.Options) { o.QueueBytes = 10_000 })
	connected(t, n)
	for sent := range uint64(50) {
		n.In("/").Emit("x", strings.Repeat("x", 1000))
		eventually(t, "Redis has taken it", func() bool { return n.adapter.Stats().Sent == sent+1 || n.adapter.Stats().Lost > 0 })
	}
	if stats := n.adapter.Stats(); stats.Lost != 0 || stats.Sent != 50 {
		t.Errorf("stats %+v", stats)
	}
	n.In("/").Emit("x", strings.Repeat("x", 10_000))
	if stats := n.adapter.Stats(); stats.Lost != 1 {
		t.Errorf("more than QueueBytes: stats %+v", stats)
	}
}

// Whoever waits for other nodes does not wait on when Redis is gone: not for an answer, not for what is
// on its way, and not for what is in the queue.
func TestNobodyWaitsForARedisThatIsGone(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := startNode(t, s, slow)
	connected(t, n)
	silent := subscribe(t, s, "nothing")
	if err := silent.Subscribe("socket.io-request#/#"); err != nil { // it counts as a node, and never answers
		t.Fatal(err)
	}
	silent.ReceiveWithTimeout(patience)
	errs := make(chan error, 10)
	go func() {
		_, err := n.In("/").CountAll(t.Context())
		errs <- err
	}()
	eventually(t, "the question is asked", func() bool { return n.adapter.Stats().Sent == 1 })
	s.Pause()
	for range 5 {
		go func() { errs <- n.In("/").SocketsJoin(t.Context(), "x") }()
	}
	go func() { errs <- n.In("/", strings.Repeat("x", 2<<20)).SocketsJoin(t.Context(), "x") }()
	s.Kill()
	within(t, patience, "waiting for nobody", func() {
		for range 7 {
			if err := <-errs; err == nil {
				t.Error("no error")
			}
		}
	})
}

// Close waits for what is in the queue, and for nothing else.
func TestCloseIsQuick(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := startNode(t, s, slow)
	connected(t, n)
	n.In("/").Emit("last")
	within(t, patience, "Close", func() { _ = n.adapter.Close() })
	if stats := n.adapter.Stats(); stats.Sent != 1 || stats.Lost != 0 {
		t.Errorf("stats %+v", stats)
	}
}
