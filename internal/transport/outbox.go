package transport

import "time"

// What goes to the client. Both sides drain the same outbox, so the upgrade loses, doubles
// and reorders nothing. Methods in lower case are called with c.mu held unless they say
// otherwise; so it is in inbox.go and closing.go.

// SwallowConnect keeps the next CONNECT that go-socket.io writes for a namespace
// from the client; the channel is closed once it was written, and what the caller
// sends after that comes after everything that belongs before it. The CONNECT of
// the root is written before its hook runs: it was sent, and the channel is closed.
func (c *Client) SwallowConnect(namespace string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	written := make(chan struct{})
	if namespace == "/" {
		close(written)
		return written
	}
	if c.swallow == nil {
		c.swallow = make(map[string][]chan struct{})
	}
	c.swallow[namespace] = append(c.swallow[namespace], written)
	return written
}

// Mute sets whether events and acknowledgements that go-socket.io writes for a namespace are
// dropped. It is
// how broadcasts do not reach sockets that are not authenticated (hazard 13). Send is
// not concerned.
func (c *Client) Mute(namespace string, muted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !muted {
		if delete(c.muted, namespace); len(c.muted) == 0 {
			c.muted = nil
		}
		return
	}
	if c.muted == nil {
		c.muted = make(map[string]bool)
	}
	c.muted[namespace] = true
}

// Send writes Socket.IO packets, all or (when the connection is closing) none.
func (c *Client) Send(packets ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.append(messages(packets)...)
}

// SendAndClose writes Socket.IO packets and closes the connection once they and
// all that was written before were fetched. It does not block; nothing the client
// sends is delivered any more.
func (c *Client) SendAndClose(packets ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.append(messages(packets)...)
	c.seal()
}

func messages(texts []string) []packet {
	packets := make([]packet, len(texts))
	for i, text := range texts {
		packets[i] = packet{typ: typeMessage, data: []byte(text)}
	}
	return packets
}

// append puts packets into the outbox. It never blocks and never fails: a client
// that lets its outbox overflow is closed.
func (c *Client) append(packets ...packet) {
	if c.state >= stateSealed || len(packets) == 0 {
		return
	}
	if c.outBytes > c.hub.limits.Outbox {
		c.finish()
		return
	}
	for _, p := range packets {
		c.outBytes += p.size()
		if p.typ == typeMessage && !c.connected {
			c.connected = true
			if c.hub.Draining() {
				defer c.seal()
			}
		}
	}
	if len(c.out) == 0 && c.ws == nil && c.connected {
		c.fetchBy = time.Now().Add(c.hub.pingTimeout)
		c.arm()
	}
	c.out = append(c.out, packets...)
	c.push()
}

// push gets the outbox on its way. OPEN waits for the CONNECT that follows it, as with
// polling: one goroutine less for each connection.
func (c *Client) push() {
	if c.ws != nil {
		if !c.writing && len(c.out) > 0 && (c.connected || c.state != stateOpen) {
			c.writing = true
			go c.ws.flush()
		}
		return
	}
	if c.polled != nil {
		c.polled.wake()
	}
}

// take empties the outbox. The caller writes what it got and calls wrote.
func (c *Client) take() []packet {
	packets := c.out
	c.out = nil
	c.fetchBy = time.Time{}
	return packets
}

// wrote is called without c.mu, after packets from take were written or not.
func (c *Client) wrote(packets []packet, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range packets {
		c.outBytes -= p.size()
	}
	if err != nil {
		c.finish()
	}
}
