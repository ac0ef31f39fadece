package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/googollee/go-socket.io/engineio/frame"
	enginepacket "github.com/googollee/go-socket.io/engineio/packet"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
)

// pollingTransport takes the place of a polling.Transport. CheckOrigin keeps its
// meaning: it decides on CORS headers. Dial stays go-socket.io's.
type pollingTransport struct {
	*polling.Transport
	hub *Hub
}

func newPolling(h *Hub, t *polling.Transport) *pollingTransport {
	return &pollingTransport{Transport: t, hub: h}
}

var errNotAHandshake = errors.New("not a handshake request")

// Accept makes the polling side of a new connection. go-socket.io calls it for any
// method (hazard 18), and for polling requests on a WebSocket connection.
func (t *pollingTransport) Accept(w http.ResponseWriter, r *http.Request) (eiotransport.Conn, error) {
	query := QueryOf(r)
	if r.Method != http.MethodGet || query.Get("sid") != "" || !validJSONP(query) {
		return nil, errNotAHandshake
	}
	c, err := newClient(t.hub, newHandshake(r), !query.Has("b64") && !query.Has("j"))
	if err != nil {
		return nil, err
	}
	return &pollingConn{side: side{c}, transport: t}, nil
}

// validJSONP reports whether the parameter j, which is reflected into a script, is
// absent or a number (hazard 31).
func validJSONP(query Query) bool {
	j, n := query.Lookup("j")
	if n == 0 {
		return true
	}
	_, err := strconv.ParseUint(j, 10, 32)
	return n == 1 && err == nil
}

// side is what the polling and the WebSocket side of a connection answer alike.
type side struct{ *Client }

func (s side) URL() url.URL              { return *s.handshake.URL }
func (s side) RemoteHeader() http.Header { return s.handshake.Header }
func (s side) RemoteAddr() net.Addr      { return Addr{s.Client} }

func (s side) LocalAddr() net.Addr {
	if s.handshake.LocalAddr == nil {
		return polling.Addr{Host: s.handshake.Host}
	}
	return s.handshake.LocalAddr
}

func (s side) SetReadDeadline(t time.Time) error  { return s.setDeadline(t) }
func (s side) SetWriteDeadline(t time.Time) error { return s.setDeadline(t) }

func (s side) NextWriter(kind frame.Type, typ enginepacket.Type) (io.WriteCloser, error) {
	return newWriter(kind, typ, s.put), nil
}

// pollingConn is the polling side of a connection.
type pollingConn struct {
	side
	transport *pollingTransport
	retired   bool // an upgrade took over; guarded by mu
}

// switched makes the session look again which side it uses.
type switched struct{}

func (switched) Error() string   { return "connection was upgraded" }
func (switched) Temporary() bool { return true }

// NextReader blocks until a packet was posted, also while an upgrade is tried.
func (p *pollingConn) NextReader() (frame.Type, enginepacket.Type, io.ReadCloser, error) {
	p.mu.Lock()
	for {
		if p.state == stateClosed {
			p.mu.Unlock()
			return 0, 0, nil, io.EOF
		}
		if p.retired {
			p.mu.Unlock()
			return 0, 0, nil, switched{}
		}
		if packet, ok := p.next(); ok {
			p.mu.Unlock()
			return p.deliver(packet)
		}
		if p.state != stateClosed && !p.retired && (p.state != stateOpen || len(p.in) == 0) {
			p.cond.Wait()
		}
	}
}

// Close retires the polling side after an upgrade, which go-socket.io does once,
// and closes the connection otherwise.
func (p *pollingConn) Close() error {
	p.mu.Lock()
	if p.ws != nil && !p.retired {
		p.retired = true
		p.cond.Broadcast()
		p.mu.Unlock()
		return nil
	}
	p.mu.Unlock()
	return p.side.Close()
}

// Pause is called before an upgrade: the waiting poll must return.
func (p *pollingConn) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
	if p.polled != nil {
		p.polled.noop = true
		p.polled.wake()
	}
}

// Resume is called when an upgrade failed.
func (p *pollingConn) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
}

// ServeHTTP answers one request of the client.
func (p *pollingConn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.transport.cors(w, r)
	if !validJSONP(QueryOf(r)) {
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
		return
	}
	switch r.Method {
	case http.MethodGet:
		p.poll(w, r)
	case http.MethodPost:
		p.post(w, r)
	case http.MethodOptions:
		w.WriteHeader(http.StatusOK)
	default:
		Refuse(w, http.StatusBadRequest, 2, "Bad handshake method")
	}
}

// cors sets the headers that go-socket.io's polling transport sets, and lets a
// preflight ask for the Authorization header too (hazard 40).
func (t *pollingTransport) cors(w http.ResponseWriter, r *http.Request) {
	if t.CheckOrigin == nil || QueryOf(r).Has("j") || !t.CheckOrigin(r) {
		return
	}
	header := w.Header()
	if origin := r.Header.Get("Origin"); origin != "" {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
		header.Add("Vary", "Origin")
	} else {
		header.Set("Access-Control-Allow-Origin", "*")
	}
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
	}
}

// poller is a waiting GET.
type poller struct {
	woken      chan struct{}
	superseded bool // a newer GET came (hazard 30)
	noop       bool // an upgrade wants it to return
}

func (p *poller) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// pauseTime is how long a GET waits for packets while an upgrade is tried.
const pauseTime = 100 * time.Millisecond

func (p *pollingConn) poll(w http.ResponseWriter, r *http.Request) {
	// http.Server's ReadTimeout would end a long poll as if the client had left.
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Time{})
	if err := p.spendPoll(); err != nil {
		p.violated(err)
	}
	packets, taken := p.fetch(r)
	if packets == nil {
		Refuse(w, http.StatusBadRequest, 1, "Session ID unknown")
		return
	}
	_ = controller.SetWriteDeadline(time.Now().Add(p.hub.pingTimeout))
	if !taken {
		_ = writePayload(w, r, packets, p.binaryOK)
		return
	}
	p.whileWriting(func() { _ = controller.SetWriteDeadline(time.Unix(1, 0)) })
	err := writePayload(w, r, packets, p.binaryOK)
	p.whileWriting(nil)
	p.wrote(packets, err)
	p.fetched()
}

// whileWriting sets what ends the answer that is being written when the connection of a
// restricted client is closed: it must not keep the request for as long as others may.
func (p *pollingConn) whileWriting(cut func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAnswer = cut
	if p.state == stateClosed {
		p.cutSlowAnswer()
	}
}

// spendPoll closes a client that polls too often. It is called without p.mu.
func (p *pollingConn) spendPoll() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == stateClosed {
		return nil
	}
	err := p.spend(1, 0)
	if err != nil {
		p.finish()
	}
	return err
}

var (
	justNoop  = []packet{{typ: typeNoop}}
	justClose = []packet{{typ: typeClose}}
)

// fetch waits for packets. taken says that they come from the outbox, and that fetched
// must be called when they are written.
func (p *pollingConn) fetch(r *http.Request) (packets []packet, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == stateClosed || p.ws != nil {
		return nil, false
	}
	me := &poller{woken: make(chan struct{}, 1)}
	if p.polled != nil {
		p.polled.superseded = true
		p.polled.wake()
	}
	p.polled = me
	defer func() {
		if p.polled == me {
			p.polled = nil
		}
	}()
	var pause <-chan time.Time
	if p.paused {
		timer := time.NewTimer(pauseTime)
		defer timer.Stop()
		pause = timer.C
	}
	for {
		switch {
		case p.state == stateClosed:
			return justClose, false
		case me.superseded, p.ws != nil:
			return justNoop, false
		case len(p.out) > 0 && !p.writing && (p.connected || p.state != stateOpen):
			p.writing, p.answered = true, true
			return p.take(), true
		case me.noop:
			return justNoop, false
		}
		p.mu.Unlock()
		var gone bool
		select {
		case <-me.woken:
		case <-pause:
			me.noop = true
		case <-r.Context().Done():
			gone = true
		}
		p.mu.Lock()
		if gone {
			if !p.answered {
				p.finish() // it left before it learned its session id
			}
			return nil, false
		}
	}
}

// fetched ends what fetch began.
func (p *pollingConn) fetched() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing = false
	switch {
	case p.state == stateSealed && len(p.out) == 0:
		p.finish()
	case len(p.out) > 0:
		p.push()
	}
}

// writePayload answers a GET. A client that reads slowly holds nothing but this
// request (hazards 5 and 6), and that only until the write deadline. Not every
// ResponseWriter has deadlines; those of net/http do.
func writePayload(w http.ResponseWriter, r *http.Request, packets []packet, binaryOK bool) error {
	body, binary := encodePayload(packets, binaryOK)
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=UTF-8")
	if binary {
		header.Set("Content-Type", "application/octet-stream")
	}
	if j := QueryOf(r).Get("j"); j != "" {
		quoted, err := json.Marshal(string(body))
		if err != nil {
			return err
		}
		header.Set("Content-Type", "text/javascript; charset=UTF-8")
		body = append(append([]byte("___eio["+j+"]("), quoted...), ");"...)
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")

	controller := http.NewResponseController(w)
	_, err := w.Write(body)
	if err == nil {
		if flushErr := controller.Flush(); !errors.Is(flushErr, http.ErrNotSupported) {
			err = flushErr
		}
	}
	_ = controller.SetWriteDeadline(time.Time{})
	return err
}

// post takes the packets of one request, all or none (hazards 15 and 17).
func (p *pollingConn) post(w http.ResponseWriter, r *http.Request) {
	select {
	case p.posting <- struct{}{}:
		defer func() { <-p.posting }()
	case <-r.Context().Done():
		return
	case <-p.done:
		Refuse(w, http.StatusBadRequest, 1, "Session ID unknown")
		return
	}
	if p.upgraded() {
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
		return
	}
	p.waitForRoom(r.Context())

	packets, err := p.readBody(w, r)
	if err == nil {
		err = p.receive(packets)
	}
	if err != nil {
		p.violated(err)
		p.Abort()
		w.Header().Set("Connection", "close") // the rest of the body is not worth reading
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
		return
	}
	answerPost(w)
}

func answerPost(w http.ResponseWriter) {
	header := w.Header()
	// Not text/plain: some browsers would offer it as a download (engine.io).
	header.Set("Content-Type", "text/html")
	header.Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, "ok")
}

func (p *pollingConn) readBody(w http.ResponseWriter, r *http.Request) ([]packet, error) {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Now().Add(min(p.hub.limits.BodyTime, p.hub.pingTimeout)))
	if !p.whileReading(func() { _ = controller.SetReadDeadline(time.Unix(1, 0)) }) {
		return nil, io.EOF
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(p.messageLimit())))
	if !p.whileReading(nil) && err == nil {
		err = io.EOF
	}
	if err != nil {
		return nil, err
	}
	_ = controller.SetReadDeadline(time.Time{})
	if QueryOf(r).Has("j") {
		if body, err = unescapeJSONP(body); err != nil {
			return nil, err
		}
	}
	return decodePayload(body, r.Header.Get("Content-Type") == "application/octet-stream")
}

// whileReading sets what ends the body that is being read when the connection is closed.
// It returns false when it is closed already.
func (p *pollingConn) whileReading(cut func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutBody = cut
	return p.state != stateClosed
}

// unescapeJSONP reads the form a JSONP client posts. It writes a newline as `\n`
// and what was `\n` before as `\\n`, as forms do not keep newlines.
func unescapeJSONP(body []byte) ([]byte, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errPayload // theirs quotes the client
	}
	data := []byte(form.Get("d"))
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		switch {
		case bytes.HasPrefix(data, []byte(`\\n`)):
			out, data = append(out, `\n`...), data[3:]
		case bytes.HasPrefix(data, []byte(`\n`)):
			out, data = append(out, '\n'), data[2:]
		default:
			out, data = append(out, data[0]), data[1:]
		}
	}
	return out, nil
}
