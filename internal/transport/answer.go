package transport

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// Refuse answers an Engine.IO request as Node's engine.io answers bad ones.
func Refuse(w http.ResponseWriter, status, code int, message string) {
	body, err := json.Marshal(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{code, message})
	if err != nil {
		panic(err) // an int and a string can always be encoded
	}
	leaveBody(w)
	w.Header().Set("Content-Type", "application/json")
	answer(w, status, body)
}

// answer writes an answer that fits into the buffers of any honest client, and does not wait for a
// client that does not read.
func answer(w http.ResponseWriter, status int, body []byte) {
	defer Within(w, 2*refuseTimeout)() // see leaveBody
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if status != http.StatusNoContent {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Within bounds how long an answer may take. The answer is written between the call of Within and
// the call of the function that it returns.
func Within(w http.ResponseWriter, most time.Duration) (written func()) {
	controller := http.NewResponseController(w)
	_ = controller.SetWriteDeadline(time.Now().Add(most))
	return func() {
		_ = controller.Flush()
		_ = controller.SetWriteDeadline(time.Time{})
	}
}

// leaveBody is called where a body is not read. net/http reads what is left of a body before it
// answers, and would wait for one that never ends. For the next request net/http sets a deadline of
// its own.
func leaveBody(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refuseTimeout))
}

// refusedID is the session id of all refused handshakes.
const refusedID = "refused"

// refusedOpen is the OPEN of refused handshakes. A client needs OPEN before it takes other packets.
const refusedOpen = `{"sid":"` + refusedID + `","upgrades":[],"pingInterval":25000,"pingTimeout":5000}`

// RefuseHandshake answers a handshake request of version 3 with a connection that opens, brings
// Socket.IO packets and closes. Nothing of it is kept. h may be nil.
func RefuseHandshake(w http.ResponseWriter, r *http.Request, h *Hub, frames ...Frame) {
	packets := []packet{{typ: typeOpen, data: append([]byte{typeOpen}, refusedOpen...)}}
	for _, f := range frames {
		packets = append(packets, f.packet)
	}
	packets = append(packets, justClose...)
	if QueryOf(r).Get("transport") == WebSocket {
		refuseWebSocket(w, r, h, packets)
		return
	}
	h.cors(w, r)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(refuseTimeout))
	_ = writePayload(w, r, version3{}, packets, false)
}

// RefuseForNow answers a handshake request with status 503. Clients of version 4 come back after
// that, and wait longer each time. body is JSON.
func RefuseForNow(w http.ResponseWriter, r *http.Request, h *Hub, body []byte) {
	leaveBody(w)
	h.cors(w, r)
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	header.Set("Retry-After", "1")
	answer(w, http.StatusServiceUnavailable, body)
}

// refuseTimeout bounds what a refused client can hold.
const refuseTimeout = time.Second

func refuseWebSocket(w http.ResponseWriter, r *http.Request, h *Hub, packets []packet) {
	upgrader := defaultUpgrader
	if h != nil {
		upgrader = h.config.WebSocket
	}
	conn, batch, err := h.upgrade(w, r, upgrader)
	if err != nil {
		return // it was answered
	}
	defer conn.Close()
	deadline := time.Now().Add(refuseTimeout)
	_ = conn.SetWriteDeadline(deadline)
	_ = conn.SetReadDeadline(deadline)
	for _, p := range packets {
		if err := conn.WriteMessage(websocket.TextMessage, p.data); err != nil {
			return
		}
	}
	if conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline) != nil ||
		batch.release() != nil {
		return
	}
	left := maxProbe
	batch.meter = func(n int) error {
		if left -= n; left < 0 {
			return TooLarge
		}
		return nil
	}
	drainWebSocket(conn)
}

var defaultUpgrader = newUpgrader(new(websocket.Upgrader))

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

// Answer answers the requests with which something is wrong, and reports whether it did: unknown
// sessions, methods, transports and protocol versions, JSONP indices that are not numbers, bodies
// where none belongs, WebSockets of foreign pages, and all handshakes while draining. With a nil
// hub it knows no sessions, and leaves their requests to the server.
func (h *Hub) Answer(w http.ResponseWriter, r *http.Request) bool {
	query := QueryOf(r)
	sid, transport := query.Get("sid"), query.Get("transport")
	switch {
	case r.Method != http.MethodPost && hasBody(w, r):
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
	case h.Has(Polling) && h != nil && r.Method == http.MethodOptions:
		h.cors(w, r)
		answer(w, http.StatusNoContent, nil)
	case !h.Has(transport):
		Refuse(w, http.StatusBadRequest, 0, "Transport unknown")
	case !validJSONP(query), query.Has("j") && VersionOf(query) == 4:
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
	case sid != "":
		return h.answerSession(w, r, sid, transport)
	case r.Method != http.MethodGet:
		Refuse(w, http.StatusBadRequest, 2, "Bad handshake method")
	case versionOf(query) == nil, h == nil && VersionOf(query) == 4: // go-socket.io does not speak that
		Refuse(w, http.StatusBadRequest, 5, "Unsupported protocol version")
	case h != nil && h.Draining():
		refuseDraining(w)
	default:
		return transport == WebSocket && h.answerWebSocket(w, r)
	}
	return true
}

// hasBody reports whether a request has a body. Its length may be unknown: proxies send requests
// chunked, and HTTP/2 may end a request apart from its headers.
func hasBody(w http.ResponseWriter, r *http.Request) bool {
	if r.ContentLength >= 0 {
		return r.ContentLength > 0
	}
	leaveBody(w)
	n, err := r.Body.Read(make([]byte, 1))
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return n > 0 || err != io.EOF
}

func refuseDraining(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	Refuse(w, http.StatusServiceUnavailable, 3, "Server is closing")
}

// answerWebSocket answers what is no upgrade, or comes from a page that CheckOrigin does not allow.
// go-socket.io would answer with 502 and the text of the error.
func (h *Hub) answerWebSocket(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case !websocket.IsWebSocketUpgrade(r):
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
	case !h.allowsOrigin(r):
		Refuse(w, http.StatusForbidden, 4, "Forbidden")
	default:
		return false
	}
	return true
}

// RefusesOrigin reports whether a request is for a WebSocket of a page that may not have one.
func (h *Hub) RefusesOrigin(r *http.Request) bool {
	return h.Has(WebSocket) && QueryOf(r).Get("transport") == WebSocket && websocket.IsWebSocketUpgrade(r) && !h.allowsOrigin(r)
}

// Knows reports whether a session id is known: also of a connection that was refused, or closed not
// long ago, because such a client may have requests on their way.
func (h *Hub) Knows(sid string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, is := h.clients[sid]
	_, was := h.past.ids[sid]
	return is || was || sid == refusedID
}

// allowsOrigin reports whether the page that a request comes from may have a WebSocket.
func (h *Hub) allowsOrigin(r *http.Request) bool {
	return h == nil || h.config.WebSocket.CheckOrigin(r)
}

// fromOwnHost is the CheckOrigin where none is set: a page of the server's own host may have a
// WebSocket, and so may a client that is no browser.
func fromOwnHost(r *http.Request) bool {
	switch values := r.Header["Origin"]; {
	case len(values) == 0, len(values) == 1 && values[0] == "":
		return true
	case len(values) > 1:
		return false
	}
	origin, ok := ParseOrigin(r.Header.Get("Origin"))
	return ok && origin.IsHost(r.Host)
}

func (h *Hub) answerSession(w http.ResponseWriter, r *http.Request, sid, transport string) bool {
	if sid == refusedID && r.Method == http.MethodPost && transport == Polling {
		// A refused client closes its side. An error would show in the browser's console.
		leaveBody(w)
		answerPost(w)
		return true
	}
	if h == nil {
		return false
	}
	c, ok := h.Lookup(sid)
	switch {
	case !ok:
		Refuse(w, http.StatusBadRequest, 1, "Session ID unknown")
	case transport == Polling && c.upgraded(), versionOf(QueryOf(r)) != c.version:
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
	case r.Method != http.MethodGet && (r.Method != http.MethodPost || transport != Polling):
		Refuse(w, http.StatusBadRequest, 2, "Bad handshake method")
	default:
		return transport == WebSocket && h.answerWebSocket(w, r)
	}
	return true
}

func (c *Client) upgraded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ws != nil
}

// Has reports whether a transport is offered.
func (h *Hub) Has(name string) bool {
	switch name {
	case Polling:
		return h == nil || h.config.Polling != nil
	case WebSocket:
		return h == nil || h.config.WebSocket != nil
	}
	return false
}
