// Command per-user-secret is a server where every tenant signs its own tokens
// with a secret of its own, and clients send the token with an `authenticate`
// event once they are connected:
//
//	go run .
//
// A client (socket.io-client 1.x to 4.x):
//
//	const socket = io('http://127.0.0.1:8080');
//	socket.on('connect', () => socket.emit('authenticate', { token }));
//	socket.on('authenticated', () => socket.emit('whoami', console.log));
//	socket.on('unauthorized', refusal => console.log(refusal.message));
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
)

// tenants stands for a table in your database. Real secrets do not stand in
// the source.
type tenants map[string]string

// secret is a query that takes its time, as one to a database does, and gives
// up when nobody waits for its answer any more.
func (t tenants) secret(ctx context.Context, tenant string) (secret string, found bool, err error) {
	select {
	case <-time.After(5 * time.Millisecond):
		secret, found = t[tenant]
		return secret, found, nil
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
}

// tenantOf returns the claim `tenant`. No tenant has a slash in its name.
func tenantOf(token *jwt.Token) string {
	claims, _ := token.Claims.(jwt.MapClaims)
	tenant, _ := claims["tenant"].(string)
	return tenant
}

func subjectOf(token *jwt.Token) string {
	subject, _ := token.Claims.GetSubject()
	return subject
}

func newServer(db tenants) (*socketiojwt.Server, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		// ctx ends when the client's time to authenticate is over or the client
		// is gone: hand it to whatever is asked for the secret.
		Secret: socketiojwt.SecretFunc(func(ctx context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
			// Nothing in the token is verified yet. What it says may choose the
			// secret that will prove it right or wrong, and nothing else.
			secret, found, err := db.secret(ctx, tenantOf(token))
			if err != nil {
				return nil, err // logged; the client is told `secret unavailable`
			}
			if !found {
				// The answer to a wrong signature, so that nobody can find out
				// which tenants there are.
				return nil, &socketiojwt.UnauthorizedError{Code: "invalid_token", Message: "invalid signature"}
			}
			return secret, nil
		}),
		// Every tenant has a user 42. Whose a token is decides what renews a session, and
		// what DisconnectUser ends.
		Identity: func(token *jwt.Token) string {
			return tenantOf(token) + "/" + subjectOf(token)
		},
		// The room of all sockets of a user.
		UserRoom: func(session *socketiojwt.Session) string { return "user:" + session.Identity() },
		Timeout:  10 * time.Second,
	})
	if err != nil {
		return nil, err
	}

	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnEvent("/", "whoami", func(s socketio.Conn) string {
		session, _ := auth.Session(s)
		return session.Subject() + " of " + tenantOf(session.Token())
	})
	// A message to the other devices of the same user.
	sio.OnEvent("/", "note", func(s socketio.Conn, text string) {
		session, _ := auth.Session(s)
		sio.In("/", "user:"+session.Identity()).Except(s.ID()).Emit("note", text)
	})
	sio.OnEvent("/", "log out everywhere", func(s socketio.Conn) {
		session, _ := auth.Session(s)
		reason := &socketiojwt.UnauthorizedError{Code: "logged_out", Message: "you have logged out"}
		if _, err := auth.DisconnectUser(context.Background(), session.Identity(), reason); err != nil {
			log.Print(err)
		}
	})
	return sio, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	flag.Parse()

	sio, err := newServer(tenants{
		"north": "the secret of north, at least 32 bytes",
		"south": "the secret of south, at least 32 bytes",
	})
	if err != nil {
		log.Fatal(err)
	}
	go sio.Serve()

	mux := http.NewServeMux()
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
