package sio

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// TestWait: the longest of several deadlines counts, from when the connection was opened, whenever it
// was set.
func TestWait(t *testing.T) {
	for _, waits := range [][]time.Duration{
		{10 * time.Second}, {10 * time.Second, 5 * time.Second}, {5 * time.Second, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newQuietServer(t, transport.Limits{Message: 1 << 20})
			s.SetDoorkeeper(nil)
			c := s.arrive5()
			c.wait = waiting{since: c.wait.since} // of nobody yet
			began := time.Now()
			for _, d := range waits {
				time.Sleep(time.Second)
				c.Wait(d)
			}
			for !c.isClosing() {
				time.Sleep(time.Second / 10)
			}
			if took := time.Since(began).Round(time.Second); took != 10*time.Second {
				t.Errorf("%v: it ends after %v", waits, took)
			}
			c.Client().Abort()
		})
	}
}

// TestTell: the doorkeeper's events reach who is in, and wait for one acknowledgement at the most.
func TestTell(t *testing.T) {
	s := newServer(t, transport.Limits{})
	s.Add("/a")
	c := s.arrive("/a")
	a := c.Socket("/a")
	var called []int
	for n := range 100 {
		a.Tell("told", n, func() { called = append(called, n) })
	}
	if n := len(a.acks); n != 1 {
		t.Errorf("%d acknowledgements are waited for", n)
	}
	take(t, c, "3/a,98[]", "3/a,99[]", "3/a,99[]")
	if !slices.Equal(called, []int{99}) {
		t.Errorf("called %v", called)
	}
	c.End(false, LastWord{Socket: a})
	a.Tell("late", nil, nil)
	want := []string{"40", "40/a"}
	for n := range 100 {
		want = append(want, fmt.Sprintf(`42/a,%d["told",%d]`, n, n))
	}
	if got := s.sent(c); !slices.Equal(got, append(want, "41/a")) {
		t.Errorf("sent %q", got)
	}
}
