// Package serve runs the HTTP side of the examples: it prints the address,
// and stops when the process is told to.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// shutdownTime is short, because an example has few clients and whoever tries it is waiting. In
// production it is most of what the process gets from SIGTERM to SIGKILL, see docs/deployment.md.
const shutdownTime = 2 * time.Second

// Sockets is a socketiojwt.Server, or what looks after some.
type Sockets interface {
	Shutdown(ctx context.Context) error
}

// Run listens on addr (port 0 chooses a free one) and answers with handler
// until SIGINT or SIGTERM. It ends the sockets first: what waits for a polling client is fetched with
// a new request, and http.Server does not know of WebSockets.
func Run(addr string, handler http.Handler, sockets Sockets) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("Open http://%s\n", listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop() // a second signal kills at once
	grace, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	return errors.Join(sockets.Shutdown(grace), server.Shutdown(grace))
}
