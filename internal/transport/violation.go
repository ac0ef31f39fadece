package transport

import (
	"errors"
	"net/http"

	"github.com/gorilla/websocket"
)

// Reason says which rule a client broke that is disconnected for it. It never holds data of the
// client.
type Reason string

func (r Reason) Error() string { return string(r) }

// The reasons of this layer. The layer above has more.
const (
	BadPayload    Reason = "malformed payload"
	BadUTF8       Reason = "invalid UTF-8"
	BadPacketType Reason = "packet type not allowed"
	TooLarge      Reason = "message too large"
	TooFast       Reason = "too much before authentication"
)

// Observe adds a function that is told of every client that is disconnected for breaking
// the rules. It must not block.
func (h *Hub) Observe(f func(*Client, Reason)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.observers = append(h.observers, f)
}

// ObserveHijack adds a function that is told when a WebSocket was refused, because the
// http.ResponseWriter cannot be hijacked. It must not block.
func (h *Hub) ObserveHijack(f func(error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hijackers = append(h.hijackers, f)
}

func (h *Hub) cannotHijack(err error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	hijackers := h.hijackers
	h.mu.Unlock()
	for _, f := range hijackers {
		f(err)
	}
}

// violated tells the observers why a client is about to be disconnected, if err is more than the
// end of its connection. Of requests that break rules at the same time only the first is told. It
// is called without c.mu.
func (c *Client) violated(err error) {
	if _, left := err.(*websocket.CloseError); left {
		return // as most connections end
	}
	var reason Reason
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &reason):
	case errors.As(err, &tooLarge):
		reason = TooLarge
	default:
		return
	}
	c.mu.Lock()
	known := c.reported
	c.reported = true
	c.mu.Unlock()
	if known {
		return
	}
	c.hub.mu.Lock()
	observers := c.hub.observers
	c.hub.mu.Unlock()
	for _, f := range observers {
		f(c, reason)
	}
}
