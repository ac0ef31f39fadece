// Package serve runs the HTTP side of the examples: it prints the address,
// and stops when the process is told to.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Run listens on addr (port 0 chooses a free one) and answers with handler
// until SIGINT or SIGTERM. It closes sockets first: http.Server waits for
// waiting polls, and does not know of WebSockets.
func Run(addr string, handler http.Handler, sockets io.Closer) error {
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
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(sockets.Close(), server.Shutdown(grace))
}
