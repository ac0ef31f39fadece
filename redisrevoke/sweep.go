package redisrevoke

import (
	"context"
	"time"

	"github.com/gomodule/redigo/redis"
)

// sweepEvery is how often what is over is removed.
var sweepEvery = time.Minute

// stale is an entry of the stream whose record is over.
type stale struct {
	id string // of the record
	at position
}

// allOver returns the entries that are over, and forgets what is over and has none.
func (r *Revocations) allOver() (over []stale) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	looked := 0
	for id, n := range r.known {
		if n.over(now) {
			for _, at := range n.at {
				over = append(over, stale{id, at})
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
	return over
}

// sweep removes the first page of what is over from Redis, and returns the rest. What Redis has
// removed is forgotten here. What it has not, the next allOver finds again.
func (r *Revocations) sweep(ctx context.Context, conn redis.Conn, over []stale) (rest []stale, err error) {
	page, rest := over[:min(len(over), pageSize)], over[min(len(over), pageSize):]
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
		r.log.Warn("redisrevoke: Redis does not remove what is over", "error", refused.Error())
	}, func() {
		r.log.Info("redisrevoke: Redis removes what is over again")
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
		if n.at = n.at[1:]; len(n.at) == 0 { // they came in this order
			r.forget(e.id)
		}
	}
	return rest, nil
}

// sweepUnsent forgets what is over before Redis has seen it.
func (r *Revocations) sweepUnsent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	for _, ids := range []map[string]bool{r.unsent, r.lost} {
		for id := range ids {
			if r.known[id].over(now) {
				r.forget(id)
			}
		}
	}
}
