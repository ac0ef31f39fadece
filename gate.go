package socketiojwt

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
	socketio "github.com/googollee/go-socket.io"
)

// gate answers the HTTP requests that must not reach go-socket.io.
type gate struct {
	next  http.Handler
	hub   *transport.Hub
	auth  *Authorizer        // whose log is told of mistakes
	guard func() *Authorizer // of the root namespace, or nil
}

// Handler returns the HTTP gate in front of next, which serves a go-socket.io server. It is for
// servers that use the hooks one by one; the Server of Protect has the same gate built in.
//
// The gate answers requests for the files of Server.ServeClient, and refuses what is no Engine.IO
// request. In handshake mode it verifies the token of a client 1.x or 2.x before there is a
// connection, and refuses the client itself; the connect-hook finds the result and does not verify
// again. Clients 3.x and 4.x are let through, up to MaxPending, because the `auth` that may hold
// their token comes later. The gate serves these clients itself, so a handler between the gate and
// next does not see their requests. Where the root namespace is public, as after
// auth.Protect(server, "/admin"), the gate lets every client through, and the hook of each
// namespace decides. The gate blocks while Secret, Revocations and Accept do, at most for
// Options.Timeout.
//
// Where next is the go-socket.io server itself, Handler notices when the server is closed, and
// sends the clients away. Until then that costs a goroutine. Call Drain before the close all the
// same.
func (a *Authorizer) Handler(next http.Handler) http.Handler {
	var hub *transport.Hub
	found := upstream.Probe(next)
	if found != nil {
		hub = found.Hub()
		a.observe(hub)
		if server, ok := next.(*socketio.Server); ok {
			found.SetPlain(server)
			found.Watch(server, a.warnUndrained)
		}
	} else {
		a.log.Warn("socketiojwt: Handler found no server with Harden's transports behind it at /socket.io/; it treats the root namespace as protected")
	}
	return &gate{sending(found, next), hub, a, func() *Authorizer {
		if s := doorkeeperOf(hub); s != nil && s.rootIsNotOf(a) {
			return nil
		}
		return a
	}}
}

// sending sends the requests of clients that ask for the root past go-socket.io, which does not
// know their connections.
func sending(found *upstream.Server, next http.Handler) http.Handler {
	if found == nil {
		return next
	}
	found.SetVia(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asksForRoot(r) {
			found.Serve(w, r, next)
		} else {
			next.ServeHTTP(w, r)
		}
	})
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if upstream.IsProbe(r) {
		g.next.ServeHTTP(w, r)
		return
	}
	if g.serveClientFile(w, r) {
		return
	}
	if g.hub.Answer(w, r) {
		g.note(r)
		return
	}
	if transport.QueryOf(r).Get("sid") == "" {
		if tooLarge(w, r) {
			return
		}
		p := &gateResult{outer: gateResultOf(r.Context())}
		auth := g.guard()
		if asksForRoot(r) {
			auth = g.auth
		}
		if auth != nil {
			auth.noteQueryToken(r)
		}
		if auth != nil && p.of(auth) == nil { // else a gate in front of this one has decided
			p.auth = auth
			if err := p.judge(r); err != nil {
				g.refuse(w, r, err)
				auth.reportUnauthorized(requestOf(r), err)
				return
			}
		}
		defer func() {
			if !p.opened {
				p.release()
			}
		}()
		r = r.WithContext(context.WithValue(r.Context(), sio.OpenHookKey{}, p))
	}
	g.next.ServeHTTP(w, r)
}

// asksForRoot reports whether the client is a socket.io-client 3.x or 4.x, which is in no namespace
// before it asks for one.
func asksForRoot(r *http.Request) bool { return transport.VersionOf(transport.QueryOf(r)) == 4 }

// judge decides about a handshake request on a protected root, or leaves the decision to the
// namespaces: the token with which a client asks for a namespace goes before that of its handshake.
func (p *gateResult) judge(r *http.Request) (err *UnauthorizedError) {
	if !p.auth.opts.Handshake || asksForRoot(r) {
		return p.reserve(r.RemoteAddr)
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

// refuse answers a handshake request with a refusal. Refusing the root refuses the whole
// connection. A client that is there for another namespace only, which is what io("/admin") makes,
// would come back for ever, and 1.7.4 does not even see the error of the root. So a terminal
// refusal names the other namespaces too. (2.5.0 hands the root's error to every namespace, and
// sees it twice there.) A client that asks for the root is refused when it does. Before that it
// gets only what it may retry.
func (g *gate) refuse(w http.ResponseWriter, r *http.Request, err *UnauthorizedError) {
	if asksForRoot(r) {
		body, encodeErr := json.Marshal(err)
		if encodeErr != nil {
			panic(encodeErr) // an UnauthorizedError can always be encoded
		}
		transport.RefuseForNow(w, r, g.hub, body)
		return
	}
	frames := []transport.Frame{sio.ErrorFrame(root, err)}
	if !err.retryable() {
		frames = append(frames, sio.DisconnectFrame(root))
		for _, name := range doorkeeperOf(g.hub).names() {
			frames = append(frames, sio.ErrorFrame(name, err), sio.DisconnectFrame(name))
		}
	}
	transport.RefuseHandshake(w, r, g.hub, frames...)
}
