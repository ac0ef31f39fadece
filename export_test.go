package socketiojwt

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Verify runs the one verification path and returns the Session it leads to.
func (a *Authorizer) Verify(ctx context.Context, r *Request, raw string) (*Session, error) {
	v, err := a.verify(ctx, r, raw)
	if err != nil {
		return nil, err
	}
	return &Session{auth: a, verified: v, authenticatedAt: time.Now()}, nil
}

// SessionOfGate returns the Session that the gate's verdict on a request leads to, nil if
// there is none.
func (a *Authorizer) SessionOfGate(r *http.Request) *Session {
	p := gateResultOf(r.Context()).of(a)
	if p == nil || p.verdict == nil || p.verdict.verified == nil {
		return nil
	}
	verdict := p.verdict
	now := time.Now()
	return &Session{auth: a, verified: verdict.verified, authenticatedAt: now, lifetime: a.lifetimeOf(verdict.verified, now)}
}

// HandshakeToken returns the token of a handshake.
func (a *Authorizer) HandshakeToken(r *Request, host string) (string, error) {
	return untyped(a.handshakeToken(r, host))
}

// CookieToken returns the token in the cookie.
func (a *Authorizer) CookieToken(r *Request, host string) (string, error) {
	return untyped(a.cookieToken(r, host))
}

// NamespaceToken returns the token in the query of a namespace's connect packet.
func (a *Authorizer) NamespaceToken(rawQuery string) (string, bool, error) {
	raw, ok, err := a.namespaceToken(rawQuery)
	_, e := untyped(raw, err)
	return raw, ok, e
}

// Token returns the token an `authenticate` event carries.
func (d AuthenticateData) Token() (raw string, present, isString bool) { return d.token() }

// Normalised returns the options with their defaults.
func (a *Authorizer) Normalised() Options { return a.opts }

// IsRetryable reports whether a refusal is worth retrying.
func IsRetryable(e *UnauthorizedError) bool { return e.retryable() }

// untyped keeps a nil *UnauthorizedError from becoming an error that is not nil.
func untyped(raw string, err *UnauthorizedError) (string, error) {
	if err != nil {
		return raw, err
	}
	return raw, nil
}

// Kept is how many revocations are in memory, with those that are over.
func (m *MemoryRevocations) Kept() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

// Places takes MaxPending/2 + 1 places of n hosts in turn, and returns what takes one more for a remote
// address and gives it back.
func Places(maxPending, hosts int) (takeAndRelease func(remote string) bool) {
	p := &places{most: maxPending}
	for i := range maxPending/2 + 1 {
		p.take(fmt.Sprintf("10.1.%d.%d:80", i%hosts>>8, i%hosts&255))
	}
	return func(remote string) bool {
		taken := p.take(remote)
		if taken {
			p.release(remote)
		}
		return taken
	}
}

// ReadNames scans the claims of a token, as verify does.
func ReadNames(payload string) error {
	_, err := readNames(payload)
	return err
}
