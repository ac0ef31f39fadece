package transport

import (
	"net/http"
	"sync"
	"time"
)

// Client is one connection: what its polling and its WebSocket side share. Its methods are safe for
// concurrent use and do not block.
type Client struct {
	hub       *Hub
	id        string
	handshake Handshake
	version   version
	binaryOK  bool // the client takes binary packets as such, not as base64
	attached  attachments

	// receiving is held while Above.Receive runs. It comes before mu.
	receiving sync.Mutex

	mu   sync.Mutex
	cond sync.Cond // on mu: the client may be read from, or is closed

	above Above
	state state
	done  chan struct{} // closed with stateClosed

	opening    bool // Serve has yet to write the first packets
	ready      bool // Ready was called
	restricted bool
	trusted    bool // there was a time when the client was not restricted
	reported   bool // the observers were told which rule the client broke
	meter      meter
	cutBody    func()    // ends the POST that is being read
	cutAnswer  func()    // ends the answer to a GET that is being written
	readBy     time.Time // the client has to be heard by then
	pingBy     time.Time // a PING is due then; zero where the client sends them
	fetchBy    time.Time // polling: the outbox must be fetched by then; zero when empty
	timer      *time.Timer
	lingering  *time.Timer

	unread    int           // cost of what the layer above was given and has not consumed
	posting   chan struct{} // polling: one slot, POSTs queue
	answered  bool          // polling: the handshake GET got its answer
	polled    *poller       // the waiting GET
	paused    bool          // an upgrade is being tried
	candidate *webSocket
	ws        *webSocket // the WebSocket side, once it is the one in use

	out       []packet
	outBytes  int  // of out and of what is being written
	outLimit  int  // of outBytes, when more is sent
	writing   bool // a goroutine writes what was taken from out
	opened    bool // OPEN may go
	closeSent bool // sendClose was called
	keptBack  bool // see KeepBack
}

type state int

const (
	stateOpen    state = iota
	stateClosing       // the outbox ends with CLOSE and is being fetched
	stateClosed
)

func newClient(h *Hub, r *http.Request, v version, binaryOK bool) *Client {
	c := &Client{
		hub:       h,
		id:        newID(),
		handshake: newHandshake(r),
		version:   v,
		binaryOK:  binaryOK,
		done:      make(chan struct{}),
		outLimit:  h.limits.Outbox,
	}
	c.cond.L = &c.mu
	return c
}

// Hub returns the hub the connection belongs to.
func (c *Client) Hub() *Hub { return c.hub }

// Handshake returns the request that opened the connection. It must not be changed.
func (c *Client) Handshake() *Handshake { return &c.handshake }

// Version returns which Engine.IO the client speaks: 3 or 4.
func (c *Client) Version() int { return c.version.number() }

// ID returns the session id. Whoever knows it can take the connection over.
func (c *Client) ID() string { return c.id }

// Done is closed when the connection is.
func (c *Client) Done() <-chan struct{} { return c.done }

// Attach returns the value kept under key, made by make when there is none yet
// and make is not nil.
func (c *Client) Attach(key any, make func() any) any { return c.attached.loadOrStore(key, make) }

// Above returns the layer above, nil before there is one.
func (c *Client) Above() Above {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.above
}

// Restrict sets whether the limits for clients that are not authenticated apply. They do not apply
// to a client that was authenticated while it is sent away.
func (c *Client) Restrict(restricted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return
	}
	stalled := c.isStalled()
	c.restricted = restricted
	c.trusted = c.trusted || !restricted
	if stalled {
		c.resume()
	}
}

// Restricted reports whether the limits of Restrict apply.
func (c *Client) Restricted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restricted
}

func (c *Client) messageLimit() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.restricted {
		return c.hub.limits.RestrictedMessage
	}
	return c.hub.limits.Message
}
