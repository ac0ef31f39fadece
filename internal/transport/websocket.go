package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// webSocket is the WebSocket side of a connection. One goroutine reads it as long as it lasts, and
// one writes it as long as there is something to write.
type webSocket struct {
	*Client
	conn  *websocket.Conn // set before anybody else sees it
	batch *batchConn      // under conn

	// left is the client's close frame, if the goroutine that writes has yet to answer it. mu
	// guards it.
	left *websocket.CloseError
}

// readBufferSize is enough for most messages. Every connection keeps such a buffer.
const readBufferSize = 2 << 10

// newUpgrader fills in what is not configured. An idle connection keeps no write buffer.
func newUpgrader(configured *websocket.Upgrader) *websocket.Upgrader {
	if configured == nil {
		return nil
	}
	u := *configured
	if u.ReadBufferSize == 0 {
		u.ReadBufferSize = readBufferSize
	}
	if u.WriteBufferPool == nil {
		u.WriteBufferPool = new(sync.Pool)
	}
	if u.CheckOrigin == nil {
		u.CheckOrigin = fromOwnHost
	}
	u.Error = func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
		if status == http.StatusInternalServerError {
			status = http.StatusBadRequest // as clients of Node get; what is wrong is in the log
		}
		Refuse(w, status, 3, "Bad request") // its text is internal
	}
	return &u
}

// upgrade answers a WebSocket request, with the headers that were set before. The 101 is kept back
// until the first flush.
func (h *Hub) upgrade(w http.ResponseWriter, r *http.Request, u *websocket.Upgrader) (*websocket.Conn, *batchConn, error) {
	batching := &batchingWriter{ResponseWriter: w}
	conn, err := u.Upgrade(batching, r, w.Header())
	if batching.err != nil {
		h.cannotHijack(batching.err)
	}
	return conn, batching.conn, err
}

var errGone = errors.New("the server is closing, and the request is hijacked")

func (h *Hub) acceptWebSocket(w http.ResponseWriter, r *http.Request, makeAbove func(*Client) Above) (*Client, error) {
	v := versionOf(QueryOf(r))
	if v == nil {
		return nil, errNotAHandshake
	}
	c := newClient(h, r, v, !QueryOf(r).Has("b64"))
	conn, batch, err := h.upgrade(w, r, h.config.WebSocket)
	if err != nil {
		return nil, err
	}
	ws := &webSocket{Client: c, batch: batch}
	ws.use(conn)
	c.ws, c.opening = ws, true
	if err := c.open(makeAbove, false); err != nil {
		conn.Close()
		return nil, errGone // nothing can be answered any more
	}
	return c, nil
}

// serveUpgrade takes a WebSocket for a polling connection, one at a time (hazard 11).
func (c *Client) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	ws := &webSocket{Client: c}
	if !c.setCandidate(ws) {
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
		return
	}
	accepted := false
	defer func() {
		if !accepted { // also when CheckOrigin panics
			c.dropCandidate(ws)
		}
	}()
	upgrader := *c.hub.config.WebSocket
	if upgrader.HandshakeTimeout == 0 {
		upgrader.HandshakeTimeout = upgradeTimeout
	}
	conn, batch, err := c.hub.upgrade(w, r, &upgrader)
	if err != nil {
		return
	}
	c.mu.Lock()
	ws.batch = batch
	ws.use(conn)
	closed := c.state == stateClosed
	c.mu.Unlock()
	if closed {
		conn.Close()
		return
	}
	accepted = true
	go ws.tryUpgrade()
}

// serve writes the first packets of a new connection in the goroutine of its request, and starts
// another one that reads, which is smaller.
func (ws *webSocket) serve() {
	ws.mu.Lock()
	ws.opening = false
	writes := len(ws.out) > 0 && ws.mayWrite() && ws.state != stateClosed
	ws.writing = writes
	ws.mu.Unlock()
	go ws.readAll()
	if writes {
		ws.flush()
	}
}

func (c *Client) setCandidate(ws *webSocket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed || c.ws != nil || c.candidate != nil {
		return false
	}
	c.candidate = ws
	return true
}

// dropCandidate lets another WebSocket try to take over, and polling go on.
func (c *Client) dropCandidate(ws *webSocket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.candidate == ws {
		c.candidate, c.paused = nil, false
	}
}

func (ws *webSocket) use(conn *websocket.Conn) {
	ws.conn = conn
	// gorilla/websocket reads on inside of a read, also through very many frames without data.
	ws.batch.meter = func(n int) error {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		return ws.spend(0, n)
	}
	// gorilla/websocket handles control frames inside of a read, and answers them there. Here they
	// count, and the goroutine that writes answers them.
	conn.SetPingHandler(ws.pinged)
	conn.SetPongHandler(func(string) error {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		return ws.spend(1, 0)
	})
	conn.SetCloseHandler(func(int, string) error { return nil })
}

func (ws *webSocket) pinged(data string) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if err := ws.spend(1, 0); err != nil {
		return err
	}
	if ws.ws != ws {
		return nil // a candidate gets no answer before it takes over
	}
	ws.answerPing(packet{typ: controlPong, data: []byte(data)})
	return nil
}

// readAll reads until the connection ends.
func (ws *webSocket) readAll() {
	for {
		ws.waitForRoom(context.Background())
		p, err := ws.read(ws.messageLimit)
		if err == nil {
			err = ws.receive([]packet{p})
		}
		if err != nil {
			ws.violated(err)
			ws.closeAfter(err)
			return
		}
	}
}

// closeAfter closes the connection after its last frame. A close frame is answered (RFC 6455
// §5.5.1).
func (ws *webSocket) closeAfter(err error) {
	var left *websocket.CloseError
	ws.mu.Lock()
	if errors.As(err, &left) && ws.state != stateClosed {
		ws.out = nil // nobody will read it
		if ws.writing {
			ws.left = left
			if ws.lingering == nil {
				ws.linger()
			}
			ws.mu.Unlock()
			return
		}
		ws.writing = true
		ws.mu.Unlock()
		ws.answerClose(left)
		ws.mu.Lock()
	}
	closed := ws.markClosed()
	ws.mu.Unlock()
	if closed != nil {
		closed() // in this goroutine, which reads no more
	}
}

func (ws *webSocket) answerClose(left *websocket.CloseError) {
	_ = ws.batch.release()
	_ = ws.conn.WriteControl(websocket.CloseMessage,
		websocket.FormatCloseMessage(left.Code, ""), time.Now().Add(time.Second))
}

// read reads one packet. It calls limit when a packet has begun to arrive, because the client may
// have been authenticated while read waited.
func (ws *webSocket) read(limit func() int) (packet, error) {
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
		return ws.version.parseBinary(data)
	}
	if !utf8.Valid(data) {
		return packet{}, BadUTF8
	}
	return ws.version.parseText(data)
}

// tryUpgrade reads what a candidate has to send before it takes over: `2probe`, then `5`.
func (ws *webSocket) tryUpgrade() {
	if !ws.probe() || !ws.takeOver() {
		ws.dropCandidate(ws)
		ws.conn.Close()
		return
	}
	ws.readAll()
}

func (ws *webSocket) probe() bool {
	_ = ws.batch.SetReadDeadline(time.Now().Add(upgradeTimeout))
	deadline := time.Now().Add(upgradeTimeout)
	_ = ws.conn.SetWriteDeadline(deadline)
	_ = ws.batch.SetWriteDeadline(deadline)
	if ws.batch.release() != nil { // the 101
		return false
	}
	most := func() int { return maxProbe }
	p, err := ws.read(most)
	if err != nil || p.typ != typePing {
		return false
	}
	if ws.conn.WriteMessage(websocket.TextMessage, append([]byte{typePong}, p.payload()...)) != nil {
		return false
	}
	ws.pause()
	p, err = ws.read(most)
	return err == nil && p.typ == typeUpgrade
}

// pause makes the waiting poll return: the client sends `5` when it has.
func (ws *webSocket) pause() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.paused = true
	if ws.polled != nil {
		ws.polled.noop = true
		ws.polled.wake()
	}
}

// takeOver makes the WebSocket the side in use. What is in the outbox from now on goes there: the
// client stopped polling before it sent `5`.
func (ws *webSocket) takeOver() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.state == stateClosed || ws.candidate != ws {
		return false
	}
	_ = ws.batch.SetReadDeadline(time.Time{})
	ws.candidate, ws.ws = nil, ws
	ws.hub.load.count(ws.Client, false, -1)
	ws.hub.load.count(ws.Client, true, 1)
	ws.fetchBy = time.Time{}
	ws.extend()
	if ws.state == stateClosing && len(ws.out) == 0 && !ws.writing {
		ws.sendClose() // else the close frame would not be written
	}
	if ws.polled != nil {
		ws.polled.wake()
	}
	ws.push()
	return true
}

// flush writes the outbox until it is empty. It runs in a goroutine of its own
// that lives only while there is something to write.
func (ws *webSocket) flush() {
	ws.mu.Lock()
	for ws.state != stateClosed && len(ws.out) > 0 {
		packets := ws.take()
		ws.mu.Unlock()
		ws.wrote(packets, ws.writeAll(packets))
		ws.mu.Lock()
	}
	if ws.state == stateClosing && ws.left == nil {
		ws.mu.Unlock()
		// The client answers, and readAll ends with the answer. To close a TCP connection with
		// unread input resets it, and the client would lose what was just sent. The linger timer
		// bounds the wait.
		_ = ws.conn.WriteControl(websocket.CloseMessage,
			websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
		ws.mu.Lock()
	}
	left := ws.left
	ws.writing = left != nil
	ws.mu.Unlock()
	if left != nil {
		ws.answerClose(left)
		ws.Abort()
	}
}

func (ws *webSocket) writeAll(packets []packet) error {
	ws.batch.hold()
	for _, p := range packets {
		if err := ws.write(p); err != nil {
			return err
		}
	}
	return ws.batch.release()
}

func (ws *webSocket) write(p packet) error {
	deadline := time.Now().Add(ws.hub.config.PingTimeout)
	if p.typ == controlPong {
		return ws.conn.WriteControl(websocket.PongMessage, p.data, deadline)
	}
	_ = ws.conn.SetWriteDeadline(deadline)
	return ws.conn.WriteMessage(ws.version.frame(p, ws.binaryOK))
}
