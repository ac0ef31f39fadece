package socketiojwt

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Session is who is at the other end of a connection, and on what token. It does
// not change: a client that sends a newer token gets a new Session. Its methods are
// safe for concurrent use; the token and the claims are shared, so do not write to
// them.
type Session struct {
	id              string
	verified        *verified
	authenticatedAt time.Time
	lifetime        lifetime
}

func newSession(id string, v *verified, now time.Time, l lifetime) *Session {
	return &Session{id: id, verified: v, authenticatedAt: now, lifetime: l}
}

// ID returns the id of the connection, which is that of all its sockets, "" where there is
// none (see Middleware). Knowing it is enough to take the connection over: do not log it.
func (s *Session) ID() string { return s.id }

// Subject returns the `sub` claim, "" if there is none. A number, which RFC 7519
// §4.1.2 does not allow but many issuers write, is returned in decimal. Tokens with one
// of 2^53 or more are refused unless Options.ParserOptions have jwt.WithJSONNumber:
// without it they would all be rounded, and different users would become the same.
func (s *Session) Subject() string { return s.verified.subject }

// TokenID returns the `jti` claim, "" if there is none. A number is returned in decimal.
func (s *Session) TokenID() string {
	id, _ := s.verified.readTokenID()
	return id
}

// Token returns the verified token.
func (s *Session) Token() *jwt.Token { return s.verified.token }

// Claims returns the verified claims, of the type that [Options.NewClaims] makes.
func (s *Session) Claims() jwt.Claims { return s.verified.token.Claims }

// User returns what [Options.Accept] returned, nil without it.
func (s *Session) User() any { return s.verified.user }

// RawToken returns the token as the client sent it. It is a credential: do not log it.
func (s *Session) RawToken() string { return s.verified.raw }

// AuthenticatedAt returns when the token was accepted.
func (s *Session) AuthenticatedAt() time.Time { return s.authenticatedAt }

// ExpiresAt returns the `exp` claim, the zero time if there is none. One of more than 2^53-1
// seconds from 1970 is returned as that, which never comes; in Claims it is the same.
func (s *Session) ExpiresAt() time.Time { return s.verified.expiresAt }

// String returns the subject only, quoted, so that a Session in a log takes neither the
// token nor the connection's id there.
func (s *Session) String() string { return "session of " + strconv.Quote(s.Subject()) }

// Format prints String, whatever the verb.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }
