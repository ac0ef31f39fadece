package socketiojwt

import (
	"errors"
	"math"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The end of a session is read off the wall clock once, when its token is accepted. From then on
// time is measured by Go's monotonic clock, so setting the machine's clock neither prolongs nor
// shortens a session. (Linux stops that clock while the machine sleeps.)

// lifetime says when the client of a session is warned and when the session ends. The zero time is
// never.
type lifetime struct{ warning, end time.Time }

func (a *Authorizer) lifetimeOf(v *verified, now time.Time) lifetime {
	var l lifetime
	if v.expiresAt.IsZero() {
		return l
	}
	if !a.opts.KeepExpired {
		l.end = a.endOf(v, now)
	}
	if warning := a.opts.ExpiryWarning; warning > 0 {
		left := v.expiresAt.Sub(now)
		// A token that does not last as long as the warning takes would be warned of at once, and
		// so would the next one: the client would refresh without end.
		if l.warning = now.Add(left - warning); left < 2*warning {
			l.warning = now.Add(left / 2)
		}
		if left <= 0 {
			l.warning = time.Time{}
		}
	}
	return l
}

// endOf returns when a token is no longer good: `exp` and the leeway.
func (a *Authorizer) endOf(v *verified, now time.Time) time.Time {
	end := v.expiresAt.Add(a.leeway)
	if !v.parsedAt.Before(end) {
		// The parser took the token all the same: ParserOptions turn the check off, or have a clock
		// of their own, which this package cannot follow.
		return time.Time{}
	}
	return now.Add(end.Sub(now)) // with now's monotonic reading
}

// expired reports whether the session has ended at now.
func (l lifetime) expired(now time.Time) bool { return !l.end.IsZero() && !now.Before(l.end) }

// arm sets the connection's one timer to what comes next. It is called with the mutex.
func (c *connection) arm(l lifetime, now time.Time) {
	if c.expiry != nil {
		c.expiry.Stop()
		c.expiry = nil
	}
	next := l.end
	if l.warning.After(now) && (next.IsZero() || l.warning.Before(next)) {
		next = l.warning
	}
	if !next.IsZero() && !c.closed {
		c.expiry = time.AfterFunc(next.Sub(now), c.expire)
	}
}

// expire warns the client, or ends the session. The timer calls it, without the mutex. A refresh
// that came before has changed what there is to do; a refresh that comes after finds no session.
func (c *connection) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	session := c.session.Load()
	if session == nil || c.closed {
		return
	}
	now := time.Now()
	if session.lifetime.expired(now) {
		c.endSession(errTokenExpired(nil), func(s *Stats) { s.Expired++ })
		return
	}
	if warning := session.lifetime.warning; !warning.IsZero() && !now.Before(warning) {
		c.warn(session.ExpiresAt().Sub(now))
	}
	c.arm(session.lifetime, now)
}

// warn tells the client in all its namespaces that the token is about to expire.
func (c *connection) warn(left time.Duration) {
	seconds := int(math.Ceil(left.Seconds()))
	for _, sock := range c.sockets {
		if sock.isAuthenticated() {
			sock.sio.Tell(eventTokenExpiring, tokenExpiring{seconds}, nil)
		}
	}
}

// tokenExpiring is the argument of `token_expiring`.
type tokenExpiring struct {
	ExpiresIn int `json:"expiresIn"`
}

// leewayOf finds the leeway in options, which golang-jwt does not tell: it searches for the least
// time ago that counts as expired.
func leewayOf(options []jwt.ParserOption) time.Duration {
	now := time.Unix(1e9, 0)
	fixed := jwt.WithTimeFunc(func() time.Time { return now })
	validator := jwt.NewValidator(append(options[:len(options):len(options)], fixed)...)
	isExpired := func(ago time.Duration) bool {
		claims := jwt.RegisteredClaims{ExpiresAt: &jwt.NumericDate{Time: now.Add(-ago)}}
		return errors.Is(validator.Validate(claims), jwt.ErrTokenExpired)
	}
	least, most := -maxLeeway, maxLeeway
	for least < most {
		if middle := least + (most-least)/2; isExpired(middle) {
			most = middle
		} else {
			least = middle + 1
		}
	}
	return least
}

const maxLeeway = 100 * 365 * 24 * time.Hour
