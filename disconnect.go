package socketiojwt

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
)

// Sessions returns the sessions that there are now on this node, one for each connection, in no
// order. They are looked up when the sequence is read. Reading it holds no lock, so the loop may
// take its time.
func (a *Authorizer) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for _, c := range a.registry.find(sessionKey{kind: everybody}) {
			if session := c.session.Load(); session != nil && !yield(session) {
				return
			}
		}
	}
}

// Disconnect ends the sessions of this node for which match returns true, and returns how many
// those were. Their clients are told `unauthorized`, and then disconnected so that they do not come
// back by themselves. Their tokens stay good (see [Options.Revocations]). reason says what the
// clients are told; nil means the code `unauthorized` and the message `unauthorized`. Disconnect
// does not wait for the clients. It costs O(sessions of this node), and match may do anything.
func (a *Authorizer) Disconnect(match func(*Session) bool, reason *UnauthorizedError) int {
	return endSessions(a.registry.find(sessionKey{kind: everybody}), match, disconnectReason(reason), countDisconnected)
}

// DisconnectUser ends the sessions of a user as [Authorizer.Disconnect] does, on all nodes that
// share [Options.Revocations]; without Revocations, on this node. identity is what
// [Session.Identity] returns. DisconnectUser returns how many sessions it ended on this node; they
// have ended in any case. It blocks until the other nodes are told, until ctx ends, and at most for
// [Options.Timeout]. An error says that the other nodes may not know. It costs O(sessions of the
// user).
func (a *Authorizer) DisconnectUser(ctx context.Context, identity string, reason *UnauthorizedError) (int, error) {
	if identity == "" {
		return 0, errors.New("socketiojwt: DisconnectUser: the identity is empty, and so nobody's; tokens without a subject have none, see Options.Identity")
	}
	told := disconnectReason(reason)
	n := endSessions(a.registry.find(sessionKey{ofUser, identity}), anySession, told, countDisconnected)
	err := a.tellOthers(ctx, Revocation{Identity: identity, SessionsOnly: true, Reason: told})
	if err != nil {
		err = fmt.Errorf("socketiojwt: DisconnectUser: other nodes may not know: %w", err)
	}
	return n, err
}

// DisconnectSubject ends the sessions of a subject as [Authorizer.Disconnect] does, on this node
// and whatever the issuer of their tokens. It returns how many those were. It does not block, costs
// O(sessions of the subject), and does nothing for the subject "".
func (a *Authorizer) DisconnectSubject(sub string, reason *UnauthorizedError) int {
	return endSessions(a.registry.find(sessionKey{ofSubject, sub}), anySession, disconnectReason(reason), countDisconnected)
}

func anySession(*Session) bool { return true }

// tellOthers tells the nodes that share Revocations which sessions end.
func (a *Authorizer) tellOthers(ctx context.Context, r Revocation) error {
	if a.opts.Revocations == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	r.Until = time.Now().Add(disconnectMemory)
	_, err := run(ctx, func() (any, error) { return nil, a.opts.Revocations.Add(ctx, r) }, func() {})
	return err
}

// disconnectMemory is how long a node that was out of reach can learn of sessions that end.
const disconnectMemory = time.Minute

func disconnectReason(given *UnauthorizedError) *UnauthorizedError {
	told := errUnauthorized(nil)
	if given != nil {
		told = refusalOf(given, told)
	}
	return told
}

func countDisconnected(s *Stats) { s.Disconnected++ }
func countRevoked(s *Stats)      { s.Revoked++ }
func countReplaced(s *Stats)     { s.Replaced++ }

// revoked ends the sessions that a revocation concerns.
func (a *Authorizer) revoked(r Revocation) {
	count := countRevoked
	switch {
	case r.ReplacedBy != "":
		count = countReplaced
	case r.SessionsOnly:
		count = countDisconnected
	}
	match := func(s *Session) bool { return r.concerns(s.verified.bearer(), s.verified.parsedAt) && !r.spares(s) }
	endSessions(a.registry.concerned(r), match, r.reason(), count)
}

func endSessions(connections []*connection, match func(*Session) bool, told *UnauthorizedError, count func(*Stats)) (n int) {
	for _, c := range connections {
		if c.endSessionIf(match, told, count) {
			n++
		}
	}
	return n
}

// endFor ends the session of the socket's connection. A socket without one, such as a guest's, it
// ends alone.
func (sock *socket) endFor(told *UnauthorizedError) bool {
	c := sock.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session.Load() != nil && sock.ns.protected {
		return c.endSession(told, countDisconnected)
	}
	if sock.state == socketEnded {
		return false
	}
	sock.endWith(unauthorizedWord(told))
	return true
}

// restrict makes the limits for unauthenticated clients apply again, unless the client has a
// session with another Authorizer.
func (c *connection) restrict() {
	for _, a := range gateResultOf(c.client.Handshake().Context).authorizers(c.client.Hub()) {
		if other, ok := c.sio.Attach(a, nil).(*connection); ok && other.session.Load() != nil {
			return
		}
	}
	c.client.Restrict(true)
}

// endSessionIf ends the connection's session if match returns true for it. match is called without
// the mutex, so a refresh may come between; match is asked about the newer session then.
func (c *connection) endSessionIf(match func(*Session) bool, told *UnauthorizedError, count func(*Stats)) bool {
	for {
		session := c.session.Load()
		if session == nil || !match(session) {
			return false
		}
		c.mu.Lock()
		same := c.session.Load() == session
		ended := same && c.endSession(told, count)
		c.mu.Unlock()
		if same {
			return ended
		}
	}
}

// endSession ends the session: each namespace is told why, and then disconnected. With a protected
// root the connection ends, too. Otherwise public namespaces stay, and the client may authenticate
// anew. endSession is called with the mutex.
func (c *connection) endSession(told *UnauthorizedError, count func(*Stats)) bool {
	session := c.session.Load()
	if session == nil || c.closed {
		return false
	}
	c.session.Store(nil)
	c.endReason = told
	c.endedSessions.Add(1)
	c.arm(lifetime{}, time.Now())
	c.auth.registry.remove(c, session)
	c.auth.stats.count(func(s *Stats) {
		s.Active--
		count(s)
	})

	rootSocket := c.socket(root)
	// Also when the client has left the root (hazard 24).
	closes := rootSocket != nil && rootSocket.isFoundation() && rootSocket.ns.protected
	namespace := root
	var words []lastWord
	for _, sock := range c.sockets {
		authenticated := sock.isAuthenticated()
		if sock.endedSession == nil && (authenticated || sock.state == socketEnded) {
			sock.endedSession = session // for an OnDisconnect that is still to come
		}
		if sock.state == socketEnded || (!authenticated && !closes) {
			continue
		}
		var word sio.LastWord
		if authenticated {
			word = unauthorizedWord(told)
		} else if sock.ns.protected && sock.state == socketJoining {
			word = refusedWord(told)
			word.Silent = false
		}
		words = append(words, sock.lastWord(word))
	}
	if !closes && len(words) > 0 {
		namespace = words[0].sock.name
	}
	c.endSockets(closes, words)
	c.restrict()
	request := c.request(namespace)
	c.sio.Do(func() { c.auth.reportEnded(request, session, told) })
	return true
}
