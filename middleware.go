package socketiojwt

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Middleware protects HTTP handlers by the same tokens as the sockets:
//
//	http.Handle("GET /self", auth.Middleware(self))
//
// It takes the token from the header `Authorization: Bearer`, or else from [Options.Cookie] under
// the rules that hold there. It does not take one from the query, which ends up in logs (RFC 6750
// §2.3). next finds the session with [SessionFromContext]. The ID of the session is "", because
// there is no connection.
//
// Without a good token next is not called. The answer is status 401 with the header
// WWW-Authenticate of RFC 6750 §3, 400 where two tokens were sent, or 503 for a refusal that is
// worth retrying. Its body is the refusal as JSON, {"message", "code", "type"}. With
// [Options.Optional], requests without a token pass without a session. Middleware blocks while
// Secret, Revocations and Accept do, at most for [Options.Timeout]. It sends no CORS headers: put a
// handler that does in front.
func (a *Authorizer) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := requestOf(r)
		request.Namespace = ""
		session, err := a.authenticateHTTP(r, request)
		if err != nil {
			a.reportUnauthorized(request, err)
			refuseHTTP(w, err)
			return
		}
		// The session may be nil: without it a guest would have the session of another Middleware
		// around this one.
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionContextKey{}, session)))
	})
}

type sessionContextKey struct{}

// SessionFromContext returns the session that [Authorizer.Middleware] put into the context of a
// request, and whether there is one.
func SessionFromContext(ctx context.Context) (*Session, bool) {
	session, _ := ctx.Value(sessionContextKey{}).(*Session)
	return session, session != nil
}

func (a *Authorizer) authenticateHTTP(r *http.Request, request *Request) (*Session, *UnauthorizedError) {
	raw, err := bearerToken(r.Header)
	if err == nil && raw == "" {
		raw, err = a.cookieToken(request, r.Host)
	}
	switch {
	case err != nil:
		return nil, err
	case raw == "" && a.opts.Optional:
		return nil, nil
	case raw == "":
		return nil, errNoToken()
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.opts.Timeout)
	defer cancel()
	v, err := a.verify(ctx, request, raw)
	if err != nil {
		return nil, err
	}
	return &Session{auth: a, verified: v, authenticatedAt: time.Now()}, nil
}

func refuseHTTP(w http.ResponseWriter, err *UnauthorizedError) {
	status, challenge := http.StatusUnauthorized, `Bearer error="invalid_token"`
	switch {
	case err.retryable():
		status, challenge = http.StatusServiceUnavailable, ""
		w.Header().Set("Retry-After", "1")
	case err.Code == CodeCredentialsBadFormat:
		status, challenge = http.StatusBadRequest, `Bearer error="invalid_request"`
	case err.Code == CodeCredentialsRequired:
		challenge = "Bearer" // RFC 6750 §3.1: no error code for a request that tried nothing
	}
	header := w.Header()
	if challenge != "" {
		header.Set("WWW-Authenticate", challenge)
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	body, encodeErr := json.Marshal(err)
	if encodeErr != nil {
		panic(encodeErr) // an UnauthorizedError can always be encoded
	}
	_, _ = w.Write(body)
}
