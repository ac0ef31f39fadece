package socketiojwt_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/golang-jwt/jwt/v5"
)

func TestMiddleware(t *testing.T) {
	t.Parallel()
	list := socketiojwt.NewMemoryRevocations()
	revoke(t, list, socketiojwt.Revocation{TokenID: "revoked"})
	good := harness.TokenOf(t, "bob")
	bearer := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	cookie := http.Header{"Cookie": {"jwt=" + good}}
	foreign := cookie.Clone()
	foreign.Set("Origin", "https://evil.example")
	broken := socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		return nil, errors.New("internal: no database")
	})
	const (
		nothing = "Bearer"
		invalid = `Bearer error="invalid_token"`
	)
	for _, test := range []struct {
		name      string
		opts      socketiojwt.Options
		query     url.Values
		header    http.Header
		status    int
		challenge string
		body      string
	}{
		{name: "header", header: bearer("bearer " + good), status: 200, body: "bob"},
		{name: "cookie", opts: socketiojwt.Options{Cookie: "jwt"}, header: cookie, status: 200, body: "bob"},
		{name: "optional, none", opts: socketiojwt.Options{Optional: true}, status: 200, body: "a guest"},
		{name: "none", status: 401, challenge: nothing, body: harness.Refusal("credentials_required", "no token provided")},
		{name: "query", query: harness.WithToken(good), status: 401, challenge: nothing, body: harness.Refusal("credentials_required", "no token provided")},
		{name: "cookie, not asked for", header: cookie, status: 401, challenge: nothing, body: harness.Refusal("credentials_required", "no token provided")},
		{name: "cookie of another page", opts: socketiojwt.Options{Cookie: "jwt"}, header: foreign, status: 401, challenge: nothing, body: harness.Refusal("credentials_required", "no token provided")},
		{name: "other scheme", header: bearer("Basic Ym9iOg=="), status: 401, challenge: nothing, body: harness.Refusal("credentials_required", "no token provided")},
		{name: "two headers", header: bearer("Bearer "+good, "Bearer "+good), status: 400, challenge: `Bearer error="invalid_request"`, body: harness.Refusal("credentials_bad_format", "Format is Authorization: Bearer [token]")},
		{name: "malformed", header: bearer("Bearer x"), status: 401, challenge: invalid, body: harness.Refusal("invalid_token", "jwt malformed")},
		{name: "expired", header: bearer("Bearer " + harness.TokenFor(t, "bob", -time.Hour)), status: 401, challenge: invalid, body: harness.Refusal("invalid_token", "jwt expired")},
		{name: "optional, bad", opts: socketiojwt.Options{Optional: true}, header: bearer("Bearer x"), status: 401, challenge: invalid, body: harness.Refusal("invalid_token", "jwt malformed")},
		{name: "revoked", opts: socketiojwt.Options{Revocations: list}, header: bearer("Bearer " + harness.SignHS256(t, jwt.MapClaims{"jti": "revoked"})), status: 401, challenge: invalid, body: harness.Refusal("invalid_token", "jwt revoked")},
		{name: "no secret", opts: socketiojwt.Options{Secret: broken}, header: bearer("Bearer " + good), status: 503, body: harness.Refusal("invalid_secret", "secret unavailable")},
	} {
		t.Run(test.name, func(t *testing.T) {
			auth := harness.Authorize(t, test.opts)
			handler := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				who := "a guest"
				if session, ok := socketiojwt.SessionFromContext(r.Context()); ok {
					who = session.Subject()
				}
				_, _ = io.WriteString(w, who)
			}))
			r := httptest.NewRequest(http.MethodGet, "/self?"+test.query.Encode(), nil)
			r.Header = test.header
			if r.Header == nil {
				r.Header = http.Header{}
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != test.status || w.Header().Get("WWW-Authenticate") != test.challenge || w.Body.String() != test.body {
				t.Errorf("got %d, %q, %s", w.Code, w.Header().Get("WWW-Authenticate"), w.Body)
			}
			refused := 0
			for _, n := range auth.Stats().Refused {
				refused += int(n)
			}
			if (test.status != 200) != (refused == 1) {
				t.Errorf("%d were counted as refused", refused)
			}
		})
	}
}

// A guest of one Authorizer is not somebody whom another let in before.
func TestMiddlewareInMiddleware(t *testing.T) {
	t.Parallel()
	outer := harness.Authorize(t, socketiojwt.Options{Cookie: "one"})
	inner := harness.Authorize(t, socketiojwt.Options{Cookie: "two", Optional: true})
	handler := outer.Middleware(inner.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if session, ok := socketiojwt.SessionFromContext(r.Context()); ok {
			t.Errorf("a guest has the session of %s", session.Subject())
		}
	})))
	r := httptest.NewRequest(http.MethodGet, "/self", nil)
	r.Header.Set("Cookie", "one="+harness.TokenOf(t, "bob"))
	handler.ServeHTTP(httptest.NewRecorder(), r)
}
