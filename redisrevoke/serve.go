package redisrevoke

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"
)

// round is one exchange that calls of Add and Revoked share.
type round struct {
	done chan struct{}
	sent error // whether all that was added before it began is in Redis
	read error // whether all that was in Redis when it began is in replica
}

// ask waits for a round that begins after ask was called. Its result is as good as that of a round
// of the caller's own.
func (r *Revocations) ask(ctx context.Context) (*round, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.opts.Timeout, fmt.Errorf("no answer within %v", r.opts.Timeout))
	defer cancel()
	r.asking.Lock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}
	mine := r.next
	r.asking.Unlock()
	r.wakeUp()
	select {
	case <-mine.done:
		return mine, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-r.ctx.Done():
		return nil, errClosed
	}
}

func (r *Revocations) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Revocations) wakeIfUnsent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unsent)+len(r.lost) > 0 {
		r.wakeUp()
	}
}

// serve does the rounds, one at a time, until Close.
func (r *Revocations) serve() {
	var l serveConn
	defer func() { l.close() }()
	for {
		select {
		case <-r.wake:
		case <-r.ctx.Done():
			return
		}
		r.asking.Lock()
		now := r.next
		r.next = nil
		r.asking.Unlock()
		if now == nil { // there is something to send
			now = &round{done: make(chan struct{})}
		}
		before := r.loaded()
		r.try(&l, now)
		if r.loaded() != before { // what was sent may have gone to a Redis that is lost
			r.try(&l, now)
		}
		close(now.done)
	}
}

// serveConn is a connection of serve.
type serveConn struct {
	conn    redis.Conn // nil while there is none
	epoch   string     // the epoch when the connection was opened
	settled time.Time  // when all nodes in reach have seen the epoch
}

func (l *serveConn) close() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// open opens the connection, and tells follow which epoch Dial leads to.
func (r *Revocations) open(l *serveConn) error {
	conn, opened, err := r.dial()
	if err != nil {
		return err
	}
	*l = serveConn{conn, opened.epoch, r.settledAt(opened)}
	r.found(opened.epoch)
	return nil
}

// try does a round. Redis, or what is between, may have closed a connection that was idle, and its
// master may be a replica by now. So where a connection that was open before is of no use, the
// round is done again on a new one. It is done twice at most, because others wait for the next
// round.
func (r *Revocations) try(l *serveConn, now *round) {
	r.choose(l)
	wasOpen := l.conn != nil
	if r.do(l, now) == nil {
		return
	}
	l.close()
	if wasOpen && r.do(l, now) != nil {
		l.close()
	}
}

// choose takes the newest connection. It closes one to a Redis that follow has left, because what
// is there counts for nothing.
func (r *Revocations) choose(l *serveConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spare.conn != nil {
		l.close()
		*l, r.spare = r.spare, serveConn{}
	}
	if r.epoch != "" && l.epoch != r.epoch && l.epoch != r.following {
		l.close()
	}
}

// do does a round over one connection. It returns an error where the connection is of no use any
// more.
func (r *Revocations) do(l *serveConn, now *round) (lost error) {
	now.sent, now.read = nil, nil
	if l.conn == nil {
		lost = r.open(l)
	}
	if lost == nil {
		if now.sent, lost = r.send(l); lost == nil {
			now.read, lost = r.catchUp(l.conn)
		}
	}
	switch {
	case lost != nil:
		now.sent, now.read = lost, lost
	case now.sent == nil && !r.isSettled(l):
		now.sent = errSettling // nodes that have not come yet may ask another Redis
	}
	return lost
}

// isSettled reports whether all nodes in reach have seen the epoch of a connection. A reply takes
// its time, so of two times for the same moment the earlier one is the better.
func (r *Revocations) isSettled(l *serveConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	return !now.Before(l.settled) || l.epoch == r.epoch && !now.Before(r.settled)
}

// loaded returns the epoch whose stream was read, "" before there is one.
func (r *Revocations) loaded() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// send writes what is not in Redis yet: all that was added, and then one page of what Redis has
// lost. The next page is due when the node has read what others have written back meanwhile.
// refused says why Redis does not have all that was added. lost says that the connection is lost.
func (r *Revocations) send(l *serveConn) (refused, lost error) {
	if epoch := r.loaded(); epoch != "" && epoch != l.epoch {
		return errUnread, nil // follow has yet to read what is there; otherwise each round would write it again
	}
	all := r.choosePage(r.unsent, -1)
	for len(all) > 0 && refused == nil {
		page := all[:min(len(all), pageSize)]
		all = all[len(page):]
		if refused, lost = r.sendPage(l, page, false); lost != nil {
			return nil, lost
		}
	}
	back := refused
	if back == nil {
		if back, lost = r.sendPage(l, r.choosePage(r.lost, pageSize), true); lost != nil {
			return nil, lost
		}
	}
	r.report(back)
	return refused, nil
}

// choosePage returns up to most of the ids, from anywhere in the map, so that nodes that write back
// the same ids do not write the same page.
func (r *Revocations) choosePage(from map[string]bool, most int) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range from {
		if len(ids) == most {
			break
		}
		ids = append(ids, id)
	}
	return ids
}

// report logs whether Redis takes what it is sent, and has the next page sent.
func (r *Revocations) report(refused error) {
	r.mu.Lock()
	waiting := len(r.unsent) + len(r.lost)
	r.mu.Unlock()
	r.taking.is(refused == nil, func() {
		r.log.Warn("redisrevoke: Redis does not take revocations of this node", "error", refused.Error(), "waiting", waiting)
	}, func() {
		r.log.Info("redisrevoke: Redis takes the revocations of this node again", "waiting", waiting)
	})
	if refused == nil && waiting > 0 {
		r.wakeUp()
	}
}

func (r *Revocations) sendPage(l *serveConn, ids []string, again bool) (refused, lost error) {
	var sending []*note
	var commands []command
	r.mu.Lock()
	for _, id := range ids {
		n := r.known[id]
		if n == nil || !r.unsent[id] && !r.lost[id] {
			continue // swept, or written back by another node since
		}
		data, err := n.encode()
		if err != nil { // Add has tried
			r.forget(id)
			continue
		}
		sending = append(sending, n)
		// Only openScript makes a stream that is missing: else nobody would notice the loss.
		add := do("XADD", r.stream, "NOMKSTREAM", "*", fieldRevocation, data)
		if again {
			add.args = append(add.args, fieldAgain, "1")
		}
		commands = append(commands, add)
	}
	r.mu.Unlock()
	if len(commands) == 0 {
		return nil, nil
	}
	replies, err := exchange(r.ctx, l.conn, r.opts.Timeout, commands...)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, reply := range replies {
		switch err := refusal(reply); {
		case err != nil:
			refused = err
		case reply == nil:
			refused = errNoStream
		case r.epoch != "" && r.epoch != l.epoch:
			refused = errUnread // the entry has gone to a Redis that is lost
		default:
			sending[i].sentIn = l.epoch
			r.isThere(sending[i].ID)
		}
	}
	return refused, nil
}

// catchUp takes in all that is in Redis. read says why the node may not judge then. lost says that
// the connection is lost or of no use.
func (r *Revocations) catchUp(conn redis.Conn) (read, lost error) {
	for {
		more, err := r.read(r.ctx, conn, 0)
		if errors.Is(err, errUnread) || errors.Is(err, errLost) {
			return err, nil
		}
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Before(r.settled) || now.Before(r.writtenBack.Add(r.pageTime())) {
		return errSettling, nil
	}
	return nil, nil
}
