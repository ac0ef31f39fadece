package socketiojwt_test

import (
	"fmt"
	"log"
	"net/http"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
)

func Example() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.StaticSecret("your secret or public key"),
		Handshake: true, // false: wait for an `authenticate` event
	})
	if err != nil {
		log.Fatal(err)
	}

	server := socketio.NewServer(socketiojwt.Harden(nil)) // was: socketio.NewServer(nil)
	sio := auth.Protect(server)                           // the drop-in: use sio where server was used

	sio.OnConnect("/", func(s socketio.Conn) error { // runs once the socket is authenticated
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject())
		return nil
	})
	sio.OnEvent("/", "chat", func(s socketio.Conn, msg string) { // never runs before that
		sio.BroadcastToNamespace("/", "chat", msg)
	})

	go sio.Serve()
	defer sio.Close()

	http.Handle("/socket.io/", sio) // bad tokens stop here, before a session exists
	fmt.Println("listen with http.ListenAndServe")
	// Output: listen with http.ListenAndServe
}
