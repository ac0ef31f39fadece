package socketiojwt_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// BenchmarkGate is the verification path, request in and session out, against
// jwt.Parser.ParseWithClaims with the same token.
func BenchmarkGate(b *testing.B) {
	keys := keyPairs()
	for _, c := range []struct {
		method          jwt.SigningMethod
		private, public any
	}{
		{jwt.SigningMethodHS256, []byte(testSecret), []byte(testSecret)},
		{jwt.SigningMethodRS256, keys.rsa, &keys.rsa.PublicKey},
		{jwt.SigningMethodES256, keys.p256, &keys.p256.PublicKey},
		{jwt.SigningMethodEdDSA, keys.ed, keys.edPublic},
	} {
		method, public := c.method, c.public
		raw := signWith(b, method, c.private, benchmarkClaims())
		parser, keyfunc := jwt.NewParser(), func(*jwt.Token) (any, error) { return public, nil }
		floor := func() {
			if _, err := parser.ParseWithClaims(raw, jwt.MapClaims{}, keyfunc); err != nil {
				b.Fatal(err)
			}
		}
		secret := socketiojwt.StaticSecret(public)
		b.Run(method.Alg(), func(b *testing.B) {
			sideBySide(b, gateOnly(b, socketiojwt.Options{Secret: secret}, raw), floor)
		})
		if method != jwt.SigningMethodHS256 {
			continue
		}
		b.Run(method.Alg()+" with SecretFunc and Accept", func(b *testing.B) {
			sideBySide(b, gateOnly(b, socketiojwt.Options{
				Secret: secretReturning(public),
				Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { return "bob", nil },
			}, raw), floor)
		})
		b.Run(method.Alg()+" with Revocations", func(b *testing.B) {
			sideBySide(b, gateOnly(b, socketiojwt.Options{
				Secret:      secret,
				Revocations: socketiojwt.NewMemoryRevocations(),
			}, raw), floor)
		})
	}
}

func benchmarkClaims() jwt.MapClaims {
	now := time.Now().Unix()
	return jwt.MapClaims{"sub": "user-1234567", "name": "Bob", "iss": "https://issuer.example/", "aud": "chat", "iat": now, "exp": now + 3600, "jti": "c0ffee"}
}

// gateOnly returns a function that takes a handshake request through a gate to its session.
// What comes after that is go-socket.io's work.
func gateOnly(b *testing.B, opts socketiojwt.Options, raw string) func() {
	opts.Handshake = true
	auth := mustAuthorize(b, opts)
	server := socketio.NewServer(hardened())
	b.Cleanup(func() { server.Close() })
	var session *socketiojwt.Session
	gate := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if upstream.IsProbe(r) {
			server.ServeHTTP(w, r)
			return
		}
		session = auth.SessionOfGate(r)
	}))
	// net/http's request contexts can be cancelled.
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(cancel)
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/socket.io/?EIO=3&transport=websocket&token="+raw, nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	w := httptest.NewRecorder()
	return func() {
		session = nil
		gate.ServeHTTP(w, r)
		if session == nil {
			b.Fatal("refused: ", w.Body)
		}
	}
}

// BenchmarkRefusal is the gate's answer to a token that was signed with another key.
func BenchmarkRefusal(b *testing.B) {
	auth := mustAuthorize(b, socketiojwt.Options{Handshake: true})
	server := socketio.NewServer(hardened())
	defer server.Close()
	gate := auth.Handler(server)
	raw := signWith(b, jwt.SigningMethodHS256, []byte("another secret, also of 32 bytes"), benchmarkClaims())
	r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=3&transport=polling&token="+raw, nil)
	b.ReportAllocs()
	for b.Loop() {
		gate.ServeHTTP(httptest.NewRecorder(), r)
	}
}
