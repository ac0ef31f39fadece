//go:build unix

package redisrevoke_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/gomodule/redigo/redis"
)

// Connections that end although Redis is well.

// Whoever comes first after Redis or a load balancer has closed the connections does not notice.
func TestConnectionsThatWereClosed(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	n := startNode(t, s, redisrevoke.Options{})
	n.ready(t)
	for i := range 10 {
		s.hangUp()
		if err := check(n.Revocations); err != nil {
			t.Errorf("the first token: %v", err)
		}
		s.hangUp()
		err := n.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: fmt.Sprint(i)}))
		if err != nil {
			t.Errorf("the first Add: %v", err)
		}
	}
}

// proxy is a load balancer in front of Redis.
type proxy struct {
	net.Listener
	to string

	mu    sync.Mutex
	pairs []*pair
	all   sync.WaitGroup
}

// pair is one connection through it.
type pair struct {
	near, far net.Conn
	lost      chan struct{} // closed: nothing gets through any more, and nobody is told
	lose      func()
}

func startProxy(tb testing.TB, to string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	p.all.Go(p.serve)
	tb.Cleanup(func() {
		l.Close()
		p.each(func(c *pair) { c.near.Close(); c.far.Close(); c.lose() })
		p.all.Wait()
	})
	return p
}

func (p *proxy) serve() {
	for {
		near, err := p.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.to)
		if err != nil {
			near.Close()
			continue
		}
		c := &pair{near: near, far: far, lost: make(chan struct{})}
		c.lose = sync.OnceFunc(func() { close(c.lost) })
		p.mu.Lock()
		p.pairs = append(p.pairs, c)
		p.mu.Unlock()
		p.all.Go(func() { c.copy(far, near) })
		p.all.Go(func() { c.copy(near, far) })
	}
}

func (c *pair) copy(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		select {
		case <-c.lost:
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) each(f func(*pair)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.pairs {
		f(c)
	}
}

// forget loses the connections there are. Those that come are good.
func (p *proxy) forget() { p.each(func(c *pair) { c.lose() }) }

func (p *proxy) dial(ctx context.Context) (redis.Conn, error) {
	return redis.DialContext(ctx, "tcp", p.Addr().String())
}

// A load balancer that forgets connections without a word keeps nobody out for longer than Timeout, and
// a second.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	p := startProxy(t, s.Addr())
	n := startNode(t, s, redisrevoke.Options{Dial: p.dial})
	n.ready(t)
	for range 3 {
		p.forget()
		began := time.Now()
		n.ready(t)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("tokens were refused for %v", took)
		}
	}
}
