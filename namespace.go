package socketiojwt

import (
	"errors"
	"io"
	"sync"

	socketio "github.com/googollee/go-socket.io"
)

// namespace is what the user registered for a namespace, or nothing where the hooks are
// used one by one. go-socket.io has one slot for each hook (hazard 38), which is ours.
type namespace struct {
	protected bool
	server    *Server // nil for hooks

	mu           sync.Mutex
	onConnect    func(socketio.Conn) error
	onDisconnect func(socketio.Conn, string)
	onError      func(socketio.Conn, error)
}

func (ns *namespace) set(change func(*namespace)) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	change(ns)
}

// The methods below run the user's code. A panic in it would end the process (hazard 35).

func (sock *socket) callOnConnect() (err error) {
	sock.ns.mu.Lock()
	f := sock.ns.onConnect
	sock.ns.mu.Unlock()
	if f == nil {
		return nil
	}
	defer sock.recovered("OnConnect", &err)
	if err = f(sock.s); err != nil {
		_ = err.Error() // a typed nil panics here, where it is caught
	}
	return err
}

func (sock *socket) callOnDisconnect(reason string) {
	sock.ns.mu.Lock()
	f := sock.ns.onDisconnect
	sock.ns.mu.Unlock()
	if f == nil {
		return
	}
	defer sock.recovered("OnDisconnect", nil)
	f(sock.s, reason)
}

func (sock *socket) callOnError(err error) {
	sock.ns.mu.Lock()
	f := sock.ns.onError
	sock.ns.mu.Unlock()
	if f == nil {
		return
	}
	defer sock.recovered("OnError", nil)
	f(sock.s, err)
}

// recovered must be deferred. It makes a panic an error, or logs it where there is none to
// be returned.
func (sock *socket) recovered(callback string, err *error) {
	if p := recover(); p != nil {
		panicked := newPanicError(p)
		if err != nil {
			*err = panicked
			return
		}
		c := sock.conn
		c.auth.logFailure(c.client.Handshake().Context, c.request(sock.name), callback, panicked)
	}
}

// failed is go-socket.io's OnError. The end of a connection is no error here:
// OnDisconnect tells of it. go-socket.io passes a nil Conn for connections that never
// were (hazard 4).
func (a *Authorizer) failed(s socketio.Conn, err error) {
	if s == nil || errors.Is(err, io.EOF) {
		return
	}
	c := a.findConnection(s)
	if c == nil {
		return
	}
	c.mu.Lock()
	sock := c.socket(s.Namespace())
	if sock != nil {
		sock.handlers++
	}
	c.mu.Unlock()
	if sock == nil {
		return
	}
	c.tasks.run(func() {
		defer sock.leaveHandler()
		if sock.accepted {
			sock.callOnError(err)
		}
	})
}
