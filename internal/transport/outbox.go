package transport

import (
	"bytes"
	"time"
)

// The outbox: what goes to the client. Both sides empty the same outbox, so the upgrade loses,
// doubles and reorders nothing. The methods in lower case are called with c.mu held unless they say
// otherwise; so it is in inbox.go.

// Frame is a message that is to be sent: text, or an attachment. It may be sent to any number of
// clients, which share its bytes.
type Frame struct {
	packet packet
}

// Text returns the frame of a text message: of the parts joined.
func Text(parts ...[]byte) Frame { return frame(typeMessage, false, parts) }

// Binary returns the frame of an attachment.
func Binary(data []byte) Frame { return frame(binaryMessage, true, [][]byte{data}) }

func frame(first byte, binary bool, parts [][]byte) Frame {
	size := 1
	for _, part := range parts {
		size += len(part)
	}
	data := append(make([]byte, 0, size), first)
	for _, part := range parts {
		data = append(data, part...)
	}
	return Frame{packet{typ: typeMessage, binary: binary, data: data}}
}

// Size is what the frame counts while it waits.
func (f Frame) Size() int { return f.packet.size() }

// String returns the text of a text frame, for tests and logs.
func (f Frame) String() string { return string(f.packet.payload()) }

// Send sends frames behind each other: all, or none when the connection is closing. It never fails:
// a client whose outbox overflows is closed.
func (c *Client) Send(frames ...Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send(frames)
}

// SendVolatile is Send for frames that may be lost: a client that cannot take them at once does not
// get them.
func (c *Client) SendVolatile(frames ...Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 && !c.writing && (c.ws != nil || c.polled != nil) {
		c.send(frames)
	}
}

// SendAndClose sends frames, and closes the connection when the client has fetched them and all
// that was sent before. The layer above gets nothing more that the client sends.
func (c *Client) SendAndClose(frames ...Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send(frames)
	c.startClosing()
}

// LimitOutbox sets how much may wait for the client when something is sent; 0 means as much as
// Limits say.
func (c *Client) LimitOutbox(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outLimit = most; most == 0 {
		c.outLimit = c.hub.limits.Outbox
	}
}

func (c *Client) send(frames []Frame) {
	if c.state >= stateClosing || len(frames) == 0 {
		return
	}
	if c.outBytes > c.outLimit {
		c.closeNow()
		return
	}
	for _, f := range frames {
		c.weigh(f.packet.size())
		c.out = append(c.out, f.packet)
	}
	first := !c.opened
	c.opened = true
	c.startFetchTime()
	c.push()
	if first && c.hub.Draining() {
		c.startClosing()
	}
}

// append puts packets of the transport's own into the outbox.
func (c *Client) append(packets ...packet) {
	if c.state >= stateClosing {
		return
	}
	for _, p := range packets {
		if c.outBytes > c.outLimit {
			c.closeNow()
			return
		}
		c.weigh(p.size())
		c.out = append(c.out, p)
	}
	c.startFetchTime()
	c.push()
}

// answerPing appends a PONG. Behind two that have not been written it takes the place of the last:
// the most recent is enough (RFC 6455 §5.5.3), and a client could make the server hold very many.
func (c *Client) answerPing(pong packet) {
	n := len(c.out)
	switch {
	case n > 0 && c.out[n-1].typ == pong.typ && bytes.Equal(c.out[n-1].data, pong.data):
	case n > 1 && c.out[n-1].typ == pong.typ && c.out[n-2].typ == pong.typ:
		c.weigh(pong.size() - c.out[n-1].size())
		c.out[n-1] = pong
	default:
		c.append(pong)
	}
}

// startFetchTime starts the time in which a polling client has to fetch what waits.
func (c *Client) startFetchTime() {
	if c.fetchBy.IsZero() && c.ws == nil && c.opened {
		c.fetchBy = time.Now().Add(c.hub.config.PingTimeout)
		c.arm()
	}
}

// push gets the outbox written, if OPEN may go.
func (c *Client) push() {
	if c.ws != nil {
		if !c.writing && !c.opening && len(c.out) > 0 && c.mayWrite() {
			c.writing = true
			go c.ws.flush()
		}
		return
	}
	if c.polled != nil {
		c.polled.wake()
	}
}

func (c *Client) mayWrite() bool { return c.opened && !c.keptBack || c.state != stateOpen }

// KeepBack keeps what is sent until Release. The client must not learn its session id while
// go-socket.io, which may be what serves its requests, does not know the id (hazard 29).
func (c *Client) KeepBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keptBack = true
}

// Release ends KeepBack.
func (c *Client) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keptBack {
		c.keptBack = false
		c.push()
	}
}

// take empties the outbox. The caller writes the packets and calls wrote.
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
		c.weigh(-p.size())
	}
	if err != nil {
		c.closeNow()
	}
}
