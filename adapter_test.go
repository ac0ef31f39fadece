package socketiojwt_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"
)

// What a Server does with an Adapter. That of redisadapter has tests of its own.

// bus connects nodes of one process.
type bus struct {
	mu    sync.Mutex
	lines []*line
	err   error // of every question
}

// line is a node's Adapter.
type line struct {
	*bus
	node       *socketiojwt.Node
	namespaces []string
	sent       []socketiojwt.Target
	closed     int
}

func (b *bus) add() *line {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &line{bus: b}
	b.lines = append(b.lines, l)
	return l
}

func (l *line) others(f func(*socketiojwt.Node)) error {
	l.mu.Lock()
	lines, err := slices.Clone(l.lines), l.err
	l.mu.Unlock()
	for _, other := range lines {
		if other != l {
			f(other.node)
		}
	}
	return err
}

func (l *line) Attach(node *socketiojwt.Node) { l.node = node }

func (l *line) AddNamespace(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.namespaces = append(l.namespaces, name)
}

func (l *line) Broadcast(t socketiojwt.Target, event []byte, attachments [][]byte) {
	l.mu.Lock()
	l.sent = append(l.sent, t)
	l.mu.Unlock()
	_ = l.others(func(n *socketiojwt.Node) {
		if err := n.Broadcast(t, event, attachments); err != nil {
			panic(err)
		}
	})
}

func (l *line) SocketsJoin(_ context.Context, t socketiojwt.Target, rooms []string) error {
	return l.others(func(n *socketiojwt.Node) { n.SocketsJoin(t, rooms) })
}

func (l *line) SocketsLeave(_ context.Context, t socketiojwt.Target, rooms []string) error {
	return l.others(func(n *socketiojwt.Node) { n.SocketsLeave(t, rooms) })
}

func (l *line) DisconnectSockets(_ context.Context, t socketiojwt.Target, closes bool) error {
	return l.others(func(n *socketiojwt.Node) { n.DisconnectSockets(t, closes) })
}

func (l *line) CountSockets(_ context.Context, t socketiojwt.Target) (count int, err error) {
	err = l.others(func(n *socketiojwt.Node) { count += len(n.SocketIDs(t)) })
	return count, err
}

func (l *line) FetchSockets(_ context.Context, t socketiojwt.Target) (fetched []socketiojwt.RemoteSocket, err error) {
	err = l.others(func(n *socketiojwt.Node) { fetched = append(fetched, n.FetchSockets(t)...) })
	return fetched, err
}

func (l *line) AllRooms(_ context.Context, namespace string) (rooms []string, err error) {
	err = l.others(func(n *socketiojwt.Node) { rooms = append(rooms, n.Rooms(namespace)...) })
	return rooms, err
}

func (l *line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed++
	return nil
}

// nodes is two servers on one bus.
type nodes struct {
	t    *testing.T
	bus  *bus
	a, b *clusterNode
}

type clusterNode struct {
	*harness.App
	line    *line
	sockets sync.Map // by name
}

func startNodes(t *testing.T) *nodes {
	n := &nodes{t: t, bus: new(bus)}
	n.a, n.b = n.start(), n.start()
	return n
}

func (n *nodes) start() *clusterNode {
	node := &clusterNode{line: n.bus.add()}
	opts := harness.HandshakeMode
	opts.Optional = true
	opts.UserRoom = func(s *socketiojwt.Session) string { return "user:" + s.Subject() }
	node.App = harness.Start(n.t, opts, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error {
			url := c.URL()
			node.sockets.Store(url.Query().Get("name"), c)
			return nil
		})
		s.OnEvent("/", "mark", func(socketio.Conn) {})
		s.SetAdapter(node.line)
	})
	return node
}

func (c *clusterNode) enter(t *testing.T, version int, name string) (siotest.Must, socketio.Conn) {
	t.Helper()
	o := siotest.Options{Version: version, Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, name))}
	if strings.HasPrefix(name, "guest") {
		o.Query.Del("token")
	}
	o.Query.Set("name", name)
	_, must := c.Dial(t, o)
	if version == 4 {
		must.Join("/")
	}
	must.Call("/", "mark") // behind OnConnect
	conn, _ := c.sockets.Load(name)
	return must, conn.(socketio.Conn)
}

// eventsOf returns the events that came until now.
func eventsOf(t *testing.T, must siotest.Must) (events []string) {
	t.Helper()
	must.Emit("/", "never")
	must.Send(`4277["mark"]`)
	for p := must.Next(); p.Raw != "4377[]"; p = must.Next() {
		events = append(events, p.Raw)
	}
	return events
}

func wantHeard(t *testing.T, what string, must siotest.Must, want ...string) {
	t.Helper()
	if got := eventsOf(t, must); !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestAdapterBroadcasts(t *testing.T) {
	t.Parallel()
	n := startNodes(t)
	near, nearConn := n.a.enter(t, 3, "near")
	far, farConn := n.b.enter(t, 4, "far")
	guest, guestConn := n.b.enter(t, 4, "guest")
	farConn.Join("room")
	guestConn.Join("room")

	n.a.BroadcastToNamespace("/", "members", 1)
	wantHeard(t, "members", near, `42["members",1]`)
	wantHeard(t, "members", far, `42["members",1]`)
	wantHeard(t, "members", guest)

	n.a.BroadcastToRoom("/", "room", "room", map[string]any{"data": parser.Buffer{Data: []byte("x")}})
	wantHeard(t, "room", near)
	for _, must := range []siotest.Must{far, guest} {
		must.Send(`4278["mark"]`)
		if p := must.Next(); len(p.Attachments) != 1 || string(p.Attachments[0]) != "x" {
			t.Errorf("room: got %v with %q", p, p.Attachments)
		}
		must.Ack("/", 78)
	}

	n.a.In("/").Emit("all")
	wantHeard(t, "all", guest, `42["all"]`)
	n.a.In("/").Local().Emit("local")
	n.a.In("/", farConn.ID(), "user:guest").Emit("by ID")
	n.a.In("/").Except("user:far", guestConn.ID()).Emit("except")
	wantHeard(t, "the rest", near, `42["all"]`, `42["local"]`, `42["except"]`)
	wantHeard(t, "the rest", far, `42["all"]`, `42["by ID"]`)
	wantHeard(t, "the rest", guest)

	// The ID of a client 1.x or 2.x is a credential, and does not leave the node.
	n.a.In("/", nearConn.ID()).Except(nearConn.ID()).Emit("nobody")
	last := n.a.line.sent[len(n.a.line.sent)-1]
	if last.Rooms[0] == nearConn.ID() || last.Except[0] == nearConn.ID() {
		t.Error("a credential left the node: ", last)
	}
	if last.Rooms[0] != last.Except[0] {
		t.Error("one ID has two aliases: ", last)
	}
	n.b.In("/", last.Rooms[0]).Emit("by alias")
	wantHeard(t, "alias", near, `42["by alias"]`)
	n.b.In("/").Except(last.Rooms[0]).Emit("except alias")
	wantHeard(t, "except alias", near)
	wantHeard(t, "except alias", far, `42["except alias"]`)

	// Nobody has to be here to be heard elsewhere, and what cannot be encoded goes nowhere.
	sent := len(n.a.line.sent)
	n.a.In("/", "nobody here").Emit("bad", func() {})
	if len(n.a.line.sent) != sent {
		t.Error("what cannot be encoded was sent")
	}
	n.a.In("/", "user:far").Emit("only there")
	wantHeard(t, "only there", far, `42["only there"]`)
}

func TestAdapterQuestions(t *testing.T) {
	t.Parallel()
	n := startNodes(t)
	ctx := t.Context()
	near, nearConn := n.a.enter(t, 3, "bob")
	far, farConn := n.b.enter(t, 4, "bob")
	_, _ = n.b.enter(t, 4, "guest")
	bob, everybody := n.a.In("/", "user:bob"), n.a.In("/")

	count := func(what string, audience socketiojwt.Audience, want int) {
		t.Helper()
		if got, err := audience.CountAll(ctx); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", what, got, err, want)
		}
	}
	count("bob", bob, 2)
	count("bob here", bob.Local(), 1)
	count("everybody", everybody, 3)
	count("all but bob", everybody.Except("user:bob"), 1)

	fetched, err := n.b.In("/", "user:bob").FetchSockets(ctx)
	if err != nil || len(fetched) != 2 {
		t.Fatal(fetched, err)
	}
	for _, s := range fetched {
		if s.Identity != "bob" || !slices.Equal(s.Rooms, []string{s.ID, "user:bob"}) || s.ID == nearConn.ID() {
			t.Errorf("got %+v", s)
		}
		n.b.In("/", s.ID).Emit("you")
	}
	wantHeard(t, "you", near, `42["you"]`)
	wantHeard(t, "you", far, `42["you"]`)
	if guests, err := n.a.In("/", "nobody").Except("x").FetchSockets(ctx); err != nil || len(guests) != 0 {
		t.Error(guests, err)
	}

	if err := bob.SocketsJoin(ctx, "x", "y"); err != nil {
		t.Error(err)
	}
	count("x", n.b.In("/", "x"), 2)
	if rooms, err := n.b.AllRooms(ctx, "/"); err != nil || harness.Sorted(rooms) != "user:bob x y" {
		t.Error(rooms, err)
	}
	if err := n.b.In("/", "x").SocketsLeave(ctx, "x"); err != nil {
		t.Error(err)
	}
	count("x", n.a.In("/", "x"), 0)
	count("y", n.a.In("/", "y"), 2)

	if err := n.a.In("/", farConn.ID()).DisconnectSockets(ctx, false); err != nil {
		t.Error(err)
	}
	harness.Expect(t, far.Rest(), "41")
	count("bob", bob, 1)
	if err := n.b.In("/", "user:bob").DisconnectSockets(ctx, true); err != nil {
		t.Error(err)
	}
	harness.Expect(t, near.Rest(), "41")

	// What is known comes beside an error.
	missing := &socketiojwt.MissingNodesError{Nodes: 2, Missing: 1, Err: context.DeadlineExceeded}
	n.bus.mu.Lock()
	n.bus.err = missing
	n.bus.mu.Unlock()
	got, err := everybody.CountAll(ctx)
	if found := new(socketiojwt.MissingNodesError); got != 1 || !errors.As(err, &found) || found.Missing != 1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(got, err)
	}
	if want := "socketiojwt: CountAll: 1 of 2 other nodes did not answer: context deadline exceeded"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestAdapterOfOneNode(t *testing.T) {
	t.Parallel()
	h := openHall(t, harness.HandshakeMode)
	h.enter("bob")
	ctx := t.Context()
	if n, err := h.In("/").CountAll(ctx); n != 1 || err != nil {
		t.Error(n, err)
	}
	if err := h.In("/").SocketsJoin(ctx, "x"); err != nil {
		t.Error(err)
	}
	if rooms, err := h.AllRooms(ctx, "/"); err != nil || harness.Sorted(rooms) != "x" {
		t.Error(rooms, err)
	}
	if fetched, err := h.In("/", "x").FetchSockets(ctx); err != nil || len(fetched) != 1 || fetched[0].Identity != "bob" {
		t.Error(fetched, err)
	}
	if err := h.In("/").DisconnectSockets(ctx, false); err != nil {
		t.Error(err)
	}
	harness.Expect(t, h.members["bob"].must.Rest(), "41")
}

// A volatile event reaches who takes it at once: not who is between two polls.
func TestVolatile(t *testing.T) {
	t.Parallel()
	n := startNodes(t)
	fast, _ := n.b.enter(t, 4, "fast")
	client, slow := n.b.Dial(t, siotest.Options{ManualPoll: true, Query: harness.WithToken(harness.TokenOf(t, "slow"))})
	harness.Eventually(t, "both are in", func() bool { return n.b.In("/").Count() == 2 })
	all := n.a.In("/")
	harness.Eventually(t, "a volatile event is heard", func() bool {
		all.Volatile().Emit("volatile")
		return len(eventsOf(t, fast)) > 0 // else its last acknowledgement was on its way
	})
	all.Emit("kept")
	if _, _, err := client.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := []string{slow.Next().Raw, slow.Next().Raw}
	if !slices.Equal(got, []string{"40", `42["kept"]`}) {
		t.Errorf("got %q", got)
	}
}

// An event of another node is checked, and reaches nobody where there is no such namespace.
func TestAdapterNode(t *testing.T) {
	t.Parallel()
	n := startNodes(t)
	must, conn := n.a.enter(t, 4, "bob")
	node := n.a.line.node
	all := socketiojwt.Target{Namespace: "/"}
	for _, bad := range []string{``, ` `, `{}`, `"x"`, `[]`, `[1]`, `["x"`, `["x"]]`, `["x",]`, strings.Repeat("[", 20000)} {
		if err := node.Broadcast(all, []byte(bad), nil); err == nil {
			t.Errorf("%.20s was taken", bad)
		}
	}
	nowhere := socketiojwt.Target{Namespace: "/nowhere"}
	if err := node.Broadcast(nowhere, []byte(`["x"]`), nil); err != nil {
		t.Error(err)
	}
	node.SocketsJoin(nowhere, []string{"x"})
	node.DisconnectSockets(nowhere, true)
	if ids, fetched, rooms := node.SocketIDs(nowhere), node.FetchSockets(nowhere), node.Rooms("/nowhere"); len(ids)+len(fetched)+len(rooms) != 0 {
		t.Error(ids, fetched, rooms)
	}
	for _, name := range []string{"connect", "disconnect"} { // which clients 4.x take for their own
		if err := node.Broadcast(all, []byte(`["`+name+`"]`), nil); err != nil {
			t.Error(err)
		}
	}
	if err := node.Broadcast(all, []byte(` [ "x" , 1 ] `), nil); err != nil {
		t.Error(err)
	}
	wantHeard(t, "x", must, `42[ "x" , 1 ]`)
	_ = conn.Close()
	harness.Expect(t, must.Rest(), "41")
	node.SocketsJoin(all, []string{"late"})
	if ids, rooms := node.SocketIDs(all), node.Rooms("/"); len(ids)+len(rooms) != 0 {
		t.Error(ids, rooms)
	}
}

func TestSetAdapterMistakes(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, harness.HandshakeMode)
	s := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	mustPanic := func(what, want string, f func()) {
		t.Helper()
		defer func() {
			if got, _ := recover().(string); !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}()
		f()
	}
	mustPanic("nil", "nil", func() { s.SetAdapter(nil) })
	l := new(bus).add()
	s.OnEvent("/early", "x", func(socketio.Conn) {})
	s.SetAdapter(l)
	s.OnEvent("/late", "x", func(socketio.Conn) {})
	mustPanic("twice", "already", func() { s.SetAdapter(new(bus).add()) })
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve()
	}()
	other := harness.Authorize(t, harness.HandshakeMode).Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	go func() { _ = other.Serve() }()
	harness.Eventually(t, "SetAdapter panics after Serve", func() (panics bool) {
		defer func() {
			got, _ := recover().(string)
			panics = strings.Contains(got, "before Serve")
		}()
		other.SetAdapter(new(bus).add())
		return false
	})
	if _, err := s.Adapter(nil); err == nil || !strings.Contains(err.Error(), "SetAdapter") {
		t.Error(err)
	}
	for _, s := range []*socketiojwt.Server{s, other} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	<-served
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := harness.Sorted(l.namespaces); !strings.Contains(got, "/early") || !strings.Contains(got, "/late") || !slices.Contains(l.namespaces, "/") {
		t.Error(got)
	}
	if l.closed != 1 {
		t.Errorf("closed %d times", l.closed)
	}
}

// In a public namespace a socket has no identity, whatever session its connection has elsewhere.
func TestFetchSocketsOfAPublicNamespace(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnEvent("/", "x", func(socketio.Conn) {})
		s.OnEvent("/public", "x", func(socketio.Conn) {})
	}, "/")
	for _, version := range []int{3, 4} {
		c, must := s.Dial(t, siotest.Options{Version: version, Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, "bob"))})
		if version == 4 {
			must.Join("/")
		}
		must.Connected("/")
		must.Join("/public")
		must.Connected("/public")
		for nsp, want := range map[string][2]string{"/": {"bob", `{"identity":"bob"}`}, "/public": {"", `{}`}} {
			fetched, err := s.In(nsp).FetchSockets(t.Context())
			if err != nil || len(fetched) != 1 || fetched[0].Identity != want[0] || string(fetched[0].Data) != want[1] {
				t.Errorf("EIO=%d, %s: %+v, %v", version, nsp, fetched, err)
			}
		}
		c.Close()
		harness.Eventually(t, "it is gone", func() bool { return s.In("/public").Count() == 0 })
	}
}
