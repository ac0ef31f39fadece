package redisrevoke

import "time"

// clocksApart is how far the clocks of a node and of Redis may be apart before that is logged.
const clocksApart = time.Minute

// compare notes what time it is for Redis, as Redis said between two times of the node.
func (r *Revocations) compare(began, ended, theirs time.Time) {
	ahead := theirs.Sub(began.Add(ended.Sub(began) / 2))
	r.mu.Lock()
	r.ahead = ahead
	r.mu.Unlock()
	r.clocks.is(ahead.Abs() <= clocksApart, func() {
		r.log.Warn("redisrevoke: the clocks of this node and of Redis are more than a minute apart; an expired revocation is kept until it has expired by both",
			"redis_is_ahead", ahead.Round(time.Second).String())
	}, func() {
		r.log.Info("redisrevoke: the clocks of this node and of Redis agree again")
	})
}

// clock returns the earlier of the times of the node and of Redis. A record is removed for all
// nodes, so it has to have expired by both clocks. clock is called with the mutex.
func (r *Revocations) clock() time.Time { return time.Now().Add(min(0, r.ahead)) }
