package siotest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// openWebSocket makes the handshake on a WebSocket and starts to read it.
func (c *Client) openWebSocket(ctx context.Context) error {
	conn, err := c.dialWebSocket(ctx, "handshake", c.o.Header)
	if err != nil {
		return err
	}
	p, err := c.readFrame(ctx, conn)
	if err != nil {
		return fmt.Errorf("siotest: handshake: %w", err)
	}
	if err := c.handshake(p); err != nil {
		return err
	}
	c.useWebSocket(conn)
	return nil
}

// dialWebSocket opens a WebSocket that ends with the client.
func (c *Client) dialWebSocket(ctx context.Context, op string, header http.Header) (*websocket.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()

	dialer := websocket.Dialer{Jar: c.http.Jar}
	dial := new(net.Dialer).DialContext
	if t, ok := c.http.Transport.(*http.Transport); ok {
		if t.TLSClientConfig != nil {
			dialer.TLSClientConfig = t.TLSClientConfig.Clone()
			dialer.TLSClientConfig.NextProtos = []string{"http/1.1"} // as browsers do where they poll over HTTP/2
		}
		if t.DialContext != nil {
			dial = t.DialContext
		}
	}
	// gorilla heeds the end of a context while it dials, and then only its deadline.
	keep := func() bool { return true }
	defer func() { keep() }()
	dialer.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			keep = context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}
	url := "ws" + strings.TrimPrefix(c.url("websocket"), "http") // https becomes wss
	conn, resp, err := dialer.DialContext(ctx, url, header)
	if err != nil {
		if resp == nil || !errors.Is(err, websocket.ErrBadHandshake) {
			return nil, fmt.Errorf("siotest: %s: %w", op, err)
		}
		body, _ := io.ReadAll(resp.Body) // gorilla gives what it read, never an error
		return nil, statusError(op, resp, string(body))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason != "" {
		conn.Close()
		return nil, ErrClosed
	}
	c.conns = append(c.conns, conn)
	return conn, nil
}

// useWebSocket makes conn carry the packets from now on.
func (c *Client) useWebSocket(conn *websocket.Conn) {
	c.mu.Lock()
	c.ws = conn
	c.mu.Unlock()
	if !c.o.ManualRead {
		c.spawn(func() { c.readLoop(conn) })
	}
}

// websocket is what carries the packets, nil while that is polling.
func (c *Client) websocket() *websocket.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ws
}

func (c *Client) readLoop(conn *websocket.Conn) {
	for {
		if _, err := c.receive(c.ctx, conn); err != nil {
			return
		}
	}
}

// ReadFrame reads the next packet of the WebSocket where Options.ManualRead is set. The packet
// waits for Next too. A context that ends takes the WebSocket with it.
func (c *Client) ReadFrame(ctx context.Context) (EnginePacket, error) {
	conn := c.websocket()
	if conn == nil || !c.o.ManualRead {
		return EnginePacket{}, errors.New("siotest: ReadFrame needs ManualRead and a WebSocket")
	}
	return c.receive(ctx, conn)
}

// receive reads one frame and queues it, or closes the client. A CLOSE packet closes nothing: on a
// WebSocket clients wait for its end.
func (c *Client) receive(ctx context.Context, conn *websocket.Conn) (EnginePacket, error) {
	p, err := c.readFrame(ctx, conn)
	switch {
	case errors.Is(err, errPayload):
		c.finish(ReasonParseError, err)
	case err != nil:
		c.finish(ReasonTransportClose, err)
	default:
		c.deliver(p)
	}
	return p, err
}

func (c *Client) readFrame(ctx context.Context, conn *websocket.Conn) (EnginePacket, error) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	kind, data, err := conn.ReadMessage()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return EnginePacket{}, err
	}
	p, err := c.version.decodeFrame(kind == websocket.BinaryMessage, data)
	if err != nil {
		err = fmt.Errorf("%w: %w", errPayload, err)
	}
	return p, err
}

// writeFrames writes packets one after another. The caller holds the slot.
func (c *Client) writeFrames(ctx context.Context, conn *websocket.Conn, frames []Frame) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(DefaultTimeout)
	}
	conn.SetWriteDeadline(deadline)
	for _, f := range frames {
		kind := websocket.TextMessage
		binary, data := c.version.encodeFrame(f, c.textOnly("websocket"))
		if binary {
			kind = websocket.BinaryMessage
		}
		if err := conn.WriteMessage(kind, data); err != nil {
			return fmt.Errorf("siotest: write: %w", err)
		}
	}
	return nil
}

// closeFrame makes the WebSocket's closing handshake.
func (c *Client) closeFrame(ctx context.Context) {
	deadline, _ := ctx.Deadline()
	noStatus := websocket.FormatCloseMessage(websocket.CloseNoStatusReceived, "")
	if c.websocket().WriteControl(websocket.CloseMessage, noStatus, deadline) != nil || c.o.ManualRead {
		return
	}
	select {
	case <-c.done: // the loop has read the answer
	case <-ctx.Done():
	}
}

// UpgradeNow moves the client from polling to a WebSocket, as engine.io-client does: no packet is
// lost or overtakes another, and what is sent meanwhile waits. If it fails the client goes on
// polling.
func (c *Client) UpgradeNow(ctx context.Context) error {
	if err := c.Probe(ctx); err != nil {
		return err
	}
	return c.finishUpgrade(ctx)
}

// Probe is the first half of UpgradeNow: it opens a WebSocket, sends 2probe there and reads 3probe.
// Packets still go by polling.
func (c *Client) Probe(ctx context.Context) error {
	if c.websocket() != nil {
		return errors.New("siotest: upgrade: already on a WebSocket")
	}
	conn, err := c.dialWebSocket(ctx, "upgrade", c.browserHeader())
	if err != nil {
		return err
	}
	if err := c.writeFrames(ctx, conn, []Frame{Text("2probe")}); err != nil {
		conn.Close()
		return err
	}
	p, err := c.readFrame(ctx, conn)
	if err == nil && p.String() != "3probe" {
		err = fmt.Errorf("answered by %.200s", p)
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("siotest: upgrade: probe: %w", err)
	}
	c.mu.Lock()
	c.probed = conn
	c.mu.Unlock()
	return nil
}

// FinishUpgrade is the second half of UpgradeNow, for the last WebSocket that Probe opened: it
// waits for the poll and the POST under way, sends 5, and goes on there.
func (c *Client) FinishUpgrade() error {
	ctx, cancel := context.WithTimeout(c.ctx, DefaultTimeout)
	defer cancel()
	return c.finishUpgrade(ctx)
}

func (c *Client) finishUpgrade(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	if err := c.lockSending(ctx); err != nil {
		return fmt.Errorf("siotest: upgrade: waiting for a POST: %w", err)
	}
	defer c.unlockSending()

	c.mu.Lock()
	conn := c.probed
	c.probed = nil
	c.mu.Unlock()
	if conn == nil {
		return errors.New("siotest: upgrade: no WebSocket was probed")
	}
	err := c.pausePolling(ctx)
	if err != nil {
		err = fmt.Errorf("siotest: upgrade: waiting for a poll: %w", err)
	} else if c.closed() {
		err = ErrClosed
	} else {
		err = c.writeFrames(ctx, conn, []Frame{Text("5")})
	}
	if err != nil {
		conn.Close()
		c.resumePolling()
		return err
	}
	c.useWebSocket(conn)
	return nil
}

// browserHeader is what browsers let through to the WebSocket request of an upgrade.
func (c *Client) browserHeader() http.Header {
	h := make(http.Header)
	for _, k := range []string{"Cookie", "Origin"} {
		if v := c.o.Header.Values(k); len(v) > 0 {
			h[k] = v
		}
	}
	return h
}
