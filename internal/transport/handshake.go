package transport

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Handshake is the request that opened a connection, as it was. An upgrade to WebSocket does not
// change it (hazard 25).
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
		Header:     r.Header, // net/http makes one for each request
		Host:       r.Host,
		RemoteAddr: r.RemoteAddr,
		LocalAddr:  local,
		Context:    context.WithoutCancel(r.Context()),
	}
}

// Open makes a connection of a handshake request that Answer let through, and serves the request.
// makeAbove gives the connection its layer above, before the client hears anything; it may send and
// set limits. The client is read from when Ready was called.
func (h *Hub) Open(w http.ResponseWriter, r *http.Request, makeAbove func(*Client) Above) {
	c, err := h.Accept(w, r, makeAbove)
	switch {
	case err == nil:
		c.Serve(w, r)
	case err == ErrDraining:
		refuseDraining(w)
	}
}

var errNotAHandshake = errors.New("not a handshake request")

// Accept is Open that leaves the request of a polling client to Client.Serve. It returns
// ErrDraining without having answered the request.
func (h *Hub) Accept(w http.ResponseWriter, r *http.Request, makeAbove func(*Client) Above) (*Client, error) {
	query := QueryOf(r)
	if query.Get("transport") == WebSocket {
		return h.acceptWebSocket(w, r, makeAbove)
	}
	v := versionOf(query)
	if v == nil || !validJSONP(query) {
		return nil, errNotAHandshake
	}
	c := newClient(h, r, v, !query.Has("b64") && !query.Has("j"))
	c.posting = make(chan struct{}, 1)
	if err := c.open(makeAbove, h.upgrades()); err != nil {
		return nil, err
	}
	return c, nil
}

func (h *Hub) upgrades() bool { return h.config.Upgrade && h.config.WebSocket != nil }

// open registers the client and makes OPEN the first packet in its outbox.
func (c *Client) open(makeAbove func(*Client) Above, upgrades bool) error {
	if err := c.hub.add(c); err != nil {
		return err
	}
	opened := false
	defer func() {
		if !opened { // makeAbove, which runs code of the application, panicked
			c.Abort()
		}
	}()
	c.mu.Lock()
	c.opened = c.version.opensAtOnce()
	c.append(packet{typ: typeOpen, data: c.version.open(c.hub, c.id, upgrades)})
	if c.version.heartbeat() == typePong {
		c.pingBy = time.Now().Add(c.hub.config.PingInterval)
	}
	c.extend()
	c.mu.Unlock()

	above := makeAbove(c)

	c.mu.Lock()
	c.above = above
	if c.opened && c.hub.Draining() {
		c.startClosing()
	}
	closed := c.state == stateClosed
	c.mu.Unlock()
	if closed {
		go c.tellClosed() // closeNow found no layer above
	}
	opened = true
	return nil
}

// silence is how long a client may say nothing: a PING is due every interval, and may take the
// timeout (hazard 44).
func (h *Hub) silence() time.Duration { return h.config.PingInterval + h.config.PingTimeout }
