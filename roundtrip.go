package socketiojwt

import (
	"encoding/json"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
)

// The events of the round trip.
const (
	eventAuthenticate  = "authenticate"
	eventAuthenticated = "authenticated"
	eventUnauthorized  = "unauthorized"
	eventTokenExpiring = "token_expiring"
)

// authenticate takes an `authenticate` event. It returns what answers the event, which blocks while
// the application's callbacks do, or nil if there is no answer. It is called without the mutex, as
// the methods below.
func (sock *socket) authenticate(data AuthenticateData) (answer func()) {
	c := sock.conn
	opts := &c.auth.opts
	c.mu.Lock()
	defer c.mu.Unlock()
	if !sock.ns.protected || (sock.state != socketWaiting && sock.state != socketAdmitted) {
		return nil
	}
	due := sock.due
	if sock.state == socketAdmitted {
		due = time.Now().Add(opts.Timeout)
	}
	c.forgive()
	exhausted := c.attempts >= opts.MaxAttempts
	if sock.state == socketAdmitted && c.attempts > 2*opts.MaxAttempts {
		return nil // no answer: it would cost more than the event
	}
	sock.busy = true
	c.attempts++
	return func() {
		if exhausted {
			sock.refuseToken(errTooManyAttempts(), true)
			return
		}
		v, err := sock.verify(data, due)
		if err == nil {
			err = c.install(sock.request(), v, due, sock)
		}
		if err != nil {
			c.mu.Lock()
			if err.Code == CodeServerBusy && c.session.Load() != nil {
				c.attempts-- // the token may be good, and the client needs it to stay
			}
			c.mu.Unlock()
			sock.refuseToken(err, false)
		}
	}
}

// forgive takes failed attempts of an authenticated client back, one for each Timeout: the client
// needs a newer token to stay. It is called with the mutex.
func (c *connection) forgive() {
	if c.session.Load() == nil || c.attempts == 0 {
		c.forgiven = time.Now()
		return
	}
	most := c.auth.opts.Timeout
	n := min(int(time.Since(c.forgiven)/most), c.attempts)
	c.attempts -= n
	c.forgiven = c.forgiven.Add(time.Duration(n) * most)
}

// intercept handles an `authenticate` event in a namespace of a Server. What the client sends after
// it waits for the answer.
func (sock *socket) intercept(args json.RawMessage) {
	var values []json.RawMessage
	var data AuthenticateData
	if json.Unmarshal(args, &values) == nil && len(values) > 1 {
		_ = data.UnmarshalJSON(values[1]) // never fails
	}
	answer := sock.authenticate(data)
	switch {
	case answer == nil:
	case !sock.conn.auth.waits:
		answer()
	default:
		sock.sio.Hold()
		go func() {
			defer sock.sio.Release()
			answer()
		}()
	}
}

// startRoundTrip has the socket wait for `authenticate`. A token that came with its CONNECT is
// taken for the first `authenticate`. It is called without the mutex.
func (sock *socket) startRoundTrip() *UnauthorizedError {
	c := sock.conn
	raw, own, err := sock.ownToken()
	if err != nil {
		return err
	}
	if own {
		return sock.authenticateAtOnce(raw)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case sock.state != socketJoining:
	case c.session.Load() != nil || c.auth.opts.Optional:
		sock.admitIfAccepted(false)
	default:
		sock.letWait()
		sock.deadline = time.AfterFunc(time.Until(sock.due), sock.timeout)
	}
	return nil
}

// letWait answers CONNECT. After it only `authenticate` counts. It is called with the mutex.
func (sock *socket) letWait() {
	sock.setState(socketWaiting)
	sock.sio.LetWait()
}

// letWaitBriefly is letWait for a socket that is about to be admitted: what its client sends
// meanwhile is kept, and not dropped as early. The caller calls done when the socket is admitted.
func (sock *socket) letWaitBriefly() (done func()) {
	sock.sio.Hold()
	sock.letWait()
	return sock.sio.Release
}

// authenticateAtOnce answers CONNECT and the `authenticate` that came with it together.
func (sock *socket) authenticateAtOnce(raw string) *UnauthorizedError {
	c := sock.conn
	if session := c.session.Load(); session != nil && session.RawToken() == raw {
		c.mu.Lock()
		defer c.mu.Unlock()
		if sock.state == socketJoining && c.session.Load() != nil {
			sock.admitIfAccepted(true)
			return nil
		}
	}
	r := sock.request()
	v, err := c.verify(r, raw, sock.due)
	if err != nil {
		return err
	}
	return c.install(r, v, sock.due, sock)
}

// timeout refuses a socket whose Timeout has passed. A verification that still runs ends now as
// well, and its refusal is the answer.
func (sock *socket) timeout() {
	sock.conn.mu.Lock()
	waits := sock.isWaiting() && !sock.busy && !sock.asking
	if waits && sock.lastRetryable != nil {
		sock.conn.sio.End(true)
		waits = false
	}
	sock.conn.mu.Unlock()
	if waits {
		sock.refuseToken(errTimeout(), true)
	}
}

// isWaiting reports whether the socket has yet to be authenticated: it waits, or is a guest's. It
// is called with the mutex.
func (sock *socket) isWaiting() bool {
	return sock.state == socketWaiting || sock.state == socketAdmitted && sock.guest
}

func (sock *socket) verify(data AuthenticateData, due time.Time) (*verified, *UnauthorizedError) {
	c := sock.conn
	r := sock.request()
	raw, present, isString := data.token()
	if !present && c.auth.opts.Cookie != "" {
		token, err := c.cookieToken(r)
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

// refuseToken answers an `authenticate` event with `unauthorized`. It ends the socket at once with
// last, or when CloseGrace says so. A socket that is authenticated stays so. After a refusal that
// is worth retrying the client is not told to go.
func (sock *socket) refuseToken(err *UnauthorizedError, last bool) {
	c := sock.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	defer sock.report(sock.request(), err)
	sock.busy = false
	if sock.state == socketEnded {
		return
	}
	grace := c.auth.opts.CloseGrace
	if sock.state == socketWaiting && !time.Now().Before(sock.due) {
		last = true // timeout left the answer to this, because the socket was busy
	}
	if err.Code == CodeTooManyAttempts && sock.lastRetryable != nil {
		err = sock.lastRetryable // the client was told that it may try again
	}
	switch {
	case sock.state == socketAdmitted && !sock.guest:
		sock.sio.Tell(eventUnauthorized, newUnauthorized(err), sock.acknowledged)
	case err.retryable():
		sock.sio.Tell(eventUnauthorized, newUnauthorized(err), sock.acknowledgedRetry)
		sock.closeForRetry(err, last)
	case last || grace == 0:
		var words []lastWord
		sock.others(func(other *socket) {
			var word sio.LastWord
			if other.state == socketWaiting {
				word = unauthorizedWord(err)
			}
			words = append(words, other.lastWord(word))
		})
		sock.end(append(words, sock.lastWord(unauthorizedWord(err)))...)
	default:
		sock.sio.Tell(eventUnauthorized, newUnauthorized(err), sock.acknowledged)
		sock.lastRetryable = nil
		if grace > 0 && sock.grace == nil {
			sock.grace = time.AfterFunc(grace, sock.endAfterGrace)
		}
	}
}

// closeForRetry ends the connection when the socket's time is up, without DISCONNECT: after a
// DISCONNECT clients stay away, and at the end of a connection they come back. Until then the
// client may try again. It is called with the mutex.
func (sock *socket) closeForRetry(err *UnauthorizedError, now bool) {
	first := sock.lastRetryable == nil
	sock.lastRetryable = err
	switch {
	case now:
		sock.conn.sio.End(true)
	case first && sock.guest: // which has no deadline
		sock.deadline = time.AfterFunc(sock.conn.auth.opts.Timeout, sock.timeout)
	}
}

// acknowledgedRetry is called when the client acknowledges a refusal that is worth retrying.
func (sock *socket) acknowledgedRetry() {
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	if sock.isWaiting() && !sock.asking && sock.lastRetryable != nil {
		sock.conn.sio.End(true)
	}
}

// acknowledged is called when the client acknowledges `unauthorized`: the client is ready to go.
func (sock *socket) acknowledged() {
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	sock.endSilently()
}

// endAfterGrace ends the socket when CloseGrace has passed, unless it was authenticated since, or
// AcceptNamespace is about to decide.
func (sock *socket) endAfterGrace() {
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	if sock.isWaiting() && !sock.asking && sock.lastRetryable == nil {
		sock.endSilently()
	}
}

// endSilently ends the socket without another word than DISCONNECT: the client has acknowledged,
// had the time to, or is sent away by the application. It is called with the mutex.
func (sock *socket) endSilently() { sock.endWith(sio.LastWord{}) }

// endWith ends the socket with a last word, and those that end with it without one.
func (sock *socket) endWith(word sio.LastWord) {
	var words []lastWord
	sock.others(func(other *socket) { words = append(words, other.lastWord(sio.LastWord{})) })
	sock.end(append(words, sock.lastWord(word))...)
}

// unauthorizedData is the argument of `unauthorized`. The event asks for an acknowledgement,
// because socketio-jwt's clients call the callback without looking whether there is one.
type unauthorizedData struct {
	Message string             `json:"message"`
	Data    *UnauthorizedError `json:"data"`
}

func newUnauthorized(err *UnauthorizedError) unauthorizedData {
	return unauthorizedData{err.Message, err}
}

func unauthorizedWord(err *UnauthorizedError) sio.LastWord {
	return sio.LastWord{Event: eventUnauthorized, Arg: newUnauthorized(err)}
}
