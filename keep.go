package socketiojwt

import (
	"net/http"
	"strings"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// The bounds of what is kept of a handshake as long as its connection lasts (hazards 18 and 46).
const (
	maxURLBytes   = 32 << 10
	maxHostBytes  = 512      // a name has at most 253 (RFC 1035 §2.3.4)
	maxHandshake  = 96 << 10 // bytes of memory, all together
	maxUnverified = 6 << 10  // the same while the client is not authenticated
	minUnverified = 3 << 9   // what is kept beside a large token
)

// tooLarge answers a handshake request that is larger than those of any honest client, and reports
// whether it did.
func tooLarge(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case len(r.Host) > maxHostBytes:
		transport.Refuse(w, http.StatusBadRequest, 3, "Bad request")
	case len(r.URL.Path)+len(r.URL.RawQuery) > maxURLBytes:
		transport.Refuse(w, http.StatusRequestURITooLong, 3, "Bad request")
	case transport.HandshakeCost(r) > maxHandshake:
		transport.Refuse(w, http.StatusRequestHeaderFieldsTooLarge, 3, "Bad request")
	default:
		return false
	}
	return true
}

// cutDown keeps little of the handshake of a client that has yet to authenticate, and the tokens
// that the Authorizers look for there.
func cutDown(c *sio.Conn, all []*Authorizer) {
	left := maxUnverified
	for _, a := range all {
		a.log.Debug("socketiojwt: the longest header fields and query parameters of a handshake are not kept, because it takes more than 6 KiB",
			"remote", c.Client().Handshake().RemoteAddr)
		of := a.connectionFor(c)
		of.brought = of.readHandshake()
		left -= len(of.brought.token.raw) + len(of.brought.cookie.raw)
	}
	c.Client().Handshake().Keep(max(left, minUnverified))
}

// broughtTokens are the tokens of a handshake that was cut down.
type broughtTokens struct{ token, cookie broughtToken }

// broughtToken is what handshakeToken or cookieToken returned.
type broughtToken struct {
	raw string
	err *UnauthorizedError
}

func (c *connection) readHandshake() *broughtTokens {
	var b broughtTokens
	r := c.request(root)
	if c.auth.opts.Handshake {
		b.token = c.auth.brought(c.auth.handshakeToken(r, c.client.Handshake().Host))
	}
	b.cookie = c.auth.brought(c.auth.cookieToken(r, c.client.Handshake().Host))
	if b.cookie.raw == b.token.raw {
		b.cookie.raw = b.token.raw // one copy of it
	}
	return &b
}

// brought copies a token out of a handshake that is not kept.
func (a *Authorizer) brought(raw string, err *UnauthorizedError) broughtToken {
	if len(raw) > a.opts.MaxTokenBytes {
		return broughtToken{err: errTokenTooLong()}
	}
	return broughtToken{strings.Clone(raw), err}
}

// handshakeToken returns the token of the connection's handshake.
func (c *connection) handshakeToken(r *Request) (string, *UnauthorizedError) {
	if c.brought != nil {
		return c.brought.token.raw, c.brought.token.err
	}
	return c.auth.handshakeToken(r, c.client.Handshake().Host)
}

// cookieToken returns the token in the cookie of the connection's handshake.
func (c *connection) cookieToken(r *Request) (string, *UnauthorizedError) {
	if c.brought != nil {
		return c.brought.cookie.raw, c.brought.cookie.err
	}
	return c.auth.cookieToken(r, c.client.Handshake().Host)
}
