package transport

import "sync/atomic"

// Load is what a Hub carries at a moment.
type Load struct {
	Clients     map[Kind]int // without kinds that no client is of
	OutboxBytes int          // how much waits for clients
}

// Kind is how a client talks: its version of Engine.IO, 3 or 4, and its transport.
type Kind struct {
	Version   int
	Transport string
}

// load counts while things change, because asking each of very many clients would hold them up.
type load struct {
	clients [2][2]atomic.Int64 // by whether it is version 4, and a WebSocket
	outbox  atomic.Int64
}

// Load returns what the hub carries now. It takes no lock.
func (h *Hub) Load() Load {
	now := Load{Clients: make(map[Kind]int), OutboxBytes: int(h.load.outbox.Load())}
	for v := range h.load.clients {
		for t := range h.load.clients[v] {
			if n := int(h.load.clients[v][t].Load()); n != 0 {
				now.Clients[Kind{3 + v, []string{Polling, WebSocket}[t]}] = n
			}
		}
	}
	return now
}

// count adds n clients of the kind of c, whose side in use is a WebSocket or not.
func (l *load) count(c *Client, webSocket bool, n int64) {
	t := 0
	if webSocket {
		t = 1
	}
	l.clients[c.version.number()-3][t].Add(n)
}

// weigh changes how much waits for the client. It is called with c.mu held.
func (c *Client) weigh(bytes int) {
	c.outBytes += bytes
	if c.state != stateClosed { // from then on nothing waits
		c.hub.load.outbox.Add(int64(bytes))
	}
}
