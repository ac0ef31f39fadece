package socketiojwt

import (
	"context"
	"time"
)

// replaceOthers ends the other sessions of a user who just got a new one, here and on the other
// nodes. The nodes compare the order of sessions, which is the same on all of them. Of two sessions
// that begin at once, every node takes the same one for the newer, so one stays. replaceOthers does
// not wait for the other nodes.
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

// logTold logs that other nodes are told of new sessions again, or why they are not any more.
func (a *Authorizer) logTold(err error) {
	if err != nil {
		a.log.Warn("socketiojwt: other nodes may not know of new sessions, so that users may have several", "callback", "Revocations", "error", err.Error())
		return
	}
	a.log.Info("socketiojwt: other nodes know of new sessions again")
}
