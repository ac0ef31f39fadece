package sio

import (
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// A connection of protocol 5 is in no namespace until its client asks for one. It may wait for some
// time, and is closed if none of its sockets was admitted by then.

// waiting is what a Conn keeps until a socket of it is admitted. conn.mu guards it.
type waiting struct {
	since      time.Time
	most       time.Duration
	timer      *time.Timer
	ended      bool // a socket was admitted
	onAdmitted []func()
}

// defaultWait is how long a connection may be without an admitted socket where nobody calls Wait.
// It is the connectTimeout of Node's socket.io.
const defaultWait = 45 * time.Second

// Wait lets the connection be without an admitted socket for the time d, since it was opened. The
// longest of several counts. Wait does nothing for a client that is in the root from the start.
func (c *Conn) Wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d <= c.wait.most || c.wait.ended || c.protocol.joinsRoot() {
		return
	}
	c.wait.most = d
	left := d - time.Since(c.wait.since)
	if c.wait.timer == nil {
		c.wait.timer = time.AfterFunc(left, c.timedOut)
	} else {
		c.wait.timer.Reset(left)
	}
}

// Waits reports whether no socket was admitted yet, and when the connection was opened.
func (c *Conn) Waits() (since time.Time, waits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wait.since, !c.wait.ended && !c.protocol.joinsRoot()
}

// OnAdmitted calls f when the first socket is admitted, at once when one was. f must be quick, and
// must not call the connection.
func (c *Conn) OnAdmitted(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wait.ended {
		f()
		return
	}
	c.wait.onAdmitted = append(c.wait.onAdmitted, f)
}

// socketAdmitted is called with mu when a socket is admitted.
func (c *Conn) socketAdmitted() {
	if c.wait.ended {
		return
	}
	c.stopWaiting()
	for _, f := range c.wait.onAdmitted {
		f()
	}
	c.wait.onAdmitted = nil
}

func (c *Conn) stopWaiting() {
	c.wait.ended = true
	if c.wait.timer != nil {
		c.wait.timer.Stop()
	}
}

// timedOut is called by the timer.
func (c *Conn) timedOut() {
	c.mu.Lock()
	over := c.wait.ended
	c.mu.Unlock()
	if !over {
		c.End(true)
	}
}

// The names of namespaces that do not exist are remembered up to these bounds. A client 3.x that
// asked for one has to be told when the connection ends, or it comes back for ever.
const (
	maxUnknown      = 16
	maxUnknownBytes = 256
)

func (c *Conn) noteUnknown(namespace string) {
	if len(c.unknown) < maxUnknown && len(namespace) <= maxUnknownBytes {
		c.unknown = append(c.unknown, namespace)
	}
}

// appendRefused appends DISCONNECT for the namespaces that were refused and not asked for again. It
// is called with mu, before the connection ends.
func (c *Conn) appendRefused(frames []transport.Frame) []transport.Frame {
	for _, s := range c.sockets {
		if s.ended() && s.refused {
			frames = append(frames, disconnectFrame(s.name))
		}
	}
	for _, name := range c.unknown {
		frames = append(frames, disconnectFrame(name))
	}
	return frames
}
