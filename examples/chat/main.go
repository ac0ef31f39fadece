// Command chat is a small chat in the browser. Who logs in gets a token for
// 15 minutes; only who has one can connect. Start it with `make demo`.
package main

import (
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	client := flag.String("client", "", "folder of the browser's socket.io.js (default: where npm ci puts it in examples/chat)")
	flag.Parse()

	dir, err := clientDir(*client)
	if err != nil {
		log.Fatal(err)
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails; a restart makes every token worthless

	chat, err := newChat(secret, dir)
	if err != nil {
		log.Fatal(err)
	}
	go chat.sio.Serve()
	fmt.Println("Log in as red (password red-demo) or blue (password blue-demo), in two windows.")
	if err := serve.Run(*addr, chat, chat.sio); err != nil {
		log.Fatal(err)
	}
}

// clientDir finds the folder with the browser's socket.io client.
func clientDir(dir string) (string, error) {
	const dist = "node_modules/socket.io-client/dist"
	candidates := []string{dir}
	if dir == "" {
		// Started in examples/chat, in examples, or in the root of the repository.
		candidates = []string{dist, "chat/" + dist, "examples/chat/" + dist}
	}
	for _, candidate := range candidates {
		path := filepath.FromSlash(candidate)
		if info, err := os.Stat(filepath.Join(path, clientFile)); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s in %q: run `make demo`, or `npm ci` in examples/chat", clientFile, candidates)
}
