package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

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

// Serve answers one request of the client.
func (c *Client) Serve(w http.ResponseWriter, r *http.Request) {
	if QueryOf(r).Get("transport") == WebSocket {
		if QueryOf(r).Get("sid") != "" {
			c.serveUpgrade(w, r)
		} else {
			c.ws.serve()
		}
		return
	}
	c.hub.cors(w, r)
	if !validJSONP(QueryOf(r)) || c.posting == nil { // the client opened with a WebSocket
		Refuse(w, http.StatusBadRequest, 3, "Bad request")
		return
	}
	switch r.Method {
	case http.MethodOptions:
		answer(w, http.StatusOK, nil)
	case http.MethodGet:
		c.poll(w, r)
	case http.MethodPost:
		c.post(w, r)
	default:
		Refuse(w, http.StatusBadRequest, 2, "Bad handshake method")
	}
}

// cors sets the headers that go-socket.io's polling transport sets. It also lets a preflight ask
// for the Authorization header (hazard 40).
func (h *Hub) cors(w http.ResponseWriter, r *http.Request) {
	if h == nil || h.config.Polling == nil {
		return
	}
	check := h.config.Polling.CheckOrigin
	if check == nil || QueryOf(r).Has("j") || !check(r) {
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
	woken    chan struct{}
	replaced bool // a newer GET came (hazard 30)
	noop     bool // it has to return, because an upgrade is tried
}

func (p *poller) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// pauseTime is how long a GET waits for packets while an upgrade is tried.
const pauseTime = 100 * time.Millisecond

func (p *Client) poll(w http.ResponseWriter, r *http.Request) {
	// http.Server's ReadTimeout would end a long poll as if the client had left. So would its
	// WriteTimeout with HTTP/2.
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Time{})
	_ = controller.SetWriteDeadline(time.Time{})
	if err := p.spendPoll(); err != nil {
		p.violated(err)
	}
	packets, taken := p.fetch(r)
	if packets == nil {
		Refuse(w, http.StatusBadRequest, 1, "Session ID unknown")
		return
	}
	_ = controller.SetWriteDeadline(time.Now().Add(p.hub.config.PingTimeout))
	if !taken {
		_ = p.writePayload(w, r, packets)
		return
	}
	p.whileWriting(func() { _ = controller.SetWriteDeadline(time.Unix(1, 0)) })
	err := p.writePayload(w, r, packets)
	p.whileWriting(nil)
	p.wrote(packets, err)
	p.fetched()
}

// whileWriting sets what ends the answer that is being written when the connection of a restricted
// client is closed: the answer must not hold the request for as long as that of other clients may.
func (p *Client) whileWriting(cut func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAnswer = cut
	if p.state == stateClosed {
		p.cutSlowAnswer()
	}
}

// spendPoll closes a client that polls too often. It is called without p.mu.
func (p *Client) spendPoll() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == stateClosed {
		return nil
	}
	err := p.spend(1, 0)
	if err != nil {
		p.closeNow()
	}
	return err
}

var (
	justNoop  = []packet{{typ: typeNoop, data: []byte{typeNoop}}}
	justClose = []packet{{typ: typeClose, data: []byte{typeClose}}}
	justPing  = []packet{{typ: typePing, data: []byte{typePing}}}
)

// fetch waits for packets. taken says that they come from the outbox. The caller then calls fetched
// when they are written.
func (p *Client) fetch(r *http.Request) (packets []packet, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == stateClosed || p.ws != nil {
		return nil, false
	}
	me := &poller{woken: make(chan struct{}, 1)}
	if p.polled != nil {
		p.polled.replaced = true
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
		case me.replaced, p.ws != nil:
			return justNoop, false
		case len(p.out) > 0 && !p.writing && p.mayWrite():
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
				p.closeNow() // it left before it learned its session id
			}
			return nil, false
		}
	}
}

// fetched ends what fetch began.
func (p *Client) fetched() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing = false
	switch {
	case p.state == stateClosing && len(p.out) == 0 && p.closeSent:
		p.closeNow()
	case p.state == stateClosing && len(p.out) == 0:
		p.sendClose()
	case len(p.out) > 0:
		p.push()
	}
}

func (p *Client) writePayload(w http.ResponseWriter, r *http.Request, packets []packet) error {
	return writePayload(w, r, p.version, packets, p.binaryOK)
}

// writePayload answers a GET. A client that reads slowly holds nothing but this request (hazards 5
// and 6), and that until the write deadline only. Not every ResponseWriter has deadlines; those of
// net/http do.
func writePayload(w http.ResponseWriter, r *http.Request, v version, packets []packet, binaryOK bool) error {
	body, contentType := v.encode(packets, binaryOK)
	header := w.Header()
	header.Set("Content-Type", contentType)
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
func (p *Client) post(w http.ResponseWriter, r *http.Request) {
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
	// Not text/plain: some browsers would offer it as a download (engine.io).
	w.Header().Set("Content-Type", "text/html")
	answer(w, http.StatusOK, []byte("ok"))
}

func (p *Client) readBody(w http.ResponseWriter, r *http.Request) ([]packet, error) {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Now().Add(min(p.hub.limits.BodyTime, p.hub.config.PingTimeout)))
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
	return p.version.decode(body, r.Header.Get("Content-Type"), p.hub.Burst()/messageOverhead)
}

// whileReading sets what ends the body that is being read when the connection is closed. It returns
// false when the connection is closed already.
func (p *Client) whileReading(cut func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutBody = cut
	return p.state != stateClosed
}

// unescapeJSONP reads the form that a JSONP client posts. The client writes a newline as `\n`, and
// what was `\n` before as `\\n`, because forms do not keep newlines.
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
