package upstream

import (
	"bytes"
	"crypto/rand"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio/frame"
	enginepacket "github.com/googollee/go-socket.io/engineio/packet"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// bridge is one connection inside go-socket.io. For go-socket.io it is a transport, for
// internal/sio the Bridge. The transport of this module handles heartbeats, upgrades and the end of
// the connection: go-socket.io sees the packets of its own namespaces only.
type bridge struct {
	u      *Server
	conn   *sio.Conn
	client *transport.Client

	mu          sync.Mutex
	cond        sync.Cond // on mu: the queue grew, or the connection is closed
	queue       []delivery
	rest        [][]byte               // attachments of the last packet that go-socket.io read
	serving     map[string]*sio.Socket // the last socket of each namespace that go-socket.io connected, but for its first root
	joining     []*sio.Socket          // sockets whose CONNECT go-socket.io has read and not answered, in order
	accepted    bool                   // go-socket.io makes its session, see Server.enter
	handed      bool                   // go-socket.io has taken the session over
	read        bool                   // go-socket.io has begun to read: the root's hook has run
	closed      bool
	closeCalled bool // go-socket.io has called Close
	leaving     func()
	uncounted   bool // uncount was called
	barriers    map[string]func()

	// What is being written. Only one goroutine of go-socket.io writes at a time.
	partial []transport.Frame
	missing int
	to      *sio.Socket
}

type delivery struct {
	socket *sio.Socket
	packet *sio.Packet
}

var (
	_ eiotransport.Conn = (*bridge)(nil)
	_ http.Handler      = (*bridge)(nil)
	_ sio.Bridge        = (*bridge)(nil)
)

func newBridge(u *Server, c *sio.Conn) *bridge {
	b := &bridge{u: u, conn: c, client: c.Client()}
	b.cond.L = &b.mu
	return b
}

func (b *bridge) rootIsOurs() bool {
	root := b.conn.Socket(sio.Root)
	return root != nil && !root.IsForeign()
}

// Enter brings the connection to go-socket.io.
func (b *bridge) Enter() { b.u.enter(b) }

// Deliver queues a packet for go-socket.io's reader.
func (b *bridge) Deliver(s *sio.Socket, p *sio.Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, delivery{s, p})
	b.cond.Signal()
}

// Closed ends go-socket.io's reader, after what the client sent before.
func (b *bridge) Closed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.cond.Broadcast()
}

// NextReader blocks until there is a packet. io.EOF is the end: go-socket.io then takes the
// connection out of all rooms. That takes as long as there are rooms, under a lock that everybody
// needs (hazard 41), so one connection ends at a time.
func (b *bridge) NextReader() (frame.Type, enginepacket.Type, io.ReadCloser, error) {
	b.begin()
	for {
		if data, ok := b.attachment(); ok {
			return frame.Binary, enginepacket.MESSAGE, newReader(data), nil
		}
		d, ok := b.next()
		if !ok {
			b.waitToLeave()
			return 0, 0, nil, io.EOF
		}
		passes := d.socket.Await(d.packet)
		b.client.Consumed(d.packet.Cost())
		if passes {
			b.mu.Lock()
			b.rest = d.packet.Attachments
			if d.packet.Type == sio.Connect {
				b.serve(d.socket)
				b.joining = append(b.joining, d.socket)
			}
			b.mu.Unlock()
			return frame.String, enginepacket.MESSAGE, newReader(d.packet.Text), nil
		}
	}
}

// Serving returns the socket that go-socket.io means by a namespace.
func (b *bridge) Serving(namespace string) *sio.Socket {
	b.mu.Lock()
	s := b.serving[namespace]
	b.mu.Unlock()
	if s == nil && namespace == sio.Root {
		s = b.conn.Socket(namespace)
	}
	return s
}

// JoinRoot answers a client that asks for the root, when the root's hook has run.
func (b *bridge) JoinRoot(s *sio.Socket) {
	b.mu.Lock()
	b.serve(s)
	read := b.read
	b.mu.Unlock()
	if read { // else begin does
		s.Connected()
	}
}

// serve notes the socket that go-socket.io serves in a namespace. It is called with the mutex.
func (b *bridge) serve(s *sio.Socket) {
	if b.serving == nil {
		b.serving = make(map[string]*sio.Socket)
	}
	b.serving[s.Namespace()] = s
}

// begin is called when go-socket.io begins to read: the root's hook has returned.
func (b *bridge) begin() {
	b.mu.Lock()
	first := !b.read
	b.read = true
	b.mu.Unlock()
	if !first {
		return
	}
	// The client may have left the root and asked for it again, which go-socket.io has yet to read.
	if root := b.Serving(sio.Root); root != nil && root.IsForeign() {
		root.Connected()
	}
	b.client.Ready()
}

func (b *bridge) attachment() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.rest) == 0 {
		return nil, false
	}
	data := b.rest[0]
	b.rest = b.rest[1:]
	return data, true
}

func (b *bridge) next() (delivery, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) == 0 && !b.closed {
		b.cond.Wait()
	}
	if len(b.queue) == 0 {
		return delivery{}, false
	}
	d := b.queue[0]
	b.queue[0] = delivery{}
	b.queue = b.queue[1:]
	return d, true
}

// maxLeaving bounds how long an application's OnDisconnect holds up the end of other connections.
const maxLeaving = time.Second

func (b *bridge) waitToLeave() {
	b.mu.Lock()
	closed := b.closeCalled
	b.mu.Unlock()
	if closed {
		return // go-socket.io is leaving the rooms already
	}
	b.u.leaving <- struct{}{}
	b.mu.Lock()
	closed = b.closeCalled
	b.mu.Unlock()
	if closed { // meanwhile
		<-b.u.leaving
		return
	}
	var once sync.Once
	release := func() { once.Do(func() { <-b.u.leaving }) }
	timer := time.AfterFunc(maxLeaving, release)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaving = func() {
		timer.Stop()
		release()
	}
}

// When a socket or the connection ends, what was emitted may still be with another goroutine of
// go-socket.io's (hazards 27 and 45).
const (
	emitTime   = 2 * time.Second        // the most that may take: a busy machine, a slow MarshalJSON
	settleTime = 200 * time.Millisecond // how long is waited where nothing tells
)

// Close is what go-socket.io calls to close the connection. It waits for what was emitted before,
// and blocks until the client has it: after Close go-socket.io forgets the session id, and without
// a gate would answer the client's polls.
func (b *bridge) Close() error {
	b.hand()
	b.mu.Lock()
	first, gone := !b.closeCalled, b.closed
	through := !first || !gone || !b.read // the first Close behind io.EOF comes before the rooms are left
	leaving := b.leaving
	b.closeCalled = true
	b.mu.Unlock()
	if through {
		if leaving != nil {
			leaving()
		}
		b.uncount()
	}
	if first && !gone {
		settled := make(chan struct{})
		b.AfterEmits(b.anyHooked(), func() { close(settled) })
		select {
		case <-settled:
		case <-b.client.Done():
		}
		b.client.SendAndClose()
		<-b.client.Done()
	}
	return nil
}

// anyHooked returns a socket that a hook has taken, nil if there is none.
func (b *bridge) anyHooked() *sio.Socket {
	b.mu.Lock()
	sockets := slices.Collect(maps.Values(b.serving))
	b.mu.Unlock()
	if root := b.conn.Socket(sio.Root); root != nil && root.IsForeign() {
		sockets = append(sockets, root)
	}
	i := slices.IndexFunc(sockets, func(s *sio.Socket) bool { return s.User() != nil })
	if i < 0 {
		return nil
	}
	return sockets[i]
}

// uncount says that go-socket.io is done with the connection: OnDisconnect has run.
func (b *bridge) uncount() {
	b.mu.Lock()
	first := !b.uncounted
	b.uncounted = true
	b.mu.Unlock()
	if first {
		b.u.countOut()
	}
}

func (b *bridge) accept() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepted = true
}

func (b *bridge) isAccepted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted
}

// hand notes that go-socket.io has taken the session over, whatever became of it.
func (b *bridge) hand() {
	b.mu.Lock()
	first := !b.handed
	b.handed = true
	b.mu.Unlock()
	if first {
		b.client.Release()
	}
}

// ServeHTTP serves the requests that reach go-socket.io, because there is no gate in front.
func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if entering(r) == nil {
		b.client.Serve(w, r)
	}
}

func (b *bridge) URL() url.URL              { return *b.client.Handshake().URL }
func (b *bridge) RemoteHeader() http.Header { return b.client.Handshake().Header }
func (b *bridge) RemoteAddr() net.Addr      { return sio.AddrOf(b.conn) }

func (b *bridge) LocalAddr() net.Addr {
	if addr := b.client.Handshake().LocalAddr; addr != nil {
		return addr
	}
	return polling.Addr{Host: b.client.Handshake().Host}
}

// The transport of this module has the deadlines.
func (b *bridge) SetReadDeadline(time.Time) error  { return nil }
func (b *bridge) SetWriteDeadline(time.Time) error { return nil }

// NextWriter returns a writer that takes a packet when it is closed.
func (b *bridge) NextWriter(kind frame.Type, typ enginepacket.Type) (io.WriteCloser, error) {
	return &writer{b: b, typ: typ, binary: kind == frame.Binary}, nil
}

// put takes a packet from go-socket.io. Only OPEN can fail: a session whose client is gone must not
// be registered (hazard 4). An error for a MESSAGE would make go-socket.io close the connection
// under its locks (hazard 1).
func (b *bridge) put(typ enginepacket.Type, binary bool, data []byte) error {
	switch typ {
	case enginepacket.OPEN: // ours was sent
		select {
		case <-b.client.Done():
			return io.EOF
		default:
		}
	case enginepacket.MESSAGE:
		b.hand()
		if binary {
			b.putAttachment(data)
		} else if len(data) > 0 {
			b.putText(data)
		}
	}
	return nil
}

func (b *bridge) putAttachment(data []byte) {
	if b.missing == 0 {
		return // its packet was dropped
	}
	b.partial = append(b.partial, transport.Binary(data))
	if b.missing--; b.missing == 0 {
		b.to.Forward(b.partial...)
		b.partial = nil
	}
}

func (b *bridge) putText(data []byte) {
	rest, missing := data[1:], 0
	if data[0] == '5' || data[0] == '6' { // with attachments
		count, after, _ := bytes.Cut(rest, []byte("-"))
		missing, _ = strconv.Atoi(string(count))
		rest = after
	}
	if data[0] == sio.Connect {
		b.putConnect(data)
		return
	}
	s := b.Serving(namespaceOf(rest))
	if s == nil || !s.IsForeign() {
		return
	}
	// json.Encoder ends what it encoded with a newline. Without a newline encoding failed, and
	// go-socket.io closes the writer all the same.
	text, complete := bytes.CutSuffix(data, []byte("\n"))
	if !complete && bytes.ContainsRune([]byte("2356"), rune(data[0])) || b.isBarrier(text) {
		return
	}
	frame := transport.Text(text)
	if missing > 0 {
		b.partial, b.missing, b.to = []transport.Frame{frame}, missing, s
		return
	}
	s.Forward(frame)
}

// putConnect takes CONNECT, which go-socket.io writes once for each CONNECT that it reads. By then
// the client may have joined the namespace again: that socket is not answered yet.
func (b *bridge) putConnect(data []byte) {
	b.mu.Lock()
	var s *sio.Socket
	if len(b.joining) > 0 {
		s = b.joining[0]
		b.joining = b.joining[1:]
	}
	b.mu.Unlock()
	if s != nil {
		s.Connected()
	} else if root := b.conn.Socket(sio.Root); root != nil && root.IsForeign() && !b.conn.IsProtocol5() {
		b.client.Send(transport.Text(data)) // the root's, before its hook runs
	}
}

// namespaceOf reads the namespace of a packet that go-socket.io wrote. rest is the packet behind
// its type.
func namespaceOf(rest []byte) string {
	if len(rest) == 0 || rest[0] != '/' {
		return sio.Root
	}
	name, _, _ := bytes.Cut(rest, []byte(","))
	return string(name)
}

// AfterEmits calls f when go-socket.io has written what handlers have emitted so far. It emits an
// event of its own, a barrier, which comes behind. Where it cannot, because s is nil or no hook has
// taken s, f is called after a moment.
func (b *bridge) AfterEmits(s *sio.Socket, f func()) {
	var once sync.Once
	name := "barrier:" + rand.Text()
	var timer *time.Timer
	passed := func() {
		once.Do(func() {
			b.mu.Lock()
			delete(b.barriers, name)
			timer.Stop()
			b.mu.Unlock()
			f()
		})
	}
	var user socketio.Conn
	most := settleTime
	if s != nil {
		user = s.User()
	}
	if user != nil {
		most = emitTime
	}
	b.mu.Lock()
	if b.barriers == nil {
		b.barriers = make(map[string]func())
	}
	b.barriers[name] = passed
	timer = time.AfterFunc(most, passed)
	b.mu.Unlock()
	if user != nil {
		go user.Emit(name)
	}
}

func (b *bridge) isBarrier(text []byte) bool {
	b.mu.Lock()
	var passed func()
	if len(b.barriers) > 0 {
		if _, name, ok := bytes.Cut(text, []byte(`["`)); ok {
			passed = b.barriers[string(bytes.TrimSuffix(name, []byte(`"]`)))]
		}
	}
	b.mu.Unlock()
	if passed == nil {
		return false
	}
	passed()
	return true
}

// reader is what go-socket.io reads a packet from. It has ReadByte and UnreadByte, so that
// go-socket.io's decoder puts no buffer in front.
type reader struct{ bytes.Reader }

func newReader(data []byte) *reader {
	r := new(reader)
	r.Reset(data)
	return r
}

func (*reader) Close() error { return nil }

// writer collects a packet that go-socket.io writes.
type writer struct {
	bytes.Buffer
	b      *bridge
	typ    enginepacket.Type
	binary bool
}

func (w *writer) Close() error { return w.b.put(w.typ, w.binary, w.Bytes()) }
