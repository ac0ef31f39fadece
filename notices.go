package socketiojwt

import (
	"net/http"
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// notices remembers what was logged about which address, so that a client that comes back every
// second makes one line of each kind.
type notices struct {
	mu   sync.Mutex
	said map[string]map[string]struct{} // the addresses, by kind
}

// maxNotices bounds how many addresses of each kind are remembered, and so how many lines strangers
// can cause. After that many the kind is not logged any more.
const maxNotices = 1000

func (n *notices) first(kind, remote string) bool {
	address := hostOf(remote)
	n.mu.Lock()
	defer n.mu.Unlock()
	addresses := n.said[kind]
	if _, said := addresses[address]; said || len(addresses) >= maxNotices {
		return false
	}
	if addresses == nil {
		addresses = make(map[string]struct{})
		if n.said == nil {
			n.said = make(map[string]map[string]struct{})
		}
		n.said[kind] = addresses
	}
	addresses[address] = struct{}{}
	return true
}

// note counts, and logs once for each address, a request that the gate answered itself for a reason
// that is more likely a mistake in the set-up than a client that misbehaves.
func (g *gate) note(r *http.Request) {
	query := transport.QueryOf(r)
	switch sid := query.Get("sid"); {
	case transport.VersionOf(query) == 0:
		g.auth.stats.count(func(s *Stats) { s.UnknownVersions++ })
		g.auth.note("version", r, g.auth.log.Warn,
			"socketiojwt: a client of an unknown protocol version was refused; this server speaks EIO=3 and EIO=4, which socket.io-client 1.x to 4.x do")
	case g.hub != nil && g.hub.RefusesOrigin(r):
		g.auth.stats.count(func(s *Stats) { s.RefusedOrigins++ })
		g.auth.note("origin", r, g.auth.logger().Warn,
			"socketiojwt: a WebSocket was refused, because its page is of another origin; let that in by the CheckOrigin of go-socket.io's websocket.Transport",
			"origin", clip(r.Header.Get("Origin")), "host", clip(r.Host))
	case g.hub != nil && sid != "" && !g.hub.Knows(sid):
		g.auth.stats.count(func(s *Stats) { s.UnknownSessions++ })
		g.auth.note("session", r, g.auth.log.Warn,
			"socketiojwt: a request named a session that this server does not know; that is normal after a restart, and else means that the requests of one client reach several nodes, which need sticky sessions")
	}
}

// noteQueryToken logs that a client sent a token where no token is looked for.
func (a *Authorizer) noteQueryToken(r *http.Request) {
	if !a.opts.Handshake && transport.QueryOf(r).Has(a.opts.QueryParam) {
		a.note("query", r, a.logger().Warn,
			"socketiojwt: a client sent a token in its query, which counts with Options.Handshake only; without it the token belongs into the event `authenticate`, or into the `auth` of clients 3.x and 4.x")
	}
}

func (a *Authorizer) note(kind string, r *http.Request, log func(string, ...any), message string, attrs ...any) {
	if a.notices.first(kind, r.RemoteAddr) {
		log(message, append(attrs, "remote", r.RemoteAddr)...)
	}
}

// clip shortens what a client wrote.
func clip(text string) string {
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	return text
}
