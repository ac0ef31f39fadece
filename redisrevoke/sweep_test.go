//go:build unix

package redisrevoke_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
)

// sendConn shows each command before it is sent. An error breaks the connection.
type sendConn struct {
	redis.Conn
	see func(name string, args []any) error
}

func (c *sendConn) Send(name string, args ...any) error {
	if err := c.see(name, args); err != nil {
		c.Conn.Close()
		return err
	}
	return c.Conn.Send(name, args...)
}

// seen starts a node whose commands are shown to see.
func (s *server) seen(log *logged, see func(name string, args []any) error) *redisrevoke.Revocations {
	s.tb.Helper()
	r, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) {
			conn, err := s.Dial(ctx)
			return &sendConn{conn, see}, err
		},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { r.Close() })
	return r
}

func (s *server) length() int {
	s.tb.Helper()
	n, err := redis.Int(s.Do("XLEN", "socketiojwt:revocations"), nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	return n
}

// removes reports whether a command removes entries. Nodes also ask for none, to see whether they may.
func removes(name string, args []any) bool { return name == "XDEL" && args[1] != "0-0" }

// What could not be removed from Redis is not forgotten, and removed later.
func TestSweepThatFails(t *testing.T) {
	t.Parallel()
	t.Run("the connection breaks", func(t *testing.T) {
		t.Parallel()
		s := startRedis(t, forgets)
		s.fill(100, time.Now().Add(500*time.Millisecond))
		var tries atomic.Int64
		s.seen(new(logged), func(name string, args []any) error {
			if removes(name, args) && tries.Add(1) <= 2 {
				return errors.New("broken on purpose")
			}
			return nil
		})
		eventually(t, "all is removed", func() bool { return s.length() == 1 })
	})
	t.Run("Redis refuses", func(t *testing.T) {
		t.Parallel()
		s := startRedis(t, forgets)
		s.Do("ACL", "SETUSER", "default", "-xdel")
		s.fill(100, time.Now().Add(500*time.Millisecond))
		log := new(logged)
		s.seen(log, func(string, []any) error { return nil })
		eventually(t, "it is logged", log.has("xdel"))
		if n := s.length(); n != 101 {
			t.Errorf("%d entries, want all, and that of the epoch", n)
		}
		s.Do("ACL", "SETUSER", "default", "+xdel")
		eventually(t, "all is removed", func() bool { return s.length() == 1 })
		eventually(t, "it is logged", log.has("Redis removes expired revocations again"))
		for _, line := range []string{"Redis does not remove expired revocations", "redisrevoke: connected"} {
			if n := log.times(line); n != 1 {
				t.Errorf("%q is logged %d times", line, n)
			}
		}
	})
}

// However much is over at once, Redis is not kept busy for long, and the node hears of what is added
// meanwhile.
func TestSweepInPages(t *testing.T) {
	t.Parallel()
	const many, most = 3500, 1000
	s := startRedis(t, forgets)
	s.fill(many, time.Now().Add(500*time.Millisecond))
	var mu sync.Mutex
	var names []string
	s.seen(new(logged), func(name string, args []any) error {
		mu.Lock()
		defer mu.Unlock()
		if name != "XDEL" || removes(name, args) {
			names = append(names, name)
		}
		if name == "XDEL" && len(args)-1 > most {
			t.Errorf("%d entries are removed by one command, want at most %d", len(args)-1, most)
		}
		return nil
	})
	eventually(t, "all is removed", func() bool { return s.length() == 1 })
	mu.Lock()
	defer mu.Unlock()
	removed := false // since the node last read
	for _, name := range names {
		switch {
		case name == "XREAD":
			removed = false
		case name == "XDEL" && removed:
			t.Fatal("two pages are removed without a look at what was added: ", names)
		case name == "XDEL":
			removed = true
		}
	}
	if !slices.Contains(names, "XDEL") {
		t.Error("nothing was removed by this node")
	}
}

// A node that starts judges when it has read the last page, and not before.
func TestStartInPages(t *testing.T) {
	t.Parallel()
	const many = 3500
	s := startRedis(t, forgets)
	s.fill(many, time.Now().Add(time.Hour))
	reads := make(chan struct{})
	release := sync.OnceFunc(func() { close(reads) })
	var pages atomic.Int64
	r := s.seen(new(logged), func(name string, args []any) error {
		if name == "XREAD" && pages.Add(1) == 3 {
			<-reads
		}
		return nil
	})
	t.Cleanup(release) // before the node is closed
	eventually(t, "the third page is asked for", func() bool { return pages.Load() >= 3 })
	for _, i := range []int{0, many - 1} {
		revoked, err := r.Revoked(context.Background(), &jwt.RegisteredClaims{ID: fmt.Sprintf("token-%020d", i)})
		if !revoked && err == nil {
			t.Error("the node judges before it has read all")
		}
	}
	release()
	waitFor(t, r)
	for i := range many {
		revoked, err := r.Revoked(context.Background(), &jwt.RegisteredClaims{ID: fmt.Sprintf("token-%020d", i)})
		if !revoked || err != nil {
			t.Fatalf("token %d: revoked %v, %v", i, revoked, err)
		}
	}
}
