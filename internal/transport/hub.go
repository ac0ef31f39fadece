// Package transport brings the Engine.IO 3 polling and WebSocket transports that
// socketiojwt.Harden puts in the place of go-socket.io's own.
//
// A [Hub] belongs to one server. It holds a [Client] for each connection; the
// polling and the WebSocket side of a connection share it: its handshake, its
// outbox, its inbox, its deadlines. go-socket.io sees the two sides as ordinary
// transports; the hooks reach the Client through [FromConn].
package transport

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/googollee/go-socket.io/engineio/session"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
)

// Names of the transports, as in the `transport` query parameter.
const (
	Polling   = "polling"
	WebSocket = "websocket"
)

// Limits bound what one client can make the server hold and do. Sizes are in bytes, and
// all must be positive.
type Limits struct {
	Message           int           // one message, or one POST body
	RestrictedMessage int           // the same while the client is restricted, see Client.Restrict
	RestrictedPackets int           // per second, while restricted; a poll counts as one
	RestrictedBytes   int           // per second, while restricted
	Ping              int           // a PING, which is echoed
	Attachments       int           // binary attachments of one packet
	Outbox            int           // packets written but not yet fetched
	BodyTime          time.Duration // to send the body of a POST
}

const (
	upgradeTimeout = 10 * time.Second // from probe to upgrade, as Node's engine.io
	maxProbe       = 512              // bytes of what a candidate for an upgrade sends

	// settleTime is how long after Close the outbox still takes packets: Emit
	// hands them to another goroutine, so some may be on their way (hazard 27).
	settleTime  = 200 * time.Millisecond
	settleSteps = 20

	// How long a closing client has to fetch what is left for it. A restricted
	// one gets less: it must be gone a second after its authentication timeout.
	lingerTime           = 5 * time.Second
	restrictedLingerTime = 700 * time.Millisecond
)

// Hub makes the transports of one server and knows its clients.
type Hub struct {
	limits      Limits
	pingTimeout time.Duration
	transports  []eiotransport.Transport

	mu       sync.Mutex
	clients  map[*Client]struct{}
	ids      map[string]*Client
	handing  int // sessions on their way from OPEN to go-socket.io's Serve
	draining bool
	idle     chan struct{} // closed when draining and nothing is left
	guard    func(*Client, Header) bool
	attached attachments

	observers []func(*Client, Reason)
}

// NewHub makes a hub whose transports take the place of configured ones and keep
// their settings; with none configured it brings polling and WebSocket, in this
// order. A transport of an unknown type is an error.
func NewHub(configured []eiotransport.Transport, pingTimeout time.Duration, limits Limits) (*Hub, error) {
	h := &Hub{
		limits:      limits,
		pingTimeout: pingTimeout,
		clients:     make(map[*Client]struct{}),
		ids:         make(map[string]*Client),
		idle:        make(chan struct{}),
	}
	if len(configured) == 0 {
		configured = []eiotransport.Transport{polling.Default, websocket.Default}
	}
	for _, t := range configured {
		switch t := t.(type) {
		case *polling.Transport:
			h.transports = append(h.transports, newPolling(h, t))
		case *pollingTransport:
			h.transports = append(h.transports, newPolling(h, t.Transport))
		case *websocket.Transport:
			h.transports = append(h.transports, newWebSocket(h, t))
		case *webSocketTransport:
			h.transports = append(h.transports, newWebSocket(h, t.Transport))
		default:
			return nil, errors.New("only go-socket.io's polling and websocket transports can be hardened")
		}
	}
	if h.webSocket() == nil {
		// First, so that polling does not offer an upgrade to it.
		h.transports = slices.Insert(h.transports, 0, eiotransport.Transport(probeTransport{h}))
	}
	return h, nil
}

// Transports returns the transports to configure the server with.
func (h *Hub) Transports() []eiotransport.Transport { return h.transports }

// IDGenerator makes session ids that cannot be guessed (hazard 10).
type IDGenerator struct{}

var _ session.IDGenerator = IDGenerator{}

// NewID returns 160 random bits.
func (IDGenerator) NewID() string {
	var b [20]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

type probeKey struct{}

// Probe finds the hub behind a handler that serves a server with our transports,
// or nil. The request is one that go-socket.io's own transports refuse without
// making a session: a WebSocket request without the headers of an upgrade.
func Probe(handler http.Handler) *Hub {
	var found *Hub
	r := &http.Request{
		Method:     http.MethodGet,
		URL:        &url.URL{Path: "/socket.io/", RawQuery: "EIO=3&transport=" + WebSocket},
		Header:     http.Header{},
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Host:       "localhost",
		RemoteAddr: "127.0.0.1:0",
		Body:       http.NoBody,
	}
	r = r.WithContext(context.WithValue(context.Background(), probeKey{}, &found))
	handler.ServeHTTP(discard{http.Header{}}, r)
	return found
}

var errProbe = errors.New("probe")

func (h *Hub) answerProbe(r *http.Request) bool {
	found, ok := r.Context().Value(probeKey{}).(**Hub)
	if ok {
		*found = h
	}
	return ok
}

// probeTransport answers probes where there is no WebSocket transport.
type probeTransport struct{ hub *Hub }

func (probeTransport) Name() string { return WebSocket }

func (t probeTransport) Accept(_ http.ResponseWriter, r *http.Request) (eiotransport.Conn, error) {
	if t.hub.answerProbe(r) {
		return nil, errProbe
	}
	return nil, errNotAHandshake
}

func (probeTransport) Dial(*url.URL, http.Header) (eiotransport.Conn, error) {
	return nil, errors.ErrUnsupported
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// IsProbe reports whether r comes from Probe, which must reach the transports.
func IsProbe(r *http.Request) bool { return r.Context().Value(probeKey{}) != nil }

// Lookup finds the connection with a session id.
func (h *Hub) Lookup(sid string) (*Client, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.ids[sid]
	return c, ok
}

// Attach returns the value kept under key, made by make when there is none yet.
func (h *Hub) Attach(key any, make func() any) any { return h.attached.loadOrStore(key, make) }

// SetGuard sets a function that is asked about every Socket.IO packet of every client
// before those of Client.Inspect are, in the same way.
func (h *Hub) SetGuard(f func(*Client, Header) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.guard = f
}

func (h *Hub) lets(c *Client, header Header) bool {
	h.mu.Lock()
	guard := h.guard
	h.mu.Unlock()
	return guard == nil || guard(c, header)
}

// Draining reports whether Drain was called.
func (h *Hub) Draining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}

var errDraining = errors.New("server is closing")

func (h *Hub) add(c *Client) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return errDraining
	}
	h.clients[c] = struct{}{}
	return nil
}

func (h *Hub) register(c *Client, id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return errDraining
	}
	h.ids[id] = c
	h.handing++
	return nil
}

// handed ends what register began.
func (h *Hub) handed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handing--
	h.checkIdle()
}

func (h *Hub) remove(c *Client, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
	if h.ids[id] == c {
		delete(h.ids, id)
	}
	h.checkIdle()
}

func (h *Hub) checkIdle() {
	if h.draining && h.handing == 0 && len(h.clients) == 0 {
		select {
		case <-h.idle:
		default:
			close(h.idle)
		}
	}
}

// Drain lets no new connection in, closes all as soon as they are open, and returns when
// they are gone or ctx ends. After it returned nil no session is on its way to the server's
// Serve any more, which is what makes closing go-socket.io's server safe (hazard 23).
func (h *Hub) Drain(ctx context.Context) error {
	h.mu.Lock()
	h.draining = true
	clients := slices.Collect(maps.Keys(h.clients))
	h.checkIdle()
	h.mu.Unlock()
	for _, c := range clients {
		if c.isOpen() { // else it is closed by its first MESSAGE
			c.SendAndClose()
		}
	}
	select {
	case <-h.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attachments keeps values for the few users of a Hub or Client, by key. Reading takes no
// lock: it is on the way of every event.
type attachments struct {
	mu   sync.Mutex
	list atomic.Pointer[attachment]
}

type attachment struct {
	key, value any
	next       *attachment
}

func (a *attachments) load(key any) any {
	for e := a.list.Load(); e != nil; e = e.next {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

func (a *attachments) loadOrStore(key any, make func() any) any {
	if value := a.load(key); value != nil || make == nil {
		return value
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if value := a.load(key); value != nil {
		return value
	}
	value := make()
	a.list.Store(&attachment{key, value, a.list.Load()})
	return value
}

// Handshake is the request that opened a connection, as it was: an upgrade to
// WebSocket does not change it (hazard 25).
type Handshake struct {
	URL        *url.URL
	Header     http.Header
	Host       string
	RemoteAddr string
	LocalAddr  net.Addr
	Context    context.Context // the request's values, without its end
}

func newHandshake(r *http.Request) Handshake {
	u := *r.URL
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return Handshake{
		URL:        &u,
		Header:     r.Header.Clone(),
		Host:       r.Host,
		RemoteAddr: r.RemoteAddr,
		LocalAddr:  local,
		Context:    context.WithoutCancel(r.Context()),
	}
}
