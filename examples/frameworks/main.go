// Command frameworks mounts the same server in one of four routers, next to a protected route:
//
//	JWT_SECRET='at least 32 random bytes' go run ./frameworks -router gin
//
// Each has a file of its own: nethttp.go, chi.go, echo.go and gin.go. Two things hold for all:
//
//   - Long polls and WebSockets live as long as the client. Timeouts for handlers
//     (http.TimeoutHandler and the like) and compression do not belong in front of them.
//   - Request logs hold the query, and with it the token of a client that sends it there. Log the
//     path only.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
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
	if err := serve.Run(*addr, handler, sio); err != nil {
		log.Fatal(err)
	}
}
