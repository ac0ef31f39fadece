package socketiojwt

import (
	"context"
	"net/http"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
	socketio "github.com/googollee/go-socket.io"
)

// OnConnect is the connect-hook, for servers that use the hooks one by one:
//
//	server.OnConnect("/", auth.OnConnect)
//
// Protect registers it itself. With Handshake it finds the session that the gate of
// Handler left, or verifies the token of the handshake; otherwise it starts the round
// trip. It returns nil, at once: what follows happens in a goroutine, and a client
// that is refused is told why and disconnected there.
func (a *Authorizer) OnConnect(s socketio.Conn) error {
	a.hook(s)
	return nil
}

// OnDisconnect is the hook for servers that use the hooks one by one. It may be called
// from the server's own OnDisconnect. It does not block.
func (a *Authorizer) OnDisconnect(s socketio.Conn, _ string) {
	if c := a.findConnection(s); c != nil {
		if sock := c.socketOf(s); sock != nil {
			c.left(sock)
		}
	}
}

// hook takes a socket that go-socket.io is just connecting. It is called inside go-socket.io's
// OnConnect, so it waits for nothing (hazards 2 and 13).
func (a *Authorizer) hook(s socketio.Conn) {
	c := a.connectionOf(s)
	if c == nil {
		a.warnNotHardened()
		go refuseForeign(s)
		return
	}
	guarded := c.conn.Guard(normalise(s.Namespace()), s)
	if guarded == nil {
		return // CONNECT again (hazard 34), or the client has left
	}
	sock := c.join(guarded, &namespace{protected: true})
	go sock.decide()
}

// authenticateHandshake finds the session of a socket that joins in handshake mode.
// With Optional there may be none. It is called without the mutex.
func (sock *socket) authenticateHandshake() *UnauthorizedError {
	c := sock.conn
	auth := c.auth
	r := c.request(sock.name)

	raw, own, err := "", false, (*UnauthorizedError)(nil)
	if !auth.opts.HeaderRequired {
		raw, own, err = auth.namespaceToken(sock.s.Query())
	}
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
		raw, err = auth.handshakeToken(r, c.client.Handshake().Host)
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
	return a.opts.Optional && err != nil &&
		(err.Code == CodeCredentialsRequired || err.Code == CodeMissingAuthorizationHeader)
}

// verdict returns that of the gate while it is news. Later the token may have been revoked without
// our knowing, as long as Revocations are out of reach.
func (c *connection) verdict() *verdict {
	p := passageOf(c.client.Handshake().Context).of(c.auth)
	if p == nil {
		return nil
	}
	v := p.verdict
	if v == nil || c.spent.Load() || time.Since(v.at) > c.auth.opts.Timeout {
		return nil
	}
	return v
}

// gate answers HTTP requests that must not reach go-socket.io.
type gate struct {
	next  http.Handler
	hub   *transport.Hub
	auth  *Authorizer        // whose log is told of mistakes
	guard func() *Authorizer // of the root namespace, or nil
}

// Handler returns the HTTP gate in front of next, which serves a go-socket.io server.
// Protect has it built in.
//
// The gate keeps away what is no Engine.IO 3 request (clients 3.x and 4.x are logged once). In handshake mode it verifies
// the token before there is a connection, and answers a client it refuses itself; the
// hook finds the result and does not verify again. Where the root namespace is public
// (see Protect) it lets everybody in and leaves the decision to the namespace's hook.
// It blocks while Secret, Revocations and Accept do, at most for Options.Timeout.
func (a *Authorizer) Handler(next http.Handler) http.Handler {
	var hub *transport.Hub
	if found := upstream.Probe(next); found != nil {
		hub = found.Hub()
	} else {
		a.log.Warn("socketiojwt: Handler found no server with Harden's transports behind it at /socket.io/; it treats the root namespace as protected")
	}
	return &gate{next, hub, a, func() *Authorizer {
		if s := siteOf(hub); s != nil && s.rootIsNotOf(a) {
			return nil
		}
		return a
	}}
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if upstream.IsProbe(r) {
		g.next.ServeHTTP(w, r)
		return
	}
	if g.hub.Answer(w, r) {
		if transport.QueryOf(r).Get("EIO") == "4" {
			g.auth.warnVersion(r)
		}
		return
	}
	if transport.QueryOf(r).Get("sid") == "" {
		if tooLarge(w, r) {
			return
		}
		p := &passage{outer: passageOf(r.Context())}
		if auth := g.guard(); auth != nil && p.of(auth) == nil { // else a gate in front of this one did it
			p.auth = auth
			if err := p.judge(r); err != nil {
				g.refuse(w, r, err)
				auth.reportUnauthorized(requestOf(r), err)
				return
			}
		}
		defer func() {
			if !p.arrived {
				p.release()
			}
		}()
		r = r.WithContext(context.WithValue(r.Context(), sio.ArrivalKey{}, p))
	}
	g.next.ServeHTTP(w, r)
}

// judge decides about a handshake request on a protected root, or leaves that to the hook.
func (p *passage) judge(r *http.Request) (err *UnauthorizedError) {
	if !p.auth.opts.Handshake {
		return p.reserve()
	}
	p.verdict, err = p.auth.judge(r)
	return err
}

func (a *Authorizer) judge(r *http.Request) (*verdict, *UnauthorizedError) {
	request := requestOf(r)
	raw, err := a.handshakeToken(request, r.Host)
	if a.isGuest(err) {
		return &verdict{at: time.Now()}, nil
	}
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	if a.waits {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.opts.Timeout)
		defer cancel()
	}
	v, err := a.verify(ctx, request, raw)
	if err != nil {
		return nil, err
	}
	return &verdict{v, time.Now()}, nil
}

func requestOf(r *http.Request) *Request {
	return &Request{Namespace: root, RemoteAddr: r.RemoteAddr, URL: r.URL, Header: r.Header}
}

// A connection keeps the URL and the header of its handshake, for as long as it lasts
// (hazard 18).
const (
	maxURLBytes    = 32 << 10
	maxHeaderBytes = 64 << 10
)

func tooLarge(w http.ResponseWriter, r *http.Request) bool {
	if len(r.URL.Path)+len(r.URL.RawQuery) > maxURLBytes {
		transport.Refuse(w, http.StatusRequestURITooLong, 3, "Bad request")
		return true
	}
	size := 0
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	if size > maxHeaderBytes {
		transport.Refuse(w, http.StatusRequestHeaderFieldsTooLarge, 3, "Bad request")
		return true
	}
	return false
}

// Refusing the root refuses all of the connection. A client that is there for another
// namespace only, which is what io("/admin") makes, would come back for ever, and 1.7.4
// does not even see the error of the root: so terminal refusals name those namespaces too.
// (2.5.0 hands the root's error to every namespace and sees it twice there.)
func (g *gate) refuse(w http.ResponseWriter, r *http.Request, err *UnauthorizedError) {
	frames := []transport.Frame{sio.ErrorFrame(root, err)}
	if !err.retryable() {
		frames = append(frames, sio.DisconnectFrame(root))
		for _, name := range siteOf(g.hub).names() {
			frames = append(frames, sio.ErrorFrame(name, err), sio.DisconnectFrame(name))
		}
	}
	transport.RefuseHandshake(w, r, g.hub, frames...)
}
