//go:build unix

package redisadapter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/redistest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/redisadapter"
	"github.com/gomodule/redigo/redis"
)

// Local broadcasts go on while Redis is away, what was sent meanwhile is counted, and each change
// of state is one line.
func TestRedisIsKilled(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var dials atomic.Int64
	a := startNode(t, s, quick, func(o *redisadapter.Options) {
		o.Dial = func(ctx context.Context) (redis.Conn, error) {
			dials.Add(1)
			return s.Dial(ctx)
		}
	})
	b := startNode(t, s, quick)
	connected(t, a, b)
	near, far := a.enter("near"), b.enter("far")
	for round := 1; round <= 3; round++ {
		a.In("/").Emit("before", round)
		for _, must := range []siotest.Must{near, far} {
			heard(t, must, event("before", round))
		}
		s.Kill()
		eventually(t, "the node knows that Redis is gone", func() bool { return !a.adapter.Stats().Connected })
		eventually(t, "broadcasts are lost", func() bool {
			lost := a.adapter.Stats().Lost
			a.In("/", "user:nobody").Emit("lost")
			return a.adapter.Stats().Lost > lost
		})
		lost := a.adapter.Stats().Lost
		for range 10 {
			a.In("/").Emit("meanwhile")
			heard(t, near, `42["meanwhile"]`)
		}
		if got := a.adapter.Stats().Lost - lost; got != 10 {
			t.Errorf("%d are lost, want 10", got)
		}
		if _, err := a.In("/").CountAll(t.Context()); err == nil {
			t.Error("nodes were asked without Redis")
		}
		if err := a.In("/").SocketsJoin(t.Context(), "x"); err == nil {
			t.Error("nodes were told without Redis")
		}
		tries := dials.Load()
		eventually(t, "it tries again and again", func() bool { return dials.Load() >= tries+3 })
		s.Start()
		connected(t, a, b)
		if up, down := a.logged("redisadapter: connected"), a.logged("redisadapter: not connected"); up != round+1 || down != round {
			t.Fatalf("round %d: %d and %d lines:\n%v", round, up, down, a.log)
		}
	}
	silent(t, a, near, far)
	if n, err := a.In("/").CountAll(t.Context()); n != 2 || err != nil {
		t.Error(n, err)
	}
}

// Redis does not answer for less than the Timeout: everything arrives, late, once and in order.
func TestRedisPausesShortly(t *testing.T) {
	t.Parallel()
	s, a, b := twoNodes(t)
	near, far := a.enter("near"), b.enter("far")
	s.Pause()
	const n = 2000
	for i := range n {
		a.In("/").Emit("n", i)
	}
	for i := range n {
		heard(t, near, event("n", i)) // while Redis is paused
	}
	s.Resume()
	for i := range n {
		heard(t, far, event("n", i))
	}
	if stats := a.adapter.Stats(); stats.Lost != 0 {
		t.Errorf("%+v", stats)
	}
}

// Redis does not answer for longer: the queue holds what QueueBytes says, callers are never kept
// waiting, all is counted, and then the connection is another.
func TestRedisPausesLong(t *testing.T) {
	t.Parallel()
	s, a, b := twoNodes(t, quick, func(o *redisadapter.Options) { o.QueueBytes = 64 << 10 })
	near, far := a.enter("near"), b.enter("far")
	s.Pause()
	text := strings.Repeat("x", 1000)
	began := time.Now()
	for range 500 {
		a.In("/").Emit("big", text)
		near.Next()
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("500 broadcasts took %v", took)
	}
	eventually(t, "the node knows that Redis does not answer", func() bool { return !a.adapter.Stats().Connected })
	s.Resume()
	connected(t, a, b)
	stats := a.adapter.Stats()
	if stats.Sent+stats.Lost != 500 || stats.Lost < 400 {
		t.Errorf("%+v", stats)
	}
	if n := a.logged("messages are lost"); n != 1 {
		t.Errorf("%d lines:\n%v", n, a.log)
	}
	// Redis may have taken what this node has given up: it arrives, but not twice.
	a.In("/").Emit("end")
	heard(t, near, `42["end"]`)
	late := 0
	for p := far.Next(); p.Raw != `42["end"]`; p = far.Next() {
		late++
	}
	if late > 64 {
		t.Errorf("%d of the lost arrived", late)
	}
}

// A network that loses what is sent over connections that stay open.
func TestNetworkIsCut(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	link := startLink(t, s.Addr())
	a := startNode(t, s, quick, func(o *redisadapter.Options) {
		o.Dial = func(ctx context.Context) (redis.Conn, error) { return redis.DialContext(ctx, "tcp", link.addr) }
	})
	b := startNode(t, s, quick)
	connected(t, a, b)
	near, far := a.enter("near"), b.enter("far")
	link.cut()
	a.In("/").Emit("lost")
	heard(t, near, `42["lost"]`)
	eventually(t, "the node knows that it is cut off", func() bool { return !a.adapter.Stats().Connected })
	if stats := a.adapter.Stats(); stats.Lost != 1 {
		t.Errorf("%+v", stats)
	}
	link.mend()
	// That connection is another by now. The one that hears is, once it has missed an answer to
	// PING; Redis may count it until then.
	eventually(t, "each hears the other", func() bool {
		n, err := b.In("/").CountAll(t.Context())
		return n == 2 && err == nil
	})
	b.In("/").Emit("back")
	heard(t, near, `42["back"]`)
	heard(t, far, `42["back"]`)
	connected(t, a)
	a.In("/").Emit("forth")
	heard(t, far, `42["forth"]`)
}

// link is a network between a node and Redis.
type link struct {
	addr string
	to   string
	mu   sync.Mutex
	gone bool
	ends []net.Conn
}

func startLink(t *testing.T, to string) *link {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{addr: listener.Addr().String(), to: to}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			l.mu.Lock()
			l.ends = append(l.ends, client, server)
			l.mu.Unlock()
			running.Go(func() { l.carry(client, server) })
			running.Go(func() { l.carry(server, client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.mu.Lock()
		for _, conn := range l.ends {
			_ = conn.Close()
		}
		l.mu.Unlock()
		running.Wait()
	})
	return l
}

func (l *link) carry(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		gone := l.gone
		l.mu.Unlock()
		if gone {
			if err != nil {
				return
			}
			continue // it is lost, and nobody is told
		}
		if n > 0 {
			_, _ = to.Write(buffer[:n])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
}

// mend lets new connections through. Those of before end, as they do when a host knows nothing of
// them.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = false
	for _, conn := range l.ends {
		_ = conn.Close()
	}
	l.ends = nil
}

// A user of Redis that may not publish: what is refused is lost, and told of once.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := startNode(t, s)
	s.Do("ACL", "SETUSER", "deaf", "on", ">pw", "resetchannels", "&socket.io#/#*", "&socket.io#/side#*", "&socket.io-request#/*", "&socket.io-response#/*", "&socket.io-node#*", "+ping", "+pubsub", "+subscribe", "+psubscribe", "-publish")
	a := startNode(t, s, func(o *redisadapter.Options) {
		o.Dial = func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", s.Addr(), redis.DialUsername("deaf"), redis.DialPassword("pw"))
		}
	})
	connected(t, a, b)
	near := a.enter("near")
	for range 5 {
		a.In("/").Emit("refused")
		heard(t, near, `42["refused"]`)
	}
	eventually(t, "they are counted", func() bool { return a.adapter.Stats().Lost == 5 })
	if n := a.logged("messages are lost"); n != 1 || a.logged("NOPERM") != 1 {
		t.Errorf("%d lines:\n%v", n, a.log)
	}
	// With the commands and channels that the package's documentation names, all works.
	s.Do("ACL", "SETUSER", "deaf", "+publish")
	if n, err := a.In("/").CountAll(t.Context()); n != 1 || err != nil {
		t.Error(n, err)
	}
	b.In("/").Emit("hi")
	heard(t, near, `42["hi"]`)
}

// What was broadcast before Close is sent, also what OnDisconnect says.
func TestCloseSends(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := startNode(t, s)
	far := b.enter("far")
	t.Run("", func(t *testing.T) {
		a := startNode(t, s)
		connected(t, a, b)
		for i := range 1000 {
			a.In("/").Emit("n", i)
		}
	})
	for i := range 1000 {
		heard(t, far, event("n", i))
	}
	if n, err := b.In("/").CountAll(t.Context()); n != 1 || err != nil {
		t.Error(n, err) // nobody is missing
	}
}

// Several goroutines broadcast to several rooms: each room hears each goroutine's in order.
func TestOrder(t *testing.T) {
	t.Parallel()
	_, a, b := twoNodes(t)
	rooms := []string{"x", "y"}
	var listeners []siotest.Must
	for _, room := range rooms {
		must := b.enter("in " + room)
		must.Call("/", "join", room)
		listeners = append(listeners, must)
	}
	const senders, n = 4, 1000
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for i := range n {
				a.In("/", rooms[i%2]).Emit("n", sender, i/2)
			}
		})
	}
	group.Wait()
	for _, must := range listeners {
		next := make([]int, senders)
		for range senders * n / 2 {
			var got []any
			p := must.Next()
			if err := json.NewDecoder(bytes.NewBufferString(p.Raw[2:])).Decode(&got); err != nil {
				t.Fatal(err)
			}
			sender, i := int(got[1].(float64)), int(got[2].(float64))
			if i != next[sender] {
				t.Fatalf("sender %d: got %d, want %d", sender, i, next[sender])
			}
			next[sender]++
		}
		if !slices.Equal(next, []int{n / 2, n / 2, n / 2, n / 2}) {
			t.Error(next)
		}
	}
}

func event(name string, args ...any) string {
	text, err := json.Marshal(append([]any{name}, args...))
	if err != nil {
		panic(err)
	}
	return "42" + string(text)
}
