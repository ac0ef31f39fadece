// Command rest-and-sockets is a REST API and a socket.io server with one login:
//
//	go run .
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
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
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
	if err := run(*addr, api, api.sio.Shutdown); err != nil {
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
