package transport

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
)

// holdingWriter gives a hijacked connection that holds what is written first: the 101 of a
// WebSocket handshake goes out together with the packets that follow it.
type holdingWriter struct {
	http.ResponseWriter
	conn *heldConn
}

func (w *holdingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.conn = &heldConn{Conn: conn}
	return w.conn, buffers, nil
}

// maxHeld bounds what a client can have held that does not wait for the 101, and pings.
const maxHeld = 4 << 10

// heldConn makes what is written before the release, and the first write after it, one
// write: each takes longer than the verification of a token. Write is called by one
// goroutine at a time, as gorilla/websocket does, and with its deadlines.
type heldConn struct {
	net.Conn
	held     []byte
	released atomic.Bool
}

// release lets the next write through.
func (c *heldConn) release() { c.released.Store(true) }

func (c *heldConn) Write(p []byte) (int, error) {
	if !c.released.Load() && len(c.held)+len(p) <= maxHeld {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	if len(c.held) == 0 {
		return c.Conn.Write(p)
	}
	all := append(c.held, p...)
	c.held = nil
	if _, err := c.Conn.Write(all); err != nil {
		return 0, err
	}
	return len(p), nil
}
