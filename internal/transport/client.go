package transport

import (
	"net"
	"sync"
	"time"
)

// Client is one connection: what its polling and its WebSocket side share. Its
// methods are safe for concurrent use.
type Client struct {
	hub       *Hub
	handshake Handshake
	binaryOK  bool // the client takes binary packets as such, not as base64
	attached  attachments

	mu   sync.Mutex
	cond sync.Cond // on mu: the inbox, the state or the side that is read changed

	id        string
	handing   bool // OPEN was taken, and go-socket.io was not heard of since
	connected bool // a MESSAGE was written: the session is registered
	state     state
	done      chan struct{} // closed with stateClosed
	inspect   []func(Header) bool
	onClose   []func()

	wanted     bool // go-socket.io has begun to read: the root's hook has run
	restricted bool
	accused    bool // the observers were told why it is disconnected
	meter      meter
	cutBody    func()    // ends the POST that is being read
	cutAnswer  func()    // ends the answer to a GET that is being written
	readBy     time.Time // end of the ping timeout
	fetchBy    time.Time // polling: the outbox must be fetched by then; zero when empty
	timer      *time.Timer
	lingering  *time.Timer

	in        []inbound
	inBytes   int
	pending   int // attachments still to be received
	dropping  int // attachments of a dropped packet still to be dropped
	last      Header
	posting   chan struct{} // one slot: POSTs queue
	answered  bool          // polling: the handshake GET got its answer
	polled    *poller       // the waiting GET
	paused    bool          // an upgrade is being tried
	candidate *webSocketConn
	ws        *webSocketConn // the WebSocket side, once it is the one in use

	out      []packet
	outBytes int                        // of out and of what is being written
	partial  []packet                   // a binary packet until its last attachment is written
	missing  int                        // attachments partial waits for
	writing  bool                       // somebody is writing what was taken from out
	swallow  map[string][]chan struct{} // CONNECTs to be kept back, by namespace
	muted    map[string]bool            // namespaces whose events are dropped
}

type state int

const (
	stateOpen     state = iota
	stateSettling       // Close was called: the outbox still takes packets
	stateSealed         // the outbox ends with CLOSE and is being fetched
	stateClosed
)

func newClient(h *Hub, hs Handshake, binaryOK bool) (*Client, error) {
	c := &Client{
		hub:       h,
		handshake: hs,
		binaryOK:  binaryOK,
		done:      make(chan struct{}),
		posting:   make(chan struct{}, 1),
	}
	c.cond.L = &c.mu
	return c, h.add(c)
}

// Addr is the remote address of a connection, and the way from a go-socket.io
// Conn to its Client.
type Addr struct{ client *Client }

// Network returns "tcp".
func (a Addr) Network() string { return "tcp" }

// String returns the remote address of the handshake request.
func (a Addr) String() string { return a.client.handshake.RemoteAddr }

// FromConn finds the Client of a go-socket.io connection whose server uses a Hub's
// transports. conn may be nil: go-socket.io's OnError gets such ones (hazard 4).
func FromConn(conn interface{ RemoteAddr() net.Addr }) (*Client, bool) {
	if conn == nil {
		return nil, false
	}
	a, ok := conn.RemoteAddr().(Addr)
	return a.client, ok
}

// Hub returns the hub the connection belongs to.
func (c *Client) Hub() *Hub { return c.hub }

// Handshake returns the request that opened the connection. It must not be changed.
func (c *Client) Handshake() *Handshake { return &c.handshake }

// ID returns the session id.
func (c *Client) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// Done is closed when the connection is.
func (c *Client) Done() <-chan struct{} { return c.done }

// Attach returns the value kept under key, made by make when there is none yet
// and make is not nil.
func (c *Client) Attach(key any, make func() any) any { return c.attached.loadOrStore(key, make) }

// Restrict sets whether the limits for clients that are not authenticated apply.
func (c *Client) Restrict(restricted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restricted = restricted
}

// messageLimit is called without c.mu.
func (c *Client) messageLimit() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.restricted {
		return c.hub.limits.RestrictedMessage
	}
	return c.hub.limits.Message
}
