package socketiojwt

import (
	"fmt"
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"

	socketio "github.com/googollee/go-socket.io"
)

// namespace is what the application registered for a namespace through Server. Where the hooks are
// used one by one nothing is.
type namespace struct {
	protected bool
	server    *Server        // nil with the hooks one by one
	sio       *sio.Namespace // nil with the hooks one by one

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

// hearsErrors reports whether there is an OnError.
func (ns *namespace) hearsErrors() bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.onError != nil
}

// The methods below run the application's code. A panic in it would end the process (hazard 35).

func (sock *socket) callOnConnect() (err error) {
	sock.ns.mu.Lock()
	f := sock.ns.onConnect
	sock.ns.mu.Unlock()
	if f == nil {
		return nil
	}
	defer sock.recovered("OnConnect", &err)
	if err = f(sock.sio.User()); err != nil {
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
	f(sock.sio.User(), reason)
}

func (sock *socket) callOnError(err error) {
	sock.ns.mu.Lock()
	f := sock.ns.onError
	sock.ns.mu.Unlock()
	if f == nil {
		return
	}
	defer sock.recovered("OnError", nil)
	f(sock.sio.User(), err)
}

// recovered must be deferred. It turns a panic into *err, or logs it where err is nil.
func (sock *socket) recovered(callback string, err *error) {
	if p := recover(); p != nil {
		if err != nil {
			*err = newPanicError(p)
			return
		}
		sock.panicked(callback, p)
	}
}

// panicked logs what the deferred function that calls it recovered.
func (sock *socket) panicked(callback string, p any) {
	c := sock.conn
	c.auth.logFailure(c.client.Handshake().Context, c.request(sock.name), callback, newPanicError(p))
}

// onError tells the application's OnError, in the lane. Without one the error is logged: it is most
// likely a mistake in a handler's types.
func (sock *socket) onError(err error) {
	switch {
	case !sock.ns.hearsErrors():
		sock.conn.auth.log.Warn("socketiojwt: an event was dropped", "error", describe(err),
			"namespace", sock.name, "remote", sock.conn.client.Handshake().RemoteAddr)
	case sock.accepted:
		sock.callOnError(err)
	}
}

// describe returns the text of an error. The error may hold one of the application's, whose Error
// panics.
func describe(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T whose Error panics", err)
		}
	}()
	return err.Error()
}
