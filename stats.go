package socketiojwt

import (
	"fmt"
	"maps"
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// Stats are counts since Authorize. Active, Pending, PendingOfOneHost, Connections and OutboxBytes
// are those of now.
type Stats struct {
	// Active is how many connections have a session.
	Active int
	// Pending is how many sockets of protected namespaces are not authenticated yet. Of clients 3.x
	// and 4.x it counts the connections without an admitted socket instead.
	Pending int
	// PendingOfOneHost is how many of Pending belong to the host that has the most of them. See
	// Options.MaxPending.
	PendingOfOneHost int
	// Authenticated is how many connections were given a session.
	Authenticated uint64
	// Refreshed is how many sessions were replaced by one of a newer token.
	Refreshed uint64
	// Expired is how many sessions ended because their token expired.
	Expired uint64
	// Revoked is how many sessions ended because their token was revoked.
	Revoked uint64
	// Replaced is how many sessions ended because a newer session took their place, see
	// Options.SingleSession.
	Replaced uint64
	// Disconnected is how many sessions Disconnect, DisconnectUser, DisconnectSubject and
	// Session.End ended.
	Disconnected uint64
	// Refused is how often a client was refused, by the code of the reason. A code of your own is a
	// key of its own, so do not make one for each client.
	Refused map[string]uint64
	// Refusals is how often a client was refused, by all there is to say. It tells a wrong key from
	// an expired token, and MaxPending from Revocations that cannot be asked. At most 500 are told
	// apart; what comes after that counts as the Refusal with no fields.
	Refusals map[Refusal]uint64
	// UnknownVersions is how many requests were refused because their version of Engine.IO is
	// neither 3 nor 4.
	UnknownVersions uint64
	// UnknownSessions is how many requests named a connection that the server does not know: after
	// a restart, without sticky sessions, and when somebody guesses.
	UnknownSessions uint64
	// RefusedOrigins is how many WebSockets were refused because their page is of another origin.
	RefusedOrigins uint64
	// EarlyEvents is how many events were dropped because their socket was not authenticated.
	EarlyEvents uint64
	// PacketsRefused is how many clients were disconnected because what they sent breaks the
	// protocol or the Limits, by reason. It counts all clients of the servers that the Authorizer
	// protects.
	PacketsRefused map[string]uint64
	// Connections is how many connections there are, of all clients of the servers that the
	// Authorizer protects.
	Connections map[ConnectionKind]int
	// OutboxBytes is how many bytes wait for these clients.
	OutboxBytes int
}

// Refusal says why a client was refused.
type Refusal struct {
	// Code and Message are what the client was told.
	Code, Message string
	// By is the field of Options that the refusal was due to, such as "MaxPending", "Revocations"
	// or "Accept"; "OnConnect" for that hook, and "" for the token itself.
	By string
}

// String returns code, message and By in a line, such as "server_busy: server busy (MaxPending)".
func (r Refusal) String() string {
	text := r.Code + ": " + r.Message
	if r.By != "" {
		text += " (" + r.By + ")"
	}
	return text
}

// MarshalText returns String, so that Stats can be encoded as JSON.
func (r Refusal) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// ConnectionKind is how a client talks to the server.
type ConnectionKind struct {
	// EIO is the version of Engine.IO: 3 for clients 1.x and 2.x, 4 for clients 3.x and 4.x.
	EIO int
	// Transport is "polling" or "websocket".
	Transport string
}

// String returns a text such as "EIO=4 websocket".
func (k ConnectionKind) String() string { return fmt.Sprintf("EIO=%d %s", k.EIO, k.Transport) }

// MarshalText returns String, so that Stats can be encoded as JSON.
func (k ConnectionKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Stats returns what the Authorizer has counted. It does not block and is safe for
// concurrent use.
func (a *Authorizer) Stats() Stats {
	a.stats.mu.Lock()
	defer a.stats.mu.Unlock()
	now := a.stats.Stats
	now.Pending, now.PendingOfOneHost = a.places.count()
	now.Refused = maps.Clone(now.Refused)
	now.Refusals = maps.Clone(now.Refusals)
	now.PacketsRefused = maps.Clone(now.PacketsRefused)
	now.Connections = make(map[ConnectionKind]int)
	for _, hub := range a.stats.hubs {
		load := hub.Load()
		for kind, n := range load.Clients {
			now.Connections[ConnectionKind{kind.Version, kind.Transport}] += n
		}
		now.OutboxBytes += load.OutboxBytes
	}
	return now
}

type stats struct {
	mu sync.Mutex
	Stats
	hubs []*transport.Hub
}

func newStats() stats {
	return stats{Stats: Stats{
		Refused: map[string]uint64{}, Refusals: map[Refusal]uint64{}, PacketsRefused: map[string]uint64{},
	}}
}

// maxRefusals bounds Stats.Refusals, because a callback may make a message for each client.
const maxRefusals = 500

func (s *Stats) refused(err *UnauthorizedError) {
	s.Refused[err.Code]++
	refusal := Refusal{err.Code, err.Message, err.by}
	if _, known := s.Refusals[refusal]; !known && len(s.Refusals) >= maxRefusals {
		refusal = Refusal{}
	}
	s.Refusals[refusal]++
}

func (s *stats) count(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.Stats)
}

type observerKey struct{ auth *Authorizer }

// observe counts and logs why clients of a hub are disconnected for what they sent, once for each
// hub.
func (a *Authorizer) observe(hub *transport.Hub) {
	hub.Attach(observerKey{a}, func() any {
		a.stats.mu.Lock()
		a.stats.hubs = append(a.stats.hubs, hub)
		a.stats.mu.Unlock()
		hub.Observe(func(c *transport.Client, reason transport.Reason) {
			a.stats.count(func(s *Stats) { s.PacketsRefused[string(reason)]++ })
			a.log.Info("socketiojwt: a client was disconnected for what it sent",
				"reason", string(reason), "remote", c.Handshake().RemoteAddr)
		})
		hub.ObserveHijack(a.warnNotHijacked)
		return true
	})
}
