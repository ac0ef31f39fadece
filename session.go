package socketiojwt

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Session is a client that was authenticated, and the token it was authenticated with. A Session
// does not change: a client that sends a newer token gets a new Session with the same ID. Its
// methods are safe for concurrent use. The token and the claims are shared, so do not write to
// them.
type Session struct {
	auth            *Authorizer
	conn            *connection // nil for a session of Middleware
	index           int32       // how many sessions the connection had before
	verified        *verified
	authenticatedAt time.Time
	lifetime        lifetime
	order           int64 // of all sessions, see registry.setOrder
}

// ID names the session as long as the client is authenticated: in all namespaces, and with each
// newer token. It is random and no credential, so it may be logged and shown to others. It is ""
// for a session of Middleware, which is that of one request.
func (s *Session) ID() string {
	if s.conn == nil {
		return ""
	}
	// The id of the transport is random and a credential. Its hash is as random, and gives nothing
	// away. All Authorizers compute the same, so none takes the session of another on this
	// connection for that of another client.
	sum := sha256.Sum256(fmt.Append(nil, s.conn.client.ID(), " ", s.index))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Issuer returns the `iss` claim, "" if there is none. A number is returned in decimal.
func (s *Session) Issuer() string { return s.verified.issuer }

// Identity returns the name of the user, see [Options.Identity]. "" is the name of nobody: two
// sessions without an identity have nothing in common.
func (s *Session) Identity() string { return s.verified.identity }

// Subject returns the `sub` claim, "" if there is none. A number, which RFC 7519 §4.1.2 does not
// allow but many issuers write, is returned in decimal. A token whose `sub` is a number of 2^53 or
// more is refused unless Options.ParserOptions have jwt.WithJSONNumber: without that option such
// numbers are rounded, and different users would become the same.
func (s *Session) Subject() string { return s.verified.subject }

// TokenID returns the `jti` claim, "" if there is none. A number is returned in decimal.
func (s *Session) TokenID() string {
	id, _, _ := s.verified.readIDs()
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

// ExpiresAt returns the `exp` claim, the zero time if there is none. A date of more than 2^53-1
// seconds from 1970 is bounded to that, which never comes; in Claims it is the same.
func (s *Session) ExpiresAt() time.Time { return s.verified.expiresAt }

// Revocation returns what revokes the session's token, for the Add of [Options.Revocations]: the
// `jti` and the issuer of the token, until the token has expired, with the leeway. A token that
// does not expire is revoked until the year 9999. A token without `jti` cannot be told from others,
// and Add refuses what this method returns for it: revoke the Subject with the Issuer, or the
// Identity.
func (s *Session) Revocation() Revocation {
	r := Revocation{TokenID: s.TokenID(), Issuer: s.Issuer(), Until: endOfTime}
	if v := s.verified; !v.expiresAt.IsZero() && !s.auth.endOf(v, v.parsedAt).IsZero() {
		r.Until = v.expiresAt.Add(s.auth.leeway)
	}
	return r
}

// endOfTime is the last date that RFC 3339 can write.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// End ends the session as [Authorizer.Disconnect] does, and reports whether the session had not
// ended before. The client is told reason, or `unauthorized` where that is nil. The token stays
// good.
func (s *Session) End(reason *UnauthorizedError) bool {
	if s.conn == nil {
		return false
	}
	same := func(now *Session) bool { return now.index == s.index }
	return s.conn.endSessionIf(same, disconnectReason(reason), countDisconnected)
}

// ClaimsOf returns the claims of a session as the type that [Options.NewClaims] makes, such as
// *MyClaims or jwt.MapClaims. It returns false where s is nil, and where the claims are of another
// type. It does not block and is safe for concurrent use. The claims are shared, so do not write to
// them.
func ClaimsOf[T jwt.Claims](s *Session) (T, bool) {
	if s == nil {
		var none T
		return none, false
	}
	claims, ok := s.Claims().(T)
	return claims, ok
}

// String returns the subject only, quoted, so that a Session in a log does not show the token.
func (s *Session) String() string { return "session of " + strconv.Quote(s.Subject()) }

// Format prints String, whatever the verb.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }
