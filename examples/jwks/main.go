// Command jwks is a server for tokens of an identity provider (Auth0, Keycloak, Entra ID, Cognito
// and so on), which publishes its keys and changes them when it likes:
//
//	go run . -issuer https://example.eu.auth0.com/ -audience chat
//
// Where the keys are stands in the issuer's discovery document, see keys.go. Without
// -issuer it runs a small provider of its own:
//
//	go run .
//	curl -X POST 'http://127.0.0.1:8080/issuer/token?sub=red'
//	curl -X POST  http://127.0.0.1:8080/issuer/rotate
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"golang.org/x/time/rate"
)

func newServer(keys *issuerKeys, iss, audience string) (*socketiojwt.Server, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.Keyfunc(keys.find),
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
		own, url, err := startProvider(*audience, "")
		if err != nil {
			log.Fatal(err)
		}
		*iss = url
		mux.Handle("/issuer/", http.StripPrefix("/issuer", own))
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	keys, err := followIssuer(ctx, *iss, rate.NewLimiter(rate.Every(10*time.Second), 3))
	if err != nil {
		log.Fatal(err)
	}
	sio, err := newServer(keys, *iss, *audience)
	if err != nil {
		log.Fatal(err)
	}
	go sio.Serve()

	mux.Handle("/socket.io/", sio)
	if err := run(*addr, mux, sio.Shutdown); err != nil {
		log.Fatal(err)
	}
}

// run answers HTTP until SIGINT or SIGTERM. Then shutdown sends the clients away; they come back by
// themselves when there is a server again.
func run(addr string, handler http.Handler, shutdown func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	fmt.Printf("Listening on http://%s (Ctrl-C stops it)\n", listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop() // a second signal ends the process at once

	// 20 seconds or so in production: the clients are sent away one after another.
	grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	// Before HTTP: polling clients fetch their last packets with new requests.
	err = shutdown(grace)
	if web.Shutdown(grace) != nil {
		_ = web.Close() // a browser has opened a connection ahead, and not used it
	}
	return err
}
