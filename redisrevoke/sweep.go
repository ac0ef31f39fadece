package redisrevoke

import (
	"context"
	"time"

	"github.com/gomodule/redigo/redis"
)

// sweepEvery is how often expired records are removed.
var sweepEvery = time.Minute

// stale is an entry of the stream whose record has expired.
type stale struct {
	id string // of the record
	at position
}

// expiredEntries returns the entries of records that have expired, and forgets expired records
// without entries.
func (r *Revocations) expiredEntries() (expired []stale) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	looked := 0
	for id, n := range r.known {
		if n.expired(now) {
			for _, at := range n.at {
				expired = append(expired, stale{id, at})
			}
			if len(n.at) == 0 {
				r.forget(id)
			}
		}
		if looked++; looked%pageSize == 0 { // others wait for the mutex
			r.mu.Unlock()
			r.mu.Lock()
		}
	}
	return expired
}

// sweep removes the first page of expired entries from Redis, and returns the rest. The node
// forgets what Redis has removed. What Redis has not removed, the next expiredEntries finds again.
func (r *Revocations) sweep(ctx context.Context, conn redis.Conn, expired []stale) (rest []stale, err error) {
	page, rest := expired[:min(len(expired), pageSize)], expired[min(len(expired), pageSize):]
	if len(page) == 0 {
		return nil, nil
	}
	args := []any{r.stream}
	for _, e := range page {
		args = append(args, e.at.String())
	}
	replies, err := exchange(ctx, conn, r.opts.Timeout, do("XDEL", args...))
	if err != nil {
		return nil, err
	}
	refused := refusal(replies[0])
	r.sweeping.is(refused == nil, func() {
		r.log.Warn("redisrevoke: Redis does not remove expired revocations", "error", refused.Error())
	}, func() {
		r.log.Info("redisrevoke: Redis removes expired revocations again")
	})
	if refused != nil {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range page {
		n := r.known[e.id]
		if n == nil {
			continue
		}
		if n.at = n.at[1:]; len(n.at) == 0 { // the entries of a record come in this order
			r.forget(e.id)
		}
	}
	return rest, nil
}

// sweepUnsent forgets records that have expired before Redis has seen them.
func (r *Revocations) sweepUnsent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	for _, ids := range []map[string]bool{r.unsent, r.lost} {
		for id := range ids {
			if r.known[id].expired(now) {
				r.forget(id)
			}
		}
	}
}
