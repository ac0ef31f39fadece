package redisrevoke

import "sync"

// condition is something that holds, as a rule. It is logged once when it ceases to hold, and once
// when it holds again.
type condition struct {
	mu     sync.Mutex
	broken bool
}

func (c *condition) is(good bool, ceases, again func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case good != c.broken:
	case good:
		c.broken = false
		again()
	default:
		c.broken = true
		ceases()
	}
}
