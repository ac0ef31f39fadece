package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// How many clients connect at once. With many more go-socket.io alone loses some.
const (
	workers      = 8
	stormWorkers = 64
)

// attempts is how often a client of go-socket.io alone may try. It answers some of the requests
// that follow a handshake with 400, because it does not know the session yet. What is lost has
// cost CPU time all the same.
const attempts = 5

var retries atomic.Int64

// client is one connection, in whatever way it was made.
type client interface {
	hear(ctx context.Context) error // the next broadcast
	ask(event string, argument any) error
	answer(ctx context.Context) error // the next one to what was asked
	Close()                           // with a goodbye
	Abort()                           // without
}

// connect brings a client in: until it has heard that it is connected, or authenticated.
func connect(ctx context.Context, p *process, transport string) (c client, err error) {
	for range attempts {
		if c, err = connectOnce(ctx, p, transport); err == nil {
			return c, nil
		}
		if !p.plain || ctx.Err() != nil {
			break
		}
		retries.Add(1)
	}
	return nil, fmt.Errorf("%s, %s: %w", p.name, transport, err)
}

func connectOnce(ctx context.Context, p *process, transport string) (client, error) {
	switch {
	case p.program == "centrifuge":
		return dialSocket(ctx, p.url, centrifugeJSON{p.token})
	case transport == websocket:
		return dialSocket(ctx, p.url, socketIO{token: p.token, roundTrip: p.roundTrip, today: p.today})
	}
	return dialPoller(ctx, p, transport)
}

// inParallel runs f n times, some at a time, until one fails.
func inParallel(ctx context.Context, n, workers int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, workers) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// lingering is how many later clients each client sees connect before it leaves. Some servers
// verify its token only after they have said that it is connected; the last ones wait for that,
// and of the others one in a hundred may leave before.
const lingering = 32

// comeAndGo connects n clients and closes each a little later.
func comeAndGo(ctx context.Context, p *process, transport string, n int) error {
	atOnce := workers
	if transport == upgrade {
		atOnce = stormWorkers // servers let each of them wait for 100 ms
	}
	before, err := p.stats(ctx)
	if err != nil {
		return err
	}
	open := make(chan client, lingering+atOnce)
	err = inParallel(ctx, n, atOnce, func(ctx context.Context, _ int) error {
		c, err := connect(ctx, p, transport)
		if err != nil {
			return err
		}
		open <- c
		if len(open) > lingering {
			(<-open).Close()
		}
		return nil
	})
	close(open)
	if err == nil {
		err = p.verified(ctx, before.Authenticated+n-n/100)
	}
	for c := range open {
		c.Close()
	}
	return err
}

// crowd is clients that stay.
type crowd []client

func gather(ctx context.Context, p *process, transport string, n, workers int) (crowd, error) {
	clients := make(crowd, n)
	err := inParallel(ctx, n, workers, func(ctx context.Context, i int) (err error) {
		clients[i], err = connect(ctx, p, transport)
		return err
	})
	if err != nil {
		clients.abort()
		return nil, err
	}
	return clients, nil
}

// abort ends the connections without a word.
func (clients crowd) abort() {
	var group sync.WaitGroup
	for _, c := range clients {
		if c != nil {
			group.Go(c.Abort)
		}
	}
	group.Wait()
}
