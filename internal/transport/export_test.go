package transport

// NewID makes a session id.
var NewID = newID

// Polled reports whether a GET waits for packets.
func (c *Client) Polled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.polled != nil
}

// Buffered is what was received and not consumed, and what the outbox counts as held.
func (c *Client) Buffered() (in, out int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unread, c.outBytes
}

// Upgraded reports whether the WebSocket is the side in use.
func (c *Client) Upgraded() bool { return c.upgraded() }
