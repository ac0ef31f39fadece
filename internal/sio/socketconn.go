package sio

import (
	"net"
	"net/http"
	"net/url"

	socketio "github.com/googollee/go-socket.io"
)

// The methods of socketio.Conn but Emit. Handlers may call them from any goroutine, also after the
// socket's end.

var _ socketio.Conn = (*Socket)(nil)

// ID returns the id of the connection, which the client knows as socket.id. For clients 1.x and 2.x
// it is the session id, and whoever knows it can take the connection over.
func (s *Socket) ID() string { return s.conn.id }

// URL returns the URL of the request that opened the connection.
func (s *Socket) URL() url.URL { return *s.conn.client.Handshake().URL }

// LocalAddr returns the server's address, nil where net/http does not know it.
func (s *Socket) LocalAddr() net.Addr { return s.conn.client.Handshake().LocalAddr }

// RemoteAddr returns the client's address as net/http gives it.
func (s *Socket) RemoteAddr() net.Addr { return Addr{s.conn} }

// RemoteHeader returns the header of the request that opened the connection.
func (s *Socket) RemoteHeader() http.Header { return s.conn.client.Handshake().Header }

// Namespace returns the name, "/" for the root.
func (s *Socket) Namespace() string { return s.name }

// Context returns what SetContext was given last.
func (s *Socket) Context() any {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.context
}

// SetContext keeps a value with the socket.
func (s *Socket) SetContext(v any) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.context = v
}

// Join puts the socket into a room. After its end it has no effect.
func (s *Socket) Join(room string) {
	if s.ns != nil {
		s.ns.Join(s, room)
	}
}

// Leave takes the socket out of a room.
func (s *Socket) Leave(room string) {
	if s.ns != nil {
		s.ns.Leave(s, room)
	}
}

// LeaveAll takes the socket out of all rooms.
func (s *Socket) LeaveAll() {
	if s.ns != nil {
		s.ns.LeaveAll(s)
	}
}

// Rooms returns the rooms that the socket is in. The first is its own room, whose name is its ID.
func (s *Socket) Rooms() []string {
	if s.ns == nil {
		return nil
	}
	return s.ns.roomsOf(s)
}

// Close sends what was emitted, tells the client to go, and closes the connection.
func (s *Socket) Close() error {
	s.conn.Close()
	return nil
}
