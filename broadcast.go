package socketiojwt

import (
	"iter"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	socketio "github.com/googollee/go-socket.io"
)

// Audience is the sockets of some rooms of a namespace, see [Server.In]. It is a description: each
// method looks up who is in it when the method is called. Its methods are safe for concurrent use.
type Audience struct {
	server    *Server
	namespace string
	rooms     []string
	except    []string
	members   bool
	local     bool
	volatile  bool
}

// In returns the sockets that are in any of the rooms, each once. Without rooms these are all
// admitted sockets of the namespace, guests too. A socket's ID() is a room of its own. In(nsp, a,
// b) is what io.of(nsp).to(a).to(b) is in Node, and In(nsp).Except(s.ID()) is socket.broadcast.
//
// A namespace that is not registered through a Server has no sockets here.
func (s *Server) In(nsp string, rooms ...string) Audience {
	return Audience{server: s, namespace: normalise(nsp), rooms: rooms}
}

// Except returns the audience without the sockets that are in any of the rooms.
func (a Audience) Except(rooms ...string) Audience {
	a.except = append(a.except[:len(a.except):len(a.except)], rooms...)
	return a
}

// Emit sends an event to the audience, on all nodes where there is an [Adapter]. It encodes the
// arguments once, before it returns, and does not block. Where they cannot be encoded, nobody gets
// anything, and the OnError of each socket is told, or else the log.
func (a Audience) Emit(event string, args ...any) {
	audience, ok := a.resolve()
	if !ok {
		return
	}
	var publish func(sio.Encoded)
	if adapter, t := a.elsewhere(); adapter != nil {
		publish = func(e sio.Encoded) { adapter.Broadcast(t, e.Body(), e.Attachments()) }
	}
	err := audience.Emit(event, args, publish)
	if err == nil {
		return
	}
	sockets := audience.Sockets()
	if ns := a.server.doorkeeper.find(a.namespace); ns == nil || !ns.hearsErrors() || len(sockets) == 0 {
		a.server.auth.log.Warn("socketiojwt: a broadcast was dropped", "error", describe(err), "namespace", a.namespace)
		return
	}
	for _, s := range sockets {
		sock := socketBehind(s)
		s.Conn().Do(func() { sock.onError(err) })
	}
}

// Count returns how many sockets are in the audience on this node, see [Audience.CountAll].
func (a Audience) Count() int { return len(a.sockets()) }

// Sockets returns the sockets of this node that are in the audience, in no order. They are looked
// up when the sequence is read. Reading it holds no lock.
func (a Audience) Sockets() iter.Seq[socketio.Conn] {
	return func(yield func(socketio.Conn) bool) {
		for _, s := range a.sockets() {
			if !yield(s) {
				return
			}
		}
	}
}

// End ends the sessions of the audience on this node as [Authorizer.Disconnect] does: in all their
// namespaces the clients are told reason, or `unauthorized` where that is nil. Guests are told and
// disconnected too. End returns how many connections those were.
func (a Audience) End(reason *UnauthorizedError) (n int) {
	told := disconnectReason(reason)
	for _, s := range a.sockets() {
		if sock, ok := s.Attached.(*socket); ok && sock.endFor(told) {
			n++
		}
	}
	return n
}

func (a Audience) sockets() []*sio.Socket {
	audience, ok := a.resolve()
	if !ok {
		return nil
	}
	return audience.Sockets()
}

func (a Audience) resolve() (sio.Audience, bool) {
	ns := a.server.upstream.Sio().Namespace(a.namespace)
	return sio.Audience{Namespace: ns, Rooms: a.rooms, Except: a.except, Members: a.members, Volatile: a.volatile}, ns != nil
}

// ours returns a namespace that is registered through a Server, nil for any other.
func (s *Server) ours(nsp string) *sio.Namespace {
	s.doorkeeper.prepare()
	return s.upstream.Sio().Namespace(normalise(nsp))
}

// BroadcastToNamespace sends an event to every authenticated socket of the namespace, once. Guests
// do not get it: use In(nsp), or let them join a room. It reports whether the namespace exists.
func (s *Server) BroadcastToNamespace(nsp, event string, args ...any) bool {
	if s.ours(nsp) == nil {
		return s.plain.BroadcastToNamespace(nsp, event, args...)
	}
	all := s.In(nsp)
	all.members = true
	all.Emit(event, args...)
	return true
}

// BroadcastToRoom sends an event to every socket in the room, as In(nsp, room).Emit does. It
// reports whether the namespace exists.
func (s *Server) BroadcastToRoom(nsp, room, event string, args ...any) bool {
	if s.ours(nsp) == nil {
		return s.plain.BroadcastToRoom(nsp, room, event, args...)
	}
	s.In(nsp, room).Emit(event, args...)
	return true
}

// ForEach calls f for every admitted socket in the room, one after another. It holds no lock
// meanwhile, so f may do anything. It reports whether the namespace exists.
func (s *Server) ForEach(nsp, room string, f socketio.EachFunc) bool {
	if s.ours(nsp) == nil {
		return s.plain.ForEach(nsp, room, f)
	}
	for conn := range s.In(nsp, room).Sockets() {
		f(conn)
	}
	return true
}

// RoomLen returns how many sockets of this node are in the room, -1 if the namespace does not
// exist. In(nsp, room).CountAll asks all nodes.
func (s *Server) RoomLen(nsp, room string) int {
	if s.ours(nsp) == nil {
		return s.plain.RoomLen(nsp, room)
	}
	return s.In(nsp, room).Count()
}

// Rooms returns the names of the namespace's rooms on this node, in no order, nil if the namespace
// does not exist. The rooms that are the IDs of sockets are left out, because those IDs are
// credentials.
func (s *Server) Rooms(nsp string) []string {
	ns := s.ours(nsp)
	if ns == nil {
		return s.plain.Rooms(nsp)
	}
	return ns.Rooms()
}

// JoinRoom puts the connection's socket in the namespace into a room, as its Join does. It
// reports whether the namespace exists.
func (s *Server) JoinRoom(nsp, room string, connection socketio.Conn) bool {
	return s.each(nsp, connection, func(ns *sio.Namespace, sock *sio.Socket) { ns.Join(sock, room) },
		func() bool { return s.plain.JoinRoom(nsp, room, connection) })
}

// LeaveRoom takes the connection's socket in the namespace out of a room. It reports whether
// the namespace exists.
func (s *Server) LeaveRoom(nsp, room string, connection socketio.Conn) bool {
	return s.each(nsp, connection, func(ns *sio.Namespace, sock *sio.Socket) { ns.Leave(sock, room) },
		func() bool { return s.plain.LeaveRoom(nsp, room, connection) })
}

// LeaveAllRooms takes the connection's socket in the namespace out of all rooms. It reports
// whether the namespace exists.
func (s *Server) LeaveAllRooms(nsp string, connection socketio.Conn) bool {
	return s.each(nsp, connection, func(ns *sio.Namespace, sock *sio.Socket) { ns.LeaveAll(sock) },
		func() bool { return s.plain.LeaveAllRooms(nsp, connection) })
}

func (s *Server) each(nsp string, connection socketio.Conn, f func(*sio.Namespace, *sio.Socket), plain func() bool) bool {
	ns := s.ours(nsp)
	if ns == nil {
		return plain()
	}
	if conn, ok := sio.FromConn(connection); ok {
		if sock := conn.Socket(ns.Name()); sock != nil && !sock.IsForeign() {
			f(ns, sock)
		}
	}
	return true
}

// ClearRoom takes all sockets out of a room. It reports whether the namespace exists.
func (s *Server) ClearRoom(nsp, room string) bool {
	ns := s.ours(nsp)
	if ns == nil {
		return s.plain.ClearRoom(nsp, room)
	}
	ns.Clear(room)
	return true
}

// Count returns how many connections there are.
func (s *Server) Count() int { return s.upstream.Hub().Count() }
