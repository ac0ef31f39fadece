// Command behind-proxy is a server that knows its clients' addresses behind a proxy: the log tells of
// them, and each has its own share of the places for clients that are not authenticated (MaxPending).
// Without the middleware all clients have one address, the proxy's.
//
//	JWT_SECRET='at least 32 random bytes' go run . -proxies 127.0.0.1/32,10.0.0.0/8
//
// The proxy has to set X-Forwarded-For, or to append to it; see docs/deployment.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
	"github.com/realclientip/realclientip-go"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	proxies := flag.String("proxies", "127.0.0.1/32,::1/128", "networks of the proxies in front")
	flag.Parse()

	handler, sio, err := newServer(socketiojwt.Options{
		Secret: socketiojwt.StaticSecret(os.Getenv("JWT_SECRET")),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, strings.Split(*proxies, ","))
	if err != nil {
		log.Fatal(err)
	}
	go sio.Serve()
	if err := run(*addr, handler, sio.Shutdown); err != nil {
		log.Fatal(err)
	}
}

func newServer(opts socketiojwt.Options, proxies []string) (http.Handler, *socketiojwt.Server, error) {
	trusting, err := trustProxies(proxies)
	if err != nil {
		return nil, nil, err
	}
	auth, err := socketiojwt.Authorize(opts)
	if err != nil {
		return nil, nil, err
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnEvent("/", "where", func(s socketio.Conn) string { return s.RemoteAddr().String() })
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", sio)
	return trusting(mux), sio, nil
}

// trustProxies returns a middleware that sets the RemoteAddr of requests to the client's address, as the
// proxies of these networks tell it in X-Forwarded-For: the last address there that is no proxy's. What
// stands before that, the client may have written itself. A request that does not come from one of the
// proxies, or names no client, keeps its RemoteAddr.
func trustProxies(networks []string) (func(http.Handler) http.Handler, error) {
	ranges, err := realclientip.AddressesAndRangesToIPNets(networks...)
	if err != nil {
		return nil, err
	}
	strategy, err := realclientip.NewRightmostTrustedRangeStrategy("X-Forwarded-For", ranges)
	if err != nil {
		return nil, err
	}
	isProxy := func(remote string) bool {
		host, _, _ := net.SplitHostPort(remote)
		ip := net.ParseIP(host)
		return ip != nil && slices.ContainsFunc(ranges, func(n net.IPNet) bool { return n.Contains(ip) })
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isProxy(r.RemoteAddr) {
				if client := strategy.ClientIP(r.Header, r.RemoteAddr); client != "" {
					r.RemoteAddr = net.JoinHostPort(client, "0") // the port stays unknown
				}
			}
			next.ServeHTTP(w, r)
		})
	}, nil
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
