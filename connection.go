package socketiojwt

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// connection is what an Authorizer knows of one client: its session, and its sockets
// in the namespaces the Authorizer looks after. It hangs on the transport's client,
// so it lives exactly as long as that and is found without a map.
type connection struct {
	auth    *Authorizer
	client  *transport.Client
	ctx     context.Context // ends with the connection
	cancel  context.CancelFunc
	session atomic.Pointer[Session]

	mu       sync.Mutex
	cond     sync.Cond // on mu: the state of a socket changed
	sockets  map[string]*socket
	attempts int    // tokens that were refused since the last good one
	early    int    // events before authentication that were answered
	acks     uint64 // `unauthorized` events sent, each with an id of its own
	gone     bool

	// tasks runs what is done for the sockets, the user's OnConnect and OnDisconnect
	// among it: one at a time, as where go-socket.io runs them.
	tasks serial
}

// connectionOf finds or makes the connection behind s. It returns nil when s does not
// come from Harden's transports.
func (a *Authorizer) connectionOf(s socketio.Conn) *connection {
	client, ok := transport.FromConn(s)
	if !ok {
		return nil
	}
	return client.Attach(a, func() any {
		c := &connection{auth: a, client: client, sockets: make(map[string]*socket)}
		c.cond.L = &c.mu
		c.ctx, c.cancel = context.WithCancel(client.Handshake().Context)
		client.Inspect(c.passes)
		client.OnClose(c.closed)
		a.observe(client.Hub())
		return c
	}).(*connection)
}

// findConnection is connectionOf for those who do not want one made.
func (a *Authorizer) findConnection(s socketio.Conn) *connection {
	client, ok := transport.FromConn(s)
	if !ok {
		return nil
	}
	c, _ := client.Attach(a, nil).(*connection)
	return c
}

// Session returns the session of the connection that s belongs to, and whether there
// is one. It is the same in all namespaces, and after the upgrade to WebSocket; it
// stays readable after the connection is closed, so that OnDisconnect can say who
// left. Session does not block and is safe for concurrent use.
func (a *Authorizer) Session(s socketio.Conn) (*Session, bool) {
	c := a.findConnection(s)
	if c == nil {
		return nil, false
	}
	session := c.session.Load()
	return session, session != nil
}

// join takes a socket that go-socket.io is just connecting. It is called inside
// go-socket.io's OnConnect, so it only takes notes: the work is done in a goroutine
// (hazards 2 and 13).
func (c *connection) join(s socketio.Conn, ns *namespace) {
	name := normalise(s.Namespace())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		c.tasks.run(s.LeaveAll) // go-socket.io has put it in the room of its own
		return
	}
	old := c.sockets[name]
	if old != nil && old.state != socketClosed {
		return // CONNECT again (hazard 34)
	}
	sock := &socket{
		conn: c, s: s, ns: ns, name: name,
		rejoined: old != nil,
		due:      time.Now().Add(c.auth.opts.Timeout),
	}
	c.sockets[name] = sock
	c.auth.sockets.add(1)
	if ns.protected && c.session.Load() == nil && c.verdict() == nil {
		sock.pending = true
		c.auth.pending.Add(1)
		if name == root {
			c.client.Restrict(true)
		}
	}
	if ns.protected {
		c.client.Mute(name, true)
	}
	connected := c.client.SwallowConnect(name)
	query := c.client.LastHeader().Query
	c.tasks.run(func() { sock.decide(connected, query) })
}

// left is called when go-socket.io is done with a socket.
func (c *connection) left(s socketio.Conn, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sock := c.sockets[normalise(s.Namespace())]
	if sock == nil || sock.s != s || sock.ended {
		return
	}
	if sock.name == root && sock.pending {
		// A client that leaves a protected root without having authenticated has
		// nothing to stay for. The root cannot be joined again, so no deadline
		// would run for it (hazard 24).
		c.client.SendAndClose()
	}
	sock.leave(reason)
}

// closed is called once the transport's client is closed. go-socket.io calls OnDisconnect
// as well, but only where the hook was registered.
func (c *connection) closed() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	if c.session.Load() != nil {
		c.auth.stats.count(func(s *Stats) { s.Active-- })
	}
	for _, sock := range c.sockets {
		sock.leave(closedReason)
	}
}

// closedReason is what go-socket.io tells OnDisconnect whenever a connection ends.
const closedReason = "client namespace disconnect"

// adopt makes a verified token the connection's session. A session is replaced only by
// one of the same subject. It is called with the mutex.
func (c *connection) adopt(v *verified) *UnauthorizedError {
	session := newSession(c.client.ID(), v, time.Now())
	old := c.session.Load()
	if old != nil && old.Subject() != session.Subject() {
		return errSubjectChanged()
	}
	c.session.Store(session)
	c.attempts = 0
	c.auth.stats.count(func(s *Stats) {
		if old != nil {
			s.Refreshed++
			return
		}
		s.Authenticated++
		if !c.gone {
			s.Active++
		}
	})
	return nil
}

// announce lets in the sockets that waited for the session. It is called with the mutex.
func (c *connection) announce() {
	session := c.session.Load()
	for _, sock := range c.sockets {
		sock.authenticated(session)
	}
}

// install is adopt and announce without anything in between, and without the mutex.
func (c *connection) install(v *verified) *UnauthorizedError {
	if v == nil {
		return nil // the gate let a guest in
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.adopt(v); err != nil {
		return err
	}
	c.announce()
	return nil
}

// ClaimsAs returns the claims of the session that s belongs to, as the type that
// Options.NewClaims makes, such as *MyClaims or jwt.MapClaims. It returns false when there
// is no session and when the claims are of another type. It does not block and is safe for
// concurrent use; the claims are shared, so do not write to them.
func ClaimsAs[T jwt.Claims](a *Authorizer, s socketio.Conn) (T, bool) {
	var none T
	session, ok := a.Session(s)
	if !ok {
		return none, false
	}
	claims, ok := session.Claims().(T)
	return claims, ok
}

// request describes the client to callbacks.
func (c *connection) request(namespace string) *Request {
	handshake := c.client.Handshake()
	return &Request{
		Namespace:  namespace,
		SessionID:  c.client.ID(),
		RemoteAddr: handshake.RemoteAddr,
		URL:        handshake.URL,
		Header:     handshake.Header,
	}
}

// verify verifies a token that has to be good by due, or before the client leaves.
func (c *connection) verify(r *Request, raw string, due time.Time) (*verified, *UnauthorizedError) {
	ctx, cancel := context.WithDeadline(c.ctx, due)
	defer cancel()
	return c.auth.verify(ctx, r, raw)
}

// passes decides which of a client's packets reach go-socket.io. It runs in the
// goroutine that reads the connection, so events wait here while OnConnect runs.
func (c *connection) passes(h transport.Header) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	sock := c.sockets[h.Namespace]
	switch {
	case h.Type == transport.Connect:
		return c.mayJoin(h.Namespace, sock)
	case h.Type == transport.Disconnect || sock == nil:
		return true // go-socket.io drops events of namespaces that were not joined
	case h.Type == transport.Ack && c.ownAck(h.ID):
		sock.dismiss() // which is what the callback is for
		return false
	case h.Type == transport.Ack && sock.state == socketAdmitted:
		return true // OnConnect may be waiting for it
	}
	for sock.state == socketJoining || sock.state == socketAdmitted {
		c.cond.Wait()
	}
	switch sock.state {
	case socketOpen:
		return true
	case socketWaiting:
		if h.Type != transport.Event {
			return false // no acknowledgement can be due yet
		}
		if h.Event == eventAuthenticate {
			return true
		}
		if c.early++; c.early > c.auth.opts.MaxAttempts {
			return false // it was told often enough
		}
		c.mu.Unlock()
		sock.fail(errAuthenticationRequired(), false)
		c.mu.Lock()
	}
	return false
}

// mayJoin decides about a client's CONNECT.
func (c *connection) mayJoin(namespace string, sock *socket) bool {
	if namespace == root {
		// Opening the connection joins the root. Joining it again after leaving it
		// would make a second life for a client that was told to go (hazard 24).
		return false
	}
	if sock == nil {
		return true
	}
	// The predecessor has to be through with everything. It would take its successor out
	// of the rooms, and a client could queue joins faster than they are decided.
	for sock.state == socketClosed && !sock.finished && !c.gone {
		c.cond.Wait()
	}
	return sock.state == socketClosed && !c.gone
}

// knows reports whether the connect-hook has seen a namespace of the client.
func (a *Authorizer) knows(client *transport.Client, namespace string) bool {
	c, _ := client.Attach(a, nil).(*connection)
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets[namespace] != nil
}

// The ids of our own acknowledgements start far above those that go-socket.io counts
// from 1, and stay exact in JavaScript.
const firstAck = 1 << 40

func (c *connection) ownAck(id uint64) bool { return id >= firstAck && id < firstAck+c.acks }
