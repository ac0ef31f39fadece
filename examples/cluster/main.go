// Command cluster is one of several nodes: chat, presence and "log out everywhere" work across
// them, through Redis. Start it with `make demo-cluster` or ./demo.sh, or by hand:
//
//	npm ci
//	export JWT_SECRET='the same 32 random bytes for all nodes'
//	go run . -addr 127.0.0.1:8081 -others http://127.0.0.1:8082 -redis 127.0.0.1:6379
//	go run . -addr 127.0.0.1:8082 -others http://127.0.0.1:8081 -redis 127.0.0.1:6379
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8081", "address to listen on")
	name := flag.String("name", "", "what the page calls this node (default: its address)")
	others := flag.String("others", "", "URLs of the other nodes, with commas between them, for links in the page")
	redis := flag.String("redis", "127.0.0.1:6379", "address of Redis")
	client := flag.String("client", "node_modules/socket.io-client/dist", "folder of the browser's socket.io.min.js")
	flag.Parse()
	if _, err := os.Stat(filepath.Join(*client, "socket.io.min.js")); err != nil {
		log.Fatalf("%v: run `npm ci` in the folder of this example, or `make demo-cluster`", err)
	}

	n, err := newNode(config{
		name:      cmp.Or(*name, *addr),
		others:    strings.FieldsFunc(*others, func(r rune) bool { return r == ',' }),
		redis:     *redis,
		clientDir: *client,
		secret:    []byte(os.Getenv("JWT_SECRET")),
	}, slog.Default())
	if err != nil {
		log.Fatal(err)
	}
	go n.sio.Serve()
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
	if web.Shutdown(grace) != nil {
		_ = web.Close() // a browser has opened a connection ahead, and not used it
	}
	return err
}
