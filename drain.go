package socketiojwt

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
)

// Drain empties the servers that use the hooks one by one. It comes before go-socket.io's Close,
// which alone ends the process when a client connects meanwhile or later:
//
//	if err := auth.Drain(ctx); err != nil {
//		log.Print(err) // and leave the server open
//	} else {
//		server.Close()
//	}
//
// New clients get HTTP status 503 with Retry-After; without the gate of Handler, they get
// go-socket.io's 502. Connected clients get what was emitted to them and are sent away without
// DISCONNECT, so they come back by themselves, as after a restart. Drain blocks until all are gone
// and the server's OnDisconnect has run for them, or until ctx ends; it then wraps the error of
// ctx. After Drain has returned nil, Close is safe whatever clients go on to send. In OnConnect,
// OnDisconnect or a handler Drain would wait for its own caller: call it in a goroutine there.
//
// Drain empties every server that Handler has found or that a client of these hooks is connected
// to. A server without Handler is not known before its first client. An Authorizer that knows no
// server returns an error. Where several Authorizers share a server, Drain of one is enough to make
// Close safe; each Drain waits for the sockets of its own Authorizer. Drain may be called again,
// also at the same time, and before Server.Close, which does the same for a Server of Protect.
func (a *Authorizer) Drain(ctx context.Context) error {
	hubs := a.stats.servers()
	if len(hubs) == 0 {
		return errors.New("socketiojwt: Drain: this Authorizer knows no server; serve HTTP through Authorizer.Handler")
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

// servers returns the hubs of the servers that the Authorizer protects.
func (s *stats) servers() []*transport.Hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hubs[:len(s.hubs):len(s.hubs)]
}
