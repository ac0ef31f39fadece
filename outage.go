package socketiojwt

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// outage is while Revocations cannot be asked. Each client is refused then, and all that may be
// known of it is in two lines of the log: when it begins, and when it is over.
type outage struct {
	on atomic.Bool

	mu          sync.Mutex
	began, last time.Time
	refused     int
}

// outageOver is for how long nothing has to fail until an outage is over: some questions may be
// answered while others are not.
const outageOver = 10 * time.Second

// failed notes that Revocations could not be asked for a client.
func (a *Authorizer) failed(ctx context.Context, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the client has left
	}
	if a.outage.failed() {
		a.log.WarnContext(ctx, "socketiojwt: Revocations cannot be asked, so that clients are refused for now", "error", err.Error())
	}
}

// answered notes that Revocations could be asked.
func (a *Authorizer) answered() {
	if refused, took := a.outage.answered(); refused > 0 {
		a.log.Info("socketiojwt: Revocations can be asked again", "refused", refused, "after", took.Round(time.Second).String())
	}
}

// failed reports whether it is the first.
func (o *outage) failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = time.Now()
	if o.on.Swap(true) {
		o.refused++
		return false
	}
	o.began, o.refused = o.last, 1
	return true
}

// answered returns how many were refused, and how long that went, when it is over.
func (o *outage) answered() (refused int, took time.Duration) {
	if !o.on.Load() {
		return 0, 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.last) < outageOver || !o.on.Swap(false) {
		return 0, 0
	}
	return o.refused, o.last.Sub(o.began)
}
