package socketiojwt

import (
	"slices"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
)

// socket is one namespace of a connection as the Authorizer sees it: who may stay, and until
// when. Its fields are guarded by the connection's mutex, and its methods are called with it
// unless they say otherwise.
type socket struct {
	conn *connection
	sio  *sio.Socket
	ns   *namespace
	name string

	state              socketState
	pending            bool     // not authenticated yet
	placed             bool     // has one of Authorizer.places, while pending
	placedAs           string   // the remote address that it was taken for
	guest              bool     // admitted to a protected namespace without a session
	session            *Session // that let it in, nil for guests and in public namespaces
	endedSession       *Session // the one it had, when that has ended
	busy               bool     // a token is being verified
	asking             bool     // AcceptNamespace is being asked
	tells              bool     // with asking: it is told `authenticated` then
	onDisconnectQueued bool     // queueOnDisconnect was called
	endedByServer      bool     // the server ended it
	unanswered         bool     // refused for now, which its client learns from the end of the connection
	due                time.Time
	deadline           *time.Timer // while waiting
	grace              *time.Timer // CloseGrace, while waiting

	lastRetryable *UnauthorizedError // the last refusal, where it was worth retrying

	// These belong to the connection's lane.
	accepted bool   // OnConnect succeeded
	room     string // of UserRoom
}

type socketState int

const (
	socketJoining  socketState = iota // it is being decided whether it may stay
	socketWaiting                     // round trip: it has to send `authenticate`
	socketAdmitted                    // it is in; OnConnect may still run
	socketEnded
)

// decideInTurn has a socket decided about elsewhere, behind others of its connection: the session of
// the first may let in the rest, and a client that joins and leaves again costs one goroutine.
// Without the mutex.
func (sock *socket) decideInTurn() {
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	sock.conn.takeTurn(sock)
}

// takeTurn is called with the mutex.
func (c *connection) takeTurn(sock *socket) {
	c.turns = append(c.turns, sock)
	if !c.taking {
		c.taking = true
		go c.takeTurns()
	}
}

func (c *connection) takeTurns() {
	for {
		c.mu.Lock()
		if len(c.turns) == 0 {
			c.turns, c.taking = nil, false
			c.mu.Unlock()
			return
		}
		sock := c.turns[0]
		c.turns = c.turns[1:]
		asking := sock.asking
		c.mu.Unlock()
		if asking {
			sock.askNamespace()
		} else {
			sock.decide()
		}
	}
}

// decide decides about a socket that has joined. Without the mutex; it blocks while the user's
// code says.
func (sock *socket) decide() {
	c, auth := sock.conn, sock.conn.auth
	if sock.ns.server != nil && gateResultOf(c.client.Handshake().Context) == nil {
		auth.warnNoGate()
	}
	c.mu.Lock()
	closed, pending, placed := sock.state == socketEnded, sock.pending, sock.placed
	exhausted := (pending || c.sio.IsProtocol5() && c.session.Load() == nil) && c.attempts >= auth.opts.MaxAttempts
	c.mu.Unlock()
	switch {
	case closed:
	case !sock.ns.protected:
		sock.admitOrRefuse()
	case exhausted:
		sock.refuse(errTooManyAttempts())
	case pending && !placed:
		sock.refuse(errServerBusy(nil).dueTo("MaxPending"))
	case auth.opts.Handshake:
		if err := sock.authenticateHandshake(); err != nil {
			sock.refuse(err)
			return
		}
		sock.admitOrRefuse()
	default:
		if err := sock.startRoundTrip(); err != nil {
			sock.refuse(err)
		}
	}
}

// admitOrRefuse admits the socket. Without the mutex.
func (sock *socket) admitOrRefuse() {
	if err := sock.tryAdmit(); err != nil {
		sock.refuse(err)
	}
}

func (sock *socket) tryAdmit() *UnauthorizedError {
	c := sock.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if sock.state != socketJoining {
		return nil // it has ended, or the session of another socket let it in
	}
	if sock.ns.protected && c.session.Load() == nil && !c.auth.opts.Optional {
		return c.endReason // the session that let it in has ended since
	}
	sock.admitIfAccepted(false)
	return nil
}

// admitIfAccepted lets the socket in, once AcceptNamespace agrees where a session is to let it into a protected
// namespace. With tells it is told `authenticated` first.
func (sock *socket) admitIfAccepted(tells bool) {
	switch {
	case !sock.ns.protected || sock.conn.session.Load() == nil || sock.conn.auth.opts.AcceptNamespace == nil:
		sock.admitAccepted(tells)
	default:
		sock.tells = sock.tells || tells // its own token may have been verified meanwhile
		if !sock.asking {
			sock.asking = true
			sock.sio.Hold()
			sock.conn.takeTurn(sock)
		}
	}
}

// askNamespace asks AcceptNamespace. Without the mutex; it blocks while that does.
func (sock *socket) askNamespace() {
	defer sock.sio.Release()
	c, auth := sock.conn, sock.conn.auth
	c.mu.Lock()
	session, ends := c.session.Load(), c.endedSessions
	c.mu.Unlock()
	var refusal *UnauthorizedError
	if session != nil {
		ctx, cancel := c.until(time.Now().Add(auth.opts.Timeout))
		_, err := auth.call(ctx, c.client.Handshake().RemoteAddr, func() (any, error) {
			return nil, auth.opts.AcceptNamespace(ctx, session, sock.name)
		})
		cancel()
		if err != nil {
			refusal = auth.callbackRefusal(ctx, sock.request(), "AcceptNamespace", err, notAccepted(err))
		}
	}
	c.mu.Lock()
	tells, another := sock.tells, c.endedSessions != ends && c.session.Load() != nil
	sock.asking, sock.tells = false, false
	if refusal == nil && c.session.Load() == nil {
		refusal = c.endReason
	}
	joins, waits := sock.state == socketJoining, sock.state == socketWaiting || sock.guest && sock.state == socketAdmitted
	switch {
	case !joins && !waits:
	case another:
		refusal = nil // that was of a session that has ended
		sock.admitIfAccepted(tells)
	case refusal == nil:
		sock.admitAccepted(tells)
	}
	c.mu.Unlock()
	switch {
	case refusal == nil:
	case joins:
		sock.refuse(refusal)
	case waits:
		sock.refuseToken(refusal, true)
	}
}

// admitAccepted is admitIfAccepted when nobody has to be asked any more.
func (sock *socket) admitAccepted(tells bool) {
	if tells {
		if sock.state == socketJoining {
			defer sock.letWaitBriefly()()
		}
		sock.sio.Tell(eventAuthenticated, nil, nil) // before anything that OnConnect emits
	}
	if !sock.guest {
		sock.admit()
		return
	}
	session := sock.conn.session.Load()
	sock.guest = false
	sock.sio.SetMember()
	sock.conn.sio.Do(func() { sock.afterAuthenticated(session) })
}

// admit lets the socket in: onConnect follows, and then its events.
func (sock *socket) admit() {
	if sock.state == socketEnded {
		return
	}
	sock.setState(socketAdmitted)
	if sock.ns.protected {
		sock.session = sock.conn.session.Load()
		sock.guest = sock.session == nil
	}
	if sock.sio.IsForeign() {
		sock.sio.Hold()
		sock.conn.sio.Do(func() {
			defer sock.sio.Release()
			sock.onConnect()
		})
	}
	sock.sio.Admit(!sock.guest)
}

// onConnect tells the user's code of an admitted socket, in the lane. Without the mutex.
func (sock *socket) onConnect() {
	sock.conn.mu.Lock()
	session, dismissed := sock.session, sock.endedByServer
	sock.conn.mu.Unlock()
	if dismissed {
		return // it ended before it began
	}
	if session != nil {
		sock.afterAuthenticated(session)
	}
	refusal := errUnauthorized(nil)
	defer func() {
		if refusal != nil { // also when OnConnect ends its goroutine
			sock.refuse(refusal)
		}
	}()
	if err := sock.callOnConnect(); err != nil {
		c := sock.conn
		refusal = c.auth.callbackRefusal(c.client.Handshake().Context, sock.request(), "OnConnect", err, errUnauthorized(err))
		return
	}
	refusal = nil
	sock.accepted = true
}

// afterAuthenticated does what comes with being authenticated, in the lane. Without the mutex.
func (sock *socket) afterAuthenticated(session *Session) {
	defer sock.leaveHandler()
	if room := sock.conn.auth.userRoom(sock, session); room != "" {
		sock.joinRoom(room)
	}
	sock.conn.auth.reportAuthenticated(sock, session)
}

// afterRefreshed does what comes with a newer token, in the lane. Without the mutex.
func (sock *socket) afterRefreshed(before, after *Session) {
	sock.conn.mu.Lock()
	dismissed := sock.endedByServer
	sock.conn.mu.Unlock()
	if dismissed {
		return
	}
	defer sock.leaveHandler()
	if room := sock.conn.auth.userRoom(sock, after); room != sock.room {
		if sock.room != "" {
			sock.sio.User().Leave(sock.room)
		}
		if sock.room = room; room != "" {
			sock.joinRoom(room)
		}
	}
	sock.conn.auth.reportRefreshed(sock, before, after)
}

// joinRoom joins the room of UserRoom. In go-socket.io a socket can join that has ended; onDisconnect
// comes behind this, and leaves it.
func (sock *socket) joinRoom(room string) {
	sock.room = room
	sock.sio.User().Join(room)
}

// useSession is called when the connection got a session: a socket that waited for it is
// admitted, a guest is one no more.
func (sock *socket) useSession() {
	switch {
	case !sock.ns.protected:
	case sock.state == socketWaiting, sock.unanswered && sock.state == socketJoining, sock.guest && sock.state == socketAdmitted:
		sock.admitIfAccepted(false)
	}
}

// refuse turns away a socket that was not let in, or that OnConnect did not want. A refusal that
// is worth retrying does not tell the client to go. Without the mutex.
func (sock *socket) refuse(err *UnauthorizedError) {
	c := sock.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	defer sock.report(sock.request(), err)
	if c.session.Load() == nil && !err.wantsToken() { // else it was not for want of a good token
		c.attempts++
	}
	if sock.state == socketJoining && err.retryable() && c.sio.IsProtocol5() {
		sock.leaveUnanswered()
		return
	}
	var words []lastWord
	if !err.retryable() {
		sock.others(func(other *socket) { words = append(words, other.lastWord(refusedWord(err))) })
	}
	sock.end(append(words, sock.lastWord(refusedWord(err)))...)
}

func refusedWord(err *UnauthorizedError) sio.LastWord {
	return sio.LastWord{Event: eventUnauthorized, Arg: newUnauthorized(err), Error: err, Silent: err.retryable()}
}

// leaveUnanswered leaves the client without an answer until its time is up, and ends the connection then:
// whatever clients 4.x are told they take for final, and at the end of a connection they come
// back. At once they would come back every second.
func (sock *socket) leaveUnanswered() {
	sock.unanswered = true
	sock.deadline = time.AfterFunc(time.Until(sock.due), func() {
		sock.conn.mu.Lock()
		defer sock.conn.mu.Unlock()
		if sock.state == socketJoining {
			sock.conn.sio.End(true)
		}
	})
}

// request describes the client to callbacks.
func (sock *socket) request() *Request {
	r := sock.conn.request(sock.name)
	r.Auth = sock.sio.Auth()
	return r
}

// report tells the user's code of a refusal, in the lane: that may take its time.
func (sock *socket) report(r *Request, err *UnauthorizedError) {
	sock.conn.sio.Do(func() { sock.conn.auth.reportUnauthorized(r, err) })
}

// lastWord is what a socket is told when it ends.
type lastWord struct {
	sock *socket
	word sio.LastWord
}

func (sock *socket) lastWord(w sio.LastWord) lastWord {
	w.Socket = sock.sio
	return lastWord{sock, w}
}

// end ends the socket, and others with it, with their last words. With the root ends the
// connection of a client that did not ask for it.
func (sock *socket) end(words ...lastWord) {
	if sock.state != socketEnded {
		sock.conn.endSockets(sock.isFoundation(), words)
	}
}

// disconnect ends the socket as Node's socket.disconnect() does. Without the mutex.
func (sock *socket) disconnect() {
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	sock.endSilently()
}

// isFoundation reports whether the connection stands and falls with the socket.
func (sock *socket) isFoundation() bool { return sock.name == root && !sock.conn.sio.IsProtocol5() }

// endSockets is called with the mutex.
func (c *connection) endSockets(closes bool, words []lastWord) {
	last := make([]sio.LastWord, len(words))
	for i, w := range words {
		last[i] = w.word
	}
	c.sio.End(closes, last...)
	for _, w := range words {
		w.sock.endedByServer = true
		w.sock.markEnded()
	}
}

// others calls f for the connection's other sockets that are still there, in the order of
// their names. When the root ends they have to be told to go as well, and first: a client
// that is there for them only would come back for ever.
func (sock *socket) others(f func(*socket)) {
	for _, other := range sock.conn.sockets {
		if sock.isFoundation() && other != sock && other.state != socketEnded {
			f(other)
		}
	}
}

// markEnded notes that the socket has ended, whoever ended it. Its onDisconnect follows.
func (sock *socket) markEnded() {
	if sock.state != socketEnded {
		sock.setState(socketEnded)
		sock.conn.turns = slices.DeleteFunc(sock.conn.turns, func(other *socket) bool {
			if other == sock && sock.asking {
				sock.sio.Release()
			}
			return other == sock
		})
	}
	if sock.sio.IsForeign() {
		sock.queueOnDisconnect()
	}
}

// queueOnDisconnect makes onDisconnect follow, which for sockets of ours internal/sio does.
func (sock *socket) queueOnDisconnect() {
	if !sock.onDisconnectQueued {
		sock.onDisconnectQueued = true
		sock.conn.sio.Do(func() { sock.onDisconnect("") })
	}
}

// onDisconnect is the last that happens to a socket, in the lane. Without the mutex.
func (sock *socket) onDisconnect(reason string) {
	defer sock.onDisconnectReturned() // also when OnDisconnect ends its goroutine
	if sock.room != "" {
		sock.sio.User().Leave(sock.room)
	}
	if sock.accepted {
		sock.callOnDisconnect(reason)
	}
}

func (sock *socket) onDisconnectReturned() {
	sock.conn.mu.Lock()
	sock.conn.unfinished--
	sock.conn.mu.Unlock()
	sock.conn.auth.unfinished.add(-1)
}

// isAuthenticated reports whether the client was let in on the session that the connection
// has. It has one, so nobody is a guest.
func (sock *socket) isAuthenticated() bool {
	return sock.ns.protected && sock.state == socketAdmitted
}

func (sock *socket) setState(state socketState) {
	sock.state = state
	if state < socketAdmitted {
		return
	}
	for _, timer := range []*time.Timer{sock.deadline, sock.grace} {
		if timer != nil {
			timer.Stop()
		}
	}
	sock.pending = false
	if sock.placed {
		sock.placed = false
		sock.conn.auth.places.release(sock.placedAs)
	}
}

// dropped notes an event that came before the socket was admitted.
func (sock *socket) dropped() {
	c := sock.conn
	c.auth.stats.count(func(s *Stats) { s.EarlyEvents++ })
	c.mu.Lock()
	first := !c.early
	c.early = true
	c.mu.Unlock()
	if first {
		c.auth.log.Debug("socketiojwt: events before authentication are dropped",
			"namespace", sock.name, "remote", c.client.Handshake().RemoteAddr)
	}
}

// Dropped is dropped, for internal/sio.
func (sock *socket) Dropped() { sock.dropped() }
