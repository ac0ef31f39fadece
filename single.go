package socketiojwt

import (
	"context"
	"time"
)

// replaceOthers ends the other sessions of a user who just got a new one, here and on the other nodes. What
// they compare is the order of sessions, which is the same on all: of two that begin at once one is the
// newer wherever the news meet, so one stays. It does not wait for the other nodes.
func (a *Authorizer) replaceOthers(s *Session) {
	r := Revocation{
		Identity:     s.Identity(),
		SessionsOnly: true,
		IssuedBefore: time.Unix(0, s.order).UTC(),
		ReplacedBy:   s.ID(),
		Reason:       errSessionReplaced(),
	}
	a.revoked(r)
	if a.opts.Revocations == nil {
		return
	}
	go func() {
		err := a.tellOthers(context.Background(), r)
		if failed := err != nil; a.untold.Swap(failed) != failed {
			a.logTold(err)
		}
	}()
}

// logTold says that it has changed whether other nodes are told.
func (a *Authorizer) logTold(err error) {
	if err != nil {
		a.log.Warn("socketiojwt: other nodes may not know of new sessions, so that users may have several", "callback", "Revocations", "error", err.Error())
		return
	}
	a.log.Info("socketiojwt: other nodes know of new sessions again")
}
