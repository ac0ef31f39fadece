//go:build unix

package redisrevoke_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
)

// What changes is logged once, however often it is noticed.

func (l *logged) times(part string) int { return strings.Count(l.String(), part) }

// A command that is forbidden breaks each connection that works otherwise.
func TestLogOfWhatIsForbidden(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	var dials atomic.Int64
	n := startNode(t, s, redisrevoke.Options{Dial: func(ctx context.Context) (redis.Conn, error) {
		dials.Add(1)
		return s.Dial(ctx)
	}})
	n.ready(t)
	again := s.cannot("xread")
	before := dials.Load()
	eventually(t, "the node has tried often", func() bool { return dials.Load() > before+10 })
	if got := n.log.times("redisrevoke: connected"); got != 1 {
		t.Errorf("%d lines say that it is connected, want that of the start", got)
	}
	if got := n.log.times("redisrevoke: not connected"); got != 1 {
		t.Errorf("%d lines say that it is not connected", got)
	}
	again()
	eventually(t, "it is connected", func() bool { return n.log.times("redisrevoke: connected") == 2 })
	if !n.log.has("failed=0")() || n.log.times("failed=") != 2 || n.log.times("failed=0") != 1 {
		t.Error("the log does not say how often it failed: ", n.log.String())
	}
}

// A Redis that is full takes nothing, and says so for each.
func TestLogOfWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	n := startNode(t, s, redisrevoke.Options{})
	n.ready(t)
	again := s.cannot("xadd")
	for i := range 20 {
		if n.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: fmt.Sprint(i)})) == nil {
			t.Error("Add succeeded")
		}
	}
	if got := n.log.times("Redis does not take revocations"); got != 1 {
		t.Errorf("%d lines", got)
	}
	again()
	eventually(t, "it is logged", n.log.has("Redis takes the revocations of this node again"))
	if got := s.length(); got != 21 {
		t.Errorf("%d entries, want all and that of the epoch", got)
	}
}

// aheadConn is to a Redis whose clock is ahead by more than a revocation lasts.
type aheadConn struct {
	redis.Conn
	by      time.Duration
	command string
}

func (c *aheadConn) Send(name string, args ...any) error {
	c.command = name
	return c.Conn.Send(name, args...)
}

// Receive shifts the times in replies to the script and to TIME, which are sent alone.
func (c *aheadConn) Receive() (any, error) {
	reply, err := c.Conn.Receive()
	list, ok := reply.([]any)
	if err != nil || !ok {
		return reply, err
	}
	switch {
	case c.command == "EVAL" && len(list) == 3:
		shift(list, c.by.Milliseconds(), 1, 2)
	case c.command == "TIME":
		shift(list, int64(c.by.Seconds()), 0)
	}
	return list, nil
}

func shift(list []any, by int64, at ...int) {
	for _, i := range at {
		n, err := redis.Int64(list[i], nil)
		if err != nil {
			panic(err)
		}
		list[i] = []byte(strconv.FormatInt(n+by, 10))
	}
}

// What is revoked for an hour stays so although it is two hours later for Redis, or was two hours ago.
func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			s := startRedis(t, forgets)
			log, removed := new(logged), atomic.Int64{}
			var shifted atomic.Int64
			shifted.Store(int64(by))
			r, err := redisrevoke.New(redisrevoke.Options{
				Dial: func(ctx context.Context) (redis.Conn, error) {
					conn, err := s.Dial(ctx)
					return &sendConn{&aheadConn{Conn: conn, by: time.Duration(shifted.Load())}, func(name string, args []any) error {
						if removes(name, args) {
							removed.Add(1)
						}
						return nil
					}}, err
				},
				Logger: slog.New(slog.NewTextHandler(log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			waitFor(t, r)
			for id, until := range map[string]time.Time{"hour": time.Now().Add(time.Hour), "second": time.Now().Add(time.Second)} {
				if err := r.Add(context.Background(), socketiojwt.Revocation{TokenID: id, Until: until}); err != nil {
					t.Error(err)
				}
			}
			if by > 0 {
				eventually(t, "what is over for both is removed", func() bool { return removed.Load() > 0 })
			} else {
				shifted.Store(0)
				eventually(t, "it is logged that the clocks agree", log.has("agree again"))
				if n := removed.Load(); n != 0 {
					t.Errorf("%d times something was removed that was not over for Redis", n)
				}
				eventually(t, "what is over for both is removed", func() bool { return removed.Load() > 0 })
			}
			eventually(t, "the rest stays", func() bool { return s.length() == 2 }) // and that of the epoch
			if revoked, err := r.Revoked(context.Background(), &jwt.RegisteredClaims{ID: "hour"}); !revoked {
				t.Errorf("revoked %v, %v", revoked, err)
			}
			if got := log.times("more than a minute apart"); got != 1 || !log.has("redis_is_ahead="+by.String())() {
				t.Errorf("%d lines: %s", got, log.String())
			}
		})
	}
}
