package sio

import (
	"slices"
	"testing"

	socketio "github.com/googollee/go-socket.io"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// TestWhatWaitsWhenASocketEnds: what the client sent before it left is handled, and what it sent before
// the server ended the socket, or the connection, and is still to be handled then, is not.
func TestWhatWaitsWhenASocketEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(c *Conn)
		want []string
	}{
		"left":   {func(c *Conn) { take(t, c, "1/a") }, []string{"answer", "event"}},
		"gone":   {func(c *Conn) { c.Closed() }, []string{"answer", "event"}},
		"ended":  {func(c *Conn) { c.End(false, LastWord{Socket: c.Socket("/a")}) }, nil},
		"closed": {func(c *Conn) { c.Close() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, transport.Limits{})
			held, release := make(chan struct{}), make(chan struct{})
			ran := make(chan string, 10)
			hold := func() { held <- struct{}{}; <-release }
			ns := s.Add("/a")
			ns.OnEvent("hold", func(socketio.Conn) { hold() })
			ns.OnEvent("event", func(socketio.Conn) { ran <- "event" })
			c := s.arrive("/a")
			a := c.Socket("/a")
			a.Emit("first", hold)
			a.Emit("second", func() { ran <- "answer" })
			take(t, c, `2/a,["hold"]`, `2/a,["event"]`, "3/a,0[]", "3/a,1[]")
			<-held
			<-held
			test.end(c)
			close(release)
			for _, l := range []*lane{&c.lane, &c.acks} {
				through := make(chan struct{})
				l.run(func() { close(through) })
				<-through
			}
			close(ran)
			var got []string
			for what := range ran {
				got = append(got, what)
			}
			if slices.Sort(got); !slices.Equal(got, test.want) {
				t.Errorf("these ran: %q, want %q", got, test.want)
			}
		})
	}
}

// TestEmitOutsideOfALife: nothing is sent before a socket is admitted, nor behind its end.
func TestEmitOutsideOfALife(t *testing.T) {
	s := newServer(t, transport.Limits{})
	s.Add("/a")
	s.met = func(so *Socket) { so.Emit("early") }
	c := s.arrive("/a")
	a := c.Socket("/a")
	a.Emit("in")
	c.End(false, LastWord{Socket: a})
	a.Emit("late")
	a.Emit("late", func() {})
	if got := s.sent(c); !slices.Equal(got, []string{"40", "40/a", `42/a,["in"]`, "41/a"}) {
		t.Errorf("sent %q", got)
	}
}

// TestNothingIsKeptOfALife: a socket keeps what its CONNECT brought, and not the message that it came in,
// until it ends; then it waits for no acknowledgement either.
func TestNothingIsKeptOfALife(t *testing.T) {
	s := newServer(t, transport.Limits{})
	s.Add("/a")
	c := s.arrive5()
	message := textMessage(`0/a,{"token":"x"}`)
	if err := c.Receive([]transport.Message{message}); err != nil {
		t.Fatal(err)
	}
	copy(message.Data, make([]byte, len(message.Data)))
	a := c.Socket("/a")
	if got := string(a.Auth()); got != `{"token":"x"}` {
		t.Errorf("its auth is %q", got)
	}
	a.Emit("question", func() {})
	take(t, c, "1/a,")
	if auth := a.Auth(); auth != nil || len(a.acks) != 0 {
		t.Errorf("behind its end its auth is %s, and %d acknowledgements are waited for", auth, len(a.acks))
	}
}
