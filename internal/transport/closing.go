package transport

import (
	"time"

	"github.com/gorilla/websocket"
)

// A connection is open, then closing (stateClosing: CLOSE is in the outbox, or about to be), then
// closed. A client that breaks the rules, or lets a deadline pass, is closed at once. The methods
// in lower case are called with c.mu held unless they say otherwise.

// sendAway closes the connection after what the layer above has yet to send. It is called without
// c.mu. Where there is no layer above yet, or OPEN was not sent, open and send start the close.
func (c *Client) sendAway() {
	if above := c.Above(); above != nil {
		above.Closing(c.startClosingOpened)
	}
}

func (c *Client) startClosingOpened() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened {
		c.startClosing()
	}
}

// startClosing ends the outbox with CLOSE.
func (c *Client) startClosing() {
	if c.state >= stateClosing {
		return
	}
	c.state = stateClosing
	if c.trusted {
		c.restricted = false // whatever the client still sends, it is told why it is sent away
	}
	c.cond.Broadcast()
	c.linger()
	switch {
	case !c.version.closesApart(), c.ws == nil && len(c.out) == 0 && !c.writing:
		c.sendClose()
	case c.ws != nil && !c.writing && !c.opening:
		c.writing = true
		go c.ws.flush() // and the close frame
	}
}

// sendClose puts the packets that say CLOSE behind those that wait.
func (c *Client) sendClose() {
	c.closeSent = true
	for _, p := range c.version.closing() {
		c.weigh(p.size())
		c.out = append(c.out, p)
	}
	c.push()
}

func (c *Client) linger() {
	d := c.hub.lingerTime()
	if c.restricted {
		d = min(d, restrictedLingerTime)
	}
	c.lingering = time.AfterFunc(d, c.Abort)
}

// Abort closes the connection at once. It is called without c.mu.
func (c *Client) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeNow()
}

// closeNow closes everything at once.
func (c *Client) closeNow() {
	if closed := c.markClosed(); closed != nil {
		go closed()
	}
}

// markClosed is closeNow for a caller that calls what it returns by itself, without locks. That
// tells the layer above, and closes the network connections, which with TLS writes and waits up to
// 5 seconds for a client that does not read.
func (c *Client) markClosed() (closed func()) {
	if c.state == stateClosed {
		return nil
	}
	c.weigh(-c.outBytes)
	c.state = stateClosed
	close(c.done)
	for _, t := range []*time.Timer{c.timer, c.lingering} {
		if t != nil {
			t.Stop()
		}
	}
	c.out = nil
	c.cond.Broadcast()
	if c.polled != nil {
		c.polled.wake()
	}
	if c.cutBody != nil {
		c.cutBody()
	}
	c.cutSlowAnswer()
	c.hub.remove(c)
	var conns [2]*websocket.Conn
	for i, ws := range []*webSocket{c.ws, c.candidate} {
		if ws != nil {
			conns[i] = ws.conn // nil for a candidate that is yet to be accepted
		}
	}
	hasAbove := c.above != nil
	return func() {
		if hasAbove { // else open tells it
			c.tellClosed()
		}
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	}
}

func (c *Client) tellClosed() {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	c.above.Closed()
}

func (c *Client) cutSlowAnswer() {
	if c.cutAnswer != nil && c.restricted {
		c.cutAnswer()
	}
}

// extend gives the client time until the server has to hear of it again.
func (c *Client) extend() {
	if c.state == stateClosed {
		return
	}
	c.readBy = time.Now().Add(c.hub.silence())
	c.arm()
}

// arm makes the timer fire no later than the earliest deadline. It may fire early.
func (c *Client) arm() {
	if c.state == stateClosed {
		return
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(c.deadline()), c.expire)
	} else if !c.fetchBy.IsZero() && c.fetchBy.Before(c.readBy) {
		c.timer.Reset(time.Until(c.deadline()))
	}
}

func (c *Client) deadline() time.Time {
	first := c.readBy
	for _, t := range []time.Time{c.fetchBy, c.pingBy} {
		if !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// expire is called by the timer, without c.mu.
func (c *Client) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		return
	}
	if c.isStalled() {
		c.readBy = time.Now().Add(c.hub.silence()) // the server does not read, so it cannot hear the client
	}
	if !c.pingBy.IsZero() && !time.Now().Before(c.pingBy) {
		c.pingBy = time.Now().Add(c.hub.config.PingInterval)
		if c.append(justPing...); c.state == stateClosed {
			return
		}
	}
	if left := time.Until(c.deadline()); left > 0 {
		c.timer.Reset(left)
		return
	}
	c.closeNow()
}
