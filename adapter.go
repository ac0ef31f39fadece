package socketiojwt

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
)

// Adapter connects the nodes of one application: processes that each have a Server with the same
// namespaces. The module redisadapter has one. [Server.SetAdapter] gives an Adapter to a Server.
// The Server then tells the Adapter of every broadcast, and asks it what other nodes know.
//
// The methods are called from many goroutines at once. They are about the other nodes only: the
// Server itself does what there is to do on its own node.
type Adapter interface {
	// Attach is called first, once. What other nodes send goes to the methods of node, later and
	// from another goroutine. Attach must not block.
	Attach(node *Node)
	// AddNamespace says that this node has a namespace. It may be called again for the same one,
	// and must not block.
	AddNamespace(namespace string)

	// Broadcast sends an event to the sockets that t means. event is the JSON array of the event's
	// name and its arguments, in which {"_placeholder":true,"num":n} stands for attachments[n].
	// Both are shared, and must not be changed. Broadcast must not block: what cannot be sent is
	// lost.
	Broadcast(t Target, event []byte, attachments [][]byte)

	// SocketsJoin, SocketsLeave and DisconnectSockets do on the other nodes what the methods of
	// [Audience] with these names do. They return when the other nodes have been told, which need
	// not have done it by then.
	SocketsJoin(ctx context.Context, t Target, rooms []string) error
	SocketsLeave(ctx context.Context, t Target, rooms []string) error
	DisconnectSockets(ctx context.Context, t Target, closes bool) error

	// CountSockets, FetchSockets and AllRooms ask the other nodes. Beside a *MissingNodesError they
	// return what the nodes said that did answer.
	CountSockets(ctx context.Context, t Target) (int, error)
	FetchSockets(ctx context.Context, t Target) ([]RemoteSocket, error)
	AllRooms(ctx context.Context, namespace string) ([]string, error)

	// Close sends what waits, and ends what Attach started. [Server.Close] calls it. Further calls
	// have no effect.
	Close() error
}

// Target says which sockets of a namespace are meant, as [Server.In] and Except do.
type Target struct {
	Namespace string
	Rooms     []string // the sockets in any of these; none: all of the namespace
	Except    []string // but not the sockets in any of these
	Guests    bool     // without Rooms: guests too
	Volatile  bool     // a broadcast: see Audience.Volatile
}

// RemoteSocket is a socket of any node, as [Audience.FetchSockets] returns it.
type RemoteSocket struct {
	// ID names the socket on all nodes: In(nsp, ID) reaches it. It is Conn.ID(), except for clients
	// 1.x and 2.x of this package's nodes: their Conn.ID() is a credential, and this ID is not.
	ID string
	// Rooms are the rooms that the socket is in, ID among them.
	Rooms []string
	// Identity is the Session.Identity of the socket's session. It is "" for guests, and in public
	// namespaces. For a socket of a Node server it is what the application wrote to
	// socket.data.identity.
	Identity string
	// Data is the JSON of socket.data of a Node server. For a socket of this package's nodes it is
	// {"identity":...}, or {}.
	Data json.RawMessage
}

// MissingNodesError says that some of the other nodes did not answer in time.
type MissingNodesError struct {
	Nodes   int   // how many were asked
	Missing int   // how many of them did not answer
	Err     error // why the question ended
}

func (e *MissingNodesError) Error() string {
	return fmt.Sprintf("%d of %d other nodes did not answer: %v", e.Missing, e.Nodes, e.Err)
}

// Unwrap returns Err.
func (e *MissingNodesError) Unwrap() error { return e.Err }

// SetAdapter connects the server to other nodes. [Audience.Emit], BroadcastToRoom and
// BroadcastToNamespace then reach the sockets of all nodes. It holds for all results of Protect for
// the same go-socket.io server.
//
// SetAdapter panics after Serve, where a is nil, and where there is an adapter already: these are
// mistakes in the program.
func (s *Server) SetAdapter(a Adapter) {
	if a == nil {
		panic("socketiojwt: SetAdapter: the Adapter is nil; leave the call out for a single node")
	}
	s.doorkeeper.setAdapter(a)
}

// relay is what a doorkeeper has of its adapter.
type relay struct {
	adapter atomic.Pointer[Adapter]
	serves  bool // guarded by doorkeeper.mu
}

func (d *doorkeeper) setAdapter(a Adapter) {
	d.mu.Lock()
	serves, known := d.relay.serves, d.relay.adapter.Load() != nil
	if !serves && !known {
		a.Attach(&Node{d})
		d.relay.adapter.Store(&a)
	}
	d.mu.Unlock()
	switch {
	case serves:
		panic("socketiojwt: SetAdapter: the server serves already; call it before Serve")
	case known:
		panic("socketiojwt: SetAdapter: the server has an adapter already; call it once")
	}
	if d.find(root) != nil {
		a.AddNamespace(root)
	}
	for _, name := range d.names() {
		a.AddNamespace(name)
	}
}

// serve notes that it is too late for SetAdapter.
func (d *doorkeeper) serve() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.relay.serves = true
}

// adapter returns nil where there is none.
func (d *doorkeeper) adapter() Adapter {
	if a := d.relay.adapter.Load(); a != nil {
		return *a
	}
	return nil
}

// Node is this node as its [Adapter] sees it. The Adapter passes what other nodes send to the
// methods, in the order in which it came. They reach admitted sockets of this node only, and have
// no effect in namespaces that the node does not have. They do not block, and are safe for
// concurrent use.
type Node struct{ doorkeeper *doorkeeper }

func (n *Node) audience(t Target) (sio.Audience, bool) {
	ns := n.doorkeeper.upstream.Sio().Namespace(t.Namespace)
	return sio.Audience{
		Namespace: ns, Rooms: t.Rooms, Except: t.Except, Volatile: t.Volatile,
		Members: len(t.Rooms) == 0 && !t.Guests,
	}, ns != nil
}

// Broadcast sends an event to the sockets that t means. event and attachments are those of
// [Adapter.Broadcast]; Broadcast keeps both. It returns an error if event is not such an array.
func (n *Node) Broadcast(t Target, event []byte, attachments [][]byte) error {
	e, err := sio.EncodedEvent(event, attachments)
	if err != nil {
		return err
	}
	if audience, ok := n.audience(t); ok {
		if err := audience.Send(e); err != nil {
			n.doorkeeper.first().auth.log.Warn("socketiojwt: some clients do not take a broadcast of another node",
				"error", describe(err), "namespace", t.Namespace)
		}
	}
	return nil
}

func (n *Node) sockets(t Target) []*sio.Socket {
	audience, ok := n.audience(t)
	if !ok {
		return nil
	}
	return audience.Sockets()
}

// SocketsJoin puts the sockets that t means into rooms.
func (n *Node) SocketsJoin(t Target, rooms []string) { joinAll(n.sockets(t), rooms) }

// SocketsLeave takes the sockets that t means out of rooms.
func (n *Node) SocketsLeave(t Target, rooms []string) { leaveAll(n.sockets(t), rooms) }

// DisconnectSockets disconnects the sockets that t means; with closes it closes their connections.
func (n *Node) DisconnectSockets(t Target, closes bool) { disconnectAll(n.sockets(t), closes) }

// SocketIDs returns the RemoteSocket.ID of the sockets that t means, in no order.
func (n *Node) SocketIDs(t Target) []string {
	sockets := n.sockets(t)
	ids := make([]string, len(sockets))
	for i, s := range sockets {
		ids[i] = n.doorkeeper.upstream.Sio().Alias(s.ID())
	}
	return ids
}

// FetchSockets returns the sockets that t means, in no order.
func (n *Node) FetchSockets(t Target) []RemoteSocket {
	sockets := n.sockets(t)
	fetched := make([]RemoteSocket, len(sockets))
	for i, s := range sockets {
		fetched[i] = n.doorkeeper.describe(s)
	}
	return fetched
}

// HasRoom reports whether a socket of this node may be in the room.
func (n *Node) HasRoom(namespace, room string) bool {
	ns := n.doorkeeper.upstream.Sio().Namespace(namespace)
	return ns != nil && ns.Has(room)
}

// Rooms returns what [Server.Rooms] does.
func (n *Node) Rooms(namespace string) []string {
	if ns := n.doorkeeper.upstream.Sio().Namespace(namespace); ns != nil {
		return ns.Rooms()
	}
	return nil
}

func joinAll(sockets []*sio.Socket, rooms []string) {
	for _, s := range sockets {
		for _, room := range rooms {
			s.Join(room)
		}
	}
}

func leaveAll(sockets []*sio.Socket, rooms []string) {
	for _, s := range sockets {
		for _, room := range rooms {
			s.Leave(room)
		}
	}
}

func disconnectAll(sockets []*sio.Socket, closes bool) {
	for _, s := range sockets {
		sock, ok := s.Attached.(*socket)
		switch {
		case !ok:
		case closes:
			_ = s.Close()
		default:
			sock.disconnect()
		}
	}
}

// describe returns what other nodes may know of a socket.
func (d *doorkeeper) describe(s *sio.Socket) RemoteSocket {
	server := d.upstream.Sio()
	remote := RemoteSocket{ID: server.Alias(s.ID())}
	for _, room := range s.Rooms() {
		remote.Rooms = append(remote.Rooms, server.Alias(room))
	}
	if sock, ok := s.Attached.(*socket); ok && sock.ns.protected {
		if session, ok := sock.conn.auth.Session(s); ok {
			remote.Identity = session.Identity()
		}
	}
	remote.Data, _ = json.Marshal(struct {
		Identity string `json:"identity,omitempty"`
	}{remote.Identity}) // of a string there is no error
	return remote
}

// Local returns the audience without the sockets of other nodes. Emit, and the methods that ask
// other nodes, then stay on this one.
func (a Audience) Local() Audience {
	a.local = true
	return a
}

// Volatile returns the audience for an Emit that skips sockets whose clients cannot take an event
// at once: an earlier event is still on its way to them, or they are between two polls.
func (a Audience) Volatile() Audience {
	a.volatile = true
	return a
}

// CountAll returns how many sockets are in the audience on all nodes. With the room of
// [Options.UserRoom] it tells whether a user is connected anywhere. [Audience.FetchSockets] says
// what an error means.
func (a Audience) CountAll(ctx context.Context) (int, error) {
	n := a.Count()
	adapter, t := a.elsewhere()
	if adapter == nil {
		return n, nil
	}
	others, err := adapter.CountSockets(ctx, t)
	return n + others, wrapAdapterError("CountAll", err)
}

// FetchSockets returns the sockets in the audience on all nodes, in no order. It blocks until the
// other nodes have answered, until ctx ends, or until the adapter's own timeout. Beside an error it
// returns what is known. A [*MissingNodesError] tells how many nodes did not answer; another error
// says that none could be asked.
func (a Audience) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	var fetched []RemoteSocket
	for _, s := range a.sockets() {
		fetched = append(fetched, a.server.doorkeeper.describe(s))
	}
	adapter, t := a.elsewhere()
	if adapter == nil {
		return fetched, nil
	}
	others, err := adapter.FetchSockets(ctx, t)
	return append(fetched, others...), wrapAdapterError("FetchSockets", err)
}

// SocketsJoin puts the sockets in the audience on all nodes into rooms: those of this node at once,
// and those of other nodes when the nodes hear of it, before any later broadcast of this node. It
// blocks until the nodes were told, until ctx ends, or until the adapter's own timeout. An error
// says that they may not have been told.
func (a Audience) SocketsJoin(ctx context.Context, rooms ...string) error {
	joinAll(a.sockets(), rooms)
	adapter, t := a.elsewhere()
	if adapter == nil {
		return nil
	}
	return wrapAdapterError("SocketsJoin", adapter.SocketsJoin(ctx, t, rooms))
}

// SocketsLeave takes the sockets in the audience on all nodes out of rooms, as SocketsJoin puts
// them in.
func (a Audience) SocketsLeave(ctx context.Context, rooms ...string) error {
	sockets := a.sockets() // before they leave
	adapter, t := a.elsewhere()
	leaveAll(sockets, rooms)
	if adapter == nil {
		return nil
	}
	return wrapAdapterError("SocketsLeave", adapter.SocketsLeave(ctx, t, rooms))
}

// DisconnectSockets disconnects the sockets in the audience on all nodes, as SocketsJoin puts them
// into rooms. Their clients see `io server disconnect` and stay away. With closes the whole
// connection of each socket ends, otherwise only this namespace of it. The tokens stay good. An end
// with a reason is [Authorizer.Disconnect] or [Revocations].
func (a Audience) DisconnectSockets(ctx context.Context, closes bool) error {
	sockets := a.sockets()
	adapter, t := a.elsewhere() // before the sockets' IDs are forgotten
	disconnectAll(sockets, closes)
	if adapter == nil {
		return nil
	}
	return wrapAdapterError("DisconnectSockets", adapter.DisconnectSockets(ctx, t, closes))
}

// AllRooms returns the names of the namespace's rooms on all nodes, each once, in no order. Node
// servers count the IDs of sockets among their rooms. [Audience.FetchSockets] says what an error
// means.
func (s *Server) AllRooms(ctx context.Context, nsp string) ([]string, error) {
	rooms := s.Rooms(nsp)
	ns, adapter := s.ours(nsp), s.doorkeeper.adapter()
	if ns == nil || adapter == nil {
		return rooms, nil
	}
	others, err := adapter.AllRooms(ctx, ns.Name())
	rooms = append(rooms, others...)
	slices.Sort(rooms)
	return slices.Compact(rooms), wrapAdapterError("AllRooms", err)
}

func wrapAdapterError(method string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("socketiojwt: %s: %w", method, err)
}

// elsewhere returns which sockets of other nodes are meant, and a nil Adapter where there is no
// node to ask. Rooms that are IDs of this node's clients 1.x and 2.x, which are credentials, get
// their aliases.
func (a Audience) elsewhere() (Adapter, Target) {
	adapter := a.server.doorkeeper.adapter()
	if adapter == nil || a.local || a.server.upstream.Sio().Namespace(a.namespace) == nil {
		return nil, Target{}
	}
	return adapter, Target{
		Namespace: a.namespace, Rooms: a.aliases(a.rooms), Except: a.aliases(a.except),
		Guests: !a.members, Volatile: a.volatile,
	}
}

func (a Audience) aliases(rooms []string) []string {
	aliases := make([]string, len(rooms))
	for i, room := range rooms {
		aliases[i] = a.server.upstream.Sio().Alias(room)
	}
	return aliases
}

// closeAdapter closes the adapter, if there is one.
func (d *doorkeeper) closeAdapter() error {
	a := d.adapter()
	if a == nil {
		return nil
	}
	return a.Close()
}
