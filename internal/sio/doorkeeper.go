// Package sio speaks Socket.IO protocols 4 (socket.io-client 1.x and 2.x) and 5 (3.x and 4.x):
// packets, namespaces, sockets, rooms, events, acknowledgements and broadcasts.
//
// A [Server] has a [Conn] for each connection of a transport.Hub, and a Conn a [Socket] for each
// namespace that its client joined. Who may come in, and when, a [Doorkeeper] decides: this
// package knows nothing of tokens.
//
// Locks are taken in this order, each left out at will: that under which a Conn receives (the
// transport's), the doorkeeper's own, Conn.mu, Namespace.mu, the transport's Client. Broadcasts
// and handlers hold none while they go from one socket to the next.
package sio

import "encoding/json"

// Doorkeeper decides who comes in.
type Doorkeeper interface {
	// Opened is called once for each connection, before its client hears anything.
	Opened(c *Conn) Visitor

	// AllowsForeign reports whether a namespace may be left to the Upstream.
	AllowsForeign(namespace string) bool
}

// Visitor is the doorkeeper's half of one connection. NewSocket, Join, Intercept and Dropped are called
// one after another, with no lock of this package that others need. They must not block: what
// takes time answers later.
type Visitor interface {
	// NewSocket is the first call for a socket, before anybody else can know of it.
	NewSocket(s *Socket)
	// Join says that the client asks for the socket's namespace. The answer is one of
	// Socket.LetWait, Socket.Admit and Conn.End, at any time. Until then what the client sends
	// there is kept.
	Join(s *Socket)

	// Intercept sees each event of a protected namespace before it is dispatched. True says
	// that it is dealt with.
	Intercept(s *Socket, event string, args json.RawMessage) bool

	// Dropped tells of an event that came before the socket was admitted.
	Dropped(s *Socket)

	// Left says that the client has left a namespace, or that the connection is gone. It
	// does not follow an end by Conn.End.
	Left(s *Socket)

	// What follows is called in the socket's lane, and may block.

	// OnConnect lets the user know of an admitted socket.
	OnConnect(s *Socket)
	// OnDisconnect follows all other calls for the socket.
	OnDisconnect(s *Socket, reason string)
	// Failed tells of an error of the application's or the client's making, such as an
	// argument of a wrong type.
	OnError(s *Socket, err error)
	// Panicked is given what a deferred function recovered, and is called by that.
	Panicked(s *Socket, callback string, recovered any)
}

// Reasons that OnDisconnect is told, as go-socket.io words them.
const (
	LeftReason  = "client namespace disconnect"
	EndedReason = "server namespace disconnect"
)

// LastWord is what a socket is told last.
type LastWord struct {
	Socket *Socket

	// Event is sent with Arg, unless it is "".
	Event string
	Arg   any

	// Error says that the socket is refused. Protocol 4 sends it in an ERROR packet in the
	// place of the event. Protocol 5 sends Arg in CONNECT_ERROR, where CONNECT was not answered;
	// where it was, the event.
	Error any

	// Silent leaves DISCONNECT out in protocol 4: the client is not told to go.
	Silent bool
}

// Upstream serves the namespaces that are not ours: go-socket.io. internal/upstream implements it.
type Upstream interface {
	// Serves reports whether it has the namespace.
	Serves(namespace string) bool
	// NewBridge makes the connection's half, which Enter brings there.
	NewBridge(c *Conn) Bridge
}

// Bridge is a connection inside the Upstream.
type Bridge interface {
	// Enter brings the connection to go-socket.io, once. Hooks there may run before it returns.
	Enter()
	// Deliver takes a packet for one of its sockets. It does not block, and takes no lock of Conn's.
	Deliver(s *Socket, p *Packet)
	// Serving returns the socket that it is now serving in a namespace, or nil. The client may have
	// left that meanwhile, and joined again: the connection knows the last one.
	Serving(namespace string) *Socket
	// JoinRoot says that the client has asked for the root, which the bridge is in since it
	// entered.
	JoinRoot(s *Socket)
	// AfterEmits calls f once what handlers have emitted so far has been sent.
	AfterEmits(s *Socket, f func())
	// Closed ends it.
	Closed()
}
