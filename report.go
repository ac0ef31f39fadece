package socketiojwt

import "context"

// userRoom asks the application for the room of a session.
func (a *Authorizer) userRoom(sock *socket, session *Session) (room string) {
	if a.opts.UserRoom != nil {
		a.run("UserRoom", sock.request(), func() { room = a.opts.UserRoom(session) })
	}
	return room
}

// reportAuthenticated tells the log and the application of an authenticated socket.
func (a *Authorizer) reportAuthenticated(sock *socket, session *Session) {
	a.log.Debug("socketiojwt: authenticated", "namespace", sock.name, "remote", sock.conn.client.Handshake().RemoteAddr)
	if a.opts.OnAuthenticated != nil {
		a.run("OnAuthenticated", sock.request(), func() { a.opts.OnAuthenticated(sock.sio.User(), session) })
	}
}

// reportRefreshed tells the log and the application of a newer token.
func (a *Authorizer) reportRefreshed(sock *socket, before, after *Session) {
	a.log.Debug("socketiojwt: refreshed", "namespace", sock.name, "remote", sock.conn.client.Handshake().RemoteAddr)
	if a.opts.OnRefreshed != nil {
		a.run("OnRefreshed", sock.request(), func() { a.opts.OnRefreshed(sock.sio.User(), before, after) })
	}
}

// reportUnauthorized tells the log and the application of a refusal.
func (a *Authorizer) reportUnauthorized(r *Request, err *UnauthorizedError) {
	a.stats.count(func(s *Stats) { s.refused(err) })
	a.log.Debug("socketiojwt: refused", "code", err.Code, "message", err.Message,
		"namespace", r.Namespace, "remote", r.RemoteAddr)
	a.callOnUnauthorized(r, err)
}

// reportEnded tells the log and the application of a session that was ended.
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

// run runs a function of the application and waits for it. The function gets a goroutine of its
// own, because it may end that (runtime.Goexit, as (*testing.T).FailNow does), and the caller is in
// the middle of something.
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
