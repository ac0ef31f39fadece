package socketiojwt

import (
	"sync"
	"time"
)

// registry has the connections of an Authorizer that have a session, and finds them by user,
// subject, token ID and `sid`.
type registry struct {
	mu     sync.Mutex
	first  map[sessionKey]*connection // of the lists that connection.links make
	change uint64                     // how many revocations there were, see connection.install
	recent []Revocation               // the last revocations, each at its number modulo recentRevocations
	latest int64                      // Session.order of the last session of all nodes, see setOrder
}

const recentRevocations = 64

// sessionKey names a list of connections: those of a user, of a subject, of a token ID, of a `sid`,
// or all of them, for which value is empty.
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

// links are a connection's neighbours in a list. With 100,000 sessions they take a third of the
// memory that a set for each subject and each token would.
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

// isList is false for the key of sessions without an identity, a subject and so on: such sessions
// have nothing in common.
func (k sessionKey) isList() bool { return k.kind == everybody || k.value != "" }

// replace puts a connection's session in the place of old. It reports false, and does nothing, if a
// revocation since session's token was last checked may concern that token.
func (ss *registry) replace(c *connection, old, session *Session) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.outdates(session.verified) {
		return false
	}
	ss.setOrder(old, session)
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

// setOrder gives a session its place in the order of sessions, which is by time and then by ID, and
// the same on all nodes. A session on a newer token keeps the place. A session that begins when
// another is known comes behind it, whatever the clocks say, as in Lamport's clock. setOrder is
// called with the mutex.
func (ss *registry) setOrder(old, session *Session) {
	if old != nil {
		session.order = old.order
		return
	}
	ss.latest = max(ss.latest+1, time.Now().UnixNano())
	session.order = ss.latest
}

// outdates reports whether a revocation since the token was last checked may concern it. Checking
// the token again after any revocation at all would keep everybody out while there are many.
func (ss *registry) outdates(v *verified) bool {
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

func (ss *registry) remove(c *connection, session *Session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.drop(c, session)
}

func (ss *registry) drop(c *connection, session *Session) {
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

func (ss *registry) find(key sessionKey) []*connection {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.list(key)
}

func (ss *registry) list(key sessionKey) []*connection {
	var found []*connection
	for c := ss.first[key]; c != nil; c = c.links[key.kind].next {
		found = append(found, c)
	}
	return found
}

// concerned notes a revocation, and returns the connections that it may concern.
func (ss *registry) concerned(r Revocation) []*connection {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if r.ReplacedBy != "" {
		ss.latest = max(ss.latest, r.IssuedBefore.UnixNano())
	}
	if r.SessionsOnly { // a revocation of sessions says nothing of tokens to come
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

func (ss *registry) changes() uint64 {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.change
}
