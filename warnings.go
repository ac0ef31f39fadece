package socketiojwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// warnNotHardened says once why every client of a server is refused. It is for the hooks one by
// one: Protect panics.
func (a *Authorizer) warnNotHardened() {
	a.unhardened.Do(func() {
		a.alarm("socketiojwt: every client is refused, because the server does not use Harden's transports; make it with " + hardenedServer)
	})
}

// warnNoGate says once that requests do not pass Protect's gate.
func (a *Authorizer) warnNoGate() {
	a.ungated.Do(func() {
		a.alarm("socketiojwt: clients connect without passing the gate, because the server itself is served; serve the result of Protect")
	})
}

// warnUndrained says that go-socket.io's server was closed while clients could still connect. It is
// for the hooks one by one: Server.Close drains.
func (a *Authorizer) warnUndrained() {
	a.log.Warn("socketiojwt: the server was closed without Authorizer.Drain; a client that connects in the same moment ends the process")
}

// warnOtherUser says once why clients cannot renew their sessions.
func (a *Authorizer) warnOtherUser() {
	a.otherUser.Do(func() {
		a.log.Warn("socketiojwt: a client sent a token of another user, or one without identity, to renew its session, and was told `jwt subject changed`; Options.Identity says whose a token is")
	})
}

// warnMisfit says once for each address why tokens are refused as malformed that are not: the type
// of NewClaims has another type for a claim. It names the field and its type, and not what the token
// has there. Nobody has verified the token: one that a stranger made must not hide what is wrong
// with the others.
func (a *Authorizer) warnMisfit(r *Request, err error) {
	var misfit *json.UnmarshalTypeError
	if !errors.As(err, &misfit) || misfit.Field == "" { // "": it is no object
		return
	}
	if a.notices.first("misfit", r.RemoteAddr) {
		a.log.Warn("socketiojwt: a token was refused as `jwt malformed`, because a claim does not fit the type that Options.NewClaims returns",
			"reason", fmt.Sprintf("%s is no %s in the token", misfit.Field, misfit.Type), "remote", r.RemoteAddr)
	}
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

// warnNoSlash says why handlers are never called.
func (a *Authorizer) warnNoSlash(namespace string) {
	a.alarm("socketiojwt: handlers of a namespace are never called, because its name does not start with a slash", "namespace", namespace)
}

// alarm logs a mistake in the program that makes it useless or less safe, even without a Logger.
func (a *Authorizer) alarm(message string, attrs ...any) {
	a.logger().Error(message, attrs...)
}

// logger returns the log for panics and mistakes in the program: slog.Default without a Logger.
func (a *Authorizer) logger() *slog.Logger {
	if a.opts.Logger == nil {
		return slog.Default()
	}
	return a.opts.Logger
}
