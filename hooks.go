package socketiojwt

import (
	"fmt"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio/session"
	"github.com/googollee/go-socket.io/parser"
)

// OnConnect is the connect-hook of a namespace, for servers that use the hooks one by one:
//
//	server.OnConnect("/", auth.OnConnect)
//
// In handshake mode it finds the session that the gate of Handler left, or verifies the token of
// the handshake. Otherwise it starts the round trip. It returns nil at once: the verification runs
// in a goroutine, which also tells a refused client why and disconnects it.
//
// Until the socket is admitted, no handler of the namespace runs and no broadcast reaches the
// client. A namespace without the hook is public.
func (a *Authorizer) OnConnect(s socketio.Conn) error {
	a.hook(s)
	return nil
}

// OnAuthenticate is the handler of the `authenticate` event, for servers that use the hooks one by
// one:
//
//	server.OnEvent("/", "authenticate", auth.OnAuthenticate)
//
// It verifies the token in data and answers with `authenticated` or `unauthorized`. On a socket
// that is authenticated already, in either mode, a good token of the same user takes the place of
// the old one; a bad one changes nothing. OnAuthenticate blocks until the token is verified. That
// holds up the events of this connection and of no other.
func (a *Authorizer) OnAuthenticate(s socketio.Conn, data AuthenticateData) {
	c := a.findConnection(s)
	if c == nil {
		return // OnConnect refused it, or was never asked
	}
	if sock := c.socketOf(s); sock != nil {
		if answer := sock.authenticate(data); answer != nil {
			answer()
		}
	}
}

// OnDisconnect is the disconnect-hook of a namespace, for servers that use the hooks one by one. An
// application's own OnDisconnect may call it. go-socket.io runs that for strangers too: Session
// returns nil and false there, and a panic ends the process. OnDisconnect does not block.
func (a *Authorizer) OnDisconnect(s socketio.Conn, _ string) {
	if c := a.findConnection(s); c != nil {
		if sock := c.socketOf(s); sock != nil {
			c.left(sock)
		}
	}
}

// hook takes a socket that go-socket.io is connecting. It waits for nothing, because go-socket.io
// calls it inside OnConnect: what blocks there while a broadcast runs deadlocks the namespace
// (hazard 2), and broadcasts reach the socket already (hazard 13).
func (a *Authorizer) hook(s socketio.Conn) {
	c := a.connectionOf(s)
	if c == nil {
		a.warnNotHardened()
		go refuseForeign(s)
		return
	}
	c.sio.Guard(normalise(s.Namespace()), s, func(guarded *sio.Socket) {
		c.newSocket(guarded, &namespace{protected: true}).decideInTurn()
	})
}

// refuseForeign refuses a client that came over go-socket.io's own transports. Those cannot promise
// that the reason arrives.
func refuseForeign(s socketio.Conn) {
	if w, ok := s.(parser.FrameWriter); ok {
		name := normalise(s.Namespace())
		for _, packet := range []fmt.Stringer{sio.ErrorFrame(name, errAuthenticationRequired()), sio.DisconnectFrame(name)} {
			f, err := w.NextWriter(session.TEXT)
			if err != nil {
				break
			}
			_, _ = f.Write([]byte(packet.String()))
			_ = f.Close()
		}
	}
	_ = s.Close()
}
