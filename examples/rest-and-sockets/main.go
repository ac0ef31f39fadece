// Command rest-and-sockets is a REST API and a socket.io server with one login:
//
//	go run ./rest-and-sockets
//	curl -H 'Content-Type: application/json' -d '{"user":"red","password":"red-demo"}' http://127.0.0.1:8080/login
//	curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/self
//	curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/users/blue
//	curl -H "Authorization: Bearer $TOKEN" -d 'hello' http://127.0.0.1:8080/users/blue/messages
//
// A client (socket.io-client 3.x or 4.x; with 1.x and 2.x, { query: { token } }):
//
//	const socket = io('http://127.0.0.1:8080', { auth: { token } });
//	socket.on('welcome', user => console.log('hello', user.name));
//	socket.on('message', ({ from, text }) => console.log(from, text));
package main

import (
	"crypto/rand"
	"flag"
	"fmt"
	"log"

	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	flag.Parse()

	secret := make([]byte, 32)
	rand.Read(secret) // never fails; a restart makes every token worthless

	api, err := newAPI(secret)
	if err != nil {
		log.Fatal(err)
	}
	go api.sio.Serve()
	fmt.Println("Log in as red (password red-demo) or blue (password blue-demo).")
	if err := serve.Run(*addr, api, api.sio); err != nil {
		log.Fatal(err)
	}
}
