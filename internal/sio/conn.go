package sio

import (
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// Conn is one connection as Socket.IO sees it: the sockets of one client. Its methods are safe for
// concurrent use and do not block.
type Conn struct {
	server   *Server
	client   *transport.Client
	protocol protocol
	id       string
	alias    string  // see Server.Alias, guarded by its idsMu; "" until somebody asks
	visitor  Visitor // nil: everything is foreign
	lane     lane    // OnConnect, events, OnDisconnect
	acks     lane    // acknowledgements: the handler that runs may wait for one

	// receiving is held while a packet is handled. It comes before mu, and is the only lock under
	// which the visitor is called.
	receiving          sync.Mutex
	partial            *Packet   // lacks attachments; only the goroutine that receives uses it
	behindOnDisconnect []*Packet // see waitsForOnDisconnect
	initial            any       // see SetInitialContext

	mu       sync.Mutex
	sockets  []*Socket // the last of each namespace, by name
	unknown  []string  // namespaces that the client asked for and that do not exist
	wait     waiting
	idleRoot *idleRoot // see Guard; nil where there is none
	ids      uint64    // of the next acknowledgement; none comes twice in a connection
	bridge   Bridge    // nil: it has not entered go-socket.io
	closing  bool      // the server ends the connection: what the client sends does not count
	closed   bool
	onClosed []func()
}

// Client returns the transport's half.
func (c *Conn) Client() *transport.Client { return c.client }

// ID returns the id that handlers get. It is the same for all sockets of the connection. In
// protocol 4 it is the session id, because clients 1.x and 2.x take that for socket.id. Whoever
// knows it can take the connection over.
func (c *Conn) ID() string { return c.id }

// IsProtocol5 reports whether the client is one that asks for the root.
func (c *Conn) IsProtocol5() bool { return !c.protocol.joinsRoot() }

// Attach returns the value kept under key, made by make when there is none yet and make is
// not nil.
func (c *Conn) Attach(key any, make func() any) any { return c.client.Attach(key, make) }

// Visitor returns what the doorkeeper's Opened returned, or nil.
func (c *Conn) Visitor() Visitor { return c.visitor }

// SetInitialContext sets the first Context of the root's socket. It may be called while Server.Open
// makes the Conn.
func (c *Conn) SetInitialContext(v any) { c.initial = v }

// InitialContext returns what SetInitialContext was given.
func (c *Conn) InitialContext() any { return c.initial }

// Do runs f in the lane of the connection, after the handlers that are queued.
func (c *Conn) Do(f func()) { c.lane.run(f) }

// OnClosed calls f when the connection is closed, at once when it is already.
func (c *Conn) OnClosed(f func()) {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.onClosed = append(c.onClosed, f)
	}
	c.mu.Unlock()
	if closed {
		f()
	}
}

// Socket returns the connection's socket in a namespace, the last one there was, or nil.
func (c *Conn) Socket(namespace string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(namespace)
}

func (c *Conn) find(namespace string) *Socket {
	if i, found := c.place(namespace); found {
		return c.sockets[i]
	}
	return nil
}

func (c *Conn) place(namespace string) (int, bool) {
	return slices.BinarySearchFunc(c.sockets, namespace, func(s *Socket, name string) int {
		return strings.Compare(s.name, name)
	})
}

// Receive takes messages from the transport. All of them are checked before the first is handled.
func (c *Conn) Receive(messages []transport.Message) error {
	if len(messages) == 1 {
		p, err := c.next(messages[0])
		if err != nil || p == nil {
			return err
		}
		c.receiving.Lock()
		defer c.receiving.Unlock()
		return c.handle(p)
	}
	var packets []*Packet
	for _, m := range messages {
		p, err := c.next(m)
		if err != nil {
			return err
		}
		if p != nil {
			packets = append(packets, p)
		}
	}
	c.receiving.Lock()
	defer c.receiving.Unlock()
	for _, p := range packets {
		if err := c.handle(p); err != nil {
			return err
		}
	}
	return nil
}

// next is parse that accounts for the cost. A packet that lacks attachments counts as consumed,
// because otherwise its attachments might never be read.
func (c *Conn) next(m transport.Message) (*Packet, error) {
	p, err := c.parse(m)
	switch {
	case err != nil:
	case p == nil:
		c.client.Consumed(m.Cost())
	case len(p.Attachments) > 0:
		c.client.Consumed(m.Cost() - p.cost) // the parts before count again
	}
	return p, err
}

// parse returns the packet that a message completes, or nil. A header that announces
// attachments is followed by as many of them and nothing else (hazards 8 and 14).
func (c *Conn) parse(m transport.Message) (*Packet, error) {
	if m.Binary {
		p := c.partial
		if p == nil {
			return nil, BadAttachment
		}
		p.Attachments = append(p.Attachments, m.Data)
		if p.cost += m.Cost(); p.cost > c.burst() {
			return nil, transport.TooLarge
		}
		if len(p.Attachments) < p.Header.Attachments {
			return nil, nil
		}
		c.partial = nil
		return p, nil
	}
	if c.partial != nil {
		return nil, BadAttachment
	}
	header, body, err := parseHeader(m.Data, c.limits(), c.protocol)
	if err != nil {
		return nil, err
	}
	p := &Packet{Header: header, Text: m.Data, Body: body, cost: m.Cost()}
	if header.Attachments > 0 {
		c.partial = p
		return nil, nil
	}
	return p, nil
}

// burst is what an event may cost with its attachments. A packet that lacks attachments is held in
// memory, and no handler of a restricted client needs a large one.
func (c *Conn) burst() int {
	if c.server.hub == nil {
		return math.MaxInt
	}
	return c.client.Burst()
}

// limits returns the limits that hold now.
func (c *Conn) limits() Limits {
	l := c.server.limits
	if c.client.Restricted() {
		l.Depth = min(l.Depth, restrictedDepth)
	}
	return l
}

// handle handles one packet. It is called with the lock receiving.
func (c *Conn) handle(p *Packet) error {
	s := c.Socket(p.Namespace)
	if s != nil && s.keepNextLife(p) || c.waitsForOnDisconnect(p) {
		return nil
	}
	if p.Type == Connect {
		c.join(p)
		return nil
	}
	if s == nil || s.hasEnded() {
		c.client.Consumed(p.cost)
		return nil
	}
	if s.foreign {
		if p.Type == Event && !p.Plain {
			return BadEvent
		}
		if p.Loose {
			return BadPlaceholder // go-socket.io would look for the attachment (hazard 7)
		}
		if p.Type == Ack && p.ID >= firstForeignAck {
			s.acknowledged(p)
			return nil
		}
		if p.Type == Disconnect {
			s.leave()
		}
		c.entered().Deliver(s, p)
		return nil
	}
	if s.keep(p) {
		return nil
	}
	c.take(s, p)
	return nil
}

// take handles a packet of a socket that has been decided about.
func (c *Conn) take(s *Socket, p *Packet) {
	switch p.Type {
	case Disconnect:
		c.client.Consumed(p.cost)
		c.left(s)
	case Ack:
		s.acknowledged(p)
	case Event:
		if c.visitor.Intercept(s, p.Event, p.Body) {
			c.client.Consumed(p.cost)
			return
		}
		if !s.isAdmitted() {
			c.client.Consumed(p.cost)
			c.visitor.Dropped(s)
			return
		}
		c.lane.run(func() {
			defer c.client.Consumed(p.cost)
			s.dispatch(p)
		})
	}
}

// waitsForOnDisconnect keeps a CONNECT, and what follows it, until the OnDisconnect of the client's
// last socket in the namespace has returned. Otherwise a client could join and leave faster than
// the application is told. Acknowledgements pass, because a handler may wait for one.
func (c *Conn) waitsForOnDisconnect(p *Packet) bool {
	if len(c.behindOnDisconnect) == 0 {
		s := c.Socket(p.Namespace)
		if p.Type != Connect || s == nil || s.foreign || s.name == Root && c.protocol.joinsRoot() || !s.runsOnDisconnect() {
			return false
		}
	} else if p.Type == Ack {
		return false
	}
	c.behindOnDisconnect = append(c.behindOnDisconnect, p)
	return true
}

// onDisconnectReturned is called when the application is done with a socket.
func (c *Conn) onDisconnectReturned(s *Socket) {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	c.mu.Lock()
	s.onDisconnectReturned = true
	c.mu.Unlock()
	waiting := c.behindOnDisconnect
	c.behindOnDisconnect = nil
	for _, p := range waiting {
		if c.handle(p) != nil {
			c.client.Abort()
			return
		}
	}
}

// replay handles what was kept for a socket, as far as that is possible.
func (c *Conn) replay(s *Socket) {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	for {
		p := s.nextKept()
		if p == nil {
			break
		}
		c.take(s, p)
	}
	for _, p := range s.nextLife() {
		if c.handle(p) != nil {
			c.client.Abort()
			return
		}
	}
}

// join handles CONNECT: it makes the socket, and asks the visitor or go-socket.io.
func (c *Conn) join(p *Packet) {
	name, cost := p.Namespace, p.cost
	ns := c.server.Namespace(name)
	foreign := ns == nil
	if foreign && (isOdd(name) || !c.server.serves(name)) {
		c.client.Consumed(cost)
		c.mu.Lock()
		c.noteUnknown(name)
		c.mu.Unlock()
		c.client.Send(c.protocol.unknown(name))
		return
	}
	if !c.mayJoin(name) {
		c.client.Consumed(cost)
		return
	}
	s := &Socket{conn: c, ns: ns, name: name, query: p.Query, auth: p.Body, foreign: foreign, debt: cost}
	if foreign {
		s.state, s.member = stateAdmitted, true
		s.foreignPart = new(foreignPart)
		s.decided.L = &c.mu
	} else {
		c.visitor.NewSocket(s)
	}
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		if foreign {
			s.settle()
		} else {
			c.left(s)
		}
		return
	}
	i, found := c.place(name)
	if !found {
		c.sockets = slices.Insert(c.sockets, i, nil)
	}
	c.sockets[i] = s
	entered := c.bridge != nil
	var idle *idleRoot
	if name == Root {
		s.context = c.initial
		idle = c.takeIdleRoot(s)
	}
	c.mu.Unlock()
	if !foreign {
		c.visitor.Join(s)
		return
	}
	s.settle()
	bridge := c.enterUpstream()
	if name == Root && (!entered || idle != nil || c.protocol.joinsRoot()) { // go-socket.io connects its first root by itself
		if idle != nil && idle.take != nil {
			idle.take(s)
		}
		bridge.JoinRoot(s)
		return
	}
	bridge.Deliver(s, &Packet{Header: Header{Type: Connect, Namespace: name, Query: p.Query}, Text: head(Connect, 0, name, "")})
}

// mayJoin reports whether a CONNECT counts. A second one while the client is in the namespace does
// not (hazard 34). Nor does one for a root that opening the connection joins: a second root would
// be one of a client that was told to go (hazard 24).
func (c *Conn) mayJoin(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.closing {
		return false
	}
	i, found := c.place(name)
	return !found || c.sockets[i].ended() && (name != Root || !c.protocol.joinsRoot())
}

// enterUpstream brings the connection to go-socket.io the first time.
func (c *Conn) enterUpstream() Bridge {
	if bridge := c.entered(); bridge != nil {
		return bridge
	}
	bridge := c.server.upstream.NewBridge(c)
	c.client.LimitOutbox(0) // go-socket.io may send before anything is decided here
	c.mu.Lock()
	c.bridge = bridge // the hooks in go-socket.io ask for it
	if c.find(Root) == nil {
		c.idleRoot = new(idleRoot)
	}
	c.mu.Unlock()
	bridge.Enter()
	return bridge
}

func (c *Conn) entered() Bridge {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bridge
}

// left is called when the client has left a namespace.
func (c *Conn) left(s *Socket) {
	if s.leave() {
		s.cleanUp(LeftReason)
		c.visitor.Left(s)
	}
}

// Closed ends all sockets, because the connection is closed. What the client sent before counts.
func (c *Conn) Closed() {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	c.server.forget(c)
	c.mu.Lock()
	c.closed = true
	c.stopWaiting()
	sockets := slices.Clone(c.sockets)
	onClosed := c.onClosed
	c.onClosed = nil
	c.mu.Unlock()
	for _, s := range sockets {
		if s.foreign {
			s.leave()
		} else {
			c.left(s)
		}
	}
	if bridge := c.entered(); bridge != nil {
		bridge.Closed()
	}
	for _, f := range onClosed {
		f()
	}
}

// End ends sockets, and tells each of them its last word, in one write. With closes it closes the
// connection after that. In protocol 5 the connection is also closed when no socket is left.
// Sockets that have ended are passed over. What was sent to the sockets before arrives before.
// Visitor.Left is not called.
func (c *Conn) End(closes bool, words ...LastWord) {
	c.afterEmits(words, func() { c.end(closes, words) })
}

// afterEmits calls f when go-socket.io has sent what handlers have emitted.
func (c *Conn) afterEmits(words []LastWord, f func()) {
	bridge := c.entered()
	for _, w := range words {
		if s := w.Socket; bridge != nil && s.foreign && s.isAdmitted() {
			bridge.AfterEmits(s, f)
			return
		}
	}
	f()
}

// end returns the sockets that it ended.
func (c *Conn) end(closes bool, words []LastWord) []*Socket {
	var ended []*Socket
	c.mu.Lock()
	var frames []transport.Frame
	last := len(words) == 0
	for _, w := range words {
		s := w.Socket
		if s.ended() {
			continue
		}
		last = last || s.answered
		frames = c.protocol.lastWords(frames, s, w)
		s.setState(stateEnded)
		ended = append(ended, s)
	}
	if !c.protocol.joinsRoot() {
		// A client that was told to go, and is in no other namespace, has nothing to stay for. A
		// client that was refused may ask again.
		closes = closes || last && !slices.ContainsFunc(c.sockets, func(s *Socket) bool { return !s.ended() })
		if closes {
			frames = c.appendRefused(frames)
		}
	}
	if closes {
		c.closing = true
		c.client.SendAndClose(frames...)
	} else {
		for _, s := range ended { // before the client hears of it and joins again
			if s.foreign && c.bridge != nil {
				c.bridge.Deliver(s, &Packet{Header: Header{Type: Disconnect, Namespace: s.name}, Text: head(Disconnect, 0, s.name, "")})
			}
		}
		c.client.Send(frames...)
	}
	c.mu.Unlock()
	for _, s := range ended {
		s.cleanUp(EndedReason)
	}
	return ended
}

func (c *Conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// Closing calls end when go-socket.io has sent what handlers have emitted. No socket is told that
// it ends.
func (c *Conn) Closing(end func()) { c.afterEmits(c.endOfAll(), end) }

// endOfAll returns a last word without an event for every socket that has not ended.
func (c *Conn) endOfAll() (words []LastWord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sockets {
		if !s.ended() {
			words = append(words, LastWord{Socket: s})
		}
	}
	return words
}

// Close tells every socket that it ends, then closes the connection.
func (c *Conn) Close() {
	words := c.endOfAll()
	c.afterEmits(words, func() {
		for _, s := range c.end(true, words) {
			if !s.foreign {
				c.visitor.Left(s)
			}
		}
	})
}
