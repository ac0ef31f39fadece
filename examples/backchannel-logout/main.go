// Command backchannel-logout is a server whose sockets end when their user logs out at the identity
// provider (Keycloak, Auth0, Entra ID and so on), by OpenID Connect Back-Channel Logout 1.0:
//
//	go run . -issuer https://id.example.com/realms/chat -audience chat -client-id chat-web
//
// Register https://your.host/backchannel-logout there as the backchannel_logout_uri of the client,
// and ask for sessions (backchannel_logout_session_required); docs/backchannel-logout.md says more.
// Without -issuer it runs a small provider of its own:
//
//	go run .
//	curl -X POST 'http://127.0.0.1:8080/issuer/token?sub=red&sid=1'
//	logout=$(curl -X POST 'http://127.0.0.1:8080/issuer/logout-token?sub=red&sid=1')
//	curl -d logout_token=$logout http://127.0.0.1:8080/backchannel-logout
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

type config struct{ issuer, audience, clientID string }

func newServer(keys jwt.Keyfunc, c config, revocations socketiojwt.Revocations) (*socketiojwt.Server, http.Handler, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.Keyfunc(keys),
		Handshake: true,
		Methods:   []string{"RS256"},
		ParserOptions: []jwt.ParserOption{
			jwt.WithIssuer(c.issuer),
			jwt.WithAudience(c.audience),
			jwt.WithExpirationRequired(),
		},
		Accept:      accept,
		Revocations: revocations,
	})
	if err != nil {
		return nil, nil, err
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject())
		return nil
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", sio)
	mux.Handle("POST /backchannel-logout", newLogout(keys, c.issuer, c.clientID, revocations))
	return sio, mux, nil
}

// accept refuses tokens that are for something else, and those that no log-out would end.
func accept(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
	refuse := func(message string) (any, error) {
		return nil, &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeInvalidToken, Message: message}
	}
	claims := token.Claims.(jwt.MapClaims)
	if _, isLogout := claims["events"]; isLogout {
		return refuse("jwt of another type") // signed with the same keys: it must not open a session (RFC 8725 §3.12)
	}
	// Leave this out where the provider knows no sessions, and sends logout tokens without `sid`.
	if sid, _ := claims["sid"].(string); sid == "" {
		return refuse("jwt claim required")
	}
	// Later than that a revocation is forgotten.
	if exp, err := claims.GetExpirationTime(); err != nil || exp == nil || time.Until(exp.Time) > longestToken {
		return refuse("jwt good for too long")
	}
	return nil, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	var c config
	flag.StringVar(&c.issuer, "issuer", "", "the issuer, which is the `iss` that tokens must have (default: a provider of its own)")
	flag.StringVar(&c.audience, "audience", "chat", "the `aud` that tokens of sessions must have")
	flag.StringVar(&c.clientID, "client-id", "chat-web", "the client's ID at the issuer, which is the `aud` that logout tokens must have")
	flag.Parse()

	mux := http.NewServeMux()
	if c.issuer == "" {
		own, url, err := startProvider(c.audience, c.clientID)
		if err != nil {
			log.Fatal(err)
		}
		c.issuer = url
		mux.Handle("/issuer/", http.StripPrefix("/issuer", own))
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	keys, err := followIssuer(ctx, c.issuer, rate.NewLimiter(rate.Every(10*time.Second), 3))
	if err != nil {
		log.Fatal(err)
	}
	// For several nodes: redisrevoke.New, so that all of them hear of a log-out that one is told
	// of.
	sio, handler, err := newServer(keys.find, c, socketiojwt.NewMemoryRevocations())
	if err != nil {
		log.Fatal(err)
	}
	go sio.Serve()

	mux.Handle("/", handler)
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
