// Command rooms is a server whose clients ask for the rooms that they want to be in; their tokens
// say which they may have. docs/rooms.md says more.
//
//	JWT_SECRET='at least 32 random bytes' go run .
//
// A client (socket.io-client 3.x or 4.x; with 1.x and 2.x, { query: { token } }) whose token has
// "teams": ["blue"]:
//
//	const socket = io('http://127.0.0.1:8080', { auth: { token } });
//	socket.on('said', (team, from, text) => console.log(team, from, text));
//	socket.emit('join', 'blue', answer => console.log(answer)); // joined, or forbidden
//	socket.emit('say', 'blue', 'hello');
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

func newServer(secret string) (*socketiojwt.Server, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:      socketiojwt.StaticSecret(secret),
		Handshake:   true,
		NewClaims:   func() jwt.Claims { return &claims{} },
		UserRoom:    func(s *socketiojwt.Session) string { return "user:" + s.Subject() },
		OnRefreshed: leaveLost,
	})
	if err != nil {
		return nil, err
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	register(sio, auth)
	sio.OnEvent("/", "leave", func(s socketio.Conn, team string) {
		s.Leave("team:" + team)
	})
	// A message for one user, which nobody else is to hear.
	sio.OnEvent("/", "tell", func(s socketio.Conn, to, text string) {
		session, _ := auth.Session(s)
		sio.In("/", "user:"+to).Emit("told", session.Subject(), text)
	})
	return sio, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	flag.Parse()

	sio, err := newServer(os.Getenv("JWT_SECRET"))
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
