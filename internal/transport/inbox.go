package transport

import (
	"context"
	"io"
	"slices"

	"github.com/googollee/go-socket.io/engineio/frame"
	enginepacket "github.com/googollee/go-socket.io/engineio/packet"
)

// What comes from the client: checked as it arrives, inspected as go-socket.io takes it.

type inbound struct {
	packet
	header Header // of a text MESSAGE
}

// Inspect adds a function that is called with every Socket.IO packet before
// go-socket.io gets it, in the goroutine that reads the connection. It may block,
// until Done at the latest. When it returns false the packet and its attachments
// are dropped.
func (c *Client) Inspect(f func(Header) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inspect = append(c.inspect, f)
}

// LastHeader returns the header of the packet delivered last. Meant for hooks that
// go-socket.io calls while it handles that packet.
func (c *Client) LastHeader() Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// receive checks packets from the client and puts them into the inbox, all or
// none. An error means that the client broke the protocol. It is called without
// c.mu.
func (c *Client) receive(packets []packet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		if slices.ContainsFunc(packets, packet.isClose) {
			c.finish()
		}
		return nil
	}
	checked := make([]inbound, 0, len(packets))
	size := 0
	for _, p := range packets {
		var h Header
		var err error
		switch p.typ {
		case typeMessage:
			h, err = check(p, &c.pending, c.hub.limits.Attachments)
		case typePing:
			if len(p.data) > c.hub.limits.Ping {
				err = TooLarge
			}
		case typeClose:
		case typeNoop:
			continue
		default:
			err = BadPacketType
		}
		if err != nil {
			return err
		}
		size += p.size()
		checked = append(checked, inbound{p, h})
	}
	if err := c.spend(len(packets), size); err != nil {
		return err
	}
	c.in = append(c.in, checked...)
	c.inBytes += size
	c.cond.Broadcast()
	return nil
}

// next takes the next packet for go-socket.io from the inbox, passing over those
// that Inspect drops. It returns false when the inbox is empty. c.mu is released
// while a packet is inspected.
func (c *Client) next() (inbound, bool) {
	if !c.wanted {
		c.wanted = true
		c.cond.Broadcast()
	}
	for c.state == stateOpen && len(c.in) > 0 {
		p := c.in[0]
		c.in[0] = inbound{}
		c.in = c.in[1:]
		if len(c.in) == 0 {
			c.in = nil
		}
		c.inBytes -= p.size()
		c.cond.Broadcast()

		switch {
		case p.typ != typeMessage:
		case p.binary:
			if c.dropping > 0 {
				c.dropping--
				continue
			}
		default:
			if !c.passes(p.header) {
				c.dropping = p.header.Attachments
				continue
			}
			if c.state != stateOpen {
				return inbound{}, false
			}
			c.last = p.header
		}
		return p, true
	}
	return inbound{}, false
}

func (c *Client) passes(h Header) bool {
	inspect := c.inspect
	c.mu.Unlock()
	defer c.mu.Lock()
	if !c.hub.lets(c, h) {
		return false
	}
	for _, f := range inspect {
		if !f(h) {
			return false
		}
	}
	return true
}

// deliver hands a packet to go-socket.io, or ends the connection when it is CLOSE.
// It is called without c.mu.
func (c *Client) deliver(p inbound) (frame.Type, enginepacket.Type, io.ReadCloser, error) {
	if p.typ == typeClose {
		c.Abort()
		return 0, 0, nil, io.EOF
	}
	kind := frame.String
	if p.binary {
		kind = frame.Binary
	}
	return kind, enginepacket.Type(p.typ - '0'), newReader(p.data), nil
}

// waitForRoom blocks while the inbox holds more than a message may be large, so
// that POSTs cannot fill it while a handler runs, and as long as the root's hook has
// not said what the client may send. It is called without c.mu.
func (c *Client) waitForRoom(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cond.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.state == stateOpen && (!c.wanted || c.inBytes > c.hub.limits.Message) && ctx.Err() == nil {
		c.cond.Wait()
	}
}
