package transport

import (
	"io"
	"slices"
	"time"
)

// How a connection ends: stateOpen, then stateSettling (go-socket.io's Close), stateSealed
// (CLOSE is in the outbox), stateClosed. Whoever breaks the rules, or lets a deadline pass,
// is closed at once.

// OnClose calls f in a goroutine of its own once the connection is closed, at once
// when it is.
func (c *Client) OnClose(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		go f()
		return
	}
	c.onClose = append(c.onClose, f)
}

// seal ends the outbox with CLOSE.
func (c *Client) seal() {
	if c.state >= stateSealed {
		return
	}
	if c.hasLeft() {
		c.finish()
		return
	}
	c.out = append(c.out, packet{typ: typeClose})
	c.state = stateSealed
	c.in, c.inBytes = nil, 0
	c.cond.Broadcast()
	c.linger()
	c.push()
}

// hasLeft reports whether the client's CLOSE is among what it sent: nobody will fetch
// what is left for it.
func (c *Client) hasLeft() bool {
	return slices.ContainsFunc(c.in, func(p inbound) bool { return p.isClose() })
}

func (c *Client) linger() {
	d := lingerTime
	if c.restricted {
		d = restrictedLingerTime
	}
	if c.lingering != nil {
		c.lingering.Stop()
	}
	c.lingering = time.AfterFunc(min(d, c.hub.pingTimeout), c.Abort)
}

// Abort closes the connection at once. It is called without c.mu.
func (c *Client) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish()
}

// finish closes everything at once.
func (c *Client) finish() {
	if c.state == stateClosed {
		return
	}
	c.state = stateClosed
	close(c.done)
	for _, t := range []*time.Timer{c.timer, c.lingering} {
		if t != nil {
			t.Stop()
		}
	}
	c.in, c.inBytes, c.out, c.partial = nil, 0, nil, nil
	c.cond.Broadcast()
	if c.polled != nil {
		c.polled.wake()
	}
	for _, ws := range []*webSocketConn{c.ws, c.candidate} {
		if ws != nil && ws.conn != nil { // a candidate has no conn until it is accepted
			ws.conn.Close()
		}
	}
	if c.cutBody != nil {
		c.cutBody()
	}
	c.cutSlowAnswer()
	c.hub.remove(c, c.id)
	for _, f := range c.onClose {
		go f()
	}
	c.onClose, c.inspect = nil, nil
}

func (c *Client) cutSlowAnswer() {
	if c.cutAnswer != nil && c.restricted {
		c.cutAnswer()
	}
}

// isOpen is called without c.mu.
func (c *Client) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected && c.state == stateOpen
}

// Close is what go-socket.io calls to close the connection. What was emitted
// before is sent; Close blocks until it was fetched, 5 seconds at most (less than
// one for a restricted client). It is called without c.mu.
func (c *Client) Close() error {
	c.mu.Lock()
	c.handed()
	first := c.state == stateOpen
	if first && c.hasLeft() {
		c.finish()
	} else if first {
		c.state = stateSettling
		c.in, c.inBytes = nil, 0
		c.cond.Broadcast()
	}
	c.mu.Unlock()
	if first {
		c.settle()
	}
	<-c.done
	return nil
}

// settle waits for packets that Emit handed to another goroutine, and seals the
// outbox. It waits in steps: on a busy machine that goroutine has to wait for its
// turn, and so has each step. It is called without c.mu.
func (c *Client) settle() {
	for range settleSteps {
		select {
		case <-time.After(settleTime / settleSteps):
		case <-c.done:
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seal()
}

// setDeadline takes the session's ping timeout. It is called without c.mu.
func (c *Client) setDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		return io.EOF
	}
	c.readBy = t
	c.arm()
	return nil
}

// arm makes the timer fire no later than the earliest deadline. It may fire early.
func (c *Client) arm() {
	if c.state == stateClosed {
		return
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(c.deadline()), c.expire)
	} else if !c.fetchBy.IsZero() && c.fetchBy.Before(c.readBy) {
		c.timer.Reset(time.Until(c.fetchBy))
	}
}

func (c *Client) deadline() time.Time {
	if c.fetchBy.IsZero() || c.readBy.Before(c.fetchBy) {
		return c.readBy
	}
	return c.fetchBy
}

// expire is called by the timer, without c.mu.
func (c *Client) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		return
	}
	if left := time.Until(c.deadline()); left > 0 {
		c.timer.Reset(left)
		return
	}
	c.finish()
}
