// Command cluster is one of several nodes: chat, presence and "log out everywhere" work across
// them, through Redis. Start it with `make demo-cluster`, or by hand:
//
//	export JWT_SECRET='the same 32 random bytes for all nodes'
//	go run ./cluster -addr 127.0.0.1:8081 -redis 127.0.0.1:6379
//	go run ./cluster -addr 127.0.0.1:8082 -redis 127.0.0.1:6379
package main

import (
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8081", "address to listen on")
	redis := flag.String("redis", "127.0.0.1:6379", "address of Redis")
	client := flag.String("client", "chat/node_modules/socket.io-client/dist", "folder of the browser's socket.io.js")
	flag.Parse()

	n, err := newNode([]byte(os.Getenv("JWT_SECRET")), *redis, *client, slog.Default())
	if err != nil {
		log.Fatal(err)
	}
	go n.sio.Serve()
	fmt.Println("Log in as red (password red-demo) or blue (password blue-demo).")
	if err := serve.Run(*addr, n, n); err != nil {
		log.Fatal(err)
	}
}
