package socketiojwt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// call is run for a client with the remote address. How many callbacks run at once is bounded,
// because a callback that never returns stays, and nobody has to know a token to make Secret run.
func (a *Authorizer) call(ctx context.Context, remote string, f func() (any, error)) (any, error) {
	if !a.calls.take(remote) {
		return nil, errTooManyCallbacks
	}
	return run(ctx, f, func() { a.calls.release(remote) })
}

// run runs a callback of the application, f. A panic in it is an error. run returns when ctx ends
// even if f does not; what f returns later is dropped. returned is called when f has returned.
func run(ctx context.Context, f func() (any, error), returned func()) (any, error) {
	if err := ctx.Err(); err != nil {
		returned()
		return nil, err
	}
	type result struct {
		value any
		err   error
	}
	done := make(chan result, 1)
	go func() {
		res := result{err: errors.New("the callback ended its goroutine")} // runtime.Goexit
		defer func() {
			if p := recover(); p != nil {
				res = result{err: newPanicError(p)}
			}
			returned()
			done <- res
		}()
		value, err := f()
		if err != nil {
			_ = err.Error() // a typed nil panics here, where it is caught, and not in a log
		}
		res = result{value, err}
	}()
	select {
	case res := <-done:
		return res.value, res.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// minCallbacks is how many callbacks may run at once, however small MaxPending is.
const minCallbacks = 100

var errTooManyCallbacks = errors.New("as many callbacks run as Options.MaxPending allows; earlier ones do not return, or take long")

// notAccepted is what the client is told when a callback that was to accept it failed with err. A
// callback that took too long has decided nothing, so the client may try again.
func notAccepted(err error) *UnauthorizedError {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTooManyCallbacks) {
		return errServerBusy(err)
	}
	return errUnauthorized(err)
}

// panicError is a panic of a callback as an error.
type panicError struct {
	what  string
	stack []byte
}

// newPanicError must be called by the deferred function that recovered p. It keeps the type of p
// only, unless p is an error of the runtime: a callback may panic with the token in hand.
func newPanicError(p any) *panicError {
	what := fmt.Sprintf("%T", p)
	if err, ok := p.(runtime.Error); ok {
		what = err.Error()
	}
	return &panicError{what: what, stack: debug.Stack()}
}

func (e *panicError) Error() string { return "panic: " + e.what }

// callbackRefusal returns what the client is told when a callback failed with err: what an
// *UnauthorizedError in err says, or else otherwise. Then err is logged, because the client is not
// told the reason.
func (a *Authorizer) callbackRefusal(ctx context.Context, r *Request, callback string, err error, otherwise *UnauthorizedError) *UnauthorizedError {
	refusal := refusalOf(err, otherwise)
	if refusal == otherwise {
		a.logFailure(ctx, r, callback, err)
	}
	return refusal.dueTo(callback)
}

func (a *Authorizer) logFailure(ctx context.Context, r *Request, callback string, err error) {
	attrs := []any{"callback", callback, "error", err.Error(), "namespace", r.Namespace, "remote", r.RemoteAddr}
	var p *panicError
	if errors.As(err, &p) {
		a.logger().ErrorContext(ctx, "socketiojwt: a callback panicked", append(attrs, "stack", string(p.stack))...)
		return
	}
	if callback == "Revocations" {
		a.failed(ctx, err)
		return
	}
	a.log.WarnContext(ctx, "socketiojwt: a callback failed", attrs...)
}
