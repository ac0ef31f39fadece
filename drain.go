package socketiojwt

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
)

// Drain empties the servers that use the hooks one by one. It comes before go-socket.io's Close, which
// by itself ends the process when a client connects meanwhile or later:
//
//	if err := auth.Drain(ctx); err != nil {
//		log.Print(err) // and leave the server open
//	} else {
//		server.Close()
//	}
//
// New clients get HTTP status 503 with Retry-After; without the gate of Handler, go-socket.io's 502.
// Clients that are connected get what was emitted to them and are sent away without DISCONNECT, so
// they come back by themselves, as after a restart. Drain blocks until all are gone and the server's
// OnDisconnect has run for them, or until ctx ends, whose error it wraps then. After it has returned nil
// Close is safe, whatever clients go on to send. Called in OnConnect, OnDisconnect or a handler it would
// wait for its own caller: use a goroutine there.
//
// It drains every server that Handler found or that a client of these hooks is connected to. A server
// without Handler is not known before its first client; an Authorizer that knows no server returns an
// error. Where several Authorizers share a server, one of them is enough to make Close safe; each waits
// for its own sockets. Drain may be called again, at the same time too, and before Server.Close, which
// does the same for a Server of Protect.
func (a *Authorizer) Drain(ctx context.Context) error {
	hubs := a.stats.servers()
	if len(hubs) == 0 {
		return errors.New("socketiojwt: Drain: it knows no server: serve HTTP through Authorizer.Handler")
	}
	errs := make([]error, len(hubs))
	var group sync.WaitGroup
	for i, hub := range hubs {
		group.Go(func() { errs[i] = upstream.Of(hub).Drain(ctx) })
	}
	group.Wait()
	err := errors.Join(errs...)
	if err == nil {
		err = a.unfinished.wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("socketiojwt: Drain: %w", err)
	}
	return nil
}

// servers returns the hubs of the servers that the Authorizer looks after.
func (s *stats) servers() []*transport.Hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hubs[:len(s.hubs):len(s.hubs)]
}
