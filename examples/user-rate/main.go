// Command user-rate is a chat whose users may say so much in so much time, with all their sockets
// together. docs/user-rate.md says more.
//
//	JWT_SECRET='at least 32 random bytes' go run . -every 500ms -burst 10
//
// A client (socket.io-client 3.x or 4.x; with 1.x and 2.x, { query: { token } }):
//
//	const socket = io('http://127.0.0.1:8080', { auth: { token } });
//	socket.on('chat', (from, text) => console.log(from, text));
//	socket.emit('chat', 'hello', answer => console.log(answer)); // sent, or slow down
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
	socketio "github.com/googollee/go-socket.io"
)

func newServer(secret string, l *limits) (*socketiojwt.Server, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.StaticSecret(secret),
		Handshake: true,
	})
	if err != nil {
		return nil, err
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		if session.Identity() == "" { // nobody's: its token has no `sub`
			return &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeInvalidToken, Message: "jwt claim required"}
		}
		l.join(session.Identity()) // the last that may fail: OnDisconnect follows where this returns nil
		return nil
	})
	sio.OnDisconnect("/", func(s socketio.Conn, _ string) {
		session, _ := auth.Session(s)
		l.leave(session.Identity()) // the same: a newer token has to be of the same identity
	})
	sio.OnEvent("/", "chat", limited(l, auth, func(s socketio.Conn, text string) string {
		session, _ := auth.Session(s)
		sio.BroadcastToNamespace("/", "chat", session.Subject(), text)
		return "sent"
	}, "slow down"))
	return sio, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	every := flag.Duration("every", 500*time.Millisecond, "time for one message of a user")
	burst := flag.Int("burst", 10, "messages that a user may send at once")
	flag.Parse()

	sio, err := newServer(os.Getenv("JWT_SECRET"), newLimits(*every, *burst))
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
