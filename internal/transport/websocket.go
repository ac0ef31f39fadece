package transport

import (
	"errors"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/googollee/go-socket.io/engineio/frame"
	enginepacket "github.com/googollee/go-socket.io/engineio/packet"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
	eiowebsocket "github.com/googollee/go-socket.io/engineio/transport/websocket"
	"github.com/gorilla/websocket"
)

// webSocketTransport takes the place of a websocket.Transport and keeps its
// settings. Dial stays go-socket.io's.
type webSocketTransport struct {
	*eiowebsocket.Transport
	hub      *Hub
	upgrader websocket.Upgrader
}

func newWebSocket(h *Hub, t *eiowebsocket.Transport) *webSocketTransport {
	return &webSocketTransport{t, h, websocket.Upgrader{
		HandshakeTimeout: t.HandshakeTimeout,
		ReadBufferSize:   t.ReadBufferSize,
		WriteBufferSize:  t.WriteBufferSize,
		Subprotocols:     t.Subprotocols,
		CheckOrigin:      t.CheckOrigin,
	}}
}

// Accept makes the WebSocket side of a connection: of a new one, or of the one
// whose session id the request names.
func (t *webSocketTransport) Accept(w http.ResponseWriter, r *http.Request) (eiotransport.Conn, error) {
	if t.hub.answerProbe(r) {
		return nil, errProbe
	}
	query := QueryOf(r)
	if sid := query.Get("sid"); sid != "" {
		return t.acceptUpgrade(w, r, sid)
	}
	c, err := newClient(t.hub, newHandshake(r), !query.Has("b64"))
	if err != nil {
		return nil, err
	}
	upgrader := t.upgrader
	// go-socket.io writes the error of a new connection itself.
	upgrader.Error = func(http.ResponseWriter, *http.Request, int, error) {}
	accepted := false
	defer func() {
		if !accepted { // also when CheckOrigin panics
			c.Abort()
		}
	}()
	holding := &holdingWriter{ResponseWriter: w}
	conn, err := upgrader.Upgrade(holding, r, nil)
	if err != nil {
		return nil, err
	}
	ws := &webSocketConn{side: side{c}, held: holding.conn}
	ws.use(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		conn.Close()
		return nil, errDraining
	}
	c.ws, accepted = ws, true
	return ws, nil
}

// acceptUpgrade takes a WebSocket for a polling connection, one at a time (hazard
// 11). An error is answered here: go-socket.io writes none that is a HandshakeError.
func (t *webSocketTransport) acceptUpgrade(w http.ResponseWriter, r *http.Request, sid string) (eiotransport.Conn, error) {
	c, ok := t.hub.Lookup(sid)
	if !ok {
		Refuse(w, http.StatusBadRequest, 1, "Session ID unknown")
		return nil, websocket.HandshakeError{}
	}
	ws := &webSocketConn{side: side{c}}
	if !c.setCandidate(ws) {
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
		return nil, websocket.HandshakeError{}
	}
	accepted := false
	defer func() {
		if !accepted { // also when CheckOrigin panics
			c.dropCandidate(ws)
		}
	}()
	upgrader := t.upgrader
	if upgrader.HandshakeTimeout == 0 {
		upgrader.HandshakeTimeout = upgradeTimeout
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil, websocket.HandshakeError{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ws.use(conn)
	if c.state == stateClosed {
		conn.Close()
		return nil, websocket.HandshakeError{}
	}
	_ = conn.SetReadDeadline(time.Now().Add(upgradeTimeout))
	accepted = true
	return ws, nil
}

func (c *Client) setCandidate(ws *webSocketConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed || c.ws != nil || c.candidate != nil {
		return false
	}
	c.candidate = ws
	return true
}

// dropCandidate lets another WebSocket try.
func (c *Client) dropCandidate(ws *webSocketConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.candidate == ws {
		c.candidate = nil
	}
}

// webSocketConn is the WebSocket side of a connection.
type webSocketConn struct {
	side
	conn *websocket.Conn // set before anybody else sees it
	held *heldConn       // under conn; nil after an upgrade

	probed   bool // candidate: the client's PING was read
	reading  bool // NextReader reads conn; guarded by mu
	draining bool // shutdown reads conn; guarded by mu
}

func (ws *webSocketConn) use(conn *websocket.Conn) {
	ws.conn = conn
	// gorilla/websocket handles control frames inside of a read. They count, too.
	pong := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		if err := ws.spendControl(data); err != nil {
			return err
		}
		return pong(data)
	})
	conn.SetPongHandler(ws.spendControl)
}

func (ws *webSocketConn) spendControl(data string) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.spend(1, len(data))
}

// NextReader returns what was posted before an upgrade, then what the WebSocket
// brings.
func (ws *webSocketConn) NextReader() (frame.Type, enginepacket.Type, io.ReadCloser, error) {
	ws.mu.Lock()
	if ws.candidate == ws {
		ws.mu.Unlock()
		return ws.tryUpgrade()
	}
	for {
		if p, ok := ws.next(); ok {
			ws.mu.Unlock()
			return ws.deliver(p)
		}
		if ws.state == stateClosed {
			ws.mu.Unlock()
			return 0, 0, nil, io.EOF
		}
		if ws.draining {
			ws.cond.Wait()
			continue
		}
		ws.reading = true
		ws.mu.Unlock()

		p, err := ws.read(ws.messageLimit)
		if err == nil {
			err = ws.receive([]packet{p})
		}

		if err != nil {
			ws.violated(err)
		}
		ws.mu.Lock()
		ws.reading = false
		if err != nil {
			ws.finish()
		}
	}
}

// read reads one packet. It asks for the limit when one has begun to arrive: the client may
// have been authenticated since this waits for it.
func (ws *webSocketConn) read(limit func() int) (packet, error) {
	kind, r, err := ws.conn.NextReader()
	if err != nil {
		return packet{}, err
	}
	most := limit()
	data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return packet{}, err
	}
	if len(data) > most {
		return packet{}, TooLarge
	}
	if kind == websocket.BinaryMessage {
		return parseBinary(data)
	}
	if !utf8.Valid(data) {
		return packet{}, BadUTF8
	}
	return parseText(data)
}

var errUpgrade = errors.New("not an upgrade")

// tryUpgrade reads what a WebSocket must bring before it takes over: `2probe`,
// then `5`.
func (ws *webSocketConn) tryUpgrade() (frame.Type, enginepacket.Type, io.ReadCloser, error) {
	p, err := ws.read(func() int { return maxProbe })
	if err != nil {
		return 0, 0, nil, err
	}
	switch {
	case p.typ == typePing && !ws.probed:
		ws.probed = true
	case p.typ == typeUpgrade && ws.probed:
		if !ws.takeOver() {
			return 0, 0, nil, io.EOF
		}
	default:
		return 0, 0, nil, errUpgrade
	}
	return frame.String, enginepacket.Type(p.typ - '0'), newReader(p.data), nil
}

// takeOver makes the WebSocket the side in use. What the outbox holds from now on
// goes there: the client stopped polling before it sent `5`.
func (ws *webSocketConn) takeOver() bool {
	ws.mu.Lock()
	if ws.state == stateClosed || ws.candidate != ws {
		ws.mu.Unlock()
		return false
	}
	_ = ws.conn.SetReadDeadline(time.Time{})
	ws.candidate, ws.ws = nil, ws
	ws.fetchBy = time.Time{}
	if ws.polled != nil {
		ws.polled.wake()
	}
	ws.push()
	closing := ws.state != stateOpen
	ws.mu.Unlock()
	if closing {
		// The session's Close holds its lock for reading until all is sent. If the
		// session wanted it for the upgrade now, those who still write would have to
		// wait behind it, and what they write would be lost.
		<-ws.done
	}
	return !closing
}

// NextWriter writes the answer to the probe straight to the WebSocket, and
// everything else to the outbox.
func (ws *webSocketConn) NextWriter(kind frame.Type, typ enginepacket.Type) (io.WriteCloser, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.candidate == ws {
		return newWriter(kind, typ, ws.write), nil
	}
	return ws.side.NextWriter(kind, typ)
}

func (ws *webSocketConn) SetReadDeadline(t time.Time) error {
	if ws.isCandidate() {
		return nil // upgradeTimeout holds
	}
	return ws.setDeadline(t)
}

func (ws *webSocketConn) SetWriteDeadline(t time.Time) error { return ws.SetReadDeadline(t) }

func (ws *webSocketConn) isCandidate() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.candidate == ws
}

// Close closes the connection, or only the WebSocket when it did not take over.
func (ws *webSocketConn) Close() error {
	ws.mu.Lock()
	inUse := ws.ws == ws
	ws.mu.Unlock()
	if inUse {
		return ws.side.Close()
	}
	ws.dropCandidate(ws)
	return ws.conn.Close()
}

// flush writes the outbox until it is empty. It runs in a goroutine of its own
// that lives only while there is something to write.
func (ws *webSocketConn) flush() {
	ws.mu.Lock()
	for ws.state != stateClosed && len(ws.out) > 0 {
		packets := ws.take()
		ws.mu.Unlock()
		ws.wrote(packets, ws.writeAll(packets))
		ws.mu.Lock()
	}
	ws.writing = false
	sealed := ws.state == stateSealed
	ws.mu.Unlock()
	if sealed {
		ws.shutdown()
	}
}

func (ws *webSocketConn) writeAll(packets []packet) error {
	for i, p := range packets {
		if ws.held != nil && i == len(packets)-1 {
			ws.held.release()
		}
		if err := ws.write(p); err != nil {
			return err
		}
	}
	return nil
}

func (ws *webSocketConn) write(p packet) error {
	kind, data := websocket.TextMessage, []byte(nil)
	switch {
	case !p.binary:
		data = append(append(make([]byte, 0, len(p.data)+1), p.typ), p.data...)
	case ws.binaryOK:
		kind = websocket.BinaryMessage
		data = append(append(make([]byte, 0, len(p.data)+1), p.typ-'0'), p.data...)
	default:
		data = appendBase64(nil, p)
	}
	_ = ws.conn.SetWriteDeadline(time.Now().Add(ws.hub.pingTimeout))
	return ws.conn.WriteMessage(kind, data)
}

// shutdown sends a close frame and reads until the client answers it: closing a
// TCP connection with unread input resets it, and the client would lose what was
// just sent. The linger timer bounds it.
func (ws *webSocketConn) shutdown() {
	_ = ws.conn.WriteControl(websocket.CloseMessage,
		websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	ws.mu.Lock()
	ws.draining = !ws.reading
	ws.mu.Unlock()
	if !ws.draining {
		return // NextReader reads on, and finishes
	}
	drainWebSocket(ws.conn)
	ws.Abort()
}

// drainWebSocket reads until the connection ends.
func drainWebSocket(conn *websocket.Conn) {
	for {
		if _, r, err := conn.NextReader(); err != nil {
			return
		} else if _, err := io.Copy(io.Discard, r); err != nil {
			return
		}
	}
}
