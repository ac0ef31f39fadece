package transport

// Clients is how many connections the hub holds, and how many session ids.
func (h *Hub) Clients() (clients, ids int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients), len(h.ids)
}

// Polled reports whether a GET waits for packets.
func (c *Client) Polled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.polled != nil
}

// Reading reports whether a packet of the WebSocket is waited for.
func (c *Client) Reading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ws != nil && c.ws.reading
}

// Buffered is what the inbox and the outbox count as held.
func (c *Client) Buffered() (in, out int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inBytes, c.outBytes
}

// Upgraded reports whether the WebSocket is the side in use.
func (c *Client) Upgraded() bool { return c.upgraded() }
