package socketiojwt

import (
	"time"

	socketio "github.com/googollee/go-socket.io"
)

// socket is one namespace of a connection, from the moment go-socket.io connects it.
// Its fields are guarded by the connection's mutex, and its methods are called with it
// unless they say otherwise.
type socket struct {
	conn *connection
	s    socketio.Conn
	ns   *namespace
	name string

	state    socketState
	pending  bool     // counted in Authorizer.pending
	guest    bool     // admitted to a protected namespace without a session
	former   *Session // the one it had, when that has ended
	rejoined bool     // the client was in the namespace before
	busy     bool     // a token is being verified
	ended    bool     // leave was called
	finished bool     // and all that follows is done
	handlers int      // that run, see enterHandler
	due      time.Time
	deadline *time.Timer // while waiting
	grace    *time.Timer // CloseGrace, while waiting

	accepted bool // OnConnect succeeded; belongs to the connection's tasks
}

type socketState int

const (
	socketJoining  socketState = iota // it is being decided whether it may stay
	socketWaiting                     // round trip: it has to send `authenticate`
	socketAdmitted                    // OnConnect runs
	socketOpen
	socketClosed
)

// decide is the socket's first task. It is called without the mutex.
func (sock *socket) decide(connected <-chan struct{}, query string) {
	select {
	case <-connected:
	case <-sock.conn.client.Done():
		return
	}
	auth := sock.conn.auth
	if sock.ns.server != nil && sock.conn.client.Handshake().Context.Value(gateKey{}) == nil {
		auth.warnNoGate()
	}
	sock.conn.mu.Lock()
	closed, pending := sock.state == socketClosed, sock.pending
	exhausted := pending && sock.conn.attempts >= auth.opts.MaxAttempts
	sock.conn.mu.Unlock()
	switch {
	case closed:
	case !sock.ns.protected:
		sock.welcome()
	case exhausted:
		sock.refuse(errTooManyAttempts())
	case pending && auth.pending.Load() > int64(auth.opts.MaxPending):
		sock.refuse(errServerBusy())
	case auth.opts.Handshake:
		if err := sock.authenticateHandshake(query); err != nil {
			sock.refuse(err)
			return
		}
		sock.welcome()
	default:
		sock.startRoundTrip()
	}
}

// welcome tells the client that it is connected, and admits the socket. It is called
// without the mutex.
func (sock *socket) welcome() {
	if err := sock.tryWelcome(); err != nil {
		sock.refuse(err)
	}
}

func (sock *socket) tryWelcome() *UnauthorizedError {
	c := sock.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if sock.state == socketClosed {
		return nil
	}
	if sock.ns.protected && c.session.Load() == nil && !c.auth.opts.Optional {
		return c.ended // the session that let it in has ended since
	}
	sock.sendConnect()
	sock.admit()
	return nil
}

// sendConnect takes the place of the CONNECT that was kept back while the socket was
// joining. That of the root is already on its way.
func (sock *socket) sendConnect() {
	if sock.name != root && sock.state == socketJoining {
		sock.conn.client.Send(connectPacket(sock.name))
	}
}

// admit lets the socket in. Events wait until OnConnect is done.
func (sock *socket) admit() {
	if sock.state == socketClosed {
		return
	}
	sock.setState(socketAdmitted)
	session := sock.conn.session.Load()
	sock.guest = session == nil && sock.ns.protected
	if sock.name == root {
		sock.conn.client.Restrict(false)
	}
	sock.conn.client.Mute(sock.name, false)
	sock.conn.tasks.run(func() { sock.open(session) })
}

// open is the task that runs the user's OnConnect. It is called without the mutex.
func (sock *socket) open(session *Session) {
	if sock.rejoined {
		sock.s.Join(sock.s.ID()) // the end of its predecessor took it out of its own room
	}
	sock.enter(session)
	refusal := errUnauthorized(nil)
	defer func() {
		if refusal != nil { // also when OnConnect ends its goroutine
			sock.refuse(refusal)
		}
	}()
	if err := sock.callOnConnect(); err != nil {
		c := sock.conn
		refusal = c.auth.callbackRefusal(c.client.Handshake().Context, c.request(sock.name), "OnConnect", err, errUnauthorized(err))
		return
	}
	refusal = nil
	sock.accepted = true
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	if sock.state == socketAdmitted {
		sock.setState(socketOpen)
	}
}

// enter does what comes with being authenticated: the room that broadcasts go to, in
// which everybody is in a public namespace. It is called without the mutex.
func (sock *socket) enter(session *Session) {
	if session != nil || !sock.ns.protected {
		sock.s.Join(broadcastRoom)
	}
	if session != nil && sock.ns.protected {
		if room := sock.conn.auth.userRoom(session); room != "" {
			sock.s.Join(room)
		}
		sock.conn.auth.reportAuthenticated(sock, session)
	}
}

// authenticated is called when the connection got its first session: a socket that
// waited for it is admitted, a guest is one no more.
func (sock *socket) authenticated(session *Session) {
	switch {
	case !sock.ns.protected:
	case sock.state == socketWaiting:
		sock.admit()
	case sock.guest && sock.state != socketClosed:
		sock.guest = false
		sock.conn.tasks.run(func() { sock.enter(session) })
	}
}

// refuse turns away a socket that was not let in, or that OnConnect did not want:
// ERROR, then DISCONNECT. A refusal that is worth retrying leaves DISCONNECT out, so
// that the client comes back. It is called without the mutex.
func (sock *socket) refuse(err *UnauthorizedError) {
	defer sock.conn.auth.reportUnauthorized(sock.conn.request(sock.name), err) // which may take its time
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	if sock.conn.session.Load() == nil { // else it was not for want of a good token
		sock.conn.attempts++
	}
	var packets []string
	if err.retryable() {
		packets = append(packets, errorPacket(sock.name, err))
	} else {
		sock.others(func(other *socket) {
			packets = append(packets, errorPacket(other.name, err), disconnectPacket(other.name))
		})
		packets = append(packets, errorPacket(sock.name, err), disconnectPacket(sock.name))
	}
	sock.end(packets...)
}

// serverDisconnectReason is what OnDisconnect is told when the server ended a socket.
const serverDisconnectReason = "server namespace disconnect"

// end closes the socket with these last packets. With the root goes the connection;
// other namespaces leave the rest of it alone. go-socket.io does not learn of those:
// for it they last until the client or the connection leaves.
func (sock *socket) end(packets ...string) {
	if sock.state == socketClosed {
		return
	}
	sock.mute()
	if sock.name == root {
		sock.conn.client.SendAndClose(packets...)
	} else {
		sock.conn.client.Send(packets...)
	}
	sock.leave(serverDisconnectReason)
}

// mute keeps broadcasts from a protected socket that ends: before it is told so, or they come after.
func (sock *socket) mute() {
	if sock.ns.protected {
		sock.conn.client.Mute(sock.name, true)
	}
}

// others calls f for the connection's other sockets that are still there, in the order of
// their names. When the root ends they have to be told to go as well, and first: a client
// that is there for them only would come back for ever.
func (sock *socket) others(f func(*socket)) {
	for _, other := range sock.conn.sockets {
		if sock.name == root && other != sock && other.state != socketClosed {
			f(other)
		}
	}
}

// leave closes the socket: no packet reaches it any more, and OnDisconnect is due. Only
// the first call counts.
func (sock *socket) leave(reason string) {
	if sock.ended {
		return
	}
	sock.ended = true
	sock.setState(socketClosed)
	sock.mute()
	sock.conn.tasks.run(func() {
		defer sock.finish() // also when OnDisconnect ends its goroutine
		sock.s.LeaveAll()   // as go-socket.io does
		if sock.accepted {
			sock.callOnDisconnect(reason)
		}
	})
}

// finish is the last that happens to a socket. It is called without the mutex.
func (sock *socket) finish() {
	sock.s.LeaveAll() // OnConnect, a handler or OnDisconnect may have joined a room since (hazard 12)
	sock.conn.auth.sockets.add(-1)
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	sock.finished = true
	sock.conn.cond.Broadcast()
}

// isAuthenticated reports whether the client was let in on the session that the connection
// has. It has one, so nobody is a guest.
func (sock *socket) isAuthenticated() bool {
	return sock.ns.protected && (sock.state == socketAdmitted || sock.state == socketOpen)
}

func (sock *socket) setState(state socketState) {
	sock.state = state
	sock.conn.cond.Broadcast()
	if state < socketAdmitted {
		return
	}
	for _, timer := range []*time.Timer{sock.deadline, sock.grace} {
		if timer != nil {
			timer.Stop()
		}
	}
	if sock.pending {
		sock.pending = false
		sock.conn.auth.pending.Add(-1)
	}
}
