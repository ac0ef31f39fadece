package sio

import (
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	socketio "github.com/googollee/go-socket.io"
)

// A foreign socket is one of go-socket.io's, which has the handlers and the rooms, and reads and
// writes the packets. The Socket passes everything, both ways, unless a hook guards it. Then the
// doorkeeper decides about it as about any other.

// foreignPart is what only foreign sockets have. conn.mu guards it.
type foreignPart struct {
	user       socketio.Conn
	decided    sync.Cond           // on conn.mu: the state of a guarded socket changed
	early      [][]transport.Frame // kept until the hook has run, see Forward
	earlyBytes int
	hookRan    bool // OnConnect in go-socket.io has returned
	guarded    bool
}

// maxEarly bounds what a foreign socket keeps while go-socket.io's hook runs.
const maxEarly = 1 << 20

// firstForeignAck is where the ids of this package's own acknowledgements start in a foreign
// namespace. go-socket.io counts its own from 1, and JavaScript is exact up to 2^53.
const firstForeignAck = 1 << 40

// Guard has the doorkeeper decide about a foreign socket: take is given the socket. A hook calls
// Guard while go-socket.io connects conn. Guard does nothing when there is nothing to guard: the
// socket is ours, has ended or is guarded already. A root that the client has not asked for is
// given to take when the client asks.
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

// idleRoot is go-socket.io's root of a connection of protocol 5 whose client has not asked for the
// root. go-socket.io connects it all the same. What go-socket.io writes there is dropped.
type idleRoot struct {
	user socketio.Conn
	take func(*Socket) // what Guard was called with, nil if it was not
}

// takeIdleRoot is called with mu when the client has asked for the root. It returns the idle root,
// nil if there is none. Where a hook has run, s is guarded before anybody else sees it.
func (c *Conn) takeIdleRoot(s *Socket) *idleRoot {
	idle := c.idleRoot
	c.idleRoot = nil
	if s.foreign && idle != nil && idle.take != nil {
		s.guard(idle.user)
	}
	return idle
}

// IsGuarded reports whether a hook guards the socket.
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
		// The frames may be a broadcast to a socket that the hook is about to guard: go-socket.io
		// puts the socket into a room before it calls the hook (hazard 13).
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

// Connected says that go-socket.io's hook has run, and that go-socket.io wrote CONNECT.
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
		return // the socket is guarded, or its client has left
	}
	if s.conn.IsProtocol5() {
		s.answer() // a client of protocol 5 drops what comes before CONNECT
	}
	s.conn.socketAdmitted()
	for _, frames := range early {
		s.conn.client.Send(frames...)
	}
	s.answer()
}

// Await blocks until the doorkeeper has decided about a guarded socket, and reports whether the
// packet is for go-socket.io.
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
