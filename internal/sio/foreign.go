package sio

import (
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	socketio "github.com/googollee/go-socket.io"
)

// A foreign socket is one of go-socket.io's: that has its handlers and its rooms, and reads and
// writes its packets. It passes everything, both ways, unless a hook guards it: then it is
// decided about like one of ours.

// foreignPart is what a Socket has more when it is foreign. conn.mu guards it.
type foreignPart struct {
	user       socketio.Conn
	decided    sync.Cond           // on conn.mu: the state of a guarded socket changed
	early      [][]transport.Frame // see Forward
	earlyBytes int
	hookRan    bool // go-socket.io's hook has run
	guarded    bool
}

// maxEarly bounds what a foreign socket keeps while go-socket.io's hook runs.
const maxEarly = 1 << 20

// firstForeignAck is where the ids of our own acknowledgements start in a foreign namespace.
// go-socket.io counts from 1, and JavaScript is exact up to 2^53.
const firstForeignAck = 1 << 40

// Guard makes a foreign socket wait for a verdict, and has it taken. A hook calls it while
// go-socket.io is connecting conn. When there is nothing to guard it does nothing: the socket is
// ours, has ended or is guarded already. A root that the client has not asked for is taken when it
// does.
func (c *Conn) Guard(namespace string, conn socketio.Conn, take func(*Socket)) {
	var s *Socket
	bridge := c.entered()
	if bridge != nil {
		s = bridge.Serving(namespace)
	}
	c.mu.Lock()
	if s == nil && namespace == Root {
		if c.idleRoot != nil {
			c.idleRoot.user, c.idleRoot.take = conn, take
			c.mu.Unlock()
			return
		}
		s = c.find(Root) // the client has asked meanwhile
	}
	guarded := s != nil && s.guard(conn)
	c.mu.Unlock()
	if guarded {
		take(s)
	}
}

// guard is called with conn.mu.
func (s *Socket) guard(user socketio.Conn) bool {
	if !s.foreign || s.guarded || s.ended() {
		return false
	}
	s.guarded, s.user, s.state, s.early = true, user, stateJoining, nil
	return true
}

// idleRoot is go-socket.io's root of a connection of protocol 5 whose client has not asked for it:
// go-socket.io connects it all the same. What is written there is dropped.
type idleRoot struct {
	user socketio.Conn
	take func(*Socket) // what Guard was called with, nil if it was not
}

// takeIdleRoot is the client's CONNECT for the root, with mu. It returns the idle one, nil if there is
// none. A hook that has run guards s before anybody else sees it.
func (c *Conn) takeIdleRoot(s *Socket) *idleRoot {
	idle := c.idleRoot
	c.idleRoot = nil
	if s.foreign && idle != nil && idle.take != nil {
		s.guard(idle.user)
	}
	return idle
}

// IsGuarded reports whether a hook has taken the socket.
func (s *Socket) IsGuarded() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.guarded
}

// User returns the socketio.Conn that handlers get.
func (s *Socket) User() socketio.Conn {
	if s.foreign {
		s.conn.mu.Lock()
		defer s.conn.mu.Unlock()
		return s.user
	}
	return s
}

// Forward sends what go-socket.io writes to a foreign socket.
func (s *Socket) Forward(frames ...transport.Frame) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	switch {
	case s.state != stateAdmitted:
	case !s.hookRan:
		// It may be a broadcast to a socket that the hook is about to guard: go-socket.io
		// puts it into a room before it calls the hook (hazard 13).
		s.early = append(s.early, frames)
		for _, f := range frames {
			s.earlyBytes += f.Size()
		}
		if s.earlyBytes > maxEarly {
			s.conn.client.Abort()
		}
	default:
		s.conn.client.Send(frames...)
	}
}

// Connected says that go-socket.io's hook has run, and that it wrote CONNECT.
func (s *Socket) Connected() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.hookRan {
		return
	}
	s.hookRan = true
	early := s.early
	s.early = nil
	if s.guarded || s.state != stateAdmitted {
		return // a hook guards none that its client has left already
	}
	if s.conn.IsProtocol5() {
		s.answer() // a client of protocol 5 drops what comes before
	}
	s.conn.socketAdmitted()
	for _, frames := range early {
		s.conn.client.Send(frames...)
	}
	s.answer()
}

// Await blocks until it is decided about a foreign socket, and reports whether the packet
// reaches go-socket.io.
func (s *Socket) Await(p *Packet) bool {
	c := s.conn
	c.mu.Lock()
	for (s.state == stateJoining || s.state != stateEnded && s.holds > 0 && p.Type == Event) && !c.closed {
		s.decided.Wait()
	}
	state, visitor := s.state, s.Attached
	c.mu.Unlock()
	switch {
	case p.Type == Connect || p.Type == Disconnect || state == stateAdmitted:
		return true
	case state == stateWaiting && p.Type == Event && p.Event == "authenticate":
		return true
	case state == stateWaiting && p.Type == Event:
		if v, ok := visitor.(interface{ Dropped() }); ok {
			v.Dropped()
		}
	}
	return state == stateEnded && s.byClient
}
