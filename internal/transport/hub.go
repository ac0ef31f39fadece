// Package transport speaks Engine.IO 3 and 4 over polling and WebSocket.
//
// A [Hub] serves the requests of one server. It has a [Client] for each connection. The polling
// side and the WebSocket side of a connection share the Client: its handshake, its outbox, its
// deadlines. What a connection carries belongs to the layer above, an [Above] for each Client: the
// transport hands it messages in order, and sends what it is given. PING, PONG, the upgrade and
// CLOSE stay here.
package transport

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
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
	Outbox            int           // packets written but not yet fetched
	BodyTime          time.Duration // to send the body of a POST
}

const (
	upgradeTimeout = 10 * time.Second // from probe to upgrade, as Node's engine.io
	maxProbe       = 512              // bytes of what a candidate for an upgrade sends

	// How long a closing client may take to fetch what is left for it. A client that was restricted
	// from its start gets less, because it must be gone a second after its authentication timeout.
	lingerTime           = 5 * time.Second
	restrictedLingerTime = 700 * time.Millisecond
)

// Config says how a Hub serves. A transport that is nil is not offered.
type Config struct {
	PingInterval, PingTimeout time.Duration
	Limits                    Limits
	Polling                   *PollingConfig
	WebSocket                 *websocket.Upgrader // its Error is not called
	// Upgrade offers polling clients the WebSocket.
	Upgrade bool
}

// PollingConfig configures polling.
type PollingConfig struct {
	// CheckOrigin decides on CORS headers; nil sets none.
	CheckOrigin func(*http.Request) bool
}

// Above is the layer above, for one connection.
type Above interface {
	// Receive takes the messages of a frame or of a request, in the order in which they came. It
	// queues them and does not block. An error says that the client broke the rules: Receive took
	// none of the messages, and the connection is closed. Calls follow one another.
	Receive(messages []Message) error

	// Closing says that the hub sends the client away. end closes the connection. The layer above
	// calls end as soon as nothing more is on its way to Client.Send.
	Closing(end func())

	// Closed follows the last Receive, once, when the connection is closed.
	Closed()
}

// Message is one MESSAGE of a client: text, which is valid UTF-8, or an attachment.
type Message struct {
	Binary bool
	Data   []byte
}

// Cost is what a message counts while it waits. It is more than the bytes of the message, because a
// client can make the server hold very many empty ones.
func (m Message) Cost() int { return len(m.Data) + messageOverhead }

const messageOverhead = 320

// Hub serves the connections of one server.
type Hub struct {
	config Config
	limits Limits

	mu        sync.Mutex
	clients   map[string]*Client // by session id
	past      past
	draining  bool
	lingers   time.Duration // how long a client that is sent away may take to fetch what is left
	idle      chan struct{} // closed when draining and nothing is left
	observers []func(*Client, Reason)
	hijackers []func(error) // see ObserveHijack
	attached  attachments

	load load
}

// NewHub makes a hub.
func NewHub(c Config) *Hub {
	c.WebSocket = newUpgrader(c.WebSocket)
	return &Hub{
		config:  c,
		limits:  c.Limits,
		past:    past{ids: make(map[string]struct{})},
		clients: make(map[string]*Client),
		idle:    make(chan struct{}),
		lingers: min(lingerTime, c.PingTimeout),
	}
}

// newID returns a session id of 160 random bits, because whoever knows it can take the connection over
// (hazard 10).
func newID() string {
	var b [20]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// past has the ids of the connections that closed last.
type past struct {
	ids  map[string]struct{}
	ring [1000]string
	next int
}

func (p *past) add(id string) {
	delete(p.ids, p.ring[p.next])
	p.ring[p.next] = id
	p.ids[id] = struct{}{}
	p.next = (p.next + 1) % len(p.ring)
}

// Lookup finds the connection with a session id.
func (h *Hub) Lookup(sid string) (*Client, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.clients[sid]
	return c, ok
}

// Count returns how many connections there are.
func (h *Hub) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients)
}

// Attach returns the value kept under key, made by make when there is none yet and make is
// not nil.
func (h *Hub) Attach(key any, make func() any) any { return h.attached.loadOrStore(key, make) }

// Burst is the Cost that may come at once: all messages of one request, or one event with its
// attachments.
func (h *Hub) Burst() int { return max(4*h.limits.Message, 1<<20) }

// Burst is the Cost of one event with its attachments that the client may send now. While the
// client is restricted, that is the Cost that may be unread.
func (c *Client) Burst() int {
	if c.Restricted() {
		return 2 * c.hub.limits.RestrictedMessage
	}
	return c.hub.Burst()
}

// Draining reports whether Spread or Drain was called.
func (h *Hub) Draining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}

// ErrDraining says that Spread or Drain was called.
var ErrDraining = errors.New("server is closing")

func (h *Hub) add(c *Client) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return ErrDraining
	}
	h.clients[c.id] = c
	h.load.count(c, c.ws != nil, 1)
	return nil
}

func (h *Hub) remove(c *Client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.clients[c.id] == c {
		delete(h.clients, c.id)
		h.load.count(c, c.ws != nil, -1)
		h.past.add(c.id)
	}
	h.checkIdle()
}

func (h *Hub) lingerTime() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lingers
}

func (h *Hub) checkIdle() {
	if h.draining && len(h.clients) == 0 {
		select {
		case <-h.idle:
		default:
			close(h.idle)
		}
	}
}

// drain lets no new connection open, and returns the connections there are.
func (h *Hub) drain() []*Client {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
	h.checkIdle()
	return slices.Collect(maps.Values(h.clients))
}

// Spread lets no new connection open, and sends the clients away one after another, at even
// distances over a time. From now on a client that is sent away may take at most linger to fetch
// what is left for it. Spread returns when the time has passed, or earlier: when all connections
// are closed, as after Drain, or ctx has ended.
func (h *Hub) Spread(ctx context.Context, over, linger time.Duration) {
	if linger > 0 {
		h.mu.Lock()
		h.lingers = min(h.lingers, linger)
		h.mu.Unlock()
	}
	clients := h.drain()
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, c := range clients {
		due := over / time.Duration(len(clients)) * time.Duration(i)
		timer.Reset(due - time.Since(began))
		select {
		case <-timer.C:
			c.sendAway()
		case <-h.idle:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Drain lets no new connection open, sends all clients away, after what the layer above has for
// them, and returns when all connections are closed or ctx ends. A connection that is opening is
// closed as soon as it is open. Drain ends what Spread has begun.
func (h *Hub) Drain(ctx context.Context) error {
	for _, c := range h.drain() {
		c.sendAway()
	}
	return Until(ctx, h.idle)
}

// Until waits until done is closed, and returns nil then. It returns the error of ctx if that ends
// before.
func Until(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done:
		return nil
	default:
		return ctx.Err()
	}
}

// attachments keeps values for the few users of a Hub or Client, by key. Reading takes no lock,
// because every event reads one.
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
