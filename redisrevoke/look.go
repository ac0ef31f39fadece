package redisrevoke

import (
	randomly "math/rand/v2"
	"time"
)

// lookEvery is how often a node sees where Dial leads.
const lookEvery = time.Second

// lookAround opens connections until Close. After a failover the old master may be alive, and its
// connections open, so nothing on them tells that Dial leads to another one. serve gets the
// connection that lookAround opened, so its own never gets old enough to be closed because it is
// idle.
func (r *Revocations) lookAround() {
	defer func() { r.keep(serveConn{}) }()
	for {
		select {
		case <-time.After(lookEvery/2 + randomly.N(lookEvery/2)):
		case <-r.ctx.Done():
			return
		}
		var l serveConn
		if r.open(&l) == nil { // else the earlier connections may still be good
			r.keep(l)
		}
	}
}

// keep puts a connection aside for serve.
func (r *Revocations) keep(l serveConn) {
	r.mu.Lock()
	l, r.spare = r.spare, l
	r.mu.Unlock()
	l.close()
}
