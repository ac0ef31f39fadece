package socketiojwt

import (
	"container/heap"
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Revocations is a list of tokens that are no longer good although they have not expired.
// [NewMemoryRevocations] makes one for a single process; the package redisrevoke has one for
// several. Implementations must be safe for concurrent use.
type Revocations interface {
	// Add revokes r: when it returns, what r describes is revoked. It may block until ctx ends. An
	// error says that some of those who share the list may not know of r.
	Add(ctx context.Context, r Revocation) error

	// Revoked reports whether a token with these registered claims (RFC 7519 §4.1) is revoked.
	// Issuer, ID, Subject and IssuedAt at least are set where the token has them. The identity and
	// the `sid` of the token are in ctx, where MemoryRevocations finds them: an implementation that
	// asks one passes this ctx on. Revoked may block until ctx ends. An error says that it cannot
	// tell: the client is refused as `server_busy`.
	Revoked(ctx context.Context, claims *jwt.RegisteredClaims) (bool, error)

	// Watch calls f with every revocation that is added from now on, by whomever, once Revoked
	// knows of it. It may call f twice with the same revocation. f is safe for concurrent use and
	// does not call the list.
	Watch(f func(Revocation))
}

// Revocation says which tokens are revoked. One of TokenID, SID, Subject and Identity is set.
// [Session.Revocation] makes the one for the token of a session.
type Revocation struct {
	// Issuer is the `iss` of the tokens that are revoked. TokenID, SID and Subject are unique
	// within their issuer only (RFC 7519 §4.1.2). Default: "", which means every issuer. Not to be
	// set with Identity, which contains the issuer.
	Issuer string

	// TokenID is the `jti` of the token that is revoked.
	TokenID string

	// SID is the `sid` of the tokens that are revoked: those of one session at the issuer (OpenID
	// Connect Back-Channel Logout 1.0 §2.1).
	SID string

	// Subject is the `sub` whose tokens are revoked: the tokens that were issued up to
	// IssuedBefore, those whose sessions began until then, and those that do not say when they were
	// issued. A token whose `iat` is yet to come counts as issued up to a minute earlier than that,
	// and always as issued before IssuedBefore if its `iat` is more than a minute ahead.
	Subject string

	// Identity is the user whose tokens are revoked, as [Options.Identity] names users. Which of
	// the user's tokens these are is as for Subject.
	Identity string

	// IssuedBefore belongs to Subject and Identity. `iat` counts in seconds, so a token of the same
	// second counts as issued before. Where the clocks of your issuers may be ahead, add by how
	// much: otherwise a token that was issued but not used before the revocation would be good when
	// its `iat` has come. The zero time means now.
	IssuedBefore time.Time

	// Until is when the last revoked token has expired, with the leeway. The revocation is
	// forgotten then. Required, because it bounds how much is remembered.
	Until time.Time

	// Reason is what the clients are told whose sessions end. nil means `invalid_token`, `jwt
	// revoked`, which is also what clients are told that come later with a revoked token.
	Reason *UnauthorizedError

	// SessionsOnly ends the sessions and leaves the tokens good, as [Authorizer.DisconnectUser]
	// does. Not to be set with TokenID.
	SessionsOnly bool

	// ReplacedBy is for [Options.SingleSession]: it is the [Session.ID] of a session that began at
	// IssuedBefore. That session stays, and the sessions of the Identity that began before it end.
	ReplacedBy string
}

// Complete returns r with the default of IssuedBefore filled in, or an error that says what is
// wrong with r. It is for implementations of [Revocations].
func (r Revocation) Complete() (Revocation, error) {
	var set []string
	for _, field := range []struct{ name, value string }{
		{"TokenID", r.TokenID}, {"SID", r.SID}, {"Subject", r.Subject}, {"Identity", r.Identity},
	} {
		if field.value != "" {
			set = append(set, field.name)
		}
	}
	wrong := ""
	switch {
	case len(set) == 0:
		wrong = "set TokenID, SID, Subject or Identity; without one nothing is revoked, and a token that has none of them cannot be"
	case len(set) > 1:
		wrong = set[0] + " and " + set[1] + " are both set; revoke them one by one"
	case r.Issuer != "" && r.Identity != "":
		wrong = "Issuer and Identity are both set; an identity has its issuer in it, so leave Issuer out"
	case r.TokenID != "" && r.SessionsOnly:
		wrong = "SessionsOnly needs SID, Subject or Identity"
	case r.ReplacedBy != "" && (r.Identity == "" || !r.SessionsOnly || r.IssuedBefore.IsZero()):
		wrong = "ReplacedBy needs Identity, SessionsOnly and IssuedBefore"
	case r.Until.IsZero():
		wrong = "set Until to when the last token it concerns has expired"
	}
	if wrong != "" {
		return r, errors.New("socketiojwt: Revocation: " + wrong)
	}
	if r.IssuedBefore.IsZero() {
		r.IssuedBefore = time.Now()
	}
	return r, nil
}

// bearer is what revocations know of a token.
type bearer struct {
	*jwt.RegisteredClaims
	identity, sid string
}

// concerns reports whether r revokes a token, or ends its sessions. seen is when the token came.
func (r Revocation) concerns(b bearer, seen time.Time) bool {
	switch {
	case r.Issuer != "" && b.Issuer != r.Issuer:
		return false
	case r.TokenID != "":
		return b.ID == r.TokenID
	case r.SID != "":
		return b.sid == r.SID
	case r.Identity != "" && b.identity != r.Identity, r.Subject != "" && b.Subject != r.Subject:
		return false
	}
	return r.SessionsOnly || b.IssuedAt == nil || r.isBefore(b.IssuedAt.Time, seen)
}

// spares reports whether a session does not end, because it is the one that replaces others, or
// began after that one.
func (r Revocation) spares(s *Session) bool {
	if r.ReplacedBy == "" {
		return false
	}
	began, id := r.IssuedBefore.UnixNano(), s.ID()
	return id == r.ReplacedBy || s.order > began || s.order == began && id > r.ReplacedBy
}

// aheadAtMost is how far the clock of an issuer may be ahead. A clock that is further ahead says
// nothing.
const aheadAtMost = time.Minute

// isBefore reports whether a token may have been issued before IssuedBefore. A token that was seen
// before was. An issuer whose clock is ahead writes a time that is yet to come, so its token may
// have been issued up to aheadAtMost earlier than it says.
func (r Revocation) isBefore(issued, seen time.Time) bool {
	switch ahead := issued.Sub(seen); {
	case !seen.After(r.IssuedBefore), ahead > aheadAtMost:
		return true
	case ahead > 0:
		issued = issued.Add(-aheadAtMost)
	}
	return !issued.After(r.IssuedBefore)
}

func (r Revocation) reason() *UnauthorizedError {
	if r.Reason == nil {
		return errTokenRevoked()
	}
	return refusalOf(r.Reason, errTokenRevoked())
}

// MemoryRevocations is a list of revocations in the memory of one process. Its methods do not
// block, are safe for concurrent use, and fail only for a [Revocation] that is wrong.
type MemoryRevocations struct {
	mu       sync.Mutex
	entries  map[revocationKey]Revocation
	queue    revocationQueue
	watchers []func(Revocation)
}

var _ Revocations = (*MemoryRevocations)(nil)

// NewMemoryRevocations returns an empty list.
func NewMemoryRevocations() *MemoryRevocations {
	return &MemoryRevocations{entries: make(map[revocationKey]Revocation)}
}

// revocationKey is what a revocation and the tokens that it concerns have in common.
type revocationKey struct {
	issuer string // "": any
	kind   sessionKind
	value  string
}

func (r Revocation) key() revocationKey {
	of := r.sessions()
	return revocationKey{r.Issuer, of.kind, of.value}
}

// Add revokes at once, and ends the sessions that r concerns before it returns.
func (m *MemoryRevocations) Add(_ context.Context, r Revocation) error {
	r, err := r.Complete()
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.forget(time.Now())
	if !r.SessionsOnly {
		m.keep(r)
	}
	watchers := m.watchers
	m.mu.Unlock()
	for _, f := range watchers {
		f(r)
	}
	return nil
}

// keep adds r to what is known of its token, subject or user already.
func (m *MemoryRevocations) keep(r Revocation) {
	key := r.key()
	old, known := m.entries[key]
	if old.IssuedBefore.After(r.IssuedBefore) {
		r.IssuedBefore = old.IssuedBefore
	}
	if old.Until.After(r.Until) {
		r.Until = old.Until
	}
	m.entries[key] = r
	if !known {
		heap.Push(&m.queue, forgetting{key, r.Until})
	}
}

// forgetAtOnce bounds how long a caller waits, to a millisecond or so, where very many revocations
// are forgotten at the same time.
const forgetAtOnce = 1000

// forget drops revocations that concern expired tokens only. It may leave some to the next call.
func (m *MemoryRevocations) forget(now time.Time) {
	for range forgetAtOnce {
		if len(m.queue) == 0 || now.Before(m.queue[0].at) {
			return
		}
		next := &m.queue[0]
		if until := m.entries[next.key].Until; now.Before(until) { // it was revoked again
			next.at = until
			heap.Fix(&m.queue, 0)
			continue
		}
		delete(m.entries, next.key)
		heap.Pop(&m.queue)
	}
}

// Revoked reports whether the token with these claims is revoked. The error is always nil.
func (m *MemoryRevocations) Revoked(ctx context.Context, claims *jwt.RegisteredClaims) (bool, error) {
	b := bearer{RegisteredClaims: claims}
	if v, ok := ctx.Value(verifiedKey{}).(*verified); ok {
		b.identity, b.sid = v.identity, v.sid
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.forget(now)
	for _, of := range [...]sessionKey{{ofToken, claims.ID}, {ofSID, b.sid}, {ofSubject, claims.Subject}, {ofUser, b.identity}} {
		if of.value == "" {
			continue
		}
		for _, issuer := range [...]string{"", claims.Issuer} {
			r, ok := m.entries[revocationKey{issuer, of.kind, of.value}]
			if ok && now.Before(r.Until) && r.concerns(b, now) {
				return true, nil
			}
		}
	}
	return false, nil
}

// verifiedKey is where the ctx of Revoked has the *verified token.
type verifiedKey struct{}

// Watch calls f with every revocation that is added from now on, in the goroutine that adds it.
func (m *MemoryRevocations) Watch(f func(Revocation)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = append(m.watchers[:len(m.watchers):len(m.watchers)], f)
}

// All returns the revocations that there are now, in no order.
func (m *MemoryRevocations) All() iter.Seq[Revocation] {
	return func(yield func(Revocation) bool) {
		m.mu.Lock()
		now := time.Now()
		m.forget(now)
		all := make([]Revocation, 0, len(m.entries))
		for _, r := range m.entries {
			if now.Before(r.Until) {
				all = append(all, r)
			}
		}
		m.mu.Unlock()
		for _, r := range all {
			if !yield(r) {
				return
			}
		}
	}
}

// revocationQueue is a heap (container/heap) by the time to forget, with one element for each
// entry. The entry of a token that was revoked again may have a later time by now.
type revocationQueue []forgetting

type forgetting struct {
	key revocationKey
	at  time.Time
}

func (q revocationQueue) Len() int           { return len(q) }
func (q revocationQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q revocationQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *revocationQueue) Push(x any)        { *q = append(*q, x.(forgetting)) }

func (q *revocationQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = forgetting{}
	*q = (*q)[:last]
	return x
}
