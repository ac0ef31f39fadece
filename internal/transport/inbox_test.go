package transport_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// TestInboxIsBounded: while a handler runs, POSTs wait instead of filling the memory. One is taken
// as long as no more waits than one message may be large.
func TestInboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, limits: transport.Limits{Message: 16 << 10}})
		release := make(chan struct{})
		s.on("block", func(*above, *event) { <-release })
		c, must := s.connect(t, siotest.Options{})
		must.Emit("/", "block")
		post := siotest.EncodeText(siotest.Text(`42["x","` + strings.Repeat("x", 10<<10) + `"]`))
		var accepted atomic.Int32
		for range 5 {
			go func() {
				if resp, err := c.PostRaw("text/plain", strings.NewReader(post)); err == nil && resp.StatusCode == 200 {
					accepted.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := accepted.Load(); n != 2 {
			t.Errorf("%d POSTs were taken of 10 KiB each while a handler runs, want 2", n)
		}
		if in, _ := s.lookup(t, c).Buffered(); in < 20<<10 || in > 32<<10 {
			t.Errorf("%d bytes count as not consumed", in)
		}
		close(release)
		synctest.Wait()
		if n := accepted.Load(); n != 5 {
			t.Errorf("%d POSTs were taken in the end", n)
		}
		if in, _ := s.lookup(t, c).Buffered(); in != 0 {
			t.Errorf("%d bytes count as not consumed in the end", in)
		}
	})
}

// TestWebSocketIsNotReadAhead: so it is with WebSockets.
func TestWebSocketIsNotReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, limits: transport.Limits{Message: 16 << 10}})
		release := make(chan struct{})
		s.on("block", func(*above, *event) { <-release })
		c, must := s.connect(t, siotest.Options{Transport: "websocket"})
		a := s.above(t, c)
		must.Emit("/", "block")
		sent := make(chan error, 5)
		go func() {
			for range cap(sent) {
				sent <- c.Emit("/", "x", strings.Repeat("x", 10<<10))
			}
		}()
		synctest.Wait()
		if n := a.received(); n != 3 { // block, and two
			t.Errorf("%d messages were read while a handler runs, want 3", n)
		}
		close(release)
		for range cap(sent) {
			must.OK(<-sent)
		}
		must.Call("/", "echo")
		if n := a.received(); n != 7 {
			t.Errorf("%d messages were read in the end", n)
		}
	})
}

// TestEmptyMessagesCount: a message that waits costs more than its bytes.
func TestEmptyMessagesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, limits: transport.Limits{Message: 16 << 10}})
		release := make(chan struct{})
		s.on("1", func(*above, *event) { <-release })
		c, _ := s.connect(t, siotest.Options{NoPing: true})
		for range 2 { // 60 messages of a byte each cost 19 KiB
			go c.PostRaw("text/plain", strings.NewReader(strings.Repeat("2:41", 60)))
		}
		synctest.Wait()
		if n := s.above(t, c).received(); n != 60 {
			t.Errorf("%d messages were taken", n)
		}
		close(release)
	})
}

// TestPingsAreAnswered: whatever the layer above does. It consumes nothing, and PONGs come, with
// what the PING said.
func TestPingsAreAnswered(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, config{pipes: true, pingInterval: 10 * time.Second, pingTimeout: 20 * time.Second})
				release := make(chan struct{})
				s.on("block", func(*above, *event) { <-release })
				o := mode.options
				o.NoPing = true
				c, must := s.connect(t, o)
				a := s.above(t, c)
				if mode.upgrade {
					must.Upgrade()
				}
				must.Emit("/", "block")
				for i := range 100 {
					must.Send(fmt.Sprintf(`42["waits",%d]`, i), fmt.Sprintf("2é%d", i))
					for {
						p, err := c.NextEngine(t.Context())
						must.OK(err)
						if p.Type == siotest.EngineNoop {
							continue
						}
						if p.String() != fmt.Sprintf("3é%d", i) {
							t.Fatalf("got %s in place of PONG %d", p, i)
						}
						break
					}
					time.Sleep(10 * time.Second)
				}
				if n := a.received(); n != 101 {
					t.Errorf("%d messages were delivered", n)
				}
				close(release)
				must.Call("/", "echo")
			})
		})
	}
}

// TestStalledIsNotSilent: a client that is not read, because the layer above does not get on, is
// not sent away for saying nothing. When it is read again its time begins anew.
func TestStalledIsNotSilent(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, config{
					pipes: true, pingInterval: 10 * time.Second, pingTimeout: 20 * time.Second,
					limits: transport.Limits{Message: 16 << 10},
				})
				release := make(chan struct{})
				s.on("block", func(*above, *event) { <-release })
				o := mode.options
				o.NoPing = true
				c, must := s.connect(t, o)
				if mode.upgrade {
					must.Upgrade()
				}
				a := s.above(t, c)
				must.Emit("/", "block")
				for range 2 {
					must.Emit("/", "x", strings.Repeat("x", 10<<10))
				}
				synctest.Wait()
				time.Sleep(time.Hour)
				if s.hub.Count() != 1 {
					t.Fatal("it was closed while nothing was read from it")
				}
				start := time.Now()
				close(release)
				<-a.gone
				if d := time.Since(start); d != 30*time.Second {
					t.Errorf("closed after %v", d)
				}
			})
		})
	}
}

// TestNotReady: nothing is read until the layer above is ready, and the time for that is its own.
func TestNotReady(t *testing.T) {
	for _, o := range []siotest.Options{{NoPing: true}, {NoPing: true, Transport: "websocket"}} {
		t.Run(o.Transport, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, config{pipes: true, notReady: true})
				c, must := s.connect(t, o)
				a := s.above(t, c)
				go c.SendPacket(`420["echo"]`)
				time.Sleep(5 * time.Second)
				if n := a.received(); n != 0 {
					t.Fatalf("%d messages were delivered", n)
				}
				a.client.Ready()
				a.client.Ready()
				must.NextRaw(`430["ok"]`)
			})
		})
	}
}

// TestRestrictedCredit: while a client is restricted, less of what it sends may wait.
func TestRestrictedCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{
			pipes:       true,
			limits:      transport.Limits{Message: 64 << 10, RestrictedMessage: 2 << 10},
			arriveEarly: func(a *above) { a.client.Restrict(true) },
		})
		release := make(chan struct{})
		s.on("block", func(*above, *event) { <-release })
		c, must := s.connect(t, siotest.Options{NoPing: true, Transport: "websocket"})
		a := s.above(t, c)
		must.Emit("/", "block")
		go func() {
			for range 5 {
				_ = c.Emit("/", "x", strings.Repeat("x", 1<<10))
			}
		}()
		synctest.Wait()
		if n := a.received(); n != 3 {
			t.Errorf("%d messages were read from a restricted client, want 3", n)
		}
		a.client.Restrict(false) // it need not wait any more
		synctest.Wait()
		if n := a.received(); n != 6 {
			t.Errorf("%d messages were read in the end, want 6", n)
		}
		close(release)
	})
}

// TestEndOfWaiting: a POST that waits for room ends with its connection.
func TestEndOfWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, limits: transport.Limits{Message: 1 << 10}})
		release := make(chan struct{})
		s.on("block", func(*above, *event) { <-release })
		c, must := s.connect(t, siotest.Options{NoPing: true})
		a := s.above(t, c)
		must.Emit("/", "block", strings.Repeat("x", 900))
		status := make(chan int, 1)
		go func() {
			if resp, err := c.PostRaw("text/plain", strings.NewReader(`8:42["x"]`)); err == nil {
				status <- resp.StatusCode
			}
		}()
		synctest.Wait()
		a.client.Abort()
		if got := <-status; got != 400 {
			t.Errorf("got %d", got)
		}
		<-a.gone
		if n := a.received(); n != 1 {
			t.Errorf("%d messages were delivered", n)
		}
		close(release)
	})
}
