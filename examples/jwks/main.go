// Command jwks is a server for tokens of an identity provider (Auth0, Keycloak, Entra ID, Cognito
// and so on), which publishes its keys and changes them when it likes:
//
//	go run ./jwks -jwks https://example.eu.auth0.com/.well-known/jwks.json \
//		-issuer https://example.eu.auth0.com/ -audience chat
//
// Without -jwks it runs a small provider of its own:
//
//	go run ./jwks
//	curl -X POST 'http://127.0.0.1:8080/issuer/token?sub=red'
//	curl -X POST  http://127.0.0.1:8080/issuer/rotate
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"golang.org/x/time/rate"
)

// lookupTime is how long one look at the endpoint may take. It is shorter than Options.Timeout,
// so that a client is told before its time is over.
const lookupTime = 3 * time.Second

// keysOf follows the keys that are published at url until ctx ends. An endpoint that is down is no
// error, at start or later: the keys that are known stay good, and clients with other keys are
// told `invalid_secret`, on which they try again.
//
// Anybody can send tokens with a `kid` that does not exist, and each makes it look for new keys.
// So looks bounds how often that happens, for all clients together.
func keysOf(ctx context.Context, url string, looks *rate.Limiter) (keyfunc.Keyfunc, error) {
	return keyfunc.NewDefaultOverrideCtx(ctx, []string{url}, keyfunc.Override{
		RefreshInterval:   5 * time.Minute, // after which a key that was withdrawn is good no more
		RefreshUnknownKID: looks,
		RateLimitWaitMax:  lookupTime,
		HTTPTimeout:       lookupTime,
	})
}

func newServer(keys keyfunc.Keyfunc, issuer, audience string) (*socketiojwt.Server, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		// Not tied to the context of one client: others wait for the same keys.
		Secret:    socketiojwt.Keyfunc(keys.Keyfunc),
		Handshake: true,
		// A provider signs tokens for many servers and purposes. These say which are for this one.
		Methods: []string{"RS256"},
		ParserOptions: []jwt.ParserOption{
			jwt.WithIssuer(issuer),
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
	url := flag.String("jwks", "", "where the keys are published (default: a provider of its own)")
	issuer := flag.String("issuer", "https://issuer.example/", "the `iss` that tokens must have")
	audience := flag.String("audience", "chat", "the `aud` that tokens must have")
	flag.Parse()

	mux := http.NewServeMux()
	if *url == "" {
		provider, err := newProvider(*issuer, *audience)
		if err != nil {
			log.Fatal(err)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		go http.Serve(listener, provider)
		*url = "http://" + listener.Addr().String() + "/jwks.json"
		mux.Handle("/issuer/", http.StripPrefix("/issuer", provider))
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	keys, err := keysOf(ctx, *url, rate.NewLimiter(rate.Every(10*time.Second), 3))
	if err != nil {
		log.Fatal(err)
	}
	sio, err := newServer(keys, *issuer, *audience)
	if err != nil {
		log.Fatal(err)
	}
	go sio.Serve()

	mux.Handle("/socket.io/", sio)
	if err := serve.Run(*addr, mux, sio); err != nil {
		log.Fatal(err)
	}
}
