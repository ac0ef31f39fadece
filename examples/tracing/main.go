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
	if err := run(*addr); err != nil {
		log.Fatal(err)
	}
}

func run(addr string) error {
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(os.Stderr)) // yours sends them to a collector
	if err != nil {
		return err
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter, sdk.WithBatchTimeout(time.Second)))
	sio, err := newServer(socketiojwt.Options{
		Secret:    socketiojwt.StaticSecret(os.Getenv("JWT_SECRET")),
		Handshake: true,
	}, provider)
	if err != nil {
		return err
	}
	go sio.Serve()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", sio)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("Open http://%s\n", listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(sio.Close(), server.Shutdown(grace), provider.Shutdown(grace)) // the last spans come last
}
