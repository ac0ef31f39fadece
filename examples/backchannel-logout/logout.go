package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// logoutEvent is the member of `events` that makes a token a logout token.
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

	maxAge       = 5 * time.Minute // of a logout token. Providers send it at once, or try again soon
	leeway       = 30 * time.Second
	maxBody      = 16 << 10 // in bytes
	maxWait      = 5 * time.Second
	longestToken = 24 * time.Hour // how long a token of a session is good at most
)

// logout is where the provider says that a user has logged out: the backchannel_logout_uri
// (OpenID Connect Back-Channel Logout 1.0). Everybody can reach it, and only what the provider has
// signed counts.
type logout struct {
	keys        jwt.Keyfunc
	parser      *jwt.Parser
	revocations socketiojwt.Revocations
	used        used
}

func newLogout(keys jwt.Keyfunc, issuer, clientID string, revocations socketiojwt.Revocations) *logout {
	return &logout{keys: keys, revocations: revocations, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256"}),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(clientID), // not the audience of the sessions' tokens, unless those are ID tokens
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
	)}
}

// ServeHTTP answers 200 when the sessions have ended, and 400 with a JSON object (§2.8) when they
// have not, whoever's fault that is.
func (l *logout) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(maxWait))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := l.end(r); err != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": "invalid_request", "error_description": describe(err)})
	}
}

// describe says to strangers what is wrong with a token of the provider, and nothing of how others
// failed.
func describe(err error) string {
	var wrong errLogout
	switch {
	case errors.As(err, &wrong):
		return wrong.Error()
	case errors.Is(err, jwt.ErrTokenInvalidClaims):
		return "the claims of the logout token are not those of a logout of this client"
	}
	return "the logout token cannot be verified"
}

// errLogout is why there is no log-out, for everybody to read.
type errLogout string

func (e errLogout) Error() string { return string(e) }

func (l *logout) end(r *http.Request) error {
	err := r.ParseForm()
	if err != nil || len(r.PostForm["logout_token"]) != 1 { // not in the query, which ends up in logs
		return errLogout("send one logout_token, as application/x-www-form-urlencoded")
	}
	var claims logoutClaims
	token, err := l.parser.ParseWithClaims(r.PostForm.Get("logout_token"), &claims, l.keys)
	switch {
	case err != nil:
		return err
	case !isLogoutType(token.Header):
		return errLogout("this is a token of another type")
	case !l.used.add(claims.ID, claims.IssuedAt.Add(maxAge)):
		return errLogout("this logout token was used before")
	}

	// Whoever asks may hang up. What was begun is done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), maxWait)
	defer cancel()
	if err := l.revocations.Add(ctx, claims.revocation()); err != nil {
		l.used.remove(claims.ID) // the provider may send it again
		log.Printf("log-out: %v", err)
		return errLogout("the sessions may not have ended everywhere; try again")
	}
	return nil
}

// logoutClaims are those of a logout token (§2.4).
type logoutClaims struct {
	jwt.RegisteredClaims
	SID    string                     `json:"sid"`
	Events map[string]json.RawMessage `json:"events"`
	Nonce  json.RawMessage            `json:"nonce"`
}

// Validate checks what golang-jwt does not know (§2.6). The issuer signs other tokens with the same
// keys; `events` and `nonce` tell those of sessions from logout tokens.
func (c *logoutClaims) Validate() error {
	switch event := c.Events[logoutEvent]; {
	case len(event) == 0 || event[0] != '{':
		return errLogout("events is not that of a logout")
	case c.Nonce != nil:
		return errLogout("nonce is prohibited")
	case c.Subject == "" && c.SID == "":
		return errLogout("sub or sid is required")
	case c.ID == "":
		return errLogout("jti is required")
	case c.IssuedAt == nil:
		return errLogout("iat is required")
	case time.Since(c.IssuedAt.Time) > maxAge:
		return errLogout("iat is too long ago")
	}
	return nil
}

// revocation is of the session at the provider that sid names, or of all of the user.
func (c *logoutClaims) revocation() socketiojwt.Revocation {
	r := socketiojwt.Revocation{
		Issuer: c.Issuer,
		SID:    c.SID,
		Until:  time.Now().Add(longestToken),
		Reason: &socketiojwt.UnauthorizedError{Code: "logged_out", Message: "you have logged out"},
	}
	if c.SID == "" {
		// Who has logged in again since then stays.
		r.Subject, r.IssuedBefore = c.Subject, c.IssuedAt.Time
	}
	return r
}

// isLogoutType reports whether a header may be that of a logout token. Its own type is
// `logout+jwt`; many providers say JWT, or nothing (§2.4). RFC 7515 §4.1.11: what `crit` asks for
// has to be understood, and nothing is.
func isLogoutType(header map[string]any) bool {
	if _, critical := header["crit"]; critical {
		return false
	}
	typ, present := header["typ"]
	text, _ := typ.(string)
	text = strings.TrimPrefix(strings.ToLower(text), "application/")
	return !present || text == "logout+jwt" || text == "jwt"
}

// used are the logout tokens that did their work. Each node has its own: one that is used on two
// nodes ends nothing more there, see revocation.
type used struct {
	mu    sync.Mutex
	until map[string]time.Time // by `jti`
	sweep time.Time
}

// add reports false if the token was used before. It is remembered until it is refused for its age.
func (u *used) add(id string, until time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if u.until == nil || now.After(u.sweep) {
		old := u.until
		u.until, u.sweep = make(map[string]time.Time), now.Add(time.Minute)
		for id, until := range old {
			if now.Before(until) {
				u.until[id] = until
			}
		}
	}
	if _, found := u.until[id]; found {
		return false
	}
	u.until[id] = until
	return true
}

func (u *used) remove(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.until, id)
}
