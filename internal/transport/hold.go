package transport

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"
)

// holdingWriter gives a hijacked connection that holds from the start: the 101 goes out
// together with the packets that follow it.
type holdingWriter struct {
	http.ResponseWriter
	conn *heldConn
}

func (w *holdingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.conn = &heldConn{Conn: conn, holding: true}
	return w.conn, buffers, nil
}

// maxHeld is how many bytes wait for the release.
const maxHeld = 64 << 10

// heldConn makes all that is written between hold and release one write: each takes longer
// than the verification of a token.
type heldConn struct {
	net.Conn

	mu       sync.Mutex
	holding  bool
	held     []byte
	deadline time.Time // the latest that was set while holding
}

func (c *heldConn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = true
}

func (c *heldConn) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.flush()
	c.holding, c.deadline = false, time.Time{}
	return err
}

// flush is called with the mutex.
func (c *heldConn) flush() error {
	if len(c.held) == 0 {
		return nil
	}
	_ = c.Conn.SetWriteDeadline(c.deadline)
	_, err := c.Conn.Write(c.held)
	c.held = nil
	return err
}

func (c *heldConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.holding {
		return c.Conn.Write(p)
	}
	if len(c.held)+len(p) <= maxHeld {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	_ = c.Conn.SetWriteDeadline(c.deadline)
	return c.Conn.Write(p)
}

func (c *heldConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.holding {
		return c.Conn.SetWriteDeadline(t)
	}
	if t.After(c.deadline) {
		c.deadline = t
	}
	return nil
}
