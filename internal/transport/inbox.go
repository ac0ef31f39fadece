package transport

import "context"

// The inbox: what comes from the client. The layer above is given it at once, and says when it has
// consumed it. While more is unconsumed than one message may be large, nothing is read, and the
// client does not count as silent.

// receive takes the packets of a frame or a request, all or none. An error means that the
// client broke the protocol. It is called without c.mu.
func (c *Client) receive(packets []packet) error {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	messages, closes, err := c.sort(packets)
	if err != nil {
		return err
	}
	if len(messages) > 0 {
		if err := c.above.Receive(messages); err != nil {
			return err
		}
	}
	if closes {
		c.Abort()
	}
	return nil
}

// sort answers the packets of the transport's own, and returns the messages before CLOSE.
func (c *Client) sort(packets []packet) (messages []Message, closes bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size, alive := 0, false
	var pongs []packet
	for _, p := range packets {
		size += p.size()
		switch {
		case closes:
		case p.typ == typeMessage:
			if messages == nil {
				messages = make([]Message, 0, len(packets))
			}
			messages = append(messages, Message{p.binary, p.payload()})
		case p.typ != c.version.heartbeat() && (p.typ == typePing || p.typ == typePong):
			return nil, false, BadPacketType
		case p.typ == typePong:
			alive = true
		case p.typ == typePing:
			alive = true
			if len(p.payload()) > c.hub.limits.Ping {
				return nil, false, TooLarge
			}
			pongs = append(pongs, packet{typ: typePong, data: append([]byte{typePong}, p.payload()...)})
		case p.typ == typeClose:
			closes = true
		case p.typ == typeNoop:
		default:
			return nil, false, BadPacketType
		}
	}
	if c.ws != nil && !c.hub.config.WebSocket.EnableCompression {
		size = 0 // metered when it was read
	}
	if err := c.spend(len(packets), size); err != nil {
		return nil, false, err
	}
	if c.state != stateOpen {
		return nil, closes, nil
	}
	if alive {
		c.extend()
		for _, pong := range pongs {
			c.answerPing(pong)
		}
	}
	cost := 0
	for _, m := range messages {
		cost += m.Cost()
	}
	if cost > c.hub.Burst() {
		return nil, false, TooLarge
	}
	c.unread += cost
	return messages, closes, nil
}

// Consumed says that the layer above is done with messages of this Cost.
func (c *Client) Consumed(cost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stalled := c.isStalled()
	c.unread -= cost
	if stalled {
		c.resume()
	}
}

// Ready says that the client may be read from.
func (c *Client) Ready() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready {
		c.ready = true
		c.resume()
	}
}

// isStalled reports whether the client is not read from.
func (c *Client) isStalled() bool {
	most := c.hub.limits.Message
	if c.restricted {
		most = c.hub.limits.RestrictedMessage
	}
	return !c.ready || c.unread > most
}

func (c *Client) resume() {
	if !c.isStalled() {
		c.extend()
		c.cond.Broadcast()
	}
}

// waitForRoom blocks until the next message may be read. It is called without c.mu.
func (c *Client) waitForRoom(ctx context.Context) {
	if c.hasRoom() {
		return
	}
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cond.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.state == stateOpen && c.isStalled() && ctx.Err() == nil {
		c.cond.Wait()
	}
}

func (c *Client) hasRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.isStalled()
}
