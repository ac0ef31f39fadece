package socketiojwt

import (
	"reflect"

	socketio "github.com/googollee/go-socket.io"
)

// Guard wraps an event handler, for servers that use the hooks one by one. handler has any
// signature that go-socket.io's OnEvent takes, and the result has the same. The result runs handler
// for admitted sockets only: authenticated ones, and guests with Optional.
//
// For other sockets handler does not run, and the results are zero values. Their events normally do
// not get this far, because the connect-hook stops them before go-socket.io reads them. In a
// namespace without that hook handler runs for nobody. Guard panics when handler is not a function
// whose first parameter is a socketio.Conn.
func (a *Authorizer) Guard(handler any) any {
	switch h := handler.(type) {
	case func(socketio.Conn):
		return func(s socketio.Conn) {
			if sock := a.admittedSocket(s); sock != nil {
				defer sock.leaveLateRooms()
				h(s)
			}
		}
	case func(socketio.Conn, string):
		return func(s socketio.Conn, arg string) {
			if sock := a.admittedSocket(s); sock != nil {
				defer sock.leaveLateRooms()
				h(s, arg)
			}
		}
	case func(socketio.Conn, string) string:
		return func(s socketio.Conn, arg string) (result string) {
			if sock := a.admittedSocket(s); sock != nil {
				defer sock.leaveLateRooms()
				result = h(s, arg)
			}
			return result
		}
	case func(socketio.Conn, any):
		return func(s socketio.Conn, arg any) {
			if sock := a.admittedSocket(s); sock != nil {
				defer sock.leaveLateRooms()
				h(s, arg)
			}
		}
	}
	return a.guardReflect(handler)
}

var connType = reflect.TypeFor[socketio.Conn]()

func (a *Authorizer) guardReflect(handler any) any {
	f := reflect.ValueOf(handler)
	if f.Kind() != reflect.Func || f.IsNil() || f.Type().NumIn() == 0 || f.Type().In(0) != connType {
		panic("socketiojwt: an event handler must be a func(socketio.Conn, ...)")
	}
	t := f.Type()
	return reflect.MakeFunc(t, func(args []reflect.Value) []reflect.Value {
		sock := a.admittedSocket(args[0].Interface().(socketio.Conn))
		if sock == nil {
			results := make([]reflect.Value, t.NumOut())
			for i := range results {
				results[i] = reflect.Zero(t.Out(i))
			}
			return results
		}
		defer sock.leaveLateRooms()
		if t.IsVariadic() {
			return f.CallSlice(args)
		}
		return f.Call(args)
	}).Interface()
}

// admittedSocket returns the socket of s if it is admitted, else nil. leaveLateRooms has to follow.
func (a *Authorizer) admittedSocket(s socketio.Conn) *socket {
	c := a.findConnection(s)
	if c == nil {
		return nil
	}
	sock := c.socketOf(s)
	if sock == nil || !sock.isAdmitted() {
		return nil
	}
	return sock
}

func (sock *socket) isAdmitted() bool {
	sock.conn.mu.Lock()
	defer sock.conn.mu.Unlock()
	return sock.state == socketAdmitted
}

// leaveLateRooms follows a handler or callback. If the socket has ended meanwhile, it takes the
// socket out of the rooms that were joined since: go-socket.io lets an ended socket join (hazard
// 12). The room of the socket's ID stays, because the client may have joined the namespace again,
// under the same ID.
func (sock *socket) leaveLateRooms() {
	if !sock.sio.IsForeign() || sock.isAdmitted() {
		return
	}
	user := sock.sio.User()
	for _, room := range user.Rooms() {
		if room != user.ID() {
			user.Leave(room)
		}
	}
}
