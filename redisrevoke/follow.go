package redisrevoke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	randomly "math/rand/v2"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Three goroutines talk to Redis, each over connections of its own. follow waits for what is added.
// serve does what calls of Add and Revoked ask for. lookAround sees where Dial leads.

const (
	minBackOff = 50 * time.Millisecond
	maxBackOff = time.Second
	blockTime  = time.Second // also how long it takes to see that Redis was emptied
	pageSize   = 500         // entries in one exchange
)

func newEpoch() string { return rand.Text() }

// settleTime is how long it takes until every node in reach has seen a new epoch and has begun to
// write back what it knows. A node sees the epoch over the connection that it has to that Redis, or
// because lookAround finds it, when the question that was on its way to another Redis has been
// answered.
func (r *Revocations) settleTime() time.Duration {
	return max(blockTime+maxBackOff+r.opts.Timeout, lookEvery+2*r.opts.Timeout)
}

// settledAt is when the other nodes have had their turn to see an epoch.
func (r *Revocations) settledAt(opened opening) time.Time {
	age := max(0, opened.now.Sub(opened.made)) // the clock of Redis may have been set back
	return opened.at.Add(r.settleTime() - age)
}

// pageTime is the longest time between two pages of a node that writes back.
func (r *Revocations) pageTime() time.Duration { return 2 * r.opts.Timeout }

var (
	errClosed   = errors.New("closed")
	errUnread   = errors.New("what Redis holds is being read")
	errSettling = errors.New("redis is new, or may have lost data; other nodes are given the time to come, and to write back what they know")
	errNoStream = errors.New("the stream is gone")

	errElsewhere = errors.New("redis is another one, or has lost data")
)

// follow reads what is added, from the Redis that Dial leads to, until Close.
func (r *Revocations) follow() {
	backOff := minBackOff
	var told error // why follow is not connected, as it was logged
	failed := 0    // how often follow could not connect since
	for {
		var since time.Time // this connection has been of use
		err := r.followConnection(func() {
			switch now := time.Now(); {
			case since.IsZero():
				r.mu.Lock()
				n := len(r.known)
				r.mu.Unlock()
				r.log.Info("redisrevoke: connected", "revocations", n, "failed", failed)
				since, told, failed = now, nil, 0
			case now.Sub(since) >= maxBackOff: // else the connection may be lost again and again
				backOff = minBackOff
			}
		})
		if r.ctx.Err() != nil {
			return
		}
		// A replica closes connections before it says that it is one.
		if told == nil || errors.Is(err, errReplica) && !errors.Is(told, errReplica) {
			told = err
			r.log.Warn("redisrevoke: not connected", "error", err.Error(), "new_tokens", r.meanwhile())
		}
		failed++
		select {
		case <-time.After(backOff/2 + randomly.N(backOff/2)):
		case <-r.ctx.Done():
			return
		}
		backOff = min(2*backOff, maxBackOff)
		r.sweepUnsent()
	}
}

func (r *Revocations) meanwhile() string {
	if r.opts.FailOpen {
		return "judged by what this node knows"
	}
	return "refused"
}

// followConnection follows one connection until it ends, and returns why. It calls useful whenever
// it has read all that there was.
func (r *Revocations) followConnection(useful func()) error {
	conn, opened, err := r.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, leave := context.WithCancelCause(r.ctx)
	defer leave(nil)
	r.follows(opened.epoch, leave)
	defer r.follows("", nil)
	if err := r.load(ctx, conn, opened); err != nil {
		return err
	}
	swept := time.Now()
	var expired []stale
	block := time.Duration(0) // at first, to see whether the commands of read are allowed
	for {
		r.wakeIfUnsent()
		if _, err := r.read(ctx, conn, block); err != nil {
			return err // a new connection finds the new epoch, or another Redis
		}
		useful()
		if len(expired) == 0 && time.Since(swept) >= sweepEvery {
			swept = time.Now()
			expired = r.expiredEntries()
		}
		if expired, err = r.sweep(ctx, conn, expired); err != nil {
			return err
		}
		block = blockTime
		if len(expired) > 0 {
			block = 0
		}
	}
}

// follows notes which epoch follow is connected to, "" for none, and what ends that connection.
func (r *Revocations) follows(epoch string, leave context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.following, r.leave = epoch, leave
}

// found tells follow which epoch Dial leads to. If that is not the epoch of its connection, follow
// connects again.
func (r *Revocations) found(epoch string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leave != nil && r.following != epoch {
		r.leave(errElsewhere)
	}
}

// load reads the whole stream where the epoch is another than before. Entries that the node knows
// and the stream lacks are then to be sent.
func (r *Revocations) load(ctx context.Context, conn redis.Conn, opened opening) error {
	before := r.loaded()
	if before == opened.epoch {
		return nil
	}
	var last position
	at := make(map[string][]position) // by record.ID; serve may still read what an earlier Redis gets
	for page := range r.pages(ctx, conn) {
		if page.err != nil {
			return page.err
		}
		last = page.entries[len(page.entries)-1].at
		r.mu.Lock()
		r.take(page.entries, opened.now.Add(-r.pageTime()))
		r.mu.Unlock()
		for _, e := range page.entries {
			at[e.record.ID] = append(at[e.record.ID], e.at)
		}
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	for id, n := range r.known {
		n.at = at[id]
		switch {
		case len(n.at) > 0 || n.sentIn == opened.epoch: // serve may have sent it while the stream was read
			r.isThere(id)
		case n.expired(now):
			r.forget(id)
		case !r.unsent[id]:
			r.lost[id] = true
		}
	}
	r.epoch, r.last = opened.epoch, last
	r.settled = r.settledAt(opened)
	if before != "" {
		r.log.Warn("redisrevoke: Redis was restarted or has lost data", "missing", len(r.lost)+len(r.unsent))
	}
	return nil
}

// page is what one XREAD returned, or why no other follows.
type page struct {
	entries []entry
	err     error
}

// pages reads the whole stream. It fetches a page while the one before is taken in, which takes as
// long. The caller has to receive all pages up to the last, or to the error.
func (r *Revocations) pages(ctx context.Context, conn redis.Conn) <-chan page {
	pages := make(chan page, 1)
	go func() {
		defer close(pages)
		var last position
		for {
			entries, err := r.fetch(ctx, conn, last)
			if err == nil && len(entries) == 0 {
				return
			}
			pages <- page{entries, err}
			if err != nil {
				return
			}
			last = entries[len(entries)-1].at
		}
	}()
	return pages
}

func (r *Revocations) fetch(ctx context.Context, conn redis.Conn, last position) ([]entry, error) {
	replies, err := exchange(ctx, conn, r.opts.Timeout, r.xread(last))
	if err != nil {
		return nil, err
	}
	return parseEntries(replies[0])
}

func (r *Revocations) xread(last position, options ...any) command {
	args := append(options, "COUNT", pageSize, "STREAMS", r.stream, last.String())
	return do("XREAD", args...)
}

// read takes in what was added, for which it waits up to block. It returns whether there may be
// more, and errUnread where nothing was loaded yet.
func (r *Revocations) read(ctx context.Context, conn redis.Conn, block time.Duration) (more bool, err error) {
	r.mu.Lock()
	epoch, last := r.epoch, r.last
	r.mu.Unlock()
	if epoch == "" {
		return false, errUnread
	}
	var options []any
	if block > 0 {
		options = []any{"BLOCK", block.Milliseconds()}
	}
	replies, err := exchange(ctx, conn, block+r.opts.Timeout, append([]command{r.xread(last, options...)}, r.look()...)...)
	if err != nil {
		return false, err
	}
	entries, err := parseEntries(replies[0])
	if err != nil {
		return false, err
	}
	if err := judge(replies[1:], epoch); err != nil {
		return false, err
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch != epoch {
		return false, errUnread
	}
	// This is one step with the read of r.last above: when the other goroutine finds that there is
	// nothing after last, all before it is in replica.
	r.take(entries, time.Time{})
	for _, e := range entries {
		if n := r.known[e.record.ID]; n != nil {
			n.at = append(n.at, e.at)
		}
		r.isThere(e.record.ID) // another node may have written it back
	}
	if n := len(entries); n > 0 && r.last.before(entries[n-1].at) {
		r.last = entries[n-1].at
	}
	return len(entries) == pageSize, nil
}

// take puts into replica what the node does not know yet. An entry that was written back after
// recent, by the clock of Redis, says that more may come. take is called with the mutex.
func (r *Revocations) take(entries []entry, recent time.Time) {
	now := time.Now()
	skipped, example := 0, ""
	for _, e := range entries {
		if e.isEpoch {
			continue
		}
		if e.again && e.at.time().After(recent) {
			r.writtenBack = now
		}
		if e.odd != nil {
			skipped++
			example = fmt.Sprintf("%s: %v", e.at, e.odd)
			continue
		}
		rec := e.record
		if r.known[rec.ID] != nil {
			continue
		}
		r.known[rec.ID] = &note{record: rec}
		if !rec.expired(now) {
			_ = r.replica.Add(r.ctx, rec.revocation()) // fails only for a revocation that is wrong, and this one is not
		}
	}
	if skipped > 0 {
		r.log.Warn("redisrevoke: entries that cannot be read are skipped", "entries", skipped, "example", example)
	}
}

// isThere notes that Redis has a record. It is called with the mutex.
func (r *Revocations) isThere(id string) {
	delete(r.unsent, id)
	delete(r.lost, id)
}

// forget is called with the mutex.
func (r *Revocations) forget(id string) {
	delete(r.known, id)
	r.isThere(id)
}
