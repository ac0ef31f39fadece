package transport

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/googollee/go-socket.io/engineio/frame"
	enginepacket "github.com/googollee/go-socket.io/engineio/packet"
)

// reader is what go-socket.io reads a packet from. It has ReadByte and UnreadByte,
// so that its decoder puts no buffer in front.
type reader struct{ bytes.Reader }

func newReader(data []byte) *reader {
	r := new(reader)
	r.Reset(data)
	return r
}

func (*reader) Close() error { return nil }

// writer collects a packet that go-socket.io writes. Close puts it into the outbox.
type writer struct {
	bytes.Buffer
	typ    byte
	binary bool
	write  func(packet) error
}

func newWriter(kind frame.Type, typ enginepacket.Type, write func(packet) error) io.WriteCloser {
	return &writer{typ: byte(typ) + '0', binary: kind == frame.Binary, write: write}
}

func (w *writer) Close() error {
	return w.write(packet{typ: w.typ, binary: w.binary, data: w.Bytes()})
}

// put takes a packet from go-socket.io. Only OPEN can fail: a session whose client
// is gone must not be registered (hazard 4). A MESSAGE that failed would make
// go-socket.io close the connection under its locks (hazard 1).
func (c *Client) put(p packet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p.typ {
	case typeOpen:
		return c.open(p)
	case typeMessage:
		c.handed()
		c.putMessage(p)
	default:
		c.append(p)
	}
	return nil
}

func (c *Client) open(p packet) error {
	id, err := openedID(p.data)
	if err != nil {
		return err
	}
	if c.state != stateOpen {
		return io.EOF
	}
	if err := c.hub.register(c, id); err != nil {
		c.finish()
		return err
	}
	c.id, c.handing = id, true
	p.data = bytes.TrimSuffix(p.data, []byte("\n"))
	c.append(p)
	return nil
}

// openedID returns the session id in OPEN, which go-socket.io writes first.
func openedID(data []byte) (string, error) {
	if rest, ok := bytes.CutPrefix(data, []byte(`{"sid":"`)); ok {
		if id, _, ok := bytes.Cut(rest, []byte(`","`)); ok && bytes.IndexByte(id, '\\') < 0 {
			return string(id), nil
		}
	}
	var opened struct{ SID string }
	err := json.Unmarshal(data, &opened)
	return opened.SID, err
}

// handed notes that go-socket.io has taken the session over, whatever became of the
// client meanwhile.
func (c *Client) handed() {
	if c.handing {
		c.handing = false
		c.hub.handed()
	}
}

// putMessage takes a Socket.IO packet. One with attachments enters the outbox as a
// whole, or Send could come between them.
func (c *Client) putMessage(p packet) {
	if p.binary {
		if c.missing == 0 {
			return // the header was dropped
		}
		c.partial = append(c.partial, p)
		if c.missing--; c.missing == 0 {
			c.append(c.partial...)
			c.partial = nil
		}
		return
	}

	if len(p.data) == 0 {
		return
	}
	switch p.data[0] {
	case Event, Ack, binaryEvent, binaryAck:
		if c.isMuted(p.data) {
			return
		}
		// json.Encoder ends what it encoded with a newline. Without one encoding
		// failed, and go-socket.io closes the writer all the same.
		data, complete := bytes.CutSuffix(p.data, []byte("\n"))
		if !complete {
			return
		}
		p.data = data
		if data[0] == binaryEvent || data[0] == binaryAck {
			n, _ := leadingNumber(data[1:], maxIDDigits)
			c.partial, c.missing = []packet{p}, int(n)
			return
		}
	case Connect:
		if c.swallowed(p.data) {
			return
		}
	}
	c.append(p)
}

// swallowed reports whether the CONNECT in data, `0/admin,[]` or `0`, is one that
// SwallowConnect waits for.
func (c *Client) swallowed(data []byte) bool {
	name := namespaceOf(data[1:])
	waiting := c.swallow[name]
	if len(waiting) == 0 {
		return false
	}
	close(waiting[0])
	if c.swallow[name] = waiting[1:]; len(waiting) == 1 {
		delete(c.swallow, name)
	}
	return true
}

func (c *Client) isMuted(data []byte) bool {
	if len(c.muted) == 0 {
		return false
	}
	rest := data[1:]
	if data[0] == binaryEvent || data[0] == binaryAck {
		_, rest, _ = bytes.Cut(rest, []byte("-"))
	}
	return c.muted[namespaceOf(rest)]
}

// namespaceOf reads the namespace from a packet that go-socket.io wrote, behind the type.
func namespaceOf(rest []byte) string {
	if len(rest) == 0 || rest[0] != '/' {
		return "/"
	}
	name, _, _ := bytes.Cut(rest, []byte(","))
	return string(name)
}
