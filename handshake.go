package socketiojwt

import (
	"bytes"
	"encoding/json"
	"time"
)

// ownToken returns the token that the client brought for this namespace alone, in the auth of its
// CONNECT or in the query there. ok is false if there is none.
func (sock *socket) ownToken() (raw string, ok bool, err *UnauthorizedError) {
	data, err := authData(sock.sio.Auth())
	if err != nil || sock.conn.auth.opts.HeaderRequired {
		return "", false, err
	}
	raw, present, isString := data.token()
	switch {
	case present && !isString:
		return "", false, errTokenDatatype()
	case present:
		return raw, true, nil
	case sock.conn.auth.opts.Handshake:
		return sock.conn.auth.namespaceToken(sock.sio.Query())
	}
	return "", false, nil
}

// authData reads the auth of a CONNECT, which has to be an object.
func authData(auth json.RawMessage) (data AuthenticateData, err *UnauthorizedError) {
	if auth == nil {
		return data, nil
	}
	if text := bytes.TrimLeft(auth, " \t\r\n"); text[0] != '{' {
		return data, errTokenDatatype()
	}
	_ = data.UnmarshalJSON(auth) // never fails
	return data, nil
}

// authenticateHandshake finds or begins the session of a socket that joins in handshake mode. With
// Optional there may be none. It is called without the mutex.
func (sock *socket) authenticateHandshake() *UnauthorizedError {
	c := sock.conn
	auth := c.auth
	r := sock.request()

	raw, own, err := sock.ownToken()
	session := c.session.Load()
	switch {
	case err != nil:
		return err
	case own && session != nil && session.RawToken() == raw:
		return nil
	case own:
	case session != nil:
		return nil
	default:
		if verdict := c.verdict(); verdict != nil {
			return c.install(r, verdict.verified, sock.due, nil)
		}
		raw, err = c.handshakeToken(r)
		if auth.isGuest(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	v, err := c.verify(r, raw, sock.due)
	if err != nil {
		return err
	}
	return c.install(r, v, sock.due, nil)
}

// isGuest reports whether err only says that there is no token, and a client may stay
// without one.
func (a *Authorizer) isGuest(err *UnauthorizedError) bool {
	return a.opts.Optional && err != nil && err.wantsToken()
}

// verdict returns the verdict of the gate as long as it is recent. Later the token may have been
// revoked without this node knowing, while Revocations are out of reach.
func (c *connection) verdict() *verdict {
	p := gateResultOf(c.client.Handshake().Context).of(c.auth)
	if p == nil {
		return nil
	}
	v := p.verdict
	if v == nil || c.endedSessions.Load() > 0 || time.Since(v.at) > c.auth.opts.Timeout {
		return nil
	}
	return v
}
