package socketiojwt

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	socketio "github.com/googollee/go-socket.io"
)

// connection is what an Authorizer knows of one client: its session, and its sockets in the
// namespaces that the Authorizer protects. It is attached to the transport's client, so it lives
// exactly as long as that, and is found without a map.
type connection struct {
	auth          *Authorizer
	sio           *sio.Conn
	client        *transport.Client
	session       atomic.Pointer[Session]
	endedSessions atomic.Int32 // after the first the gate's verdict does not count any more

	brought *broughtTokens // nil: the tokens are in the handshake

	mu         sync.Mutex // comes before the locks of internal/sio
	sockets    []*socket  // one for each namespace, by name
	turns      []*socket  // to be decided about, see decideInTurn
	taking     bool       // takeTurns runs
	attempts   int        // failed since the last good token
	forgiven   time.Time  // up to when attempts were forgiven
	early      bool       // it was logged that an event came before authentication
	closed     bool
	expiry     *time.Timer         // of the session, see arm
	links      [sessionKinds]links // guarded by registry.mu
	endReason  *UnauthorizedError  // why the last session ended
	unfinished int                 // sockets whose onDisconnect has not returned
}

// maxUnfinished bounds how many ended sockets a connection may have besides those of its
// namespaces. With the hooks a client could join faster than the application is told of the end.
const maxUnfinished = 100

// connectionOf finds or makes the connection behind s. It returns nil when s does not come from
// Harden's transports.
func (a *Authorizer) connectionOf(s socketio.Conn) *connection {
	conn, ok := sio.FromConn(s)
	if !ok {
		return nil
	}
	return a.connectionFor(conn)
}

func (a *Authorizer) connectionFor(conn *sio.Conn) *connection {
	return conn.Attach(a, func() any {
		c := &connection{auth: a, sio: conn, client: conn.Client()}
		conn.OnClosed(c.onClosed)
		a.observe(c.client.Hub())
		return c
	}).(*connection)
}

// findConnection is connectionOf that makes no connection: where there is none it returns nil.
func (a *Authorizer) findConnection(s socketio.Conn) *connection {
	conn, ok := sio.FromConn(s)
	if !ok {
		return nil
	}
	c, _ := conn.Attach(a, nil).(*connection)
	return c
}

// Session returns the session of the connection that s belongs to, and whether there is one. It is
// the same in all namespaces, and after the upgrade to WebSocket. A guest has none, also while
// AcceptNamespace is asked about the guest's token. Session returns the session after the
// connection is closed too, so OnDisconnect can say who left. It does not block and is safe for
// concurrent use.
func (a *Authorizer) Session(s socketio.Conn) (*Session, bool) {
	c := a.findConnection(s)
	if c == nil {
		return nil, false
	}
	session := c.session.Load()
	if session == nil || c.endedSessions.Load() > 0 {
		if former := c.endedSessionOf(s); former != nil {
			session = former // also where others of the connection's sockets have a new one
		}
	}
	if session != nil && a.opts.Optional && a.opts.AcceptNamespace != nil && c.isGuest(s) {
		return nil, false
	}
	return session, session != nil
}

// endedSessionOf returns the session that a socket ended with.
func (c *connection) endedSessionOf(s socketio.Conn) *Session {
	sock := c.socketOf(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	if sock != nil {
		return sock.endedSession
	}
	return nil
}

// isGuest reports whether s is a guest to handlers. While AcceptNamespace has yet to agree, a
// socket is one although the connection has a session.
func (c *connection) isGuest(s socketio.Conn) bool {
	sock := c.socketOf(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	return sock != nil && sock.guest
}

// socketOf returns the socket that handlers know as s, or nil.
func (c *connection) socketOf(s socketio.Conn) *socket {
	if own, ok := s.(*sio.Socket); ok {
		sock, _ := own.Attached.(*socket)
		return sock
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if sock := c.socket(s.Namespace()); sock != nil && (!sock.sio.IsForeign() || sock.sio.User() == s) {
		return sock
	}
	return nil
}

// newSocket makes the socket of a client that joins a protected namespace, or is in a public one.
// decide follows.
func (c *connection) newSocket(s *sio.Socket, ns *namespace) *socket {
	name := s.Namespace()
	c.mu.Lock()
	defer c.mu.Unlock()
	sock := &socket{conn: c, sio: s, ns: ns, name: name}
	began, waits := c.sio.Waits()
	if !waits {
		began = time.Now()
	}
	sock.due = began.Add(c.auth.opts.Timeout)
	s.Attached = sock
	if old := c.socket(name); old != nil && old.sio.IsForeign() {
		old.markEnded() // where OnDisconnect was not called
	}
	c.put(sock)
	c.auth.unfinished.add(1)
	if c.unfinished++; c.unfinished > len(c.sockets)+maxUnfinished {
		c.client.Abort()
	}
	if ns.protected && !c.sio.IsProtocol5() && c.session.Load() == nil && c.verdict() == nil {
		sock.pending = true
		if p := gateResultOf(c.client.Handshake().Context).of(c.auth); name == root && p.handOver() {
			sock.placed, sock.placedAs = true, p.remote // which need not be that of the handshake
		} else {
			sock.placedAs = c.client.Handshake().RemoteAddr
			sock.placed = c.auth.places.take(sock.placedAs)
		}
		if name == root {
			c.client.Restrict(true)
		}
	}
	if c.closed { // a hook of go-socket.io's may be late; nobody else would end the socket
		sock.markEnded()
	}
	return sock
}

// left is called when the client has left a namespace.
func (c *connection) left(sock *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sock.state == socketEnded {
		return
	}
	if sock.name == root && !c.sio.IsProtocol5() && sock.ns.protected && (sock.pending || sock.state == socketJoining) && !c.closed {
		// A client that leaves a protected root without having authenticated has
		// nothing to stay for. The root cannot be joined again, so no deadline
		// would run for it (hazard 24), nor the end of a session.
		c.client.SendAndClose()
	}
	sock.markEnded()
}

// onClosed is called once the connection is closed. internal/sio has told its own sockets before.
func (c *connection) onClosed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if session := c.session.Load(); session != nil {
		c.arm(lifetime{}, time.Now())
		c.auth.registry.remove(c, session)
		c.auth.stats.count(func(s *Stats) { s.Active-- })
	}
	for _, sock := range c.sockets {
		sock.markEnded()
	}
}

// install makes a verified token the connection's session, and admits the sockets that waited for
// one, by due. asker is the socket whose `authenticate` is answered, nil in a handshake. install is
// called without the mutex.
func (c *connection) install(r *Request, v *verified, due time.Time, asker *socket) *UnauthorizedError {
	if v == nil {
		return nil // the gate let a guest in
	}
	for {
		began, installed, err := c.tryInstall(v, asker)
		if began != nil && c.auth.opts.SingleSession {
			c.auth.replaceOthers(began)
		}
		if installed || err != nil {
			return err
		}
		// The token may have been revoked since it was checked, when its session could not be found
		// yet.
		ctx, cancel := c.until(due)
		err = c.auth.checkRevoked(ctx, r, v)
		cancel()
		if err != nil {
			return err
		}
	}
}

// tryInstall returns the session if one began. installed is false when the token has to be checked
// for revocation again.
func (c *connection) tryInstall(v *verified, asker *socket) (began *Session, installed bool, err *UnauthorizedError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || (asker != nil && asker.state == socketEnded) {
		return nil, true, nil // there is nobody to tell
	}
	old := c.session.Load()
	if set, err := c.setSession(old, v); !set || err != nil {
		return nil, set, err
	}
	session := c.session.Load()
	if asker != nil {
		asker.busy = false
		if asker.isAuthenticated() && !asker.guest {
			asker.sio.Tell(eventAuthenticated, nil, nil)
		} else {
			asker.admitIfAccepted(true)
		}
	}
	for _, sock := range c.sockets {
		if sock.isAuthenticated() && !sock.guest && old != nil && sock.session != session { // else it has just come in
			sock.sio.Hold() // a client that sends token after token waits for OnRefreshed
			c.sio.Do(func() {
				defer sock.sio.Release()
				sock.afterRefreshed(old, session)
			})
		}
		sock.useSession()
	}
	if old != nil {
		return nil, true, nil
	}
	return session, true, nil
}

// setSession puts a session on a new token in the place of old, which is nil or of the same user.
// It returns false when the token has to be checked for revocation again. It is called with the
// mutex.
func (c *connection) setSession(old *Session, v *verified) (bool, *UnauthorizedError) {
	now := time.Now()
	session := &Session{
		auth: c.auth, conn: c, index: c.endedSessions.Load(),
		verified: v, authenticatedAt: now, lifetime: c.auth.lifetimeOf(v, now),
	}
	switch {
	case old != nil && !old.verified.isOfUser(v):
		c.auth.warnOtherUser()
		return false, errSubjectChanged()
	case lifetime{end: c.auth.endOf(v, now)}.expired(now):
		// The token expired while it was verified. KeepExpired does not help: Revocations may have
		// forgotten the token.
		return false, errTokenExpired(nil)
	case !c.auth.registry.replace(c, old, session):
		return false, nil
	}
	c.session.Store(session)
	c.client.Restrict(false)
	c.attempts = 0
	c.arm(session.lifetime, now)
	c.auth.stats.count(func(s *Stats) {
		if old != nil {
			s.Refreshed++
			return
		}
		s.Authenticated++
		s.Active++
	})
	return true, nil
}

// socket returns the last socket that there was in a namespace, or nil. It is called with the
// mutex.
func (c *connection) socket(namespace string) *socket {
	if i, found := c.place(normalise(namespace)); found {
		return c.sockets[i]
	}
	return nil
}

func (c *connection) put(sock *socket) {
	i, found := c.place(sock.name)
	if !found {
		c.sockets = slices.Insert(c.sockets, i, nil)
	}
	c.sockets[i] = sock
}

func (c *connection) place(name string) (i int, found bool) {
	return slices.BinarySearchFunc(c.sockets, name, func(sock *socket, name string) int {
		return strings.Compare(sock.name, name)
	})
}

// request describes the client to callbacks.
func (c *connection) request(namespace string) *Request {
	handshake := c.client.Handshake()
	return &Request{
		Namespace:  namespace,
		SessionID:  c.sio.ID(),
		RemoteAddr: handshake.RemoteAddr,
		URL:        handshake.URL,
		Header:     handshake.Header,
	}
}

// verify verifies a token. The verification ends at due, or when the client leaves.
func (c *connection) verify(r *Request, raw string, due time.Time) (*verified, *UnauthorizedError) {
	if !c.auth.waits {
		return c.auth.verify(c.client.Handshake().Context, r, raw)
	}
	ctx, cancel := c.until(due)
	defer cancel()
	return c.auth.verify(ctx, r, raw)
}

// until returns a context that ends at due, or when the client leaves.
func (c *connection) until(due time.Time) (context.Context, context.CancelFunc) {
	return context.WithDeadline(clientContext{c.client.Handshake().Context, c.client.Done()}, due)
}

// clientContext ends with the connection. A context.WithCancel would too, but each connection would
// have to keep one.
type clientContext struct {
	context.Context
	done <-chan struct{}
}

func (c clientContext) Done() <-chan struct{} { return c.done }

func (c clientContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

const root = sio.Root

// normalise gives the root its one name: go-socket.io calls it "/" or "".
func normalise(namespace string) string {
	if namespace == "" {
		return root
	}
	return namespace
}
