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
// [NewMemoryRevocations] makes one for a single process; the package redisrevoke has one
// for several. Implementations must be safe for concurrent use.
type Revocations interface {
	// Add revokes, from when it returns. It may block until ctx ends. An error means that
	// it cannot say whether everybody who shares the list knows.
	Add(ctx context.Context, r Revocation) error

	// Revoked reports whether a token with these registered claims (RFC 7519 §4.1: at
	// least ID, Subject and IssuedAt are set where the token has them) is revoked. It may
	// block until ctx ends. An error means that it cannot say: the client is refused as
	// `server_busy`.
	Revoked(ctx context.Context, claims *jwt.RegisteredClaims) (bool, error)

	// Watch calls f with all that is added from now on, by whomever, once Revoked knows
	// of it. It may call f twice with the same revocation. f is safe for concurrent use and
	// does not call back.
	Watch(f func(Revocation))
}

// Revocation says which tokens are revoked. One of TokenID and Subject is set.
type Revocation struct {
	// TokenID is the `jti` of the token that is revoked.
	TokenID string

	// Subject is the `sub` whose tokens are revoked: those issued up to IssuedBefore, those
	// whose sessions began until then, and those that do not say when they were issued. One that
	// says a time that is yet to come counts as issued up to a minute earlier than it says, and
	// always as before if that time is more than a minute ahead.
	Subject string

	// IssuedBefore belongs to Subject. `iat` counts in seconds, so a token of the same
	// second counts as issued before. Add what the clocks of your issuers may be ahead: a token
	// that was issued but not used before it is revoked would be good when its `iat` has come.
	// The zero time means now.
	IssuedBefore time.Time

	// Until is when the last token it concerns has expired, with the leeway; it is forgotten
	// then. Required: it bounds how much is remembered.
	Until time.Time

	// Reason is what the clients of sessions that end by it are told. nil means
	// `invalid_token`, `jwt revoked`. Tokens that come later are always refused with that.
	Reason *UnauthorizedError

	// SessionsOnly ends the sessions of Subject and leaves its tokens good, as
	// [Authorizer.DisconnectSubject] does.
	SessionsOnly bool
}

// Complete returns r with its default filled in, or says what is wrong with it. It is for
// implementations of [Revocations].
func (r Revocation) Complete() (Revocation, error) {
	switch {
	case r.TokenID == "" && r.Subject == "":
		return r, errors.New("socketiojwt: Revocation: set TokenID or Subject; nothing is revoked without")
	case r.TokenID != "" && r.Subject != "":
		return r, errors.New("socketiojwt: Revocation: TokenID and Subject are both set; revoke them one by one")
	case r.TokenID != "" && r.SessionsOnly:
		return r, errors.New("socketiojwt: Revocation: SessionsOnly needs Subject")
	case r.Until.IsZero():
		return r, errors.New("socketiojwt: Revocation: set Until to when the last token it concerns has expired")
	}
	if r.IssuedBefore.IsZero() {
		r.IssuedBefore = time.Now()
	}
	return r, nil
}

// concerns reports whether it is about a token that was seen at a time.
func (r Revocation) concerns(claims *jwt.RegisteredClaims, seen time.Time) bool {
	if r.TokenID != "" {
		return claims.ID == r.TokenID
	}
	return claims.Subject == r.Subject && (r.SessionsOnly || claims.IssuedAt == nil || r.isBefore(claims.IssuedAt.Time, seen))
}

// aheadAtMost is how far the clock of an issuer may be ahead. One that is further does not count.
const aheadAtMost = time.Minute

// isBefore reports whether a token may have been issued before. What was seen before was. That of an
// issuer whose clock is ahead says a time that is yet to come, so it may have been issued up to
// aheadAtMost earlier than it says.
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

// MemoryRevocations is a list of revocations in the memory of one process. It does not
// block, its methods fail only for a [Revocation] that is wrong, and they are safe for
// concurrent use.
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

type revocationKey struct{ tokenID, subject string }

// Add revokes at once, and disconnects the sessions it concerns before it returns.
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

// keep adds r to what is known of its token or subject already.
func (m *MemoryRevocations) keep(r Revocation) {
	key := revocationKey{r.TokenID, r.Subject}
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

// forgetAtOnce bounds how long a caller waits, to a millisecond or so, where very much expires at the
// same time.
const forgetAtOnce = 1000

// forget drops what concerns expired tokens only. It may leave some to the next call.
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
func (m *MemoryRevocations) Revoked(_ context.Context, claims *jwt.RegisteredClaims) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.forget(now)
	for _, key := range []revocationKey{{tokenID: claims.ID}, {subject: claims.Subject}} {
		if r, ok := m.entries[key]; ok && now.Before(r.Until) && r.concerns(claims, now) {
			return true, nil
		}
	}
	return false, nil
}

// Watch calls f with all that is added from now on, in the goroutine that adds it.
func (m *MemoryRevocations) Watch(f func(Revocation)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = append(m.watchers[:len(m.watchers):len(m.watchers)], f)
}

// All returns what is revoked now, in no order.
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

// revocationQueue is a heap (container/heap) by the time to forget, with one element for
// each entry. What was revoked again may have a later time by now.
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
