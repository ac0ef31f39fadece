package sio

import (
	"slices"
	"strings"
	"sync"
	"testing"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// TestAttachmentsBeyondOneMessage: each attachment may be as large as a message. That an event is
// not complete yet must not keep the rest of it from being read.
func TestAttachmentsBeyondOneMessage(t *testing.T) {
	for _, o := range []siotest.Options{{Transport: "websocket"}, {}} {
		t.Run(o.Transport, func(t *testing.T) {
			s := newServer(t, transport.Limits{Message: 16 << 10})
			s.Namespace(Root).OnEvent("bin", func(_ socketio.Conn, b ...parser.Buffer) (n int) {
				for _, b := range b {
					n += len(b.Data)
				}
				return n
			})
			c, must := s.dial(o)
			data := []byte(strings.Repeat("x", 10<<10))
			for range 3 {
				must.Send(`454-0["bin",` + ph0 + "," + ph1 + `,{"_placeholder":true,"num":2},{"_placeholder":true,"num":3}]`)
				for range 4 {
					must.OK(c.SendBinary(data))
				}
				must.NextRaw(`430[40960]`)
			}
		})
	}
}

// TestWrongTypesEndNothing: an event with an argument of a wrong type is dropped, its error told,
// and the next event is handled.
func TestWrongTypesEndNothing(t *testing.T) {
	s := newServer(t, transport.Limits{})
	s.Namespace(Root).OnEvent("add", func(_ socketio.Conn, a, b int) int { return a + b })
	s.Namespace(Root).OnEvent("panic", func(socketio.Conn) { panic("on purpose") })
	s.Namespace(Root).OnEvent("nothing", func(socketio.Conn) {})
	s.Namespace(Root).OnEvent("bad", func(socketio.Conn) any { return func() {} })
	_, must := s.dial(siotest.Options{})
	must.Send(`421["add",1,"2"]`)
	must.Send(`422["panic"]`)
	must.Send(`423["bad"]`)
	must.Send(`424["nobody"]`)
	must.Send(`425["add",1,2]`)
	must.NextRaw(`435[3]`)
	must.Send(`426["add",1]`)
	must.NextRaw(`436[1]`)
	must.Send(`427["nothing"]`)
	must.NextRaw(`437[]`)
	errs := s.failures()
	if len(errs) != 2 || !strings.HasPrefix(errs[0].Error(), `event "add": argument 2: `) {
		t.Errorf("got %v", errs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.panics) != 1 || s.panics[0] != "on purpose" {
		t.Errorf("panics %v", s.panics)
	}
}

// TestCloseWhileSocketsCome: the server may close a connection at any time, so also when the
// doorkeeper has just met a socket that nobody else knows yet.
func TestCloseWhileSocketsCome(t *testing.T) {
	for _, when := range []string{"once it is met", "beside it"} {
		t.Run(when, func(t *testing.T) {
			for range 200 {
				s := newServer(t, transport.Limits{})
				s.Add("/admin")
				var closed sync.WaitGroup
				s.met = func(so *Socket) {
					if so.name == "/admin" {
						closed.Go(so.conn.Close)
						if when == "once it is met" {
							closed.Wait()
						}
					}
				}
				c := s.arrive("/admin")
				closed.Wait()
				c.Client().Abort()
				lane := make(chan struct{})
				c.lane.run(func() { close(lane) })
				<-lane
				s.mu.Lock()
				calls := s.calls
				s.mu.Unlock()
				for _, name := range []string{"/", "/admin"} {
					for _, call := range []string{"new ", "left ", "disconnect "} {
						if n := count(calls, call+name); n != 1 {
							t.Fatalf("%d times %q in %q", n, call+name, calls)
						}
					}
					if slices.Index(calls, "left "+name) < slices.Index(calls, "new "+name) {
						t.Fatalf("in this order: %q", calls)
					}
				}
			}
		})
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}
