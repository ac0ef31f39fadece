package socketiojwt

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// outage is the time while Revocations cannot be asked. Every client is refused then. The log gets
// two lines, one when the outage begins and one when it is over, and none for each client.
type outage struct {
	on atomic.Bool

	mu          sync.Mutex
	began, last time.Time // the first and the last failure
	refused     int
}

// outageOver is how long nothing must have failed before an outage is over: some questions may be
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

// failed reports whether the failure is the first of an outage.
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

// answered ends an outage that is over, and returns how many clients were refused and how long it
// took.
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
