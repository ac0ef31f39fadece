package sio

import (
	"encoding/json"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// Socket is one namespace of a connection. In a namespace of ours it is the socketio.Conn that
// handlers get. Its methods may be called from any goroutine, also after its end.
type Socket struct {
	conn    *Conn
	ns      *Namespace // nil for a foreign socket
	name    string
	query   string
	auth    json.RawMessage
	foreign bool // then foreignPart is not nil

	// Attached is the doorkeeper's own view of the socket. It is set in NewSocket.
	Attached any

	// conn.mu guards these.
	state                state
	answered             bool // CONNECT is answered: the client knows that it is connected
	refused              bool // CONNECT_ERROR was sent: the client may ask again
	member               bool // not a guest
	holds                int  // not 0: what the client sends is kept, see Hold
	kept                 []*Packet
	leaves               bool // a DISCONNECT was kept
	returns              bool // a CONNECT was kept, behind it
	replaying            bool
	byClient             bool // the client has left: what it sent before counts
	debt                 int  // cost of CONNECT that is not consumed yet
	onDisconnectReturned bool // the Visitor's, after the end
	context              any
	acks                 map[uint64]ack
	ownAck               uint64 // id of the doorkeeper's ack, of which there is one at most
	*foreignPart

	// ns.mu guards these.
	rooms  map[string]int // the rooms, and the socket's place in each
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

// ack is what waits for an acknowledgement: a function of the application's, or the doorkeeper's.
type ack struct {
	user *handler
	own  func()
}

// Conn returns the connection that the socket belongs to.
func (s *Socket) Conn() *Conn { return s.conn }

// Query returns what the client wrote behind the namespace's name when it asked for it. It is
// forgotten when the doorkeeper has decided.
func (s *Socket) Query() string {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.query
}

// Auth returns the JSON in the client's CONNECT, nil for none. It may be any value. It is forgotten
// when the socket has ended; that of a restricted client, if it is long, when the doorkeeper has
// decided.
func (s *Socket) Auth() json.RawMessage {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.auth
}

// maxIdleAuth is how much Auth is kept of a client that may be anybody, for each namespace.
const maxIdleAuth = 1 << 10

// unload drops what CONNECT brought as far as nobody needs it any more. It is called with conn.mu
// when the doorkeeper has decided about the socket.
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

// runsOnDisconnect reports whether the socket has ended and its OnDisconnect has not returned.
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

// hears reports whether broadcasts reach the socket: those to members only, or those to all.
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

// Admit answers CONNECT if that is to be done and admits the socket: broadcasts reach it, and after
// Visitor.OnConnect its events are dispatched. member says that it is no guest's.
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

// SetMember makes the socket of a guest one of a member.
func (s *Socket) SetMember() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.member = true
}

// Hold keeps what the client sends until Release. Each Hold is followed by one Release.
func (s *Socket) Hold() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.holds++
}

// Release handles what Hold kept, when it follows the last Hold.
func (s *Socket) Release() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.holds--
	s.proceed()
	if s.foreign {
		s.decided.Broadcast()
	}
}

// Tell sends an event of the doorkeeper's, also before the socket is admitted. onAck is called when
// the client acknowledges it; nil asks for no acknowledgement.
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

// answer answers CONNECT, once. In protocol 4 go-socket.io answers for its own root.
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

// keepNextLife reports whether p has to wait because the client has left, has joined again, and the
// packet with which it left is still kept. p is that CONNECT, or comes after it.
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

// nextLife returns the CONNECT that was kept and what follows it, when the socket has ended.
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

// proceed has what was kept handled, in a goroutine in which the doorkeeper may be called.
func (s *Socket) proceed() {
	if len(s.kept) > 0 && s.holds == 0 && !s.replaying {
		s.replaying = true
		go s.conn.replay(s)
	}
}

// nextKept returns nil when nothing is left, or when the rest has to wait on.
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

// dropKept drops what was kept for a socket that has ended, up to the next CONNECT.
func (s *Socket) dropKept() {
	for len(s.kept) > 0 && s.kept[0].Type != Connect {
		s.conn.client.Consumed(s.kept[0].cost)
		s.kept = s.kept[1:]
	}
}

// leave ends the socket because the client has left. It reports false if the socket had ended
// before.
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

// cleanUp follows the end of a socket: it takes the socket out of all rooms and queues
// OnDisconnect.
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

// deliver sends frames if broadcasts reach the socket. That is decided under the lock under which
// the socket ends, so nothing comes after its end.
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
