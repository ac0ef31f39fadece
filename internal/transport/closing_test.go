package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// partings are the ways in which the layer above can send something and close. All send `reason`.
var partings = []struct {
	name string
	part func(*transport.Client)
	want []string
}{
	{"Send and SendAndClose", func(c *transport.Client) {
		c.Send(text(`2["reason","é😀"]`))
		c.SendAndClose()
	}, []string{`42["reason","é😀"]`}},
	{"SendAndClose", func(c *transport.Client) {
		c.Send(text(`2["first"]`))
		c.SendAndClose(text(`2["reason","é😀"]`), text(`1`))
		c.SendAndClose(text(`2["never"]`))
		c.Send(text(`2["never"]`))
	}, []string{`42["first"]`, `42["reason","é😀"]`, `41`}},
}

// TestReasonArrives: what was sent before the end of a connection arrives, in order, and then the
// connection ends. What the client sends behind it is not delivered.
func TestReasonArrives(t *testing.T) {
	t.Parallel()
	for _, parting := range partings {
		for _, mode := range modes {
			if mode.options.B64 {
				continue // the same as without, where nothing is binary
			}
			t.Run(parting.name+"/"+mode.name, func(t *testing.T) {
				s := newServer(t, config{})
				var late, parted atomic.Int32
				s.on("bye", func(a *above, _ *event) {
					parting.part(a.client)
					parted.Add(1)
				})
				s.on("late", func(*above, *event) { late.Add(1) })
				inParallel(t, 200, 25, func(ctx context.Context) error {
					return partWith(ctx, s.url, mode.options, mode.upgrade, parting.want)
				})
				s.empty(t)
				if late.Load() != 0 || parted.Load() != 200 {
					t.Errorf("%d packets were delivered after the end, %d clients were told", late.Load(), parted.Load())
				}
			})
		}
	}
}

func partWith(ctx context.Context, url string, o siotest.Options, upgrade bool, want []string) error {
	c, err := siotest.Dial(ctx, url, o)
	if err != nil {
		return err
	}
	defer c.Close()
	upgraded := make(chan struct{})
	go func() {
		defer close(upgraded)
		if upgrade {
			_ = c.UpgradeNow(ctx) // the server may be faster
		}
	}()
	// An error only says that the server was faster, and what came from it decides.
	_ = c.SendPacket(`42["bye"]`)
	want = append([]string{"40"}, want...)
	var got []string
	for {
		p, err := c.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("got %q, then %w", got, err)
		}
		got = append(got, p.Raw)
		if strings.Contains(p.Raw, "reason") {
			_ = c.SendPacket(`42["late"]`)
			if o.Transport == "" && !o.JSONP {
				_, _ = c.PostRaw("text/plain", strings.NewReader(`10:42["late"]`)) // it does not care that the client is closed
			}
		}
	}
	<-upgraded
	if !slices.Equal(got, want) {
		return fmt.Errorf("got %q, want %q, then the end: %s, %v", got, want, c.CloseReason(), c.Err())
	}
	if reason := c.CloseReason(); reason != siotest.ReasonServerClose && reason != siotest.ReasonTransportClose {
		return fmt.Errorf("closed by %s: %w", reason, c.Err())
	}
	return nil
}

// TestCloseFrame: a WebSocket ends by CLOSE and a close frame, a poll by CLOSE.
func TestCloseFrame(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{})
			c, must := s.connect(t, mode.options)
			if mode.upgrade {
				must.Upgrade()
			}
			s.lookup(t, c).SendAndClose()
			ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			for {
				p, err := c.NextEngine(ctx)
				if err != nil {
					t.Fatal("no CLOSE: ", err)
				}
				if p.Type == siotest.EngineClose {
					break
				}
			}
			must.Closed()
			if c.CloseReason() == siotest.ReasonTransportClose && !isNormalClosure(c.Err()) {
				t.Errorf("ended by %v", c.Err())
			}
		})
	}
}

// TestCloseFrameIsAnswered: a client that says goodbye by a close frame gets one back.
func TestCloseFrameIsAnswered(t *testing.T) {
	s := newServer(t, config{})
	conn, _ := s.webSocket(t, "")
	a := wait(t, "connection", s.arrived)
	sent := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
	if err := conn.WriteControl(websocket.CloseMessage, sent, time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, _, err = conn.ReadMessage()
	}
	if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("ended by %v", err)
	}
	wait(t, "end", a.gone)
}

// TestBothCloseFrames: both sides may send theirs at the same time. A client answers CLOSE by a
// close frame, as engine.io-client does, while the server's is being written.
func TestBothCloseFrames(t *testing.T) {
	s := newServer(t, config{pipes: true, arrive: func(a *above) { a.client.SendAndClose(text("0")) }})
	for range 100 {
		conn := s.raw(t, webSocketText(""))
		buf := make([]byte, 4096)
		for n := 0; !bytes.HasSuffix(buf[:n], []byte("\x81\x011")); {
			more, err := conn.Read(buf[n:])
			if err != nil {
				t.Fatalf("got %q, %v", buf[:n], err)
			}
			n += more
		}
		if _, err := conn.Write([]byte{0x88, 0x80, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(conn)
		conn.Close()
	}
	s.empty(t)
}

// TestNobodyFetches: what is left for a client that is gone does not hold the connection.
func TestNobodyFetches(t *testing.T) {
	tests := []struct {
		name       string
		options    siotest.Options
		restricted bool
		within     time.Duration
	}{
		{"polling", siotest.Options{ManualPoll: true}, false, 6 * time.Second},
		{"polling, restricted", siotest.Options{ManualPoll: true}, true, time.Second},
		{"websocket", siotest.Options{Transport: "websocket", ManualRead: true}, false, 6 * time.Second},
		{"websocket, restricted", siotest.Options{Transport: "websocket", ManualRead: true}, true, time.Second},
	}
	for _, test := range tests {
		for _, parting := range partings {
			t.Run(test.name+"/"+parting.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newServer(t, config{pipes: true})
					s.on("bye", func(a *above, _ *event) { parting.part(a.client) })
					c := s.dial(t, test.options)
					side := s.lookup(t, c)
					side.Restrict(test.restricted)
					start := time.Now()
					c.Must(t).Emit("/", "bye")
					<-side.Done()
					if d := time.Since(start); d > test.within {
						t.Errorf("closed after %v", d)
					}
					s.empty(t)
				})
			})
		}
	}
}

// TestBothLeave: a client that says goodbye while the server does is not waited for.
func TestBothLeave(t *testing.T) {
	for _, first := range []bool{true, false} { // the client is first
		t.Run(fmt.Sprintf("client first %v", first), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, config{pipes: true})
				release := make(chan struct{})
				s.on("block", func(*above, *event) { <-release })
				c, must := s.connect(t, siotest.Options{ManualPoll: true})
				side, start := s.lookup(t, c), time.Now()
				must.Emit("/", "block")
				if first {
					must.OK(c.SendPacket("1"))
				}
				side.SendAndClose(text(`2["x"]`))
				synctest.Wait()
				if !first {
					must.OK(c.SendPacket("1"))
				}
				<-side.Done()
				if d := time.Since(start); d != 0 {
					t.Errorf("closed after %v", d)
				}
				close(release)
			})
		})
	}
}

// TestClosed: the layer above is told once, and what it does with the connection from then on has
// no effect. That calls follow one another, the above of the tests sees in all of them.
func TestClosed(t *testing.T) {
	ends := map[string]func(siotest.Must, *siotest.Client, *transport.Client){
		"CLOSE":        func(must siotest.Must, _ *siotest.Client, _ *transport.Client) { must.Send("1") },
		"Abort":        func(_ siotest.Must, _ *siotest.Client, side *transport.Client) { side.Abort() },
		"SendAndClose": func(_ siotest.Must, _ *siotest.Client, side *transport.Client) { side.SendAndClose() },
		"client gone":  func(_ siotest.Must, c *siotest.Client, _ *transport.Client) { c.Close() },
		"violation":    func(must siotest.Must, c *siotest.Client, _ *transport.Client) { _ = c.SendPacket("7") },
	}
	for name, end := range ends {
		for _, o := range []siotest.Options{{}, {Transport: "websocket"}} {
			t.Run(name+" "+o.Transport, func(t *testing.T) {
				s := newServer(t, config{})
				c, must := s.connect(t, o)
				a := s.above(t, c)
				end(must, c, a.client)
				wait(t, "end", a.client.Done())
				wait(t, "call of Closed", a.gone)
				a.client.Ready()
				a.client.Restrict(true)
				a.client.Consumed(1)
				a.client.Send(text(`2["x"]`))
				a.client.SendAndClose(text(`2["x"]`))
				a.client.Abort()
				if _, ok := s.hub.Lookup(c.SID()); ok {
					t.Error("the hub still knows it")
				}
			})
		}
	}
}

// TestEndsWhileArriving: the layer above may end a connection before it is there.
func TestEndsWhileArriving(t *testing.T) {
	for _, o := range []siotest.Options{{}, {Transport: "websocket"}} {
		for name, arrive := range map[string]func(*above){
			"Abort":        func(a *above) { a.client.Abort() },
			"SendAndClose": func(a *above) { a.client.SendAndClose(text("0"), text(`4"no"`), text("1")) },
		} {
			t.Run(name+" "+o.Transport, func(t *testing.T) {
				s := newServer(t, config{arrive: arrive})
				o.HTTP = s.client
				c, err := siotest.Dial(t.Context(), s.url, o)
				a := wait(t, "connection", s.arrived)
				if err == nil {
					if name == "Abort" {
						t.Error("the client was let in")
					} else {
						must := c.Must(t)
						must.NextRaw("40")
						must.NextRaw(`44"no"`)
						must.NextRaw("41")
						must.Closed()
					}
					c.Close()
				} else if name != "Abort" {
					t.Error(err)
				}
				wait(t, "call of Closed", a.gone)
			})
		}
	}
}

// TestArriveMayPanic: it runs code of the user's. The request fails, and nothing is left.
func TestArriveMayPanic(t *testing.T) {
	for _, query := range []string{requestText("GET", "", "", ""), webSocketText("")} {
		s := newServer(t, config{arrive: func(a *above) {
			close(a.gone) // nobody will be told
			panic(errors.ErrUnsupported)
		}})
		s.mayLog = true
		conn := s.raw(t, query)
		wait(t, "connection", s.arrived)
		if body, err := io.ReadAll(conn); len(body) > 0 {
			t.Errorf("got %q, %v", body, err)
		}
		s.empty(t)
	}
}

// TestDrain: clients are told and new ones refused, however many were about to connect.
func TestDrain(t *testing.T) {
	s := newServer(t, config{})
	var clients []*siotest.Client
	for _, mode := range modes {
		c, must := s.connect(t, mode.options)
		if mode.upgrade {
			must.Upgrade()
		}
		clients = append(clients, c)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		inParallel(t, 100, 20, func(ctx context.Context) error {
			c, err := siotest.Dial(ctx, s.url, siotest.Options{})
			if err != nil {
				var status *siotest.StatusError
				if errors.As(err, &status) && status.Status >= 500 {
					return nil
				}
				return err
			}
			defer c.Close()
			if _, err := c.Rest(ctx); err != nil {
				return err
			}
			return nil
		})
	}()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := s.hub.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.Must(t).Closed()
	}
	wait(t, "end of those that came meanwhile", done)
	if !s.hub.Draining() {
		t.Error("not draining")
	}
	checkAnswer(t, s.request(t, "GET", "EIO=3&transport=polling"), 503, `{"code":3,"message":"Server is closing"}`)
}

// TestDrainWaitsForOpening: who is on the way in gets what is sent first, and then the end.
func TestDrainWaitsForOpening(t *testing.T) {
	for _, o := range []siotest.Options{{}, {Transport: "websocket"}} {
		s := newServer(t, config{arriveEarly: func(a *above) {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			_ = a.server.hub.Drain(ended)
		}})
		c := s.dial(t, o)
		must := c.Must(t)
		must.NextRaw("40")
		must.Closed()
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true})
		s.dial(t, siotest.Options{ManualPoll: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.hub.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
