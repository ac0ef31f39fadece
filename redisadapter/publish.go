package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"
)

// What goes to other nodes waits in one queue, and goes over one connection, so it keeps its order.
// When the connection is lost, a message that Redis has not answered is not sent again, because
// Redis may have it.

const (
	batchBytes = 1 << 20 // of messages in one exchange
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
	// counts asks Redis first how many nodes are subscribed.
	counts bool
	// done is called once: with the number of nodes, or with why Redis did not take the message.
	// nil: nobody waits for it. It must not block.
	done func(nodes int, err error)
}

func (m *message) size() int { return len(m.channel) + len(m.data) + overhead }

func (m *message) finish(nodes int, err error) {
	if m.done != nil {
		m.done(nodes, err)
	}
}

// accepts returns why a message that is sent now cannot arrive, nil if it may.
func (a *Adapter) accepts() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return errClosed
	case !a.connected:
		return errNotConnected
	}
	return nil
}

// send puts a message into the queue.
func (a *Adapter) send(m *message) {
	if err := a.enqueue(m); err != nil {
		a.lost(1, err)
		m.finish(0, err)
		return
	}
	signal(a.wake)
}

func (a *Adapter) enqueue(m *message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return errClosed
	case !a.connected:
		return errNotConnected
	case a.queued+m.size() > a.opts.QueueBytes:
		return errQueueFull
	}
	a.queue = append(a.queue, m)
	a.queued += m.size()
	return nil
}

// lost counts messages, and logs a reason that is new. That Redis is not connected is logged
// elsewhere.
func (a *Adapter) lost(n int, err error) {
	text := err.Error()
	a.mu.Lock()
	a.stats.Lost += uint64(n)
	known := err == errClosed || err == errNotConnected || a.trouble == text
	if !known {
		a.trouble = text
	}
	a.mu.Unlock()
	if !known { // outside of the mutex: a log may take its time
		a.log.Warn("redisadapter: messages are lost", "error", text)
	}
}

// dropQueue drops the messages in the queue, and ends the questions, because no answer can come any
// more.
func (a *Adapter) dropQueue(err error) {
	a.mu.Lock()
	lost := a.queue
	a.queue, a.queued = nil, 0
	a.stats.Lost += uint64(len(lost))
	a.trouble = ""
	for _, q := range a.questions {
		q.sent, q.err = true, notSent(err)
		signal(q.changed)
	}
	a.mu.Unlock()
	for _, m := range lost {
		m.finish(0, notSent(err))
	}
}

func notSent(err error) error { return fmt.Errorf("%w: %w", errNotConnected, err) }

// publish sends the messages of the queue until ctx or the connection ends, and returns why.
func (a *Adapter) publish(ctx context.Context, conn redis.Conn) error {
	idle := time.NewTicker(pingEvery)
	defer idle.Stop()
	for ctx.Err() == nil {
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
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

// next takes messages out of the queue. last says that no more will come.
func (a *Adapter) next() (batch []*message, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, size := 0, 0
	for n < len(a.queue) && n < batchSize && size < batchBytes {
		size += a.queue[n].size()
		n++
	}
	batch = a.queue[:n:n]
	a.queue = a.queue[n:]
	return batch, a.closed
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
			m.finish(0, notSent(err))
		}
	}
	return err
}

// readReplies reads the replies of Redis to one message: how many nodes are subscribed, or that
// Redis refuses the message.
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

// answered notes what Redis replied to a message.
func (a *Adapter) answered(m *message, nodes int, refused error) {
	a.mu.Lock()
	a.queued -= m.size()
	if refused == nil {
		a.stats.Sent++
		if a.queued < a.opts.QueueBytes/2 {
			a.trouble = ""
		}
	}
	a.mu.Unlock()
	if refused != nil {
		a.lost(1, refused)
	}
	m.finish(nodes, refused)
}
