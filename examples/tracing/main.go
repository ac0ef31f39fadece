// Command tracing is a server with OpenTelemetry: a span for each client that connects, is refused
// or is sent away, for each newer token and for each event. It prints them; docs/tracing.md says
// more.
//
//	JWT_SECRET='at least 32 random bytes' go run .
//
// A client (socket.io-client 3.x or 4.x; with 1.x and 2.x, { query: { token } }):
//
//	const socket = io('http://127.0.0.1:8080', { auth: { token } });
//	socket.emit('echo', 'hello', console.log);
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func newServer(opts socketiojwt.Options, provider trace.TracerProvider) (*socketiojwt.Server, error) {
	t := newTracing(provider)
	auth, err := socketiojwt.Authorize(t.hooks(opts))
	if err != nil {
		return nil, err
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnEvent("/", "echo", traced(t, auth, "echo", func(ctx context.Context, _ socketio.Conn, text string) string {
		_, span := t.Start(ctx, "look up") // what stands for a query, to a database that is traced
		defer span.End()
		return text
	}))
	sio.OnEvent("/", "fail", traced(t, auth, "fail", func(context.Context, socketio.Conn, any) string {
		panic("this handler is broken")
	}))
	return sio, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	flag.Parse()
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(os.Stderr)) // yours sends them to a collector
	if err != nil {
		log.Fatal(err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter, sdk.WithBatchTimeout(time.Second)))
	sio, err := newServer(socketiojwt.Options{
		Secret:    socketiojwt.StaticSecret(os.Getenv("JWT_SECRET")),
		Handshake: true,
	}, provider)
	if err != nil {
		log.Fatal(err)
	}
	go sio.Serve()

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", sio)
	if err := run(*addr, mux, func(ctx context.Context) error {
		err := sio.Shutdown(ctx)
		return errors.Join(err, provider.Shutdown(ctx)) // the last spans come last
	}); err != nil {
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
