// Command frameworks mounts the same server in one of four routers, next to a protected route:
//
//	JWT_SECRET='at least 32 random bytes' go run . -router gin
//
// Each has a file of its own: nethttp.go, chi.go, echo.go and gin.go. Two things hold for all:
//
//   - Long polls and WebSockets live as long as the client. Timeouts for handlers
//     (http.TimeoutHandler and the like) and compression do not belong in front of them.
//   - Request logs hold the query, and with it the token of a client that sends it there. Log the
//     path only.
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

// routers are functions that mount the server at /socket.io/ and a protected route at /self.
var routers = map[string]func(*socketiojwt.Authorizer, *socketiojwt.Server) http.Handler{
	"net/http": withNetHTTP,
	"chi":      withChi,
	"echo":     withEcho,
	"gin":      withGin,
}

func newServer(router, secret string) (*socketiojwt.Server, http.Handler, error) {
	mount, found := routers[router]
	if !found {
		return nil, nil, fmt.Errorf("no router %q: use net/http, chi, echo or gin", router)
	}
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.StaticSecret(secret),
		Handshake: true,
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
	sio.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	return sio, mount(auth, sio), nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	router := flag.String("router", "net/http", "net/http, chi, echo or gin")
	flag.Parse()

	sio, handler, err := newServer(*router, os.Getenv("JWT_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	go sio.Serve()
	if err := run(*addr, handler, sio.Shutdown); err != nil {
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
