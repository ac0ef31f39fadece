//go:build unix

package redisrevoke_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
)

// A million takes minutes, so it has to be asked for.
var million = flag.Bool("million", false, "benchmark with 1,000,000 revocations, too")

func sizes() []int {
	n := []int{1000, 8000, 100000}
	if *million {
		n = append(n, 1000000)
	}
	return n
}

// fill writes n revocations as a node does.
func (s *server) fill(n int, until time.Time) {
	s.tb.Helper()
	conn, err := s.Dial(context.Background())
	if err != nil {
		s.tb.Fatal(err)
	}
	defer conn.Close()
	const page = 1000
	for first := 0; first < n; first += page {
		count := min(page, n-first)
		for i := first; i < first+count; i++ {
			data := fmt.Sprintf(`{"id":"%026d","jti":"token-%020d","issuedBefore":%q,"until":%q}`,
				i, i, time.Now().Format(time.RFC3339Nano), until.Format(time.RFC3339Nano))
			if err := conn.Send("XADD", "socketiojwt:revocations", "*", "revocation", data); err != nil {
				s.tb.Fatal(err)
			}
		}
		if err := conn.Flush(); err != nil {
			s.tb.Fatal(err)
		}
		for range count {
			if _, err := conn.Receive(); err != nil {
				s.tb.Fatal(err)
			}
		}
	}
}

func (s *server) revocations(tb testing.TB) *redisrevoke.Revocations {
	tb.Helper()
	r, err := redisrevoke.New(redisrevoke.Options{Dial: s.Dial})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// check asks for a token that nobody revoked.
func check(r *redisrevoke.Revocations) error {
	_, err := r.Revoked(context.Background(), &jwt.RegisteredClaims{ID: "any"})
	return err
}

// waitFor waits until the node accepts new tokens.
func waitFor(tb testing.TB, r *redisrevoke.Revocations) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); check(r) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("the node does not accept new tokens")
		}
	}
}

// What a token costs that nobody revoked, one after the other.
func BenchmarkCheck(b *testing.B) {
	s := startRedis(b, forgets)
	r := s.revocations(b)
	defer r.Close()
	waitFor(b, r)
	for b.Loop() {
		if err := check(r); err != nil {
			b.Fatal(err)
		}
	}
}

// How long a node refuses new tokens that starts on so many revocations.
func BenchmarkStart(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := startRedis(b, forgets)
			s.fill(n, time.Now().Add(time.Hour))
			for b.Loop() {
				r := s.revocations(b)
				waitFor(b, r)
				b.StopTimer()
				r.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
		})
	}
}

// How long new tokens are refused, and how long they wait, while so many revocations are removed
// at once.
func BenchmarkSweep(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var refused, waited time.Duration
			for b.Loop() {
				r, w := sweepOf(b, n)
				refused, waited = max(refused, r), max(waited, w)
			}
			b.ReportMetric(float64(refused.Milliseconds()), "ms-refused")
			b.ReportMetric(float64(waited.Milliseconds()), "ms-waited")
		})
	}
}

// sweepOf returns the longest that new tokens were refused, and the longest that one waited, from
// when n revocations are known to two nodes until they are gone from Redis.
func sweepOf(b *testing.B, n int) (refused, waited time.Duration) {
	b.StopTimer()
	s := startRedis(b, forgets)
	defer s.Kill()
	until := time.Now().Add(2*time.Second + time.Duration(n)*30*time.Microsecond)
	s.fill(n, until)
	sweeper, judge := s.revocations(b), s.revocations(b)
	defer sweeper.Close()
	defer judge.Close()
	waitFor(b, sweeper)
	waitFor(b, judge)
	if time.Now().After(until) {
		b.Fatal("the nodes took too long to start")
	}
	b.StartTimer()
	var err error
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		refused, waited = longest(judge, stop)
	}()
	for length := n; length > 1; time.Sleep(50 * time.Millisecond) { // that of the epoch stays
		if length, err = redis.Int(s.Do("XLEN", "socketiojwt:revocations"), nil); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	<-stopped
	return refused, waited
}

// longest checks tokens, one after the other, until stop. It returns the longest time from one that
// was let in to the next while others were refused, and the longest that one waited.
func longest(r *redisrevoke.Revocations, stop chan struct{}) (refused, waited time.Duration) {
	last, refusing := time.Now(), false
	for {
		select {
		case <-stop:
			return refused, waited
		default:
		}
		began := time.Now()
		err := check(r)
		waited = max(waited, time.Since(began))
		switch {
		case err != nil:
			refusing = true
		case refusing:
			refused = max(refused, time.Since(last))
			fallthrough
		default:
			last, refusing = time.Now(), false
		}
	}
}

// BenchmarkReplaced is how soon a session ends after a newer one of its user began on another node.
func BenchmarkReplaced(b *testing.B) {
	s := startRedis(b, forgets)
	nodes := []*node{startNode(b, s, redisrevoke.Options{}, single), startNode(b, s, redisrevoke.Options{}, single)}
	for _, n := range nodes {
		n.ready(b)
	}
	bob := sign(b, jwt.MapClaims{"sub": "bob"})
	_, last := nodes[1].enter(b, bob)
	var took []time.Duration
	for i := range b.N {
		_, must := nodes[i%2].enter(b, bob)
		began := time.Now() // it is in, and the other node may know already
		last.Rest()
		took = append(took, time.Since(began))
		last = must
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms/worst")
}
