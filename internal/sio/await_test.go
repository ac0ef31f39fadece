package sio

import (
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// arriveForeign makes a connection of nobody's to a server whose namespaces are all foreign.
func arriveForeign(t *testing.T) *Conn {
	t.Helper()
	bridge := &fakeBridge{enters: func() {}, asked: func() {}}
	hub := transport.NewHub(transport.Config{
		PingInterval: testTimeout, PingTimeout: testTimeout, Polling: new(transport.PollingConfig),
		Limits: transport.Limits{Message: 1 << 20, RestrictedMessage: 1 << 20, Outbox: 1 << 20},
	})
	s := NewServer(hub, fakeUpstream{bridge}, testLimits)
	var c *Conn
	client, err := hub.Accept(httptest.NewRecorder(), httptest.NewRequest("GET", "/?EIO=4&transport=polling", nil),
		func(client *transport.Client) transport.Above {
			c = s.Open(client, nil)
			return c
		})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Abort)
	return c
}

// TestGuardOfWhoHasLeft: a hook that runs late brings nobody back.
func TestGuardOfWhoHasLeft(t *testing.T) {
	c := arriveForeign(t)
	take(t, c, "0/x,", "1/x,")
	c.Guard("/x", nil, func(*Socket) { t.Error("it was taken") })
	if s := c.Socket("/x"); !s.hasEnded() || s.IsGuarded() {
		t.Error("it is guarded, or has not ended")
	}
}

// TestAwait: a packet of a guarded socket waits until it is decided about, and reaches go-socket.io
// only if the socket was admitted, or if it is the one that admits.
func TestAwait(t *testing.T) {
	type steps []func(*Socket)
	admit := func(s *Socket) { s.Admit(true) }
	leave := func(s *Socket) { s.leave() }
	end := func(s *Socket) { s.conn.End(false, LastWord{Socket: s}) }
	gone := func(s *Socket) { s.conn.Closed() }
	open, hold, release := (*Socket).LetWait, (*Socket).Hold, (*Socket).Release
	for _, test := range []struct {
		name          string
		packet        Header
		before, after steps // nothing after: it does not wait
		passes        bool
	}{
		{"event, admitted", Header{Type: Event, Event: "x"}, nil, steps{admit}, true},
		{"event, admitted, left", Header{Type: Event, Event: "x"}, steps{admit, leave}, nil, true},
		{"event, admitted, ended", Header{Type: Event, Event: "x"}, steps{admit, end}, nil, false},
		{"event, opened", Header{Type: Event, Event: "x"}, nil, steps{open}, false},
		{"authenticate, opened", Header{Type: Event, Event: "authenticate"}, nil, steps{open}, true},
		{"acknowledgement, opened", Header{Type: Ack}, nil, steps{open}, false},
		{"event, left undecided", Header{Type: Event, Event: "x"}, nil, steps{leave}, false},
		{"event, opened, left", Header{Type: Event, Event: "x"}, steps{open, leave}, nil, false},
		{"authenticate, opened, left", Header{Type: Event, Event: "authenticate"}, steps{open, leave}, nil, false},
		{"event, refused", Header{Type: Event, Event: "x"}, nil, steps{end}, false},
		{"event, gone", Header{Type: Event, Event: "x"}, nil, steps{gone}, false},
		{"disconnect, refused", Header{Type: Disconnect}, nil, steps{end}, true},
		{"connect, refused", Header{Type: Connect}, nil, steps{end}, true},
		{"event, held, admitted", Header{Type: Event, Event: "x"}, steps{hold, admit}, steps{release}, true},
		{"event, held, ended", Header{Type: Event, Event: "x"}, steps{hold, admit}, steps{end}, false},
		{"event, held, gone", Header{Type: Event, Event: "x"}, steps{hold, admit}, steps{gone}, true},
		{"acknowledgement, held, admitted", Header{Type: Ack}, steps{hold, admit}, nil, true},
		{"authenticate, held, opened", Header{Type: Event, Event: "authenticate"}, steps{hold, open}, steps{release}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := arriveForeign(t)
				take(t, c, "0/x,")
				c.Guard("/x", nil, func(*Socket) {})
				s := c.Socket("/x")
				for _, step := range test.before {
					step(s)
				}
				passes := make(chan bool, 1)
				go func() { passes <- s.Await(&Packet{Header: test.packet}) }()
				synctest.Wait()
				if waits := len(passes) == 0; waits != (len(test.after) > 0) && test.packet.Type != Disconnect && test.packet.Type != Connect {
					t.Errorf("it waits: %v", waits)
				}
				for _, step := range test.after {
					step(s)
				}
				synctest.Wait()
				if len(passes) == 0 {
					s.conn.Closed()
					t.Fatal("it is still undecided")
				}
				if got := <-passes; got != test.passes {
					t.Errorf("it passes: %v", got)
				}
			})
		})
	}
}

// TestForward: what go-socket.io writes reaches admitted sockets only. What it writes before its hook
// has run is kept until then, within bounds.
func TestForward(t *testing.T) {
	news := transport.Text([]byte(`2/x,["news"]`))
	for name, test := range map[string]struct {
		steps func(c *Conn, s *Socket)
		want  bool
	}{
		"not guarded": {func(_ *Conn, s *Socket) { s.Forward(news); s.Connected() }, true},
		"guarded":     {func(c *Conn, s *Socket) { s.Forward(news); guard(c); s.Connected(); s.Admit(true) }, false},
		"open":        {func(c *Conn, s *Socket) { guard(c); s.Connected(); s.LetWait(); s.Forward(news) }, false},
		"knocking":    {func(c *Conn, s *Socket) { guard(c); s.Connected(); s.Forward(news); s.Admit(true) }, false},
		"admitted":    {func(c *Conn, s *Socket) { guard(c); s.Connected(); s.Admit(true); s.Forward(news) }, true},
		"left":        {func(_ *Conn, s *Socket) { s.Forward(news); s.leave(); s.Connected() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := arriveForeign(t)
			take(t, c, "0/x,")
			test.steps(c, c.Socket("/x"))
			c.Client().Send(transport.Text([]byte("2[]"))) // so there is something
			if got := fetch(c); slices.Contains(got, `42/x,["news"]`) != test.want {
				t.Errorf("sent %q", got)
			}
		})
	}
	c := arriveForeign(t)
	take(t, c, "0/x,")
	large := transport.Text(make([]byte, maxEarly/4-1000))
	for n := range 5 {
		select {
		case <-c.Client().Done():
			t.Fatalf("closed after %d quarters", n)
		default:
		}
		c.Socket("/x").Forward(large)
	}
	select {
	case <-c.Client().Done():
	default:
		t.Error("more is kept than maxEarly")
	}
}

func guard(c *Conn) { c.Guard("/x", nil, func(*Socket) {}) }
