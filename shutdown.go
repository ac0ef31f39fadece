package socketiojwt

import (
	"context"
	"fmt"
	"time"
)

// closeTimeout bounds Close.
const closeTimeout = 15 * time.Second

// Close shuts the server down. New clients get HTTP status 503, and the connections are closed;
// their clients will try to come back, as after a restart. When all connections are closed and
// their OnDisconnect has run, go-socket.io's server is closed. What was broadcast before is sent to
// other nodes, and the Adapter is closed.
//
// Close blocks meanwhile, at most 15 seconds. It returns an error if something is still open then,
// and leaves go-socket.io's server running, because closing it would end the process. In OnConnect
// or OnDisconnect Close would wait for its own caller: call it in a goroutine there. Close does not
// wait for callbacks of acknowledgements. It ends a Shutdown that is under way.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.end(ctx, "Close")
}

// Where the context of Shutdown has no deadline, the clients are sent away over spreadTime, and the
// last of them have shutdownMargin after that. Where it has one, shutdownMargin bounds the margin.
const (
	spreadTime     = 10 * time.Second
	shutdownMargin = 10 * time.Second
)

// Shutdown is Close that takes its time, so that the clients do not come back all at once. New
// clients get HTTP status 503 with Retry-After from the start. Connected clients are sent away one
// after another, at even distances. What was emitted to a client before arrives, and no DISCONNECT
// comes behind it: socket.io-client 1.x to 4.x reports `transport close` and comes back by itself.
// Until its turn comes, a connection works as ever. So go on to serve HTTP meanwhile, and call
// http.Server.Shutdown after this.
//
// The clients are sent away over the time up to ctx's deadline, less a margin of a quarter of it,
// at most 10 seconds. Half of the margin is for the last clients to fetch what waits for them, and
// half for OnDisconnect. Without a deadline the clients are sent away over 10 seconds.
//
// Shutdown blocks until all connections are closed and their OnDisconnect has run. When ctx ends
// earlier, the clients that are left are sent away at once, and the error wraps that of ctx.
// Shutdown does not wait for them then; Close may be called to do so.
//
// Close at any time ends a Shutdown at once, which then returns when all connections are closed.
// Both may be called again, in any order and at the same time. In OnConnect and OnDisconnect call
// Shutdown in a goroutine, as Close. For a client it costs what Close does, eight bytes, and a
// timer that fires once.
func (s *Server) Shutdown(ctx context.Context) error {
	over, margin := spreadTime, shutdownMargin
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		margin = min(left/4, margin)
		over = left - margin
	}
	s.upstream.Spread(ctx, over, margin/2)
	return s.end(ctx, "Shutdown")
}

// end closes everything, for the method of that name.
func (s *Server) end(ctx context.Context, method string) error {
	if err := s.upstream.Drain(ctx); err != nil {
		return fmt.Errorf("socketiojwt: %s: %w", method, err)
	}
	var err error
	s.doorkeeper.each(func(s *Server) {
		if waitErr := s.auth.unfinished.wait(ctx); waitErr != nil {
			err = fmt.Errorf("socketiojwt: %s: OnDisconnect still runs: %w", method, waitErr)
		}
	})
	if closeErr := s.doorkeeper.closeAdapter(); err == nil && closeErr != nil {
		err = fmt.Errorf("socketiojwt: %s: %w", method, closeErr)
	}
	if closeErr := s.plain.Close(); err == nil {
		err = closeErr
	}
	return err
}
