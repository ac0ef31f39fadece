// Package sio speaks Socket.IO protocols 4 (socket.io-client 1.x and 2.x) and 5 (3.x and 4.x):
// packets, namespaces, sockets, rooms, events, acknowledgements and broadcasts.
//
// A [Server] has a [Conn] for each connection of a transport.Hub. A Conn has a [Socket] for each
// namespace that its client joined. A [Doorkeeper] decides who comes in, and when: this package
// knows nothing of tokens.
//
// Locks are taken in this order, and any of them may be left out: the one under which a Conn
// receives (the transport's, then Conn.receiving), the doorkeeper's own, Conn.mu, Namespace.mu, the
// transport's Client.mu. Broadcasts and handlers hold none while they go from one socket to the
// next.
package sio

import "encoding/json"

// Doorkeeper decides who comes in. The root package implements it.
type Doorkeeper interface {
	// Opened is called once for each connection, before its client hears anything.
	Opened(c *Conn) Visitor

	// AllowsForeign reports whether a namespace that is not ours may be left to the Upstream.
	AllowsForeign(namespace string) bool
}

// Visitor is the doorkeeper's half of one connection. NewSocket, Join, Intercept and Dropped are
// called one after another, with no lock of this package that others need. They must not block:
// what takes time answers later.
type Visitor interface {
	// NewSocket is the first call for a socket, before anybody else can know of it.
	NewSocket(s *Socket)
	// Join says that the client asks for the socket's namespace. The answer is one of
	// Socket.LetWait, Socket.Admit and Conn.End, at any time. Until then what the client sends
	// there is kept.
	Join(s *Socket)

	// Intercept sees each event of a protected namespace before it is dispatched. It returns true
	// if it has handled the event.
	Intercept(s *Socket, event string, args json.RawMessage) bool

	// Dropped tells of an event that came before the socket was admitted.
	Dropped(s *Socket)

	// Left says that the client has left a namespace, or that the connection is closed. It does not
	// follow Conn.End.
	Left(s *Socket)

	// The methods below are called in the lane of the connection, and may block.

	// OnConnect runs the application's OnConnect of an admitted socket.
	OnConnect(s *Socket)
	// OnDisconnect runs the application's OnDisconnect. It is the last call for a socket.
	OnDisconnect(s *Socket, reason string)
	// OnError tells of an error that the application or the client made, such as an argument of a
	// wrong type.
	OnError(s *Socket, err error)
	// Panicked tells of a panic in a callback. The deferred function that recovered the panic calls
	// it.
	Panicked(s *Socket, callback string, recovered any)
}

// Reasons that OnDisconnect is told, as go-socket.io words them.
const (
	LeftReason  = "client namespace disconnect"
	EndedReason = "server namespace disconnect"
)

// LastWord is what a socket is told when it ends.
type LastWord struct {
	Socket *Socket

	// Event is sent with Arg, unless it is "".
	Event string
	Arg   any

	// Error says that the socket is refused. Protocol 4 sends Error in an ERROR packet instead of
	// the event. Protocol 5 sends Arg in CONNECT_ERROR where CONNECT was not answered, and the
	// event where it was.
	Error any

	// Silent leaves DISCONNECT out in protocol 4, so that the client is not told to go.
	Silent bool
}

// Upstream serves the namespaces that are not ours: go-socket.io. internal/upstream implements it.
type Upstream interface {
	// Serves reports whether it has the namespace.
	Serves(namespace string) bool
	// NewBridge makes the bridge of a connection. Enter brings the connection to go-socket.io.
	NewBridge(c *Conn) Bridge
}

// Bridge is a connection inside go-socket.io. internal/upstream implements it.
type Bridge interface {
	// Enter brings the connection to go-socket.io, once. Hooks there may run before it returns.
	Enter()
	// Deliver takes a packet for a foreign socket. It does not block, and takes no lock of Conn's.
	Deliver(s *Socket, p *Packet)
	// Serving returns the socket that go-socket.io serves in a namespace now, or nil. The client
	// may have left and joined the namespace again meanwhile: Conn.Socket returns the last socket.
	Serving(namespace string) *Socket
	// JoinRoot says that the client has asked for the root. In go-socket.io the connection is in
	// the root since it entered.
	JoinRoot(s *Socket)
	// AfterEmits calls f when what handlers have emitted so far has been sent.
	AfterEmits(s *Socket, f func())
	// Closed says that the connection is closed.
	Closed()
}
