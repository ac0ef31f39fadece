package socketiojwt

import (
	"context"
	"fmt"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/googollee/go-socket.io/engineio/session"
	"github.com/googollee/go-socket.io/parser"

	socketio "github.com/googollee/go-socket.io"
)

// userRoom asks the user's code for a session's room.
func (a *Authorizer) userRoom(sock *socket, session *Session) (room string) {
	if a.opts.UserRoom != nil {
		a.run("UserRoom", sock.request(), func() { room = a.opts.UserRoom(session) })
	}
	return room
}

// reportAuthenticated tells the user's code and the log of an authenticated socket.
func (a *Authorizer) reportAuthenticated(sock *socket, session *Session) {
	a.log.Debug("socketiojwt: authenticated", "namespace", sock.name, "remote", sock.conn.client.Handshake().RemoteAddr)
	if a.opts.OnAuthenticated != nil {
		a.run("OnAuthenticated", sock.request(), func() { a.opts.OnAuthenticated(sock.sio.User(), session) })
	}
}

// reportRefreshed tells the user's code and the log of a newer token.
func (a *Authorizer) reportRefreshed(sock *socket, before, after *Session) {
	a.log.Debug("socketiojwt: refreshed", "namespace", sock.name, "remote", sock.conn.client.Handshake().RemoteAddr)
	if a.opts.OnRefreshed != nil {
		a.run("OnRefreshed", sock.request(), func() { a.opts.OnRefreshed(sock.sio.User(), before, after) })
	}
}

// reportUnauthorized tells the user's code and the log of a refusal.
func (a *Authorizer) reportUnauthorized(r *Request, err *UnauthorizedError) {
	a.stats.count(func(s *Stats) { s.refused(err) })
	a.log.Debug("socketiojwt: refused", "code", err.Code, "message", err.Message,
		"namespace", r.Namespace, "remote", r.RemoteAddr)
	a.callOnUnauthorized(r, err)
}

// reportEnded tells the user's code and the log of a session that was ended.
func (a *Authorizer) reportEnded(r *Request, session *Session, err *UnauthorizedError) {
	a.log.Debug("socketiojwt: a session ended", "code", err.Code, "message", err.Message, "remote", r.RemoteAddr)
	a.callOnUnauthorized(r, err)
	if a.opts.OnEnded != nil {
		a.run("OnEnded", r, func() { a.opts.OnEnded(session, err) })
	}
}

func (a *Authorizer) callOnUnauthorized(r *Request, err *UnauthorizedError) {
	if a.opts.OnUnauthorized != nil {
		a.run("OnUnauthorized", r, func() { a.opts.OnUnauthorized(r, err) })
	}
}

// run runs the user's code and waits for it. It gets a goroutine of its own, because it may
// end that (runtime.Goexit, as (*testing.T).FailNow does): ours is in the middle of something.
func (a *Authorizer) run(callback string, r *Request, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				a.logFailure(context.Background(), r, callback, newPanicError(p))
			}
		}()
		f()
	}()
	<-done
}

// warnNotHardened says once why every client of a server is refused.
func (a *Authorizer) warnNotHardened() {
	a.unhardened.Do(func() {
		a.alarm("socketiojwt: every client is refused, because the server does not use Harden's transports; make it with " + hardenedServer)
	})
}

// warnNoGate says once that Protect's gate is not in front.
func (a *Authorizer) warnNoGate() {
	a.ungated.Do(func() {
		a.alarm("socketiojwt: clients connect without passing the gate, because the server itself is served; serve the result of Protect")
	})
}

// warnUndrained says that go-socket.io's server was closed while clients could still come.
func (a *Authorizer) warnUndrained() {
	a.log.Warn("socketiojwt: the server was closed without Authorizer.Drain; a client that connects in the same moment ends the process")
}

// warnOtherUser says once why clients cannot renew their sessions.
func (a *Authorizer) warnOtherUser() {
	a.otherUser.Do(func() {
		a.log.Warn("socketiojwt: a client sent a token of another user, or one without identity, to renew its session, and was told `jwt subject changed`; Options.Identity says whose a token is")
	})
}

// warnNotHijacked says once why WebSockets are refused.
func (a *Authorizer) warnNotHijacked(err error) {
	a.unhijacked.Do(func() {
		a.alarm("socketiojwt: WebSockets are refused, because the http.ResponseWriter cannot be hijacked; give the one that wraps it the method Hijack, or Unwrap for http.ResponseController", "error", err.Error())
	})
}

// warnUnregistered says once why handlers are never called.
func (a *Authorizer) warnUnregistered(namespace string) {
	a.strangers.Do(func() {
		a.alarm("socketiojwt: handlers and hooks of a protected namespace are never called, because they were registered on the server itself; register them through the result of Protect", "namespace", namespace)
	})
}

// alarm logs a mistake in the program that makes it useless or less safe, even without a
// Logger.
func (a *Authorizer) alarm(message string, attrs ...any) {
	a.logger().Error(message, attrs...)
}

// refuseForeign turns away a client that came over go-socket.io's own transports, as well
// as those allow: nothing makes sure that the reason arrives.
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
