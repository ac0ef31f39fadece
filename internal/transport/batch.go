package transport

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"
)

// batchConn makes one write of several writes of gorilla/websocket, because a system call takes
// longer than anything else that a small message costs. Between hold and release it keeps writes
// back. Only the goroutine that writes the outbox writes here, so batchConn needs no lock.
type batchConn struct {
	net.Conn
	holding  bool
	deadline time.Time // of what is held back
	buf      *[]byte   // of batches; nil when empty

	meter func(read int) error // sees how much was read
}

func (c *batchConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if meterErr := c.meter(n); meterErr != nil {
		return 0, meterErr
	}
	return n, err
}

// maxBatch is how much is written with one deadline.
const maxBatch = 64 << 10

var batches = sync.Pool{New: func() any { return new([]byte) }}

func (c *batchConn) hold() { c.holding = true }

// release writes what was held back, and lets what follows through.
func (c *batchConn) release() error {
	c.holding = false
	return c.flush()
}

func (c *batchConn) flush() error {
	if c.buf == nil {
		return nil
	}
	buf := c.buf
	c.buf = nil
	_ = c.Conn.SetWriteDeadline(c.deadline)
	_, err := c.Conn.Write(*buf)
	*buf = (*buf)[:0]
	batches.Put(buf)
	return err
}

func (c *batchConn) Write(p []byte) (int, error) {
	if !c.holding {
		return c.Conn.Write(p)
	}
	if c.buf != nil && len(*c.buf)+len(p) > maxBatch {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > maxBatch {
		_ = c.Conn.SetWriteDeadline(c.deadline)
		return c.Conn.Write(p)
	}
	if c.buf == nil {
		c.buf = batches.Get().(*[]byte)
	}
	*c.buf = append(*c.buf, p...)
	return len(p), nil
}

func (c *batchConn) SetWriteDeadline(t time.Time) error {
	if c.holding {
		c.deadline = t
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// batchingWriter hijacks a connection that keeps back what is written first: the 101 of a WebSocket
// handshake goes out together with the packets behind it.
type batchingWriter struct {
	http.ResponseWriter
	conn *batchConn
	err  error // why the connection cannot be hijacked
}

// Unwrap is for http.ResponseController.
func (w *batchingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *batchingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		w.err = err
		return nil, nil, err
	}
	w.conn = &batchConn{Conn: conn, holding: true}
	return w.conn, buffers, nil
}
