// Command chat is a small chat in the browser. Who logs in gets a token for
// 15 minutes; only who has one can connect, and the page renews it in time.
// Start it with `make demo`; `make demo TOKEN_LIFE=20s` shows it within a minute.
package main

import (
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	client := flag.String("client", "", "folder of the browser's socket.io.js (default: where npm ci puts it in examples/chat)")
	tokenLife := flag.Duration("token-life", 15*time.Minute, "how long a token is good")
	flag.Parse()
	if *tokenLife < time.Second {
		log.Fatal("-token-life: tokens count in seconds")
	}

	dir, err := serve.ClientDir(*client)
	if err != nil {
		log.Fatal(err)
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails; a restart makes every token worthless

	chat, err := newChat(secret, *tokenLife, dir)
	if err != nil {
		log.Fatal(err)
	}
	go chat.sio.Serve()
	fmt.Println("Log in as red (password red-demo) or blue (password blue-demo), in two windows.")
	if err := serve.Run(*addr, chat, chat.sio); err != nil {
		log.Fatal(err)
	}
}
