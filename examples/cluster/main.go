// Command cluster is one of several nodes: chat, presence and "log out everywhere" work across
// them, through Redis. Start it with `make demo-cluster`, or by hand:
//
//	export JWT_SECRET='the same 32 random bytes for all nodes'
//	go run ./cluster -addr 127.0.0.1:8081 -redis 127.0.0.1:6379
//	go run ./cluster -addr 127.0.0.1:8082 -redis 127.0.0.1:6379
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
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
	if err := run(*addr, n, n.Shutdown); err != nil {
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
	return errors.Join(err, web.Shutdown(grace))
}
