package socketiojwt

import (
	"context"
	"fmt"
	"time"
)

// closeTimeout bounds Close.
const closeTimeout = 15 * time.Second

// Close shuts the server down: new clients get HTTP status 503, the connections are closed
// (clients will try to come back, as after a restart), and when all are gone and their
// OnDisconnect has run, go-socket.io's server is closed. It blocks while this goes on, at
// most 15 seconds, and returns an error if something was still open then; go-socket.io's
// server is left running in that case, because closing it would crash the process. Called
// in OnConnect or OnDisconnect it would wait for its own caller: use a goroutine there.
// Callbacks of acknowledgements are not waited for. What was broadcast up to then is sent to other
// nodes, and the Adapter is closed. It ends a Shutdown that is under way.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.end(ctx, "Close")
}

// Where the context of Shutdown has no deadline, the clients are sent away over spreadTime, and
// shutdownMargin is what the last of them have. Else it bounds that.
const (
	spreadTime     = 10 * time.Second
	shutdownMargin = 10 * time.Second
)

// Shutdown is Close that takes its time, so that the clients do not come back all at once: new
// clients get HTTP status 503 with Retry-After from the start, and those that are connected are sent
// away one after another, at even distances. What was emitted to a client before arrives, and no
// DISCONNECT comes behind it: socket.io-client 1.x to 4.x reports `transport close` and comes back by
// itself. Until its turn comes a connection works as ever, so go on to serve HTTP, and call
// http.Server.Shutdown after this.
//
// The clients are sent away over the time up to ctx's deadline, but for its last quarter, at most 10
// seconds: half of that is for the last of them, to fetch what waits for them, and half for
// OnDisconnect. Without a deadline this takes 10 seconds. Shutdown blocks until all are gone and
// their OnDisconnect has run. When ctx ends before, who is left is sent away at once, and the error
// wraps that of ctx: nothing is waited for any more, and Close may be called to do so.
//
// Close at any time ends a Shutdown at once, which then returns when all are gone. Both may be called
// again, in any order and at the same time. What holds for Close in OnConnect and OnDisconnect holds
// for Shutdown. Its cost for a client is that of Close, eight bytes and a timer that fires once.
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

// end closes what is open, for a method of that name.
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
