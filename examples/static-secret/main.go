// Command static-secret is a server whose clients bring their token with the
// handshake. One secret, shared with whatever signs the tokens, verifies all
// of them:
//
//	JWT_SECRET='at least 32 random bytes' go run ./static-secret
//
// A client (socket.io-client 3.x or 4.x; with 1.x and 2.x, { query: { token } } and the event `error`):
//
//	const socket = io('http://127.0.0.1:8080', { auth: { token } });
//	socket.on('welcome', subject => console.log('hello', subject));
//	socket.on('connect_error', refusal => console.log(refusal.message));
package main

import (
	"flag"
	"log"
	"net/http"
	"os"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
	socketio "github.com/googollee/go-socket.io"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	flag.Parse()

	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.StaticSecret(os.Getenv("JWT_SECRET")),
		Handshake: true,
	})
	if err != nil {
		log.Fatal(err)
	}

	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject())
		return nil
	})
	sio.OnEvent("/", "echo", func(_ socketio.Conn, text string) string {
		return text // what a handler returns is the acknowledgement
	})
	go sio.Serve()

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", sio)
	if err := serve.Run(*addr, mux, sio); err != nil {
		log.Fatal(err)
	}
}
