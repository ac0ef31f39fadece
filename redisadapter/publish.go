package redisadapter

import (
	"context"
	"errors"
	"fmt"
	randomly "math/rand/v2"
	"time"

	"github.com/gomodule/redigo/redis"
)

// What goes to other nodes waits in one queue, and goes over one connection, so it keeps its order.
// What is not known to have arrived in Redis when the connection is lost is not sent again: it may have.

const (
	minBackOff = 50 * time.Millisecond
	maxBackOff = 2 * time.Second
	pingEvery  = 10 * time.Second // so a connection that the network has cut is found
	batchBytes = 1 << 20          // of messages in one exchange
	batchSize  = 1000
	overhead   = 200 // what a message takes beside its bytes, about
)

var (
	errNotConnected = errors.New("not connected to Redis")
	errQueueFull    = errors.New("more waits for Redis than Options.QueueBytes")
	errClosed       = errors.New("closed")
)

// message is what is published.
type message struct {
	channel string
	data    []byte
	// counts asks Redis first how many nodes there are.
	counts bool
	// done is called once: with that number, or with why Redis did not take the message. nil: nobody
	// waits for it. It must not block.
	done func(nodes int, err error)
}

func (m *message) size() int { return len(m.channel) + len(m.data) + overhead }

func (m *message) finish(nodes int, err error) {
	if m.done != nil {
		m.done(nodes, err)
	}
}

// accepts reports whether anything sent now could arrive.
func (a *Adapter) accepts() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return errClosed
	case !a.publishing:
		return errNotConnected
	}
	return nil
}

// send puts a message into the queue.
func (a *Adapter) send(m *message) {
	a.mu.Lock()
	var err error
	switch {
	case a.closed:
		err = errClosed
	case !a.publishing:
		err = errNotConnected
	case a.queued+m.size() > a.opts.QueueBytes:
		err = errQueueFull
		a.warn(err)
	}
	if err != nil {
		a.stats.Lost++
		a.mu.Unlock()
		m.finish(0, err)
		return
	}
	a.queue = append(a.queue, m)
	a.queued += m.size()
	a.mu.Unlock()
	signal(a.wake)
}

// warn tells of a new reason why messages are lost. It is called with the mutex.
func (a *Adapter) warn(err error) {
	if text := err.Error(); a.trouble != text {
		a.trouble = text
		a.log.Warn("redisadapter: messages are lost", "error", text)
	}
}

// publish sends what is in the queue, to whatever Redis there is, until Close.
func (a *Adapter) publish() {
	defer close(a.flushed)
	for backOff := minBackOff; ; backOff = min(2*backOff, maxBackOff) {
		err := a.publishOver(func() {
			backOff = minBackOff
			a.is(true, &a.publishing, nil)
		})
		a.is(false, &a.publishing, err)
		a.lose(err)
		if !a.pause(backOff) {
			return
		}
	}
}

// pause waits before the next try. It reports whether there is to be one.
func (a *Adapter) pause(backOff time.Duration) bool {
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return false
	}
	select {
	case <-time.After(backOff/2 + randomly.N(backOff/2)):
		return true
	case <-a.ctx.Done():
		return false
	}
}

// lose drops what is in the queue.
func (a *Adapter) lose(err error) {
	a.mu.Lock()
	lost := a.queue
	a.queue, a.queued = nil, 0
	a.stats.Lost += uint64(len(lost))
	a.trouble = ""
	a.mu.Unlock()
	for _, m := range lost {
		m.finish(0, fmt.Errorf("%w: %w", errNotConnected, err))
	}
}

// publishOver sends over one connection until that ends, and returns why.
func (a *Adapter) publishOver(connected func()) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := a.ping(conn); err != nil {
		return err
	}
	connected()
	idle := time.NewTicker(pingEvery)
	defer idle.Stop()
	for {
		batch, last := a.next()
		switch {
		case len(batch) > 0:
			if err := a.exchange(conn, batch); err != nil {
				return err
			}
			continue
		case last:
			return errClosed
		}
		select {
		case <-a.wake:
		case <-idle.C:
			if err := a.ping(conn); err != nil {
				return err
			}
		case <-a.ctx.Done():
			return errClosed
		}
	}
}

// next takes messages out of the queue. last says that there will be no more.
func (a *Adapter) next() (batch []*message, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, size := 0, 0
	for n < len(a.queue) && n < batchSize && (n == 0 || size < batchBytes) {
		size += a.queue[n].size()
		n++
	}
	batch = a.queue[:n:n]
	a.queue = a.queue[n:]
	return batch, a.closed && n == 0
}

// exchange publishes messages. An error says that the connection is of no use any more.
func (a *Adapter) exchange(conn redis.Conn, batch []*message) error {
	answered := 0
	err := a.within(conn, func(receive func() (any, error)) error {
		for _, m := range batch {
			if m.counts {
				if err := conn.Send("PUBSUB", "NUMSUB", m.channel); err != nil {
					return err
				}
			}
			if err := conn.Send("PUBLISH", m.channel, m.data); err != nil {
				return err
			}
		}
		if err := conn.Flush(); err != nil {
			return err
		}
		for _, m := range batch {
			nodes, refused, err := readReplies(m, receive)
			if err != nil {
				return err
			}
			answered++
			a.answered(m, nodes, refused)
		}
		return nil
	})
	if err != nil {
		unknown := batch[answered:]
		a.mu.Lock()
		a.stats.Lost += uint64(len(unknown))
		a.mu.Unlock()
		for _, m := range unknown {
			m.finish(0, fmt.Errorf("%w: %w", errNotConnected, err))
		}
	}
	return err
}

// readReplies reads what Redis says to one message: how many nodes there are, or that it refuses it.
func readReplies(m *message, receive func() (any, error)) (nodes int, refused, err error) {
	if m.counts {
		nodes, refused, err = readCount(receive)
		if err != nil {
			return 0, nil, err
		}
	}
	var published redis.Error
	switch _, err := receive(); {
	case err == nil:
	case errors.As(err, &published):
		refused = published
	default:
		return 0, nil, err
	}
	return nodes, refused, nil
}

// readCount reads the reply to PUBSUB NUMSUB: the channel and its count.
func readCount(receive func() (any, error)) (nodes int, refused, err error) {
	reply, err := redis.Values(receive())
	var said redis.Error
	switch {
	case errors.As(err, &said):
		return 0, said, nil
	case err != nil:
		return 0, nil, err
	case len(reply) != 2:
		return 0, errors.New("an odd reply to PUBSUB NUMSUB"), nil
	}
	nodes, refused = redis.Int(reply[1], nil)
	return nodes, refused, nil
}

// answered notes what Redis said of a message.
func (a *Adapter) answered(m *message, nodes int, refused error) {
	a.mu.Lock()
	a.queued -= m.size()
	switch {
	case refused != nil:
		a.stats.Lost++
		a.warn(refused)
	default:
		a.stats.Sent++
		if a.queued < a.opts.QueueBytes/2 {
			a.trouble = ""
		}
	}
	a.mu.Unlock()
	m.finish(nodes, refused)
}

// dial connects. Whoever ignores the context is waited for.
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

// within has f talk to Redis for Timeout at most. Closing the connection is what ends f, as redigo has no
// other way for a write.
func (a *Adapter) within(conn redis.Conn, f func(receive func() (any, error)) error) error {
	limit := a.opts.Timeout
	ctx, cancel := context.WithTimeoutCause(a.ctx, limit, fmt.Errorf("no answer within %v", limit))
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

// receiveWithin waits for longer than Dial may have set for other commands.
func receiveWithin(conn redis.Conn, limit time.Duration) (any, error) {
	if c, ok := conn.(redis.ConnWithTimeout); ok {
		return c.ReceiveWithTimeout(limit)
	}
	return conn.Receive()
}
