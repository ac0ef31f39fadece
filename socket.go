package socketiojwt

import (
	"slices"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
)

// socket is one namespace of a connection as the Authorizer sees it: whether the client may stay,
// and until when. The connection's mutex guards the fields, and is held when a method is called,
// unless its comment says otherwise.
type socket struct {
	conn *connection
	sio  *sio.Socket
	ns   *namespace
	name string

	state              socketState
	pending            bool        // counts as not authenticated, see Stats.Pending
	placed             bool        // has one of Authorizer.places, while pending
	placedAs           string      // the remote address that it was taken for
	guest              bool        // admitted to a protected namespace without a session
	session            *Session    // with which it was admitted; nil for guests and in public namespaces
	endedSession       *Session    // the session that the socket had, when that has ended
	busy               bool        // a token is being verified
	asking             bool        // AcceptNamespace is being asked
	tells              bool        // with asking: the client is told `authenticated` when AcceptNamespace agrees
	onDisconnectQueued bool        // queueOnDisconnect was called
	endedByServer      bool        // the client did not leave
	unanswered         bool        // refused for now; the client learns that from the end of the connection
	due                time.Time   // when the socket has to be admitted
	deadline           *time.Timer // while waiting
	grace              *time.Timer // CloseGrace, while waiting

	lastRetryable *UnauthorizedError // the last refusal, where it was worth retrying

	// Only functions in the connection's lane use these.
	accepted bool   // OnConnect succeeded
	room     string // of UserRoom
}

type socketState int

const (
	socketJoining  socketState = iota // the client has asked for the namespace, and is not answered
	socketWaiting                     // CONNECT is answered; the client has to send `authenticate`
	socketAdmitted                    // as a guest, too; OnConnect may still run
	socketEnded
)

// decideInTurn has a goroutine decide about a socket, behind other sockets of its connection: the
// session of the first may admit the rest, and a client that joins and leaves again and again costs
// one goroutine. It is called without the mutex.
func (sock *socket) decideInTurn() {
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	sock.conn.takeTurn(sock)
}

// takeTurn puts a socket behind those that are to be decided about.
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

// decide decides about a socket that joins. It is called without the mutex, and blocks while the
// application's callbacks do.
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

// admitOrRefuse admits a socket that authenticateHandshake has nothing against, or that is in a
// public namespace. It is called without the mutex.
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
		return nil // it has ended, or was admitted with the session of another socket
	}
	if sock.ns.protected && c.session.Load() == nil && !c.auth.opts.Optional {
		return c.endReason // the session has ended since
	}
	sock.admitIfAccepted(false)
	return nil
}

// admitIfAccepted admits the socket. Where it is a session that opens a protected namespace,
// AcceptNamespace has to agree first. With tells the client is told `authenticated` before.
func (sock *socket) admitIfAccepted(tells bool) {
	switch {
	case !sock.ns.protected || sock.conn.session.Load() == nil || sock.conn.auth.opts.AcceptNamespace == nil:
		sock.admitAccepted(tells)
	default:
		sock.tells = sock.tells || tells // the socket's own token may have been verified meanwhile
		if !sock.asking {
			sock.asking = true
			sock.sio.Hold()
			sock.conn.takeTurn(sock)
		}
	}
}

// askNamespace asks AcceptNamespace. It is called without the mutex, and blocks while that does.
func (sock *socket) askNamespace() {
	defer sock.sio.Release()
	c, auth := sock.conn, sock.conn.auth
	c.mu.Lock()
	session, ends := c.session.Load(), c.endedSessions.Load()
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
	tells, another := sock.tells, c.endedSessions.Load() != ends && c.session.Load() != nil
	sock.asking, sock.tells = false, false
	if refusal == nil && c.session.Load() == nil {
		refusal = c.endReason
	}
	joins, waits := sock.state == socketJoining, sock.state == socketWaiting || sock.guest && sock.state == socketAdmitted
	switch {
	case !joins && !waits:
	case another:
		refusal = nil // that answer was about a session that has ended
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

// admit makes the socket an admitted one. onConnect follows, and then the socket's events.
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

// onConnect runs what comes with being admitted: OnAuthenticated and the application's OnConnect.
// It runs in the lane, without the mutex.
func (sock *socket) onConnect() {
	sock.conn.mu.Lock()
	session, dismissed := sock.session, sock.endedByServer
	sock.conn.mu.Unlock()
	if dismissed {
		return // before the application heard of it
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

// afterAuthenticated runs what comes with being authenticated: UserRoom and OnAuthenticated. It
// runs in the lane, without the mutex.
func (sock *socket) afterAuthenticated(session *Session) {
	defer sock.leaveLateRooms()
	if room := sock.conn.auth.userRoom(sock, session); room != "" {
		sock.joinRoom(room)
	}
	sock.conn.auth.reportAuthenticated(sock, session)
}

// afterRefreshed runs what comes with a newer token: UserRoom and OnRefreshed. It runs in the lane,
// without the mutex.
func (sock *socket) afterRefreshed(before, after *Session) {
	sock.conn.mu.Lock()
	dismissed := sock.endedByServer
	sock.conn.mu.Unlock()
	if dismissed {
		return
	}
	defer sock.leaveLateRooms()
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

// joinRoom joins the room of UserRoom. In go-socket.io an ended socket can join a room;
// onDisconnect comes behind this and leaves it.
func (sock *socket) joinRoom(room string) {
	sock.room = room
	sock.sio.User().Join(room)
}

// useSession is called when the connection got a session: a socket that waited for one is admitted,
// and a guest becomes a member.
func (sock *socket) useSession() {
	switch {
	case !sock.ns.protected:
	case sock.state == socketWaiting, sock.unanswered && sock.state == socketJoining, sock.guest && sock.state == socketAdmitted:
		sock.admitIfAccepted(false)
	}
}

// refuse refuses a socket that was not admitted, or that OnConnect returned an error for. After a
// refusal that is worth retrying the client is not told to go. refuse is called without the mutex.
func (sock *socket) refuse(err *UnauthorizedError) {
	c := sock.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	defer sock.report(sock.request(), err)
	if c.session.Load() == nil && !err.wantsToken() { // else the token was good, or there was none
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

// leaveUnanswered leaves a client 3.x or 4.x without an answer until its time is up, and then ends
// the connection. Clients 4.x take whatever answer they get for final, and come back at the end of
// a connection. If that came at once, they would come back every second.
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

// report tells the application of a refusal, in the lane: its function may take its time.
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

// end ends the socket, and others with it. words has what each of them is told. With the root of a
// client 1.x or 2.x ends the connection.
func (sock *socket) end(words ...lastWord) {
	if sock.state != socketEnded {
		sock.conn.endSockets(sock.isFoundation(), words)
	}
}

// disconnect ends the socket as Node's socket.disconnect() does. It is called without the mutex.
func (sock *socket) disconnect() {
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	sock.endSilently()
}

// isFoundation reports whether the connection ends with the socket.
func (sock *socket) isFoundation() bool { return sock.name == root && !sock.conn.sio.IsProtocol5() }

// endSockets ends sockets, and the connection with closes.
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

// others calls f for the other sockets that have to end with this one, in the order of their names:
// those of the connection that have not ended, if this is the root that the connection ends with.
// Their clients have to be told to go as well, and first: a client that is there for another
// namespace only would come back for ever.
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

// queueOnDisconnect has onDisconnect run. For sockets that are not foreign internal/sio does.
func (sock *socket) queueOnDisconnect() {
	if !sock.onDisconnectQueued {
		sock.onDisconnectQueued = true
		sock.conn.sio.Do(func() { sock.onDisconnect("") })
	}
}

// onDisconnect runs the application's OnDisconnect. It is the last call for a socket, in the lane
// and without the mutex.
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

// isAuthenticated reports whether the socket is admitted to a protected namespace. It is for
// callers who know that the connection has a session, so that the socket is no guest.
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

// Dropped counts an event that came before the socket was admitted. internal/sio calls it, without
// the mutex.
func (sock *socket) Dropped() {
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
