package sio

import (
	"encoding/json"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// Socket is one namespace of a connection. In a namespace of ours it is the socketio.Conn that
// handlers get; its methods may be called from anywhere, at once and after its end.
type Socket struct {
	conn    *Conn
	ns      *Namespace // nil: it is foreign
	name    string
	query   string
	auth    json.RawMessage
	foreign bool // and foreignPart is there

	// Attached is the doorkeeper's own view of the socket. It is set in NewSocket.
	Attached any

	// conn.mu guards these.
	state                state
	answered             bool // the client knows that it is connected
	refused              bool // the client knows that it is not, and may ask again
	member               bool // not a guest
	holds                int  // as long as it is not 0, what comes is kept: a verdict is due
	kept                 []*Packet
	leaves               bool // a DISCONNECT was kept
	returns              bool // a CONNECT was, behind it
	replaying            bool
	byClient             bool // the end: what was sent before counts
	debt                 int  // cost to be consumed when what follows from CONNECT is done
	onDisconnectReturned bool // after the end: OnDisconnect has returned
	context              any
	acks                 map[uint64]ack
	ownAck               uint64 // the id of the doorkeeper's among them, which is one at the most
	*foreignPart

	// ns.mu guards these.
	rooms  map[string]int // its place in each
	out    bool
	listed bool
	place  int
}

type state int

const (
	stateJoining state = iota // what the client sends is kept
	stateWaiting              // only what the visitor intercepts counts
	stateAdmitted
	stateEnded
)

// ack is what waits for an acknowledgement: a function of the user's, or the doorkeeper's.
type ack struct {
	user *handler
	own  func()
}

// Conn returns the connection that the socket belongs to.
func (s *Socket) Conn() *Conn { return s.conn }

// Query returns what the client said behind the namespace's name when it asked for it, until that
// is decided.
func (s *Socket) Query() string {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.query
}

// Auth returns the JSON that the client's CONNECT brought, nil for none. It may be any value. It is
// gone when the socket has ended; of a client that is restricted, a long one is gone when it is
// decided about the socket.
func (s *Socket) Auth() json.RawMessage {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.auth
}

// maxIdleAuth is what is kept of who may be anybody, for each namespace.
const maxIdleAuth = 1 << 10

// unload drops what CONNECT brought as far as nobody needs it any more. It is called with conn.mu
// when it is decided about the socket.
func (s *Socket) unload() {
	s.query = ""
	if s.ended() || len(s.auth) > maxIdleAuth && s.conn.client.Restricted() {
		s.auth = nil
	}
}

// IsForeign reports whether the namespace is go-socket.io's.
func (s *Socket) IsForeign() bool { return s.foreign }

func (s *Socket) setState(state state) {
	s.state = state
	if s.foreign {
		s.decided.Broadcast()
	}
}

func (s *Socket) ended() bool { return s.state == stateEnded }

func (s *Socket) hasEnded() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.ended()
}

// runsOnDisconnect reports whether it has ended and OnDisconnect has not returned.
func (s *Socket) runsOnDisconnect() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.ended() && !s.onDisconnectReturned
}

func (s *Socket) isAdmitted() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.state == stateAdmitted
}

// hears reports whether broadcasts reach it, of members only or of all.
func (s *Socket) hears(membersOnly bool) bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.state == stateAdmitted && (s.member || !membersOnly)
}

// LetWait answers CONNECT. Only what the visitor intercepts counts, until Admit.
func (s *Socket) LetWait() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.state == stateJoining {
		s.setState(stateWaiting)
		s.unload()
		s.answer()
		s.pay()
		s.proceed()
	}
}

// Admit answers CONNECT if need be and lets the socket in: broadcasts reach it, and behind
// Visitor.OnConnect its events are dispatched. member says that it is no guest.
func (s *Socket) Admit(member bool) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.state != stateJoining && s.state != stateWaiting {
		return
	}
	s.member = member
	s.setState(stateAdmitted)
	s.unload()
	c.client.LimitOutbox(0)
	s.answer()
	c.socketAdmitted()
	if s.foreign {
		return
	}
	s.ns.add(s)
	debt := s.debt
	s.debt = 0
	c.lane.run(func() {
		defer c.client.Consumed(debt)
		if !c.isClosing() {
			c.visitor.OnConnect(s)
		}
	})
	s.proceed()
}

// SetMember makes a guest one no more.
func (s *Socket) SetMember() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.member = true
}

// Hold keeps what comes until Release, which follows each Hold once: a verdict is due.
func (s *Socket) Hold() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.holds++
}

// Release lets what was kept through.
func (s *Socket) Release() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.holds--
	s.proceed()
	if s.foreign {
		s.decided.Broadcast()
	}
}

// Tell sends an event of the doorkeeper's, also before the socket is admitted. onAck is called
// when the client acknowledges it, nil asks for none.
func (s *Socket) Tell(event string, arg any, onAck func()) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.state == stateWaiting || s.state == stateAdmitted {
		s.conn.client.Send(s.told(event, arg, onAck)...)
	}
}

func (s *Socket) told(event string, arg any, onAck func()) []transport.Frame {
	values := []any{event}
	if arg != nil {
		values = append(values, arg)
	}
	var id uint64
	if onAck != nil {
		if old, ok := s.acks[s.ownAck]; ok && old.own != nil {
			delete(s.acks, s.ownAck)
		}
		id = s.expect(ack{own: onAck})
		s.ownAck = id
	}
	frames, err := eventFrames(Event, s.name, id, onAck != nil, values)
	if err != nil {
		return nil
	}
	return frames
}

// answer sends CONNECT, once. In protocol 4 go-socket.io sends that of its root itself.
func (s *Socket) answer() {
	if !s.answered && (s.name != Root || !s.foreign || !s.conn.protocol.joinsRoot()) {
		s.answered = true
		s.conn.client.Send(s.conn.protocol.connected(s))
	}
}

func (s *Socket) pay() {
	if s.debt != 0 {
		debt := s.debt
		s.debt = 0
		s.conn.client.Consumed(debt)
	}
}

func (s *Socket) settle() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.pay()
}

// keepNextLife reports whether p has to wait because the client has left, which was kept, and comes
// again: p is that CONNECT, or behind it.
func (s *Socket) keepNextLife(p *Packet) bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if len(s.kept) == 0 || p.Type == Ack || !s.returns && (!s.leaves || p.Type != Connect) {
		return false
	}
	s.returns = true
	s.kept = append(s.kept, p)
	return true
}

// nextLife returns the CONNECT that was kept and what follows it, once the socket has ended.
func (s *Socket) nextLife() []*Packet {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if !s.ended() {
		return nil
	}
	packets := s.kept
	s.kept = nil
	return packets
}

// keep reports whether p has to wait.
func (s *Socket) keep(p *Packet) bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.state == stateEnded || p.Type == Ack && s.state == stateAdmitted {
		return false // OnConnect may wait for it
	}
	if s.state != stateJoining && s.holds == 0 && len(s.kept) == 0 {
		return false
	}
	s.kept = append(s.kept, p)
	s.leaves = s.leaves || p.Type == Disconnect
	return true
}

// proceed has what was kept dealt with, where the doorkeeper may be called.
func (s *Socket) proceed() {
	if len(s.kept) > 0 && s.holds == 0 && !s.replaying {
		s.replaying = true
		go s.conn.replay(s)
	}
}

// nextKept returns nil when nothing is left, or the rest has to wait on.
func (s *Socket) nextKept() *Packet {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.state == stateEnded {
		s.dropKept()
		return nil
	}
	if len(s.kept) == 0 || s.holds > 0 {
		s.replaying = false
		if len(s.kept) == 0 {
			s.kept = nil
		}
		return nil
	}
	p := s.kept[0]
	s.kept = s.kept[1:]
	return p
}

// dropKept drops what was kept for a socket that has ended, up to its next life.
func (s *Socket) dropKept() {
	for len(s.kept) > 0 && s.kept[0].Type != Connect {
		s.conn.client.Consumed(s.kept[0].cost)
		s.kept = s.kept[1:]
	}
}

// leave ends the socket because the client has left. It reports whether it had not ended.
func (s *Socket) leave() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.state == stateEnded {
		return false
	}
	s.byClient = s.state == stateAdmitted
	s.setState(stateEnded)
	return true
}

// cleanUp is the end of a socket that ended: it is in no room any more, and OnDisconnect is due.
func (s *Socket) cleanUp(reason string) {
	c := s.conn
	c.mu.Lock()
	s.acks = nil
	s.unload()
	if s.dropKept(); len(s.kept) > 0 && !s.replaying {
		s.replaying = true
		go c.replay(s)
	}
	debt := s.debt
	s.debt = 0
	c.mu.Unlock()
	if s.foreign {
		return
	}
	s.ns.remove(s)
	c.lane.run(func() {
		defer c.onDisconnectReturned(s)
		defer c.client.Consumed(debt)
		c.visitor.OnDisconnect(s, reason)
	})
}

// deliver sends frames if the socket hears them. Whether it does is decided under the lock
// under which it ends, so nothing comes behind its end.
func (s *Socket) deliver(frames []transport.Frame, membersOnly, volatile bool) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	switch {
	case s.state != stateAdmitted || membersOnly && !s.member:
	case volatile:
		s.conn.client.SendVolatile(frames...)
	default:
		s.conn.client.Send(frames...)
	}
}
