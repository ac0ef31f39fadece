package socketiojwt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// handshakeToken returns the token in the request that opens a connection: from the header, else
// the query, else the cookie. host is the host of the request. Two tokens in the same place are
// refused, because proxies and servers would not agree on which one counts.
func (a *Authorizer) handshakeToken(r *Request, host string) (raw string, err *UnauthorizedError) {
	raw, err = bearerToken(r.Header)
	if err != nil {
		return "", err
	}
	if a.opts.HeaderRequired {
		if raw == "" {
			return "", errHeaderRequired()
		}
		return raw, nil
	}

	var query string
	if r.URL != nil {
		if query, err = a.queryToken(r.URL.RawQuery); err != nil {
			return "", err
		}
	}
	if raw == "" {
		raw = query
	}
	if raw == "" {
		if raw, err = a.cookieToken(r, host); err != nil {
			return "", err
		}
	}
	if raw == "" {
		return "", errNoToken()
	}
	return raw, nil
}

// namespaceToken returns the token in the query of a CONNECT packet, such as `40/admin?token=…`. ok
// is false if there is none.
func (a *Authorizer) namespaceToken(rawQuery string) (raw string, ok bool, err *UnauthorizedError) {
	if a.opts.HeaderRequired {
		return "", false, nil
	}
	raw, err = a.queryToken(rawQuery)
	return raw, raw != "", err
}

// bearerToken reads the Authorization header as Node's socketio-jwt does: another scheme and an
// empty value are no token, and anything but two words is an error.
func bearerToken(header http.Header) (string, *UnauthorizedError) {
	values := header.Values("Authorization")
	if len(values) > 1 {
		return "", errBadFormat()
	}
	if len(values) == 0 || values[0] == "" {
		return "", nil
	}
	scheme, credentials, ok := strings.Cut(values[0], " ")
	if !ok || strings.Contains(credentials, " ") {
		return "", errBadFormat()
	}
	if !strings.EqualFold(scheme, "bearer") { // RFC 9110 §11.1: in any case
		return "", nil
	}
	return credentials, nil
}

func (a *Authorizer) queryToken(rawQuery string) (string, *UnauthorizedError) {
	raw, n := transport.Query(rawQuery).Lookup(a.opts.QueryParam)
	if n > 1 {
		return "", errBadFormat()
	}
	return raw, nil
}

// cookieToken returns the token in the cookie, "" if there is none or the cookie does not count.
func (a *Authorizer) cookieToken(r *Request, host string) (string, *UnauthorizedError) {
	if a.opts.Cookie == "" || !a.ownPage(r, host) {
		return "", nil
	}
	cookies := (&http.Request{Header: r.Header}).CookiesNamed(a.opts.Cookie)
	switch len(cookies) {
	case 0:
		return "", nil
	case 1:
		return cookies[0].Value, nil
	}
	return "", errBadFormat()
}

// ownPage reports whether the cookie of a request counts. Browsers send cookies with requests of
// any site, and let any site open WebSockets. Without this check every page that a user visits
// could connect as that user (cross-site WebSocket hijacking).
func (a *Authorizer) ownPage(r *Request, host string) bool {
	values := r.Header.Values("Origin")
	switch len(values) {
	case 0:
		return withoutOrigin(r)
	case 1:
		if values[0] == "" {
			return withoutOrigin(r)
		}
	default:
		return false
	}
	origin, ok := transport.ParseOrigin(values[0]) // not "null", which is the origin of any page that hides its own
	return ok && (origin.IsHost(host) || slices.Contains(a.opts.AllowedOrigins, origin.String()))
}

// withoutOrigin reports whether the cookie counts in a request without an Origin header. Browsers
// leave the header out of GET requests to the page's own origin, and programs that are no browser
// send none. But the <script> of a foreign page sends none either, which is how JSONP polling
// works, and lets that page read the answer. Sec-Fetch-Site tells these apart. Where a browser does
// not send it (over plain http), JSONP gets no cookie.
func withoutOrigin(r *Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		return r.URL == nil || !r.URL.Query().Has("j")
	}
	return false
}

// AuthenticateData is the argument of the `authenticate` event, whatever a client sends. It is for
// servers that use the hooks one by one, whose handler is [Authorizer.OnAuthenticate].
type AuthenticateData struct {
	raw      string
	present  bool
	isString bool
}

// UnmarshalJSON reads the `token` member of an object, and takes anything else for an object
// without one. It never returns an error, because go-socket.io would close the connection without
// telling the client why.
func (d *AuthenticateData) UnmarshalJSON(data []byte) error {
	*d = AuthenticateData{}
	if !json.Valid(data) { // encoding/json has checked, other callers may not
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			break
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			break
		}
		if key == "token" { // exactly: encoding/json would take "TOKEN" too
			d.setToken(value)
		}
	}
	return nil
}

func (d *AuthenticateData) setToken(value json.RawMessage) {
	if d.present { // twice in one object, and parsers disagree on which one counts (RFC 8259 §4)
		d.raw, d.isString = "", false
		return
	}
	d.present = true
	if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, &d.raw) != nil {
		return
	}
	if scheme, credentials, ok := strings.Cut(d.raw, " "); ok && strings.EqualFold(scheme, "bearer") {
		d.raw = credentials
	}
	d.isString = d.raw != ""
}

// String keeps the token out of logs.
func (d AuthenticateData) String() string { return "authenticate data" }

// Format prints String, whatever the verb.
func (d AuthenticateData) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// token returns the token. present says that there was a `token` member, isString that it is one
// non-empty string: an empty one is an invalid datatype in Node too.
func (d AuthenticateData) token() (raw string, present, isString bool) {
	return d.raw, d.present, d.isString
}
