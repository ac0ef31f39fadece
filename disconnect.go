package socketiojwt

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
)

// Sessions returns the sessions there are now on this node, one for each connection, in
// no order. The sequence is of the moment it is read, and may be read at leisure: it holds no
// lock.
func (a *Authorizer) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for _, c := range a.registry.find(sessionKey{kind: everybody}) {
			if session := c.session.Load(); session != nil && !yield(session) {
				return
			}
		}
	}
}

// Disconnect ends the sessions of this node that match says true for, and returns how many
// those were. Their clients get `unauthorized`, then the disconnect after which they do not
// come back by themselves; their tokens stay good (see [Options.Revocations]). A reason says
// what the clients are told; nil means `unauthorized`, `unauthorized`. It does not wait for
// the clients. It is O(sessions of this node), and match may do anything.
func (a *Authorizer) Disconnect(match func(*Session) bool, reason *UnauthorizedError) int {
	return endSessions(a.registry.find(sessionKey{kind: everybody}), match, disconnectReason(reason), countDisconnected)
}

// DisconnectUser ends the sessions of a user on all nodes that share [Options.Revocations], as
// [Authorizer.Disconnect] does; without Revocations, on this node. identity is what
// [Session.Identity] says. It returns how many sessions those were on this node, where they have ended
// in any case. It blocks while the other nodes are told, until ctx ends and at most for
// [Options.Timeout]; the error says that they may not know. It is O(sessions of the user).
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

// DisconnectSubject ends the sessions of a subject on this node, whatever the issuer of its tokens,
// as [Authorizer.Disconnect] does. It returns how many those were. It does not block, is
// O(sessions of the subject), and does nothing for the subject "".
func (a *Authorizer) DisconnectSubject(sub string, reason *UnauthorizedError) int {
	if sub == "" {
		return 0
	}
	return endSessions(a.registry.find(sessionKey{ofSubject, sub}), anySession, disconnectReason(reason), countDisconnected)
}

func anySession(*Session) bool { return true }

// tellOthers tells the nodes that share Revocations of sessions that end.
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

// disconnectMemory is how long nodes that were out of reach can learn of sessions that end.
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

// endFor ends the session of the socket's connection, or a guest.
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

// restrict has the limits for clients that are not authenticated apply again, unless another
// Authorizer has a session of the client.
func (c *connection) restrict() {
	for _, a := range gateResultOf(c.client.Handshake().Context).authorizers(c.client.Hub()) {
		if other, ok := c.sio.Attach(a, nil).(*connection); ok && other.session.Load() != nil {
			return
		}
	}
	c.client.Restrict(true)
}

// endSessionIf ends the connection's session if match, which is called without the mutex, says
// true for the one there is by then: a refresh may come between.
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

// endSession ends the session: each namespace is told why, then disconnected. With a protected root
// goes the connection; without, public namespaces live on and the client may authenticate
// anew. It is called with the mutex.
func (c *connection) endSession(told *UnauthorizedError, count func(*Stats)) bool {
	session := c.session.Load()
	if session == nil || c.closed {
		return false
	}
	c.session.Store(nil)
	c.endReason = told
	c.endedSessions++
	c.sessionEnded.Store(true)
	c.arm(lifetime{}, time.Now())
	c.auth.registry.remove(c, session)
	c.auth.stats.count(func(s *Stats) {
		s.Active--
		count(s)
	})

	rootSocket := c.socket(root)
	// Also when the client has left it (hazard 24).
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
