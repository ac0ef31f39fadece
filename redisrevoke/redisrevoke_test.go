//go:build unix

package redisrevoke_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
)

// patient is for tests in which Redis answers always, but may take its time on a busy machine. What
// gets lost on the way is asked again within patience.
var patient = redisrevoke.Options{Timeout: patience / 4}

// two starts two nodes that accept new tokens.
func two(t *testing.T, s *server, opts redisrevoke.Options) (a, b *node) {
	t.Helper()
	a, b = startNode(t, s, opts), startNode(t, s, opts)
	a.ready(t)
	b.ready(t)
	return a, b
}

func TestRevocationOnAnotherNode(t *testing.T) {
	t.Parallel()
	a, b := two(t, startRedis(t, forgets), patient)
	token := func(sub, jti string) string {
		return sign(t, jwt.MapClaims{"sub": sub, "jti": jti, "iat": time.Now().Add(-time.Minute).Unix()})
	}
	one, other := token("bob", "one"), token("bob", "other")
	_, mustOne := b.enter(t, one)
	_, mustOther := b.enter(t, other)
	_, mustEve := b.enter(t, token("eve", "eve"))

	a.add(t, socketiojwt.Revocation{TokenID: "one"})
	b.refused(t, one, saysRevoked)
	ended(t, mustOne, "invalid_token")
	alive(t, mustOther)

	a.add(t, socketiojwt.Revocation{Subject: "bob", IssuedBefore: time.Now().Add(-30 * time.Second), Reason: &socketiojwt.UnauthorizedError{Code: "bye"}})
	b.refused(t, other, saysRevoked)
	ended(t, mustOther, "bye")
	alive(t, mustEve)
	_, mustNewer := b.enter(t, sign(t, jwt.MapClaims{"sub": "bob", "iat": time.Now().Unix()}))
	alive(t, mustNewer)

	a.kick(t, "eve", &socketiojwt.UnauthorizedError{Code: "kicked"})
	ended(t, mustEve, "kicked")
	_, mustEve = b.enter(t, token("eve", "eve")) // the token is still good
	alive(t, mustEve)
}

// When Add has returned, every node refuses, with many callers at once, too.
func TestStrict(t *testing.T) {
	t.Parallel()
	a, b := two(t, startRedis(t, forgets), patient)
	var all sync.WaitGroup
	for worker := range 20 {
		all.Go(func() {
			for i := range 20 {
				id := fmt.Sprint(worker, "-", i)
				if revoked, err := b.revoked(jwt.RegisteredClaims{ID: id}); revoked || err != nil {
					t.Errorf("%s: revoked %v, %v before it is", id, revoked, err)
				}
				a.add(t, socketiojwt.Revocation{TokenID: id})
				if revoked, err := b.revoked(jwt.RegisteredClaims{ID: id}); !revoked || err != nil {
					t.Errorf("%s: revoked %v, %v", id, revoked, err)
				}
			}
		})
	}
	all.Wait()
}

func TestRedisIsKilled(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"keeps its data": keeps, "loses its data": forgets} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRedis(t, args)
			a, b := two(t, s, redisrevoke.Options{})
			revoked, good := sign(t, jwt.MapClaims{"jti": "revoked"}), sign(t, jwt.MapClaims{"sub": "bob", "jti": "good"})
			_, must := b.enter(t, good)
			a.add(t, socketiojwt.Revocation{TokenID: "revoked"})
			a.kick(t, "eve", nil)
			b.refused(t, revoked, saysRevoked) // so it has read that

			s.Kill()
			for _, n := range []*node{a, b} {
				n.refused(t, revoked, saysRevoked)
				n.refused(t, good, saysBusy)
				eventually(t, "it is logged", n.log.has(`msg="redisrevoke: not connected" error=`))
			}
			alive(t, must)

			s.Start()
			c := startNode(t, s, redisrevoke.Options{})
			eventually(t, "the new node knows", func() bool {
				is, err := c.revoked(jwt.RegisteredClaims{ID: "revoked"})
				if !is && err == nil {
					t.Fatal("the new node accepts a token that is revoked")
				}
				return is
			})
			for _, n := range []*node{a, b, c} {
				n.ready(t)
				n.refused(t, revoked, saysRevoked)
				eventually(t, "it is logged", func() bool {
					want := 2
					if n == c {
						want = 1
					}
					return strings.Count(n.log.String(), `msg="redisrevoke: connected"`) == want
				})
			}
			if !b.log.has("lost data")() {
				t.Error("it is not logged that data may be lost")
			}
			alive(t, must)
			c.addAtLast(t, socketiojwt.Revocation{TokenID: "good"})
			ended(t, must, "invalid_token")
		})
	}
}

func TestRedisIsPaused(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	a, b := two(t, s, redisrevoke.Options{})
	token := sign(t, jwt.MapClaims{"jti": "one"})
	_, must := b.enter(t, token)

	s.Pause()
	began := time.Now()
	if _, err := b.revoked(jwt.RegisteredClaims{ID: "x"}); err == nil {
		t.Error("accepted without asking")
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v, want the Timeout of 1s", took)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := b.Revoked(ctx, &jwt.RegisteredClaims{ID: "x"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that of the context", err)
	}
	eventually(t, "it is logged", b.log.has("not connected"))
	b.refused(t, token, saysBusy)
	alive(t, must)
	s.Resume()

	b.ready(t)
	alive(t, must)
	b.enter(t, token)
	eventually(t, "the revocation is in Redis", func() bool {
		return a.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "one"})) == nil
	})
	ended(t, must, "invalid_token")
	b.refused(t, token, saysRevoked)
}

func TestRedisIsEmptied(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]any{
		"all":        {"FLUSHALL"},
		"the stream": {"DEL", "socketiojwt:revocations"}, // as when it is evicted
		"the epoch":  {"DEL", "socketiojwt:epoch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRedis(t, forgets)
			a, b := two(t, s, redisrevoke.Options{})
			token := sign(t, jwt.MapClaims{"jti": "live"})
			_, must := b.enter(t, token)
			a.add(t, socketiojwt.Revocation{TokenID: "revoked"})

			s.Do(command[0].(string), command[1:]...)
			_ = a.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "after"})) // does not hide the loss
			c := startNode(t, s, redisrevoke.Options{})
			eventually(t, "the new node is ready", func() bool {
				revoked, err := c.revoked(jwt.RegisteredClaims{ID: "revoked"})
				if !revoked && err == nil {
					t.Fatal("the new node accepts a token that is revoked")
				}
				return revoked
			})
			a.ready(t)
			b.ready(t)
			alive(t, must)
			c.ready(t)
			if revoked, err := c.revoked(jwt.RegisteredClaims{ID: "after"}); !revoked || err != nil {
				t.Errorf("revoked %v, %v", revoked, err)
			}
			c.addAtLast(t, socketiojwt.Revocation{TokenID: "live"})
			ended(t, must, "invalid_token")
		})
	}
}

// heldConn holds up the answers to XADD.
type heldConn struct {
	redis.Conn
	adding bool
	hold   func()
}

func (c *heldConn) Send(name string, args ...any) error {
	c.adding = c.adding || name == "XADD"
	return c.Conn.Send(name, args...)
}

func (c *heldConn) Receive() (any, error) {
	reply, err := c.Conn.Receive()
	if c.adding {
		c.adding = false
		c.hold()
	}
	return reply, err
}

// What Redis took and then lost is written back, also by a node that hears of the first after the
// second.
func TestRedisIsEmptiedWhileItAnswers(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	var log logged
	empty := sync.OnceFunc(func() {
		s.Do("FLUSHALL")
		eventually(t, "the node has seen it", log.has("restarted or has lost data"))
		eventually(t, "the node is connected again", func() bool { return strings.Count(log.String(), "redisrevoke: connected") == 2 })
	})
	a, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) {
			conn, err := s.Dial(ctx)
			return &heldConn{Conn: conn, hold: empty}, err
		},
		Timeout: 3 * time.Second,
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	eventually(t, "the node is connected", log.has("redisrevoke: connected"))
	err = a.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "one"}))
	if err == nil || !strings.Contains(err.Error(), "redis is new") {
		t.Errorf("Add returned %v, want that other nodes have yet to come", err)
	}
	b := startNode(t, s, redisrevoke.Options{})
	eventually(t, "the new node is ready", func() bool {
		revoked, err := b.revoked(jwt.RegisteredClaims{ID: "one"})
		if !revoked && err == nil {
			t.Fatal("the new node accepts a token that is revoked")
		}
		return revoked
	})
}

// lateConn holds up the first reply that says that there is nothing more in the stream.
type lateConn struct {
	redis.Conn
	hold func()
	adds *atomic.Int64
}

func (c *lateConn) Send(name string, args ...any) error {
	if name == "XADD" {
		c.adds.Add(1)
	}
	return c.Conn.Send(name, args...)
}

func (c *lateConn) Receive() (any, error) {
	reply, err := c.Conn.Receive()
	if reply == nil && err == nil {
		c.hold()
	}
	return reply, err
}

// What Redis took while the stream was being read is known to be there.
func TestAddWhileTheStreamIsRead(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	var log logged
	var adds atomic.Int64
	reading, added := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() { close(reading); <-added })
	r, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) {
			conn, err := s.Dial(ctx)
			return &lateConn{conn, hold, &adds}, err
		},
		Timeout: 10 * time.Second,
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	<-reading
	err = r.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "one"}))
	close(added)
	if err != nil {
		t.Error(err)
	}
	eventually(t, "the stream is read", log.has("redisrevoke: connected"))
	if err := r.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "two"})); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n := adds.Load(); n != 2 {
		t.Errorf("%d entries were written, want 2", n)
	}
}

// New tokens wait until all is written back, however long that takes.
func TestMuchIsWrittenBack(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	var slow atomic.Bool
	a, err := redisrevoke.New(redisrevoke.Options{Dial: func(ctx context.Context) (redis.Conn, error) {
		conn, err := s.Dial(ctx)
		return &heldConn{Conn: conn, hold: func() {
			if slow.Load() {
				time.Sleep(600 * time.Millisecond)
			}
		}}, err
	}, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	const many, adders = 3500, 100 // seven pages
	id := func(i int) string { return fmt.Sprint("token ", i) }
	var adding sync.WaitGroup
	for first := range adders {
		adding.Go(func() {
			for i := first; i < many; i += adders {
				if err := a.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: id(i)})); err != nil {
					t.Error(err)
				}
			}
		})
	}
	adding.Wait()

	slow.Store(true)
	s.Do("FLUSHALL")
	early := startNode(t, s, redisrevoke.Options{})
	time.Sleep(3500 * time.Millisecond)
	late := startNode(t, s, redisrevoke.Options{})
	for name, n := range map[string]*node{"early": early, "late": late} {
		n.ready(t)
		for i := range many {
			if revoked, err := n.revoked(jwt.RegisteredClaims{ID: id(i)}); !revoked || err != nil {
				t.Fatalf("the %s node: revoked %v, %v", name, revoked, err)
			}
		}
	}
}

func TestRedisComesLater(t *testing.T) {
	t.Parallel()
	s := newRedis(t, forgets)
	a, b := startNode(t, s, redisrevoke.Options{}), startNode(t, s, redisrevoke.Options{FailOpen: true})
	a.refused(t, sign(t, jwt.MapClaims{"jti": "good"}), saysBusy)
	one, eve := sign(t, jwt.MapClaims{"jti": "one"}), sign(t, jwt.MapClaims{"sub": "eve"})
	_, mustOne := b.enter(t, one)
	_, mustEve := b.enter(t, eve)

	for _, r := range []socketiojwt.Revocation{{TokenID: "one"}, {Subject: "eve", SessionsOnly: true}, {TokenID: "over", Until: time.Now()}} {
		err := a.Add(context.Background(), lasting(r))
		if err == nil || !strings.HasPrefix(err.Error(), "redisrevoke: in force on this node; the others follow when Redis has it: ") {
			t.Errorf("Add returned %v", err)
		}
	}
	a.refused(t, one, saysRevoked)
	alive(t, mustOne)

	s.Start()
	ended(t, mustOne, "invalid_token")
	ended(t, mustEve, "invalid_token")
	b.ready(t)
	b.refused(t, one, saysRevoked)
	b.enter(t, eve)
	eventually(t, "all is in Redis", func() bool {
		n, err := redis.Int(s.Do("XLEN", "socketiojwt:revocations"), nil)
		return n == 3 && err == nil // with that of the epoch, without the one that was over
	})
}

func TestFailOpen(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	n := startNode(t, s, redisrevoke.Options{FailOpen: true})
	n.add(t, socketiojwt.Revocation{TokenID: "known"})
	eventually(t, "it is connected", n.log.has("redisrevoke: connected"))
	known, unknown := sign(t, jwt.MapClaims{"jti": "known"}), sign(t, jwt.MapClaims{"jti": "unknown"})
	check := func() {
		t.Helper()
		n.refused(t, known, saysRevoked)
		n.enter(t, unknown)
	}
	s.Pause()
	check()
	s.Resume()
	s.Kill()
	check()
	if n.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "unknown"})) == nil {
		t.Error("Add succeeded without Redis")
	}
	n.refused(t, unknown, saysRevoked)
	s.Start()
	eventually(t, "it is written", func() bool {
		n, err := redis.Int(s.Do("XLEN", "socketiojwt:revocations"), nil)
		return n == 3 && err == nil
	})
}

// A user who was kicked and came back is not kicked again by what is read, or written, again.
func TestKickedOnce(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	a, b := two(t, s, redisrevoke.Options{})
	token := sign(t, jwt.MapClaims{"sub": "bob"})
	_, must := b.enter(t, token)
	a.kick(t, "bob", nil)
	ended(t, must, "unauthorized")
	_, mustA := a.enter(t, token)
	_, mustB := b.enter(t, token)
	for _, harm := range []func(){
		func() { s.Do("CLIENT", "KILL", "TYPE", "normal") },
		func() { s.Do("FLUSHALL") },
		s.Restart,
	} {
		harm()
		for _, n := range []*node{a, b} {
			n.ready(t)
		}
		a.addAtLast(t, socketiojwt.Revocation{TokenID: "a mark"})
		alive(t, mustA)
		alive(t, mustB)
	}
}

func TestForgotten(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	a, b := two(t, s, patient)
	a.add(t, socketiojwt.Revocation{TokenID: "short", Until: time.Now().Add(time.Second)})
	a.add(t, socketiojwt.Revocation{TokenID: "long"})
	if revoked, err := b.revoked(jwt.RegisteredClaims{ID: "short"}); !revoked || err != nil {
		t.Errorf("revoked %v, %v", revoked, err)
	}
	for _, n := range []*node{a, b} {
		eventually(t, "it is forgotten", func() bool {
			revoked, err := n.revoked(jwt.RegisteredClaims{ID: "short"})
			return !revoked && err == nil
		})
	}
	defer func() {
		if t.Failed() {
			t.Log(slices.Collect(maps.Keys(s.revoked())), a.log, b.log)
		}
	}()
	eventually(t, "it is not in Redis any more", func() bool {
		there := slices.Collect(maps.Keys(s.revoked()))
		return len(there) == 1 && strings.Contains(there[0], `"jti":"long"`)
	})
	if revoked, err := b.revoked(jwt.RegisteredClaims{ID: "long"}); !revoked || err != nil {
		t.Errorf("revoked %v, %v", revoked, err)
	}
}

// What somebody else wrote into Redis is skipped, or an error, and never the end.
func TestOddThingsInRedis(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	a, b := two(t, s, redisrevoke.Options{})
	odd := []string{
		``, `nonsense`, `null`, `[]`, `{}`, `{"id":7}`,
		`{"id":"x","until":"2999-01-01T00:00:00Z","issuedBefore":"2000-01-01T00:00:00Z"}`,
		`{"id":"x","jti":"victim","until":"2999-01-01T00:00:00Z"}`,
		`{"id":"x","jti":"victim","issuedBefore":"2000-01-01T00:00:00Z"}`,
		`{"jti":"victim","until":"2999-01-01T00:00:00Z","issuedBefore":"2000-01-01T00:00:00Z"}`,
		`{"id":"x","jti":"victim","sub":"victim","until":"2999-01-01T00:00:00Z","issuedBefore":"2000-01-01T00:00:00Z"}`,
	}
	for _, text := range odd {
		if redisrevoke.DecodeRecord([]byte(text)) == nil {
			t.Errorf("%s is taken", text)
		}
		s.Do("XADD", "socketiojwt:revocations", "*", "revocation", text)
	}
	s.Do("XADD", "socketiojwt:revocations", "*", "else", "x", "else", "y")
	a.add(t, socketiojwt.Revocation{TokenID: "one"})
	c := startNode(t, s, redisrevoke.Options{})
	c.ready(t)
	for _, n := range []*node{a, b, c} {
		if revoked, err := n.revoked(jwt.RegisteredClaims{ID: "one"}); !revoked || err != nil {
			t.Errorf("revoked %v, %v", revoked, err)
		}
		if revoked, err := n.revoked(jwt.RegisteredClaims{ID: "victim"}); revoked || err != nil {
			t.Errorf("revoked %v, %v", revoked, err)
		}
		eventually(t, "it is logged", n.log.has("entries that cannot be read are skipped"))
	}

	s.Do("SET", "socketiojwt:revocations", "not a stream")
	if _, err := b.revoked(jwt.RegisteredClaims{ID: "x"}); err == nil {
		t.Error("accepted without a stream")
	}
	if err := a.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "two"})); err == nil {
		t.Error("added without a stream")
	}
	s.Do("DEL", "socketiojwt:revocations")
	for _, id := range []string{"one", "two"} {
		eventually(t, "it is written back", func() bool {
			revoked, err := b.revoked(jwt.RegisteredClaims{ID: id})
			return revoked && err == nil
		})
	}
	s.Do("SET", "socketiojwt:epoch", "nonsense")
	b.ready(t)
}

func TestOddReplies(t *testing.T) {
	t.Parallel()
	list := func(items ...any) any { return items }
	id, fields := []byte("1-1"), list([]byte("revocation"), []byte("{}"))
	if err := redisrevoke.ParseEntries(list(list([]byte("key"), list(list(id, fields))))); err != nil {
		t.Error(err)
	}
	for _, odd := range []any{
		"", int64(1), []byte("x"), redis.Error("WRONGTYPE"), list(), list(nil), list(list(), list()), list(list(nil, nil)),
		list(list(nil, list(nil))),
		list(list(nil, list(list()))),
		list(list(nil, list(list(id)))),
		list(list(nil, list(list(nil, fields)))),
		list(list(nil, list(list(id, nil)))),
		list(list(nil, list(list(id, list(id))))),
		list(list(nil, list(list(id, list(nil, nil))))),
		list(list(nil, list(list([]byte("1"), fields)))),
		list(list(nil, list(list([]byte("-1-1"), fields)))),
		list(list(nil, list(list([]byte("1-18446744073709551616"), fields)))),
	} {
		if redisrevoke.ParseEntries(odd) == nil {
			t.Errorf("%q is taken", odd)
		}
	}
}

// A password that Dial puts into its error does not get into the log, nor to a caller.
func TestErrorsHoldNoPassword(t *testing.T) {
	t.Parallel()
	const password = "p%ssword" // which is no URL
	log := new(logged)
	r, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(context.Context) (redis.Conn, error) {
			return redis.DialURL("redis://:" + password + "@127.0.0.1:1")
		},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	eventually(t, "it is logged", log.has("not connected"))
	_, err = r.Revoked(context.Background(), &jwt.RegisteredClaims{})
	if text := fmt.Sprint(err) + log.String(); strings.Contains(text, password) || !strings.Contains(text, "wrong URL") {
		t.Error(text)
	}
}

func TestDialThatFails(t *testing.T) {
	for name, dial := range map[string]func(context.Context) (redis.Conn, error){
		"error":   func(context.Context) (redis.Conn, error) { return nil, errors.New("as it was told to") },
		"nothing": func(context.Context) (redis.Conn, error) { return nil, nil },
		"panic":   func(context.Context) (redis.Conn, error) { panic("as it was told to") },
		"stuck":   func(ctx context.Context) (redis.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := redisrevoke.New(redisrevoke.Options{Dial: dial, Timeout: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Revoked(context.Background(), &jwt.RegisteredClaims{}); err == nil {
				t.Error("accepted without asking")
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A Dial that ends its goroutine, as (*testing.T).FailNow does, does not end the node.
func TestDialThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	var dials atomic.Int64
	r, err := redisrevoke.New(redisrevoke.Options{Dial: func(ctx context.Context) (redis.Conn, error) {
		if dials.Add(1) <= 2 { // one for each goroutine
			runtime.Goexit()
		}
		return s.Dial(ctx)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	eventually(t, "it is connected", func() bool {
		_, err := r.Revoked(context.Background(), &jwt.RegisteredClaims{ID: "any"})
		return err == nil
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	s := startRedis(t, forgets)
	r, err := redisrevoke.New(redisrevoke.Options{Dial: s.Dial})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "one"})); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Revoked(context.Background(), &jwt.RegisteredClaims{ID: "two"}); err == nil {
		t.Error("Revoked judges after Close")
	}
	if err := r.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "two"})); err == nil {
		t.Error("Add succeeded after Close")
	}

	s.Kill()
	r, err = redisrevoke.New(redisrevoke.Options{Dial: s.Dial})
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Add(context.Background(), lasting(socketiojwt.Revocation{TokenID: "three"}))
	for range 2 {
		if err := r.Close(); err == nil || err.Error() != "redisrevoke: Close: 1 revocations of this node are not in Redis; other nodes do not know them" {
			t.Errorf("Close returned %v", err)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]redisrevoke.Options{
		"redisrevoke: Options.Dial is nil; ": {},
		"redisrevoke: Options.Timeout is -1s; ": {
			Dial: func(context.Context) (redis.Conn, error) { return nil, nil }, Timeout: -time.Second,
		},
	} {
		if _, err := redisrevoke.New(opts); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}

	// Lists with different prefixes are apart.
	s := startRedis(t, forgets)
	a, b := startNode(t, s, redisrevoke.Options{Prefix: "a"}), startNode(t, s, redisrevoke.Options{Prefix: "b"})
	a.ready(t)
	b.ready(t)
	a.add(t, socketiojwt.Revocation{TokenID: "one"})
	if revoked, err := b.revoked(jwt.RegisteredClaims{ID: "one"}); revoked || err != nil {
		t.Errorf("revoked %v, %v", revoked, err)
	}

	if err := a.Add(context.Background(), socketiojwt.Revocation{TokenID: "one"}); err == nil {
		t.Error("a revocation without Until is taken")
	}
	far := time.Now().AddDate(20000, 0, 0)
	if err := a.Add(context.Background(), socketiojwt.Revocation{TokenID: "far", Until: far}); err != nil {
		t.Error(err)
	}
	if err := a.Add(context.Background(), socketiojwt.Revocation{Subject: "far", IssuedBefore: far, Until: far}); err == nil {
		t.Error("a time that cannot be written is taken")
	}
}
