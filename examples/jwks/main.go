// Command jwks is a server for tokens of an identity provider (Auth0, Keycloak, Entra ID, Cognito
// and so on), which publishes its keys and changes them when it likes:
//
//	go run ./jwks -issuer https://example.eu.auth0.com/ -audience chat
//
// Where the keys are stands in the issuer's discovery document, see ../internal/issuer. Without
// -issuer it runs a small provider of its own:
//
//	go run ./jwks
//	curl -X POST 'http://127.0.0.1:8080/issuer/token?sub=red'
//	curl -X POST  http://127.0.0.1:8080/issuer/rotate
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/examples/internal/issuer"
	"github.com/go-socketiojwt/socketiojwt/examples/internal/provider"
	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"golang.org/x/time/rate"
)

func newServer(keys *issuer.Keys, iss, audience string) (*socketiojwt.Server, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.Keyfunc(keys.Keyfunc),
		Handshake: true,
		// A provider signs tokens for many servers and purposes. These say which are for this one.
		Methods: []string{"RS256"},
		ParserOptions: []jwt.ParserOption{
			jwt.WithIssuer(iss),
			jwt.WithAudience(audience),
			jwt.WithExpirationRequired(),
		},
	})
	if err != nil {
		return nil, err
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject())
		return nil
	})
	return sio, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	iss := flag.String("issuer", "", "the issuer, which is the `iss` that tokens must have (default: a provider of its own)")
	audience := flag.String("audience", "chat", "the `aud` that tokens must have")
	flag.Parse()

	mux := http.NewServeMux()
	if *iss == "" {
		own, url, err := provider.Start(*audience, "")
		if err != nil {
			log.Fatal(err)
		}
		*iss = url
		mux.Handle("/issuer/", http.StripPrefix("/issuer", own))
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	keys, err := issuer.Follow(ctx, *iss, rate.NewLimiter(rate.Every(10*time.Second), 3))
	if err != nil {
		log.Fatal(err)
	}
	sio, err := newServer(keys, *iss, *audience)
	if err != nil {
		log.Fatal(err)
	}
	go sio.Serve()

	mux.Handle("/socket.io/", sio)
	if err := serve.Run(*addr, mux, sio); err != nil {
		log.Fatal(err)
	}
}
