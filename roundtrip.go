package socketiojwt

import (
	"time"

	socketio "github.com/googollee/go-socket.io"
)

const eventAuthenticate = "authenticate"

// OnAuthenticate is the handler of the `authenticate` event, for servers that use the
// hooks one by one:
//
//	server.OnEvent("/", "authenticate", auth.OnAuthenticate)
//
// Protect registers it itself. It verifies the token in data and answers with
// `authenticated` or `unauthorized`. On a socket that is authenticated already, in
// either mode, a good token of the same subject takes the place of the old one; a bad
// one changes nothing. OnAuthenticate blocks until the token is verified, which holds
// up the events of this connection and of no other.
func (a *Authorizer) OnAuthenticate(s socketio.Conn, data AuthenticateData) {
	c := a.findConnection(s)
	if c == nil {
		return // OnConnect refused it, or was never asked
	}
	c.mu.Lock()
	sock := c.socket(s.Namespace())
	if sock == nil || !sock.ns.protected || (sock.state != socketWaiting && sock.state != socketOpen) {
		c.mu.Unlock()
		return
	}
	due := sock.due
	if sock.state == socketOpen {
		due = time.Now().Add(a.opts.Timeout)
	}
	exhausted := c.attempts >= a.opts.MaxAttempts
	sock.busy = true
	c.attempts++
	c.mu.Unlock()

	if exhausted {
		sock.fail(errTooManyAttempts(), true)
		return
	}
	v, err := sock.verify(data, due)
	if err == nil {
		err = c.install(c.request(sock.name), v, due, sock)
	}
	if err != nil {
		c.mu.Lock()
		if err.Code == CodeServerBusy && c.session.Load() != nil {
			c.attempts-- // the token may be good, and the session needs it to stay
		}
		c.mu.Unlock()
		sock.fail(err, false)
	}
}

// startRoundTrip is called without the mutex, as are the methods below.
func (sock *socket) startRoundTrip() {
	c := sock.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	sock.sendConnect()
	switch {
	case sock.state == socketClosed:
	case c.session.Load() != nil || c.auth.opts.Optional:
		sock.admit()
	default:
		sock.setState(socketWaiting)
		sock.deadline = time.AfterFunc(time.Until(sock.due), sock.timeout)
	}
}

func (sock *socket) timeout() {
	sock.conn.mu.Lock()
	waits := sock.state == socketWaiting && !sock.busy // else the verification ends now, too
	sock.conn.mu.Unlock()
	if waits {
		sock.fail(errTimeout(), true)
	}
}

func (sock *socket) verify(data AuthenticateData, due time.Time) (*verified, *UnauthorizedError) {
	c := sock.conn
	r := c.request(sock.name)
	raw, present, isString := data.token()
	if !present && c.auth.opts.Cookie != "" {
		token, err := c.auth.cookieToken(r, c.client.Handshake().Host)
		if err != nil {
			return nil, err
		}
		raw, isString = token, token != ""
	}
	if !isString || raw == "" {
		return nil, errTokenDatatype()
	}
	return c.verify(r, raw, due)
}

// fail answers `unauthorized` and, when it is the last word or CloseGrace says so,
// ends the socket. A socket that is authenticated stays so.
func (sock *socket) fail(err *UnauthorizedError, last bool) {
	c := sock.conn
	defer c.auth.reportUnauthorized(c.request(sock.name), err) // which may take its time
	c.mu.Lock()
	defer c.mu.Unlock()
	sock.busy = false
	if sock.state == socketClosed {
		return
	}
	packet := sock.unauthorized(err)
	grace := c.auth.opts.CloseGrace
	if sock.state == socketWaiting && !time.Now().Before(sock.due) {
		last = true // timeout saw that the socket was busy, and left it to this
	}
	switch {
	case sock.state == socketOpen && !sock.guest:
		c.client.Send(packet)
	case last || grace == 0:
		var packets []string
		sock.others(func(other *socket) {
			if other.state == socketWaiting {
				packets = append(packets, other.unauthorized(err))
			}
			packets = append(packets, disconnectPacket(other.name))
		})
		sock.end(append(packets, packet, disconnectPacket(sock.name))...)
	default:
		c.client.Send(packet)
		if grace > 0 && sock.grace == nil {
			sock.grace = time.AfterFunc(grace, sock.disconnect)
		}
	}
}

// unauthorized returns the event with an acknowledgement of its own. It is called with
// the mutex.
func (sock *socket) unauthorized(err *UnauthorizedError) string {
	sock.conn.acks++
	return unauthorizedPacket(sock.name, firstAck+sock.conn.acks-1, err)
}

// disconnect ends the socket when CloseGrace is over, unless it was authenticated since.
func (sock *socket) disconnect() {
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	if sock.state == socketWaiting || sock.guest {
		sock.dismiss()
	}
}

// dismiss ends the socket without another word: the client has called back, or had the
// time to. It is called with the mutex.
func (sock *socket) dismiss() {
	var packets []string
	sock.others(func(other *socket) { packets = append(packets, disconnectPacket(other.name)) })
	sock.end(append(packets, disconnectPacket(sock.name))...)
}
