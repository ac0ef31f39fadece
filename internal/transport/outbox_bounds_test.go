package transport_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
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

// TestVolatileBesideAWrite: a volatile frame does not wait behind one that is being written.
func TestVolatileBesideAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true})
		a := s.above(t, s.dial(t, siotest.Options{Transport: "websocket", ManualRead: true}))
		a.emit("x", strings.Repeat("x", 32<<10))
		synctest.Wait()
		before := s.hub.Load().OutboxBytes
		a.client.SendVolatile(transport.Text([]byte(`2["volatile"]`)))
		if after := s.hub.Load().OutboxBytes; before == 0 || after != before {
			t.Errorf("%d bytes wait, before %d", after, before)
		}
		a.client.Abort()
	})
}

// TestKeepBack: the client learns its session id when those who are to serve its requests know it.
func TestKeepBack(t *testing.T) {
	for _, request := range []string{requestText("GET", ""), webSocketText("")} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, config{pipes: true, arriveEarly: func(a *above) { a.client.KeepBack() }})
			conn := s.raw(t, request)
			got := make(chan string, 10)
			go func() {
				defer close(got)
				for buf := make([]byte, 4<<10); ; {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					got <- string(buf[:n])
				}
			}()
			a := <-s.arrived
			synctest.Wait()
			for len(got) > 0 {
				if text := <-got; strings.Contains(text, a.client.ID()) {
					t.Errorf("before Release it got %q", text)
				}
			}
			a.client.Release()
			synctest.Wait()
			var rest string
			for len(got) > 0 {
				rest += <-got
			}
			if !strings.Contains(rest, a.client.ID()) {
				t.Errorf("behind Release it got %q", rest)
			}
			a.client.Abort()
			conn.Close()
		})
	}
}

// TestDrainBeforeOpen: a connection whose OPEN has still to go when the hub is drained ends behind what
// is sent with it.
func TestDrainBeforeOpen(t *testing.T) {
	for _, mode := range []string{"polling", "websocket"} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, config{pipes: true, arrive: func(*above) {}})
			dialed := make(chan *siotest.Client)
			go func() { dialed <- s.dial(t, siotest.Options{Transport: mode}) }()
			a := <-s.arrived
			synctest.Wait()
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			_ = s.hub.Drain(ended)
			synctest.Wait()
			began := time.Now()
			a.client.Send(text("0"))
			must := (<-dialed).Must(t)
			must.NextRaw("40")
			must.Closed()
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: it took %v", mode, took)
			}
		})
	}
}
