package socketiojwt

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
)

// sessions knows the connections of an Authorizer that have a session, and finds them by
// subject and by token.
type sessions struct {
	mu     sync.Mutex
	first  map[sessionKey]*connection // of the list that connection.links make
	change uint64                     // counts revocations, see connection.install
	recent []Revocation               // the last of them, each at its number modulo recentRevocations
	latest int64                      // the order of the last session, of all nodes, see place
}

const recentRevocations = 64

// sessionKey names a list of connections: of a user, of a subject, of a token ID, of a `sid`, or of
// everybody, for whom value is empty.
type sessionKey struct {
	kind  sessionKind
	value string
}

type sessionKind int

const (
	everybody sessionKind = iota
	ofUser
	ofSubject
	ofToken
	ofSID
	sessionKinds
)

// links are a connection's neighbours in the list of a kind. Of 100,000 sessions they take a
// third of what a set for each subject and token would.
type links struct{ next, previous *connection }

func (s *Session) keys() [sessionKinds]sessionKey {
	v := s.verified
	return [...]sessionKey{{kind: everybody}, {ofUser, v.identity}, {ofSubject, v.subject}, {ofToken, v.tokenID}, {ofSID, v.sid}}
}

func (r Revocation) sessions() sessionKey {
	switch {
	case r.TokenID != "":
		return sessionKey{ofToken, r.TokenID}
	case r.SID != "":
		return sessionKey{ofSID, r.SID}
	case r.Identity != "":
		return sessionKey{ofUser, r.Identity}
	}
	return sessionKey{ofSubject, r.Subject}
}

// isList is false for sessions without an identity, a subject and so on: they have nothing in
// common.
func (k sessionKey) isList() bool { return k.kind == everybody || k.value != "" }

// replace puts a connection's session in the place of old, unless there was a revocation
// that may concern the session's token since it was last checked.
func (ss *sessions) replace(c *connection, old, session *Session) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.outdates(session.verified) {
		return false
	}
	ss.place(old, session)
	ss.drop(c, old)
	for _, key := range session.keys() {
		if !key.isList() {
			continue
		}
		next := ss.first[key]
		c.links[key.kind] = links{next: next}
		if next != nil {
			next.links[key.kind].previous = c
		}
		ss.first[key] = c
	}
	return true
}

// place gives a session its place in the order of sessions, which is by time and then by ID, and is the same on all
// nodes. A newer token keeps the place. A session that begins when another is known comes behind
// it, whatever the clocks say, as in Lamport's clock. It is called with the mutex.
func (ss *sessions) place(old, session *Session) {
	if old != nil {
		session.order = old.order
		return
	}
	ss.latest = max(ss.latest+1, time.Now().UnixNano())
	session.order = ss.latest
}

// outdates reports whether one of the revocations since a token was checked may concern it. If
// any at all did, nobody could get in while there are many.
func (ss *sessions) outdates(v *verified) bool {
	if ss.change-v.change > recentRevocations {
		return true
	}
	for n := v.change; n < ss.change; n++ {
		if ss.recent[n%recentRevocations].concerns(v.bearer(), v.parsedAt) {
			return true
		}
	}
	return false
}

func (ss *sessions) remove(c *connection, session *Session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.drop(c, session)
}

func (ss *sessions) drop(c *connection, session *Session) {
	if session == nil {
		return
	}
	for _, key := range session.keys() {
		if !key.isList() {
			continue
		}
		here := c.links[key.kind]
		c.links[key.kind] = links{}
		if here.next != nil {
			here.next.links[key.kind].previous = here.previous
		}
		switch {
		case here.previous != nil:
			here.previous.links[key.kind].next = here.next
		case here.next != nil:
			ss.first[key] = here.next
		default:
			delete(ss.first, key)
		}
	}
}

func (ss *sessions) find(key sessionKey) []*connection {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.list(key)
}

func (ss *sessions) list(key sessionKey) []*connection {
	var found []*connection
	for c := ss.first[key]; c != nil; c = c.links[key.kind].next {
		found = append(found, c)
	}
	return found
}

// concerned is find for a revocation, of which it takes notice.
func (ss *sessions) concerned(r Revocation) []*connection {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if r.ReplacedBy != "" {
		ss.latest = max(ss.latest, r.IssuedBefore.UnixNano())
	}
	if r.SessionsOnly { // it is not about tokens that come
		return ss.list(r.sessions())
	}
	if len(ss.recent) < recentRevocations {
		ss.recent = append(ss.recent, r)
	} else {
		ss.recent[ss.change%recentRevocations] = r
	}
	ss.change++
	return ss.list(r.sessions())
}

func (ss *sessions) changes() uint64 {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.change
}

// Sessions returns the sessions there are now on this node, one for each connection, in
// no order. The sequence is of the moment it is read, and may be read at leisure: it holds no
// lock.
func (a *Authorizer) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for _, c := range a.sessions.find(sessionKey{kind: everybody}) {
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
	return endSessions(a.sessions.find(sessionKey{kind: everybody}), match, disconnectReason(reason), countDisconnected)
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
	n := endSessions(a.sessions.find(sessionKey{ofUser, identity}), anySession, told, countDisconnected)
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
	return endSessions(a.sessions.find(sessionKey{ofSubject, sub}), anySession, disconnectReason(reason), countDisconnected)
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
	endSessions(a.sessions.concerned(r), match, r.reason(), count)
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
	var words []lastWord
	sock.others(func(other *socket) { words = append(words, other.lastWord(sio.LastWord{})) })
	sock.end(append(words, sock.lastWord(unauthorizedWord(told)))...)
	return true
}

// restrict has the limits for clients that are not authenticated apply again, unless another
// Authorizer has a session of the client.
func (c *connection) restrict() {
	for _, a := range passageOf(c.client.Handshake().Context).authorizers(c.client.Hub()) {
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
	c.auth.sessions.remove(c, session)
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
