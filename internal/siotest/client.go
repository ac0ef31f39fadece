package siotest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// DefaultTimeout limits every call that takes no context.
const DefaultTimeout = 10 * time.Second

// goodbyeTimeout is how long Close waits for the server to hear it.
const goodbyeTimeout = 2 * time.Second

// What CloseReason says.
const (
	ReasonClientClose    = "client close"    // Close
	ReasonClientAbort    = "client abort"    // Abort
	ReasonServerClose    = "server close"    // CLOSE packet in a poll
	ReasonTransportClose = "transport close" // the server ended the WebSocket
	ReasonPollError      = "poll error"      // a poll of the client's own loop failed
	ReasonParseError     = "parse error"     // the server sent what is no Engine.IO
)

// ErrClosed is returned when something is sent through a client that is closed.
var ErrClosed = errors.New("siotest: client is closed")

// StatusError is an HTTP answer other than 200 (or 101 for a WebSocket).
type StatusError struct {
	Op     string // handshake, poll, post or upgrade
	Status int
	Header http.Header
	Body   string // for a WebSocket the first KiB
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("siotest: %s: HTTP status %d: %.200q", e.Op, e.Status, e.Body)
}

// Options say what kind of client to be. The zero value polls.
type Options struct {
	// Version is 3 (Engine.IO 3, Socket.IO protocol 4) or 4 (Engine.IO 4, Socket.IO protocol 5).
	// In version 4 the server connects no namespace by itself: see Join and JoinWith.
	// Default: 3.
	Version int

	// Transport is "polling", "websocket", or "upgrade": polling first, then websocket.
	// Default: "polling".
	Transport string

	// Query is added to the query of every request. It overrides what the client would say
	// itself (EIO, transport, sid, j, b64, t); an empty list of values takes it away.
	Query url.Values

	// Header is sent with the handshake, and with every request of polling. The WebSocket
	// request of an upgrade carries only its Cookie and Origin, as in browsers.
	Header http.Header

	// JSONP polls by scripts and posts by forms, as callback 0. Clients of version 4 do not.
	JSONP bool

	// B64 says that the client does not take binary data: it is base64 in both directions.
	B64 bool

	// NoPing keeps the client from sending PING every pingInterval of the server. In version 4
	// clients send none anyway.
	NoPing bool

	// NoPong keeps the client from answering the server's PINGs, which come in version 4.
	NoPong bool

	// HTTP makes the requests. Default: one with connections of its own, which end with the client.
	HTTP *http.Client

	// ManualPoll leaves polling to the test, which calls Poll.
	ManualPoll bool

	// ManualRead leaves reading of the WebSocket to the test, which calls ReadFrame, or does
	// not: so a client that stalls is played.
	ManualRead bool
}

// OpenPayload is what the OPEN packet says. Times are in milliseconds.
type OpenPayload struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"`
	PingTimeout  int      `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"` // in bytes; only in version 4
}

// Client is one connection to a server. It is safe for concurrent use.
type Client struct {
	o       Options
	version version
	base    *url.URL
	http    *http.Client
	open    OpenPayload // not written after the handshake
	tick    atomic.Int64

	ctx    context.Context // ends with Close and Abort, and with it every request
	cancel context.CancelFunc
	wg     sync.WaitGroup
	polite sync.Once // says goodbye
	done   chan struct{}
	in     inbox
	slot   chan struct{} // held while something is sent, so that packets keep their order

	mu      sync.Mutex
	goodbye string // reason of the Close or Abort under way
	reason  string // not "" once closed
	err     error
	stopped bool              // no more goroutines
	conns   []*websocket.Conn // all, to be closed
	ws      *websocket.Conn   // carries the packets; nil while polling
	probed  *websocket.Conn   // answered the last probe
	polls   int               // running
	looping bool              // the polling loop runs
	paused  bool              // the polling loop is to stop
	idle    chan struct{}     // closed when polls gets to 0
	nextID  map[string]int64  // of acknowledgements, by namespace
}

// Dial connects to the server at baseURL, such as "http://127.0.0.1:8080"; its path is
// /socket.io/ unless the URL has one. It returns when the OPEN packet was read (and, with
// "upgrade", when packets go through the WebSocket); what follows OPEN waits for Next. A server
// that closes right after OPEN is no error of Dial. A *StatusError tells how the server refused.
func Dial(ctx context.Context, baseURL string, o Options) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("siotest: %w", err)
	}
	if strings.Trim(base.Path, "/") == "" {
		base.Path = "/socket.io/"
	}
	v, err := versionOf(o.Version)
	if err != nil {
		return nil, err
	}
	c := &Client{
		o:       o,
		version: v,
		base:    base,
		http:    o.HTTP,
		done:    make(chan struct{}),
		in:      inbox{asm: assembler{version: v}},
		slot:    make(chan struct{}, 1),
		nextID:  make(map[string]int64),
	}
	if c.http == nil {
		c.http = &http.Client{Transport: &http.Transport{}}
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.dial(ctx); err != nil {
		c.Abort()
		return nil, err
	}
	return c, nil
}

func (c *Client) dial(ctx context.Context) error {
	var err error
	switch c.o.Transport {
	case "", "polling", "upgrade":
		err = c.openPolling(ctx)
	case "websocket":
		err = c.openWebSocket(ctx)
	default:
		err = fmt.Errorf("siotest: no transport %q", c.o.Transport)
	}
	if err != nil {
		return err
	}
	if c.version.clientPings() && !c.o.NoPing && c.open.PingInterval > 0 {
		c.spawn(c.pingLoop)
	}
	if c.o.Transport == "upgrade" {
		if err := c.UpgradeNow(ctx); err != nil && !c.closed() {
			return err
		}
	}
	return nil
}

// SID is the session id the server gave.
func (c *Client) SID() string { return c.open.SID }

// Open is what the OPEN packet said.
func (c *Client) Open() OpenPayload { return c.open }

// URL is where the client polls and posts, for tests that make requests of their own.
func (c *Client) URL() string { return c.url("polling") }

// url is the URL of the next request of a transport.
func (c *Client) url(transport string) string {
	q := url.Values{"EIO": {c.version.eio()}, "transport": {transport}}
	q.Set("t", strconv.FormatInt(c.tick.Add(1), 36))
	if c.open.SID != "" {
		q.Set("sid", c.open.SID)
	}
	if c.o.JSONP && transport == "polling" {
		q.Set("j", "0")
	}
	if c.textOnly(transport) {
		q.Set("b64", "1")
	}
	for k, v := range c.o.Query {
		q[k] = v
	}
	u := *c.base
	u.RawQuery = q.Encode()
	return u.String()
}

// textOnly says whether binary data has to be base64 on a transport.
func (c *Client) textOnly(transport string) bool {
	return c.o.B64 || c.o.JSONP && transport == "polling"
}

// Next gives the next Socket.IO packet, io.EOF when the client is closed and all were read. What
// the server sent wrongly is an error, once; the packets after it can still be read.
func (c *Client) Next(ctx context.Context) (Packet, error) {
	for {
		r, err := c.in.pop(ctx)
		if err != nil {
			return Packet{}, err
		}
		if r.err != nil {
			return Packet{}, r.err
		}
		if r.packet != nil {
			return *r.packet, nil
		}
	}
}

// NextEngine gives the next Engine.IO packet (all but OPEN and the answers to probes), else it is
// as Next. They read the same queue: what one took the other does not see.
func (c *Client) NextEngine(ctx context.Context) (EnginePacket, error) {
	r, err := c.in.pop(ctx)
	return r.engine, err
}

// Wait gives the next packet that match accepts, and drops those before it.
func (c *Client) Wait(ctx context.Context, match func(Packet) bool) (Packet, error) {
	var dropped []string
	for {
		p, err := c.Next(ctx)
		switch {
		case err != nil && len(dropped) > 0:
			return p, fmt.Errorf("%w; dropped before: %.1000s", err, strings.Join(dropped, " "))
		case err != nil:
			return p, err
		case match(p):
			return p, nil
		}
		dropped = append(dropped, p.Raw)
	}
}

// WaitEvent gives the next event of that name, and drops the packets before it.
func (c *Client) WaitEvent(ctx context.Context, nsp, name string) (Packet, error) {
	p, err := c.Wait(ctx, func(p Packet) bool {
		got, _ := p.Event()
		return got == name && (p.Type == Event || p.Type == BinaryEvent) && p.in(nsp)
	})
	if err != nil {
		return p, fmt.Errorf("siotest: waiting for event %q in %q: %w", name, nsp, err)
	}
	return p, nil
}

// WaitAck gives the acknowledgement with that id, and drops the packets before it.
func (c *Client) WaitAck(ctx context.Context, nsp string, id int64) (Packet, error) {
	p, err := c.Wait(ctx, func(p Packet) bool {
		return p.ID == id && (p.Type == Ack || p.Type == BinaryAck) && p.in(nsp)
	})
	if err != nil {
		return p, fmt.Errorf("siotest: waiting for acknowledgement %d in %q: %w", id, nsp, err)
	}
	return p, nil
}

// WaitType gives the next packet of a type, such as Connect, Disconnect or ConnectError, and drops
// the packets before it.
func (c *Client) WaitType(ctx context.Context, nsp string, typ int) (Packet, error) {
	p, err := c.Wait(ctx, func(p Packet) bool { return p.Type == typ && p.in(nsp) })
	if err != nil {
		return p, fmt.Errorf("siotest: waiting for packet type %d in %q: %w", typ, nsp, err)
	}
	return p, nil
}

// WaitConnect gives the CONNECT of a namespace, and drops the packets before it. It fails when
// the namespace is refused, and in version 4 when the CONNECT has no sid: clients take such a
// server for one of Socket.IO 2.
func (c *Client) WaitConnect(ctx context.Context, nsp string) (Packet, error) {
	p, err := c.Wait(ctx, func(p Packet) bool {
		return (p.Type == Connect || p.Type == ConnectError) && p.in(nsp)
	})
	switch {
	case err != nil:
		err = fmt.Errorf("siotest: waiting for CONNECT in %q: %w", nsp, err)
	case p.Type == ConnectError:
		err = fmt.Errorf("siotest: CONNECT in %q is refused: %s", nsp, p.Raw)
	case c.version.connectNeedsSID() && p.SID() == "":
		err = fmt.Errorf("siotest: CONNECT in %q without sid: %s", nsp, p.Raw)
	}
	return p, err
}

// Rest reads until the client is closed, and gives all that came.
func (c *Client) Rest(ctx context.Context) ([]Packet, error) {
	var rest []Packet
	for {
		p, err := c.Next(ctx)
		if err == io.EOF {
			return rest, nil
		}
		if err != nil {
			return rest, err
		}
		rest = append(rest, p)
	}
}

// Emit sends an event. []byte arguments, also inside []any and map[string]any, go as attachments.
// As with all that sends, packets leave in the order of the calls, and when it returns the
// server has answered the POST, or the frame is written.
func (c *Client) Emit(nsp, event string, args ...any) error {
	return c.send(Event, nsp, -1, append([]any{event}, args...))
}

// EmitAck is Emit that asks for an acknowledgement; see WaitAck.
func (c *Client) EmitAck(nsp, event string, args ...any) (id int64, err error) {
	c.mu.Lock()
	id = c.nextID[nsp]
	c.nextID[nsp]++
	c.mu.Unlock()
	return id, c.send(Event, nsp, id, append([]any{event}, args...))
}

// Ack acknowledges the server's event with that id.
func (c *Client) Ack(nsp string, id int64, args ...any) error {
	if args == nil {
		args = []any{}
	}
	return c.send(Ack, nsp, id, args)
}

func (c *Client) send(typ int, nsp string, id int64, args []any) error {
	frames, err := encodePacket(typ, nsp, id, args)
	if err != nil {
		return err
	}
	return c.SendFrames(frames...)
}

// Join connects to a namespace, such as "/admin" or, in version 3, "/admin?token=x".
func (c *Client) Join(nsp string) error { return c.SendPacket("40" + namespacePrefix(nsp)) }

// JoinWith connects to a namespace with a payload, as clients of version 4 do with their `auth`.
// It takes what encodes as JSON, also what no client sends, such as an array; nil is no payload.
func (c *Client) JoinWith(nsp string, auth any) error {
	if auth == nil {
		return c.Join(nsp)
	}
	data, err := marshal(auth)
	if err != nil {
		return err
	}
	return c.SendPacket("40" + namespacePrefix(nsp) + string(data))
}

// Leave disconnects from a namespace; from the root it sends 41 and no more.
func (c *Client) Leave(nsp string) error { return c.SendPacket("41" + namespacePrefix(nsp)) }

// SendText sends a MESSAGE in wire notation, such as `42["chat","hi"]`. Anything that is not a
// MESSAGE is taken for a mistake of the test; SendPacket sends that too.
func (c *Client) SendText(raw string) error {
	if !strings.HasPrefix(raw, "4") {
		return fmt.Errorf("siotest: SendText wants a MESSAGE such as `42[\"x\"]`, not %.80q", raw)
	}
	return c.SendPacket(raw)
}

// SendPacket sends an Engine.IO packet in wire notation, unchecked.
func (c *Client) SendPacket(raw string) error { return c.SendFrames(Text(raw)) }

// SendBinary sends a binary MESSAGE, which may be an attachment or not.
func (c *Client) SendBinary(data []byte) error { return c.SendFrames(Binary(data)) }

// SendFrames sends several packets with nothing between them: in one POST, or as consecutive
// WebSocket frames. While the client upgrades it waits. A refused POST gives a *StatusError and
// does not close the client: the next poll shows what the server made of it.
func (c *Client) SendFrames(frames ...Frame) error {
	ctx, cancel := context.WithTimeout(c.ctx, DefaultTimeout)
	defer cancel()
	return c.sendFrames(ctx, frames)
}

func (c *Client) sendFrames(ctx context.Context, frames []Frame) error {
	if err := c.lockSending(ctx); err != nil {
		return err
	}
	defer c.unlockSending()
	if c.closed() {
		return ErrClosed
	}
	if ws := c.websocket(); ws != nil {
		return c.writeFrames(ctx, ws, frames)
	}
	return c.post(ctx, frames)
}

func (c *Client) lockSending(ctx context.Context) error {
	select {
	case c.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		return c.ended(ctx)
	}
}

func (c *Client) unlockSending() { <-c.slot }

// ended says why a context that was derived from the client's own is over.
func (c *Client) ended(ctx context.Context) error {
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// Close says goodbye as a browser does (CLOSE by POST, or a WebSocket close frame), and waits until
// all goroutines of the client are gone. Leave("/") before it sends what socket.io-client's
// disconnect() does.
func (c *Client) Close() {
	c.polite.Do(func() {
		c.mu.Lock()
		say := c.goodbye == "" && c.reason == ""
		if say {
			c.goodbye = ReasonClientClose
		}
		c.mu.Unlock()
		if say {
			c.sayGoodbye()
		}
	})
	c.stop(ReasonClientClose)
}

func (c *Client) sayGoodbye() {
	ctx, cancel := context.WithTimeout(c.ctx, goodbyeTimeout)
	defer cancel()
	if c.websocket() == nil {
		// After an upgrade meanwhile this is a frame, which is as good. If the server does not
		// take it there is nobody left to tell.
		_ = c.sendFrames(ctx, []Frame{Text("1")})
		return
	}
	c.closeFrame(ctx)
}

// Abort vanishes without a word: connections end, requests are broken off. It waits until
// all goroutines of the client are gone.
func (c *Client) Abort() {
	c.mu.Lock()
	if c.goodbye == "" {
		c.goodbye = ReasonClientAbort
	}
	c.mu.Unlock()
	c.stop(ReasonClientAbort)
}

func (c *Client) stop(reason string) {
	c.finish(reason, nil)
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	if c.o.HTTP == nil {
		c.http.CloseIdleConnections()
	}
}

// Done is closed when the client is closed, by whichever side.
func (c *Client) Done() <-chan struct{} { return c.done }

// CloseReason is one of the Reason constants, "" while the client is open.
func (c *Client) CloseReason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// Err is the error behind CloseReason, if there is one.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *Client) closed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// finish marks the client closed. Requests under way are left alone: the POST that made the
// server close still gets its answer.
func (c *Client) finish(reason string, err error) {
	c.mu.Lock()
	first := c.reason == ""
	if first {
		if c.goodbye != "" {
			reason, err = c.goodbye, nil
		}
		c.reason, c.err = reason, err
		close(c.done)
	}
	conns := c.conns
	c.conns = nil
	c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
	c.in.close()
}

// spawn runs f in a goroutine that Close and Abort wait for.
func (c *Client) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		f()
	}()
}

// deliver queues a packet for the test and, in version 4, answers a PING.
func (c *Client) deliver(p EnginePacket) {
	c.in.push(p)
	if p.Type == EnginePing && !c.version.clientPings() && !c.o.NoPong {
		// The answer waits while an upgrade waits for the poll that brought the PING.
		c.spawn(func() { _ = c.SendPacket("3") })
	}
}

func (c *Client) pingLoop() {
	ticker := time.NewTicker(time.Duration(c.open.PingInterval) * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if c.SendPacket("2") != nil {
				return
			}
		case <-c.done:
			return
		}
	}
}

// p.in: "" and "/" are the root.
func (p Packet) in(nsp string) bool {
	return p.Namespace == nsp || nsp == "" && p.Namespace == "/"
}

// inbox is the unbounded queue between the transports and the test.
type inbox struct {
	mu     sync.Mutex
	items  []received
	asm    assembler
	closed bool
	wake   chan struct{} // closed on the next change
}

// received is an Engine.IO packet and, where it completes one, the Socket.IO packet.
type received struct {
	engine EnginePacket
	packet *Packet
	err    error
}

func (in *inbox) push(p EnginePacket) {
	in.mu.Lock()
	defer in.mu.Unlock()
	r := received{engine: p}
	if p.Type == EngineMessage {
		r.packet, r.err = in.asm.add(p)
	}
	in.items = append(in.items, r)
	in.changed()
}

func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.changed()
}

func (in *inbox) changed() {
	if in.wake != nil {
		close(in.wake)
		in.wake = nil
	}
}

func (in *inbox) pop(ctx context.Context) (received, error) {
	for {
		in.mu.Lock()
		if len(in.items) > 0 {
			r := in.items[0]
			in.items = in.items[1:]
			in.mu.Unlock()
			return r, nil
		}
		if in.closed {
			in.mu.Unlock()
			return received{}, io.EOF
		}
		if in.wake == nil {
			in.wake = make(chan struct{})
		}
		wake := in.wake
		in.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return received{}, ctx.Err()
		}
	}
}
