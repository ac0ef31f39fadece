package socketiojwt

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// gateResult is what a gate leaves in the context of a handshake request that it lets through.
type gateResult struct {
	auth    *Authorizer // nil: the root is public, or a gate in front has decided
	verdict *verdict    // nil: the namespaces decide
	outer   *gateResult // of a gate in front of this one

	// The gate reserves one of the MaxPending places where the client has yet to authenticate: the
	// connect-hook, which counts the client, may run later. A client that asks for the root keeps
	// the place until a socket of it is admitted.
	place  atomic.Bool
	remote string // the remote address that has the place
	opened bool   // there is a connection, which releases the place
}

// verdict is what the gate decided: the verified token, or nil for a guest, and when.
type verdict struct {
	verified *verified
	at       time.Time
}

func gateResultOf(ctx context.Context) *gateResult {
	p, _ := ctx.Value(sio.OpenHookKey{}).(*gateResult)
	return p
}

// of returns what an Authorizer's gate left, or nil.
func (p *gateResult) of(a *Authorizer) *gateResult {
	for ; p != nil; p = p.outer {
		if p.auth == a {
			return p
		}
	}
	return nil
}

// graceTime is how much longer a connection is kept than its sockets, which are told something when
// their time is up.
const graceTime = 100 * time.Millisecond

// reserve takes one of the places of MaxPending.
func (p *gateResult) reserve(remote string) *UnauthorizedError {
	if !p.auth.places.take(remote) {
		return errServerBusy(nil).dueTo("MaxPending")
	}
	p.remote = remote
	p.place.Store(true)
	return nil
}

// handOver gives the place to the caller. It reports false when there is none.
func (p *gateResult) handOver() bool { return p != nil && p.place.CompareAndSwap(true, false) }

func (p *gateResult) release() {
	if p.handOver() {
		p.auth.places.release(p.remote)
	}
}

// authenticated reports whether a gate has verified a token.
func (p *gateResult) authenticated() bool {
	for ; p != nil; p = p.outer {
		if p.verdict != nil && p.verdict.verified != nil {
			return true
		}
	}
	return false
}

// authorizers returns every Authorizer that may look for a token in the handshake.
func (p *gateResult) authorizers(hub *transport.Hub) (all []*Authorizer) {
	if d := doorkeeperOf(hub); d != nil {
		d.each(func(s *Server) { all = append(all, s.auth) })
	}
	for ; p != nil; p = p.outer {
		if p.auth != nil && !slices.Contains(all, p.auth) {
			all = append(all, p.auth)
		}
	}
	return all
}

// Opened is called when the request has become a connection.
func (p *gateResult) Opened(c *sio.Conn) {
	if !p.authenticated() && c.Client().Handshake().Cost() > maxUnverified {
		cutDown(c, p.authorizers(c.Client().Hub()))
	}
	for ; p != nil; p = p.outer {
		p.opened = true
		if p.place.Load() {
			c.OnClosed(p.release)
			c.OnAdmitted(p.release) // with hooks the root may be public
		}
		if c.IsProtocol5() && p.auth != nil {
			c.Wait(p.auth.opts.Timeout + graceTime)
			c.Client().Restrict(true)
		}
	}
}
