// Package upstream is go-socket.io's view of the connections. go-socket.io serves what is
// registered on the plain server, and the hooks one by one. For go-socket.io a connection of this
// module is a session over a transport, a bridge. Every trick that this needs stands in this
// package.
//
// A connection whose client stays in namespaces of ours never enters go-socket.io. It enters when
// the root is on the plain server, which then makes the session, or when the client asks for a
// namespace that is.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	eiowebsocket "github.com/googollee/go-socket.io/engineio/transport/websocket"
	"github.com/gorilla/websocket"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// Server stands beside one go-socket.io server. It has the hub that speaks to the clients, and
// Socket.IO for the namespaces that are not go-socket.io's.
type Server struct {
	hub        *transport.Hub
	sio        *sio.Server
	check      engineio.CheckerFunc
	init       engineio.ConnInitorFunc
	transports []eiotransport.Transport
	ids        chan string   // the id of the session that go-socket.io is about to make
	leaving    chan struct{} // one slot, see bridge.NextReader

	mu       sync.Mutex
	plain    *socketio.Server // nil before SetPlain
	via      http.Handler     // leads to go-socket.io; nil before SetPlain and SetVia
	watched  bool             // Watch was called
	inside   int              // connections that go-socket.io is not done with, see countIn
	hasRoot  bool             // plain has a root
	rooted   bool             // withRoot made it
	draining bool
	idle     chan struct{} // closed when draining and inside is 0
}

type serverKey struct{}

// Of returns the Server that a hub belongs to.
func Of(hub *transport.Hub) *Server { return hub.Attach(serverKey{}, nil).(*Server) }

// New makes a Server of the options of a go-socket.io server. A transport of an unknown type is an
// error.
func New(opts engineio.Options, limits transport.Limits, packets sio.Limits) (*Server, error) {
	u := &Server{
		check:   opts.RequestChecker,
		init:    opts.ConnInitor,
		ids:     make(chan string, 1),
		leaving: make(chan struct{}, 1),
		idle:    make(chan struct{}),
	}
	config := transport.Config{
		PingInterval: opts.PingInterval,
		PingTimeout:  opts.PingTimeout,
		Limits:       limits,
	}
	if config.PingInterval == 0 {
		config.PingInterval = 20 * time.Second // go-socket.io's defaults
	}
	if config.PingTimeout == 0 {
		config.PingTimeout = time.Minute
	}
	configured := opts.Transports
	if len(configured) == 0 {
		configured = []eiotransport.Transport{polling.Default, eiowebsocket.Default}
	}
	for _, t := range configured {
		if ours, ok := t.(ourTransport); ok {
			t = ours.Transport // opts come from an earlier Harden
		}
		switch t := t.(type) {
		case noWebSocket:
			continue
		case *polling.Transport:
			config.Polling = &transport.PollingConfig{CheckOrigin: t.CheckOrigin}
		case *eiowebsocket.Transport:
			config.Upgrade = config.Polling != nil // polling offers the transports behind it only
			config.WebSocket = &websocket.Upgrader{
				HandshakeTimeout: t.HandshakeTimeout,
				ReadBufferSize:   t.ReadBufferSize,
				WriteBufferSize:  t.WriteBufferSize,
				Subprotocols:     t.Subprotocols,
				CheckOrigin:      t.CheckOrigin,
			}
		default:
			return nil, errors.New("only go-socket.io's polling and websocket transports can be hardened")
		}
		u.transports = append(u.transports, ourTransport{t, u})
	}
	if config.WebSocket == nil {
		// First, so that polling does not offer an upgrade to it.
		u.transports = append([]eiotransport.Transport{ourTransport{noWebSocket{}, u}}, u.transports...)
	}
	u.hub = transport.NewHub(config)
	u.hub.Attach(serverKey{}, func() any { return u })
	u.sio = sio.NewServer(u.hub, u, packets)
	return u, nil
}

// Options returns opts with the transports and the session ids of u.
func (u *Server) Options(opts engineio.Options) *engineio.Options {
	opts.Transports = u.transports
	opts.SessionIDGenerator = ids{u}
	if u.check != nil {
		opts.RequestChecker = func(r *http.Request) (http.Header, error) {
			if IsProbe(r) || entering(r) != nil {
				return nil, nil
			}
			return u.check(r)
		}
	}
	if u.init != nil {
		opts.ConnInitor = func(r *http.Request, c engineio.Conn) {
			if b := entering(r); b != nil {
				c.SetContext(b.conn.InitialContext()) // the Context that it made when the connection was opened
			} else {
				u.init(r, c)
			}
		}
	}
	return &opts
}

// Hub returns the transport.
func (u *Server) Hub() *transport.Hub { return u.hub }

// Sio returns the namespaces that are ours.
func (u *Server) Sio() *sio.Server { return u.sio }

// SetPlain says which server has the namespaces that are not ours.
func (u *Server) SetPlain(plain *socketio.Server) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.plain, u.via = plain, plain
}

// SetVia says which handler leads to a server that is not known itself.
func (u *Server) SetVia(via http.Handler) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.via == nil {
		u.via = via
	}
}

func (u *Server) plainServer() *socketio.Server {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.plain
}

// Serve serves requests that Hub.Answer let through. A handshake of a client that is in the root
// from the start goes to next, which is go-socket.io, if the root is on the plain server.
func (u *Server) Serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if sid := transport.QueryOf(r).Get("sid"); sid != "" {
		client, ok := u.hub.Lookup(sid)
		switch {
		case !ok:
			transport.Refuse(w, http.StatusBadRequest, 1, "Session ID unknown")
		case u.checks(w, r):
			client.Serve(w, r)
		}
		return
	}
	if transport.VersionOf(transport.QueryOf(r)) != 4 && u.sio.Namespace(sio.Root) == nil {
		next.ServeHTTP(&onceWriter{ResponseWriter: w}, r)
		return
	}
	if !u.checks(w, r) {
		return
	}
	u.hub.Open(w, r, func(client *transport.Client) transport.Above {
		c := u.sio.Open(client, func(c *sio.Conn) sio.Bridge {
			if u.init != nil {
				u.init(r, &initConn{conn: c})
			}
			return nil
		})
		client.Ready()
		return c
	})
}

// checks asks the application's RequestChecker, as go-socket.io does for each request.
func (u *Server) checks(w http.ResponseWriter, r *http.Request) bool {
	if u.check == nil {
		return true
	}
	header, err := u.check(r)
	if err != nil {
		transport.Refuse(w, http.StatusBadGateway, 3, "Bad request")
		return false
	}
	for name, values := range header {
		w.Header()[name] = values
	}
	return true
}

// Serves reports whether the plain server has a namespace. A plain server that is not known may
// have any.
func (u *Server) Serves(namespace string) bool {
	plain := u.plainServer()
	return plain == nil || plain.ForEach(namespace, "", func(socketio.Conn) {})
}

// HasPlain reports whether the application registered a namespace on the plain server.
func (u *Server) HasPlain(namespace string) bool {
	u.mu.Lock()
	ours := namespace == sio.Root && u.rooted
	u.mu.Unlock()
	return !ours && u.Serves(namespace)
}

type enteringKey struct{}

// entering returns the bridge for which enter made a request, nil for any other request.
func entering(r *http.Request) *bridge {
	b, _ := r.Context().Value(enteringKey{}).(*bridge)
	return b
}

// NewBridge makes a bridge for a connection that is to enter go-socket.io.
func (u *Server) NewBridge(c *sio.Conn) sio.Bridge { return newBridge(u, c) }

// enter brings a connection to go-socket.io, by a handshake request that only go-socket.io sees.
func (u *Server) enter(b *bridge) {
	if !u.countIn() {
		b.Closed()
		return
	}
	defer func() {
		if !b.isAccepted() { // a handler in between has answered, or panicked
			b.Closed()
			b.uncount()
		}
	}()
	via := u.withRoot()
	name := transport.Polling
	if u.hub.Has(transport.WebSocket) {
		name = transport.WebSocket
	}
	hs := b.client.Handshake()
	r := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/socket.io/", RawQuery: "EIO=3&transport=" + name},
		Header: hs.Header, Host: hs.Host, RemoteAddr: hs.RemoteAddr,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}
	via.ServeHTTP(discard{http.Header{}}, r.WithContext(context.WithValue(hs.Context, enteringKey{}, b)))
}

// withRoot returns what leads to the plain server, and sees to it that this has a root: without one
// go-socket.io keeps sessions for ever (hazard 4).
func (u *Server) withRoot() http.Handler {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.plain != nil && !u.hasRoot {
		u.hasRoot = true // a root is never removed
		if !u.plain.ForEach(sio.Root, "", func(socketio.Conn) {}) {
			u.plain.OnConnect(sio.Root, func(socketio.Conn) error { return nil })
			u.rooted = true
		}
	}
	return u.via
}

// countIn counts a connection that go-socket.io is about to take. countOut has to follow when
// go-socket.io is done with it. countIn reports false while draining: no new one may enter.
func (u *Server) countIn() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.draining {
		return false
	}
	u.inside++
	return true
}

func (u *Server) countOut() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.inside--
	u.checkIdle()
}

func (u *Server) checkIdle() {
	if u.draining && u.inside == 0 {
		select {
		case <-u.idle:
		default:
			close(u.idle)
		}
	}
}

// Spread closes connections as Hub.Spread does.
func (u *Server) Spread(ctx context.Context, over, linger time.Duration) {
	u.hub.Spread(ctx, over, linger)
}

// Drain closes all connections as Hub.Drain does, and waits until go-socket.io has run OnDisconnect
// for those that it has. When Drain has returned nil, no session is on its way to go-socket.io's
// Serve. That makes closing the server safe (hazard 23).
func (u *Server) Drain(ctx context.Context) error {
	if err := u.hub.Drain(ctx); err != nil {
		return fmt.Errorf("connections are still open: %w", err)
	}
	u.mu.Lock()
	u.draining = true
	u.checkIdle()
	u.mu.Unlock()
	if err := transport.Until(ctx, u.idle); err != nil {
		return fmt.Errorf("go-socket.io still has connections, because a handler or OnDisconnect still runs, or because Serve was not called: %w", err)
	}
	return nil
}

// Watch notices when plain is closed: nobody new may enter it then, and connected clients are sent
// away. It calls forgotten where Drain was not called before. Until the close it costs a goroutine.
// A session that is on its way to Serve between the close and its notice still ends the process.
func (u *Server) Watch(plain *socketio.Server, forgotten func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.watched {
		return
	}
	u.watched = true
	go func() {
		_ = plain.Serve() // beside the application's: each takes some of the sessions, until both return
		u.mu.Lock()
		drained := u.draining
		u.draining = true
		u.checkIdle()
		u.mu.Unlock()
		if !drained {
			forgotten()
			_ = u.hub.Drain(context.Background())
		}
	}()
}

type probeKey struct{}

// Probe finds the Server beside the go-socket.io server that a handler serves, or nil. Its request
// is one that go-socket.io's own transports refuse without making a session: a WebSocket request
// without the headers of an upgrade.
func Probe(handler http.Handler) *Server {
	var found *Server
	r := &http.Request{
		Method:     http.MethodGet,
		URL:        &url.URL{Path: "/socket.io/", RawQuery: "EIO=3&transport=" + transport.WebSocket},
		Header:     http.Header{},
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Host:       "localhost",
		RemoteAddr: "127.0.0.1:0",
		Body:       http.NoBody,
	}
	handler.ServeHTTP(discard{http.Header{}}, r.WithContext(context.WithValue(context.Background(), probeKey{}, &found)))
	return found
}

// noWebSocket answers probes where there is no WebSocket transport.
type noWebSocket struct{}

func (noWebSocket) Name() string { return transport.WebSocket }

func (noWebSocket) Accept(http.ResponseWriter, *http.Request) (eiotransport.Conn, error) {
	return nil, errNotAHandshake
}

func (noWebSocket) Dial(*url.URL, http.Header) (eiotransport.Conn, error) {
	return nil, errors.ErrUnsupported
}

// IsProbe reports whether r comes from Probe. Such a request must reach go-socket.io.
func IsProbe(r *http.Request) bool { return r.Context().Value(probeKey{}) != nil }

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// ids gives go-socket.io the session id that the client has. go-socket.io calls NewID after Accept,
// in the same goroutine, and the channel has room for one id. So no other id comes between.
type ids struct{ u *Server }

func (i ids) NewID() string { return <-i.u.ids }

// ourTransport takes the place of one of go-socket.io's transports. Dial stays that of the embedded
// one.
type ourTransport struct {
	eiotransport.Transport
	u *Server
}

var (
	errProbe         = errors.New("probe")
	errNotAHandshake = errors.New("not a handshake request")
	errNeedsGate     = errors.New("clients 3.x and 4.x are served through Protect or Authorizer.Handler only")
)

// Accept makes the session of a new connection, or of a connection that enters, for go-socket.io.
// go-socket.io calls it for any method (hazard 18), and for a WebSocket that a polling client
// upgrades to, which go-socket.io has nothing to do with.
func (t ourTransport) Accept(w http.ResponseWriter, r *http.Request) (eiotransport.Conn, error) {
	if found, ok := r.Context().Value(probeKey{}).(**Server); ok {
		*found = t.u
		return nil, errProbe
	}
	if b := entering(r); b != nil {
		b.accept()
		t.u.ids <- b.conn.ID()
		return b, nil
	}
	if transport.VersionOf(transport.QueryOf(r)) == 4 {
		return nil, errNeedsGate // go-socket.io would look for its session by another id
	}
	if !t.u.hub.Has(t.Name()) {
		return nil, errNotAHandshake
	}
	if sid := transport.QueryOf(r).Get("sid"); sid != "" {
		if t.Name() != transport.WebSocket {
			return nil, errNotAHandshake
		}
		client, ok := t.u.hub.Lookup(sid)
		if !ok {
			transport.Refuse(w, http.StatusBadRequest, 1, "Session ID unknown")
		} else {
			client.Serve(w, r)
		}
		return nil, websocket.HandshakeError{} // it was answered
	}
	if r.Method != http.MethodGet {
		return nil, errNotAHandshake
	}
	if !t.u.countIn() {
		return nil, transport.ErrDraining
	}
	t.u.withRoot()
	accepted := false
	defer func() {
		if !accepted { // also when CheckOrigin panics
			t.u.countOut()
		}
	}()
	var b *bridge
	client, err := t.u.hub.Accept(w, r, func(client *transport.Client) transport.Above {
		client.KeepBack() // until go-socket.io knows the session, see bridge.hand
		return t.u.sio.Open(client, func(c *sio.Conn) sio.Bridge {
			b = newBridge(t.u, c)
			return b
		})
	})
	if err != nil {
		if t.Name() == transport.WebSocket && err != transport.ErrDraining {
			setAnswered(w)
		}
		return nil, err
	}
	accepted = true
	if b.rootIsOurs() {
		client.Ready()
	}
	t.u.ids <- client.ID()
	return b, nil
}
