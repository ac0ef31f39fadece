package redisadapter

import (
	"context"
	"errors"
	"fmt"
	randomly "math/rand/v2"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

// There are two connections, because one that is subscribed cannot publish. They open and close
// together: a node that asks all others counts those that are subscribed, so a node must not be
// subscribed when it cannot answer.

const (
	minBackOff = 50 * time.Millisecond
	maxBackOff = 2 * time.Second
	pingEvery  = 10 * time.Second // so that a connection that the network has cut is found
)

// run keeps the Adapter connected to the Redis that Dial leads to, until Close.
func (a *Adapter) run() {
	defer close(a.done)
	for backOff := minBackOff; ; backOff = min(2*backOff, maxBackOff) {
		err := a.runConnections(func() {
			backOff = minBackOff
			a.is(true, nil)
		})
		a.is(false, err)
		a.dropQueue(err)
		if !a.pause(backOff) {
			return
		}
	}
}

// pause waits before the next try. It reports whether there is to be one.
func (a *Adapter) pause(backOff time.Duration) bool {
	timer := time.NewTimer(backOff/2 + randomly.N(backOff/2))
	defer timer.Stop()
	for {
		a.mu.Lock()
		closed := a.closed
		a.mu.Unlock()
		if closed {
			return false
		}
		select {
		case <-timer.C:
			return true
		case <-a.wake: // Close, or a message, which has to wait
		case <-a.ctx.Done():
			return false
		}
	}
}

// is notes that the Adapter is connected, or why it is not, and logs when that changes.
func (a *Adapter) is(connected bool, err error) {
	a.mu.Lock()
	a.connected = connected
	lost, tells := a.stats.Lost, !a.closed && (connected || !a.warned)
	a.warned = !connected
	a.mu.Unlock()
	switch { // outside of the mutex: a log may take its time
	case !tells:
	case connected:
		a.log.Info("redisadapter: connected", "lost", lost)
	default:
		a.log.Warn("redisadapter: not connected", "error", err.Error())
	}
}

// runConnections is two connections, until one of them ends. It returns why.
func (a *Adapter) runConnections(connected func()) error {
	publishes, err := a.dial()
	if err != nil {
		return err
	}
	defer func() { _ = publishes.Close() }()
	if err := a.ping(publishes); err != nil {
		return err
	}
	hears, err := a.dial()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(a.ctx)
	context.AfterFunc(ctx, func() { _ = hears.Close() })
	confirmed := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { cancel(a.subscribe(ctx, hears)) })
	running.Go(func() { cancel(a.receive(hears, confirmed)) })
	defer running.Wait()

	patience := time.NewTimer(a.opts.Timeout)
	defer patience.Stop()
	select {
	case <-confirmed:
		connected()
		cancel(a.publish(ctx, publishes))
	case <-patience.C:
		cancel(a.noAnswer())
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

func (a *Adapter) noAnswer() error { return fmt.Errorf("no answer within %v", a.opts.Timeout) }

// dial connects. A Dial that ignores its context is waited for.
func (a *Adapter) dial() (redis.Conn, error) {
	ctx, cancel := context.WithTimeout(a.ctx, a.opts.Timeout)
	defer cancel()
	conn, err := a.opts.Dial(ctx)
	switch {
	case err != nil:
		return nil, err
	case conn == nil:
		return nil, errors.New("redisadapter: Options.Dial returned neither a connection nor an error")
	}
	return conn, nil
}

func (a *Adapter) ping(conn redis.Conn) error {
	return a.within(conn, func(receive func() (any, error)) error {
		if err := conn.Send("PING"); err != nil {
			return err
		}
		if err := conn.Flush(); err != nil {
			return err
		}
		_, err := receive()
		return err
	})
}

// within has f talk to Redis for Timeout at most. It closes the connection to end f, because redigo
// has no other way to end a write.
func (a *Adapter) within(conn redis.Conn, f func(receive func() (any, error)) error) error {
	limit := a.opts.Timeout
	ctx, cancel := context.WithTimeoutCause(a.ctx, limit, a.noAnswer())
	defer cancel()
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = conn.Close()
	})
	err := f(func() (any, error) { return receiveWithin(conn, limit) })
	if !stop() {
		<-closed
		return context.Cause(ctx)
	}
	return err
}

// receiveWithin waits for a reply, also for longer than Dial may have set for other commands.
func receiveWithin(conn redis.Conn, limit time.Duration) (any, error) {
	if c, ok := conn.(redis.ConnWithTimeout); ok {
		return c.ReceiveWithTimeout(limit)
	}
	return conn.Receive()
}
