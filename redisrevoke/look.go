package redisrevoke

import (
	randomly "math/rand/v2"
	"time"
)

// lookEvery is how often a node sees where Dial leads by now.
const lookEvery = time.Second

// lookAround opens connections until Close. A failover may leave the master of before alive, and its
// connections open, so nothing that happens on those tells that Dial leads to another one.
// The connection is one for serve, whose own never gets old enough for anybody to close it because it
// is idle.
func (r *Revocations) lookAround() {
	defer func() { r.keep(serveConn{}) }()
	for {
		select {
		case <-time.After(lookEvery/2 + randomly.N(lookEvery/2)):
		case <-r.ctx.Done():
			return
		}
		var l serveConn
		if r.open(&l) == nil { // else the connections of before may still be good
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
