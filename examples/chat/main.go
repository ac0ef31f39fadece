// Command chat is a small chat in the browser. Who logs in gets a token for
// 15 minutes; only who has one can connect, and the page renews it in time.
// A log-out revokes it. `make demo` starts the chat, or by hand:
//
//	npm ci
//	go run . -token-life 20s
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
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	client := flag.String("client", "node_modules/socket.io-client/dist", "folder of the browser's socket.io.min.js")
	tokenLife := flag.Duration("token-life", 15*time.Minute, "how long a token is good")
	flag.Parse()
	if *tokenLife < time.Second {
		log.Fatal("-token-life: tokens count in seconds")
	}

	if _, err := os.Stat(filepath.Join(*client, "socket.io.min.js")); err != nil {
		log.Fatalf("%v: run `npm ci` in the folder of this example, or `make demo`", err)
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails; a restart makes every token worthless

	chat, err := newChat(secret, *tokenLife, *client)
	if err != nil {
		log.Fatal(err)
	}
	go chat.sio.Serve()
	fmt.Println("A chat: open it in two windows, and log in as red and as blue.")
	if err := run(*addr, chat, chat.sio.Shutdown); err != nil {
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
