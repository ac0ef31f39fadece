package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	socketio "github.com/googollee/go-socket.io"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// partings are the ways in which a handler can send something and close. All send `reason`.
var partings = []struct {
	name string
	part func(socketio.Conn)
	want []string
}{
	{"Emit and Close", func(conn socketio.Conn) {
		conn.Emit("reason", "é😀")
		conn.Close()
	}, []string{`42["reason","é😀"]`}},
	{"SendAndClose", func(conn socketio.Conn) {
		c := fromConn(conn)
		c.Send(`2["first"]`)
		c.SendAndClose(`2["reason","é😀"]`, `1`)
		c.SendAndClose(`2["never"]`)
		c.Send(`2["never"]`)
	}, []string{`42["first"]`, `42["reason","é😀"]`, `41`}},
}

// TestReasonArrives: what was sent before the end of a connection arrives, in order, and then the
// connection ends. What the client sends after `bye` is not delivered.
func TestReasonArrives(t *testing.T) {
	for _, parting := range partings {
		for _, mode := range modes {
			if mode.options.B64 {
				continue // the same as without, where nothing is binary
			}
			t.Run(parting.name+"/"+mode.name, func(t *testing.T) {
				s := newServer(t, config{})
				var late, gone atomic.Int32
				s.OnEvent("/", "bye", parting.part)
				s.OnEvent("/", "late", func(socketio.Conn) { late.Add(1) })
				s.OnConnect("/admin", func(socketio.Conn) error { late.Add(1); return nil })
				s.OnDisconnect("/", func(socketio.Conn, string) { gone.Add(1) })
				inParallel(t, 200, 25, func(ctx context.Context) error {
					return partWith(ctx, s.url, mode.options, mode.upgrade, parting.want)
				})
				s.empty(t)
				if late.Load() != 0 || gone.Load() != 200 {
					t.Errorf("%d packets were delivered after the end, OnDisconnect ran %d times", late.Load(), gone.Load())
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
	_ = c.SendFrames(siotest.Text(`42["bye"]`), siotest.Text(`42["late"]`), siotest.Text(`40/admin`), siotest.Text(`42["late"]`))
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
					s.OnEvent("/", "bye", parting.part)
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
	for name, leave := range map[string]func(*transport.Client){
		"Close":        func(c *transport.Client) { go c.Close() },
		"SendAndClose": func(c *transport.Client) { c.SendAndClose(`2["x"]`) },
	} {
		for _, waiting := range []bool{true, false} { // the client's CLOSE waits behind a handler; or it comes later
			t.Run(fmt.Sprintf("%s %v", name, waiting), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newServer(t, config{pipes: true})
					release := make(chan struct{})
					s.OnEvent("/", "block", func(socketio.Conn) { <-release })
					c, must := s.connect(t, siotest.Options{ManualPoll: true})
					side, start := s.lookup(t, c), time.Now()
					must.Emit("/", "block")
					if waiting {
						must.OK(c.SendPacket("1"))
					}
					leave(side)
					synctest.Wait()
					if !waiting {
						must.OK(c.SendPacket("1"))
					}
					close(release)
					<-side.Done()
					if d := time.Since(start); d != 0 {
						t.Errorf("closed after %v", d)
					}
				})
			})
		}
	}
}

func TestOnClose(t *testing.T) {
	s := newServer(t, config{})
	c, must := s.connect(t, siotest.Options{})
	side := s.lookup(t, c)
	ran := make(chan string, 2)
	side.OnClose(func() { ran <- "before" })
	must.Send("1") // CLOSE
	wait(t, "end", side.Done())
	if got := wait(t, "OnClose", ran); got != "before" {
		t.Errorf("got %s", got)
	}
	side.OnClose(func() { ran <- "after" })
	if got := wait(t, "OnClose", ran); got != "after" {
		t.Errorf("got %s", got)
	}
	if err := side.Close(); err != nil {
		t.Error(err)
	}
	side.Send(`2["x"]`)
	side.SendAndClose(`2["x"]`)
	side.Abort()
	if _, ok := s.hub.Lookup(c.SID()); ok {
		t.Error("the hub still knows it")
	}
}

// TestDrain: clients are told, new ones refused, and closing go-socket.io's server afterwards is safe
// however many were about to connect (hazard 23).
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
	s.Server.Close()
	for _, c := range clients {
		c.Must(t).Closed()
	}
	wait(t, "end of those that came meanwhile", done)
	if !s.hub.Draining() {
		t.Error("not draining")
	}
	checkAnswer(t, s.request(t, "GET", "EIO=3&transport=polling"), 503, `{"code":3,"message":"Server is closing"}`)
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
