package transport_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// TestPongsAreWeighed: a PONG that takes the place of another counts for what it is, or a client could
// make its outbox seem empty.
func TestPongsAreWeighed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, pingTimeout: time.Hour, pingInterval: time.Hour})
		c, must := s.connect(t, siotest.Options{ManualPoll: true, NoPing: true})
		for _, ping := range []string{"2", "2a", "2" + strings.Repeat("x", 500), "2b", "2" + strings.Repeat("y", 400)} {
			must.Send(ping)
		}
		before := s.hub.Load().OutboxBytes
		if before < 400 {
			t.Errorf("%d bytes wait for the client", before)
		}
		if _, _, err := c.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := s.hub.Load().OutboxBytes; n != 0 {
			t.Errorf("%d bytes wait for a client that has fetched all", n)
		}
	})
}

// TestHandshakeThatLeaves: who leaves before it learned its session id is gone at once, whatever the
// ping timeout.
func TestHandshakeThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, pingTimeout: time.Hour, pingInterval: time.Hour, arrive: func(*above) {}})
		conn := s.raw(t, requestText("GET", ""))
		a := <-s.arrived
		conn.Close()
		began := time.Now()
		<-a.gone
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestAnswerThatBreaks: packets whose answer breaks are lost, so the connection ends: the client must
// not go on without them.
func TestAnswerThatBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, pingTimeout: time.Hour, pingInterval: time.Hour})
		c, _ := s.connect(t, siotest.Options{ManualPoll: true, NoPing: true})
		a := s.above(t, c)
		a.emit("x", strings.Repeat("x", 32<<10))
		conn := s.raw(t, requestText("GET", "&sid="+c.SID()))
		synctest.Wait() // nobody reads the answer
		conn.Close()
		began := time.Now()
		<-a.gone
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
