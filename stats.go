package socketiojwt

import (
	"maps"
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// Stats are counts since Authorize, but for Active and Pending, which are of now.
type Stats struct {
	// Active is how many connections have a session.
	Active int
	// Pending is how many sockets of protected namespaces are not authenticated yet, and, of
	// clients 3.x and 4.x, how many connections are without an admitted socket.
	Pending int
	// Authenticated is how many connections were given a session.
	Authenticated uint64
	// Refreshed is how many sessions were replaced by one of a newer token.
	Refreshed uint64
	// Expired is how many sessions ended because their token expired.
	Expired uint64
	// Revoked is how many sessions ended because their token was revoked.
	Revoked uint64
	// Replaced is how many sessions ended because a newer one took their place, see
	// Options.SingleSession.
	Replaced uint64
	// Disconnected is how many sessions Disconnect, DisconnectUser, DisconnectSubject and
	// Session.End ended.
	Disconnected uint64
	// Refused is how often a client was refused, by the code of the reason. A code of your
	// own counts as what it is, so do not make one for each client.
	Refused map[string]uint64
	// EarlyEvents is how many events were dropped because their socket was not authenticated.
	EarlyEvents uint64
	// PacketsRefused is how many clients were disconnected because what they sent breaks
	// the protocol or the Limits, by reason. It counts all clients of the servers that the
	// Authorizer looks after.
	PacketsRefused map[string]uint64
}

// Stats returns what the Authorizer has counted. It does not block and is safe for
// concurrent use.
func (a *Authorizer) Stats() Stats {
	a.stats.mu.Lock()
	defer a.stats.mu.Unlock()
	now := a.stats.Stats
	now.Pending = a.places.count()
	now.Refused = maps.Clone(now.Refused)
	now.PacketsRefused = maps.Clone(now.PacketsRefused)
	return now
}

type stats struct {
	mu sync.Mutex
	Stats
}

func newStats() stats {
	return stats{Stats: Stats{Refused: map[string]uint64{}, PacketsRefused: map[string]uint64{}}}
}

func (s *stats) count(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.Stats)
}

type observerKey struct{ auth *Authorizer }

// observe counts and logs, once for each hub, what its clients are disconnected for.
func (a *Authorizer) observe(hub *transport.Hub) {
	hub.Attach(observerKey{a}, func() any {
		hub.Observe(func(c *transport.Client, reason transport.Reason) {
			a.stats.count(func(s *Stats) { s.PacketsRefused[string(reason)]++ })
			a.log.Info("socketiojwt: a client was disconnected for what it sent",
				"reason", string(reason), "remote", c.Handshake().RemoteAddr)
		})
		return true
	})
}
