package socketiojwt

import (
	"net"
	"net/netip"
	"sync"
)

// places are the places of MaxPending, or of callbacks that run. One host cannot take all of them:
// when more than half are taken, a host with more than its share gets no more. Behind a proxy all
// clients are one host.
type places struct {
	most int

	mu     sync.Mutex
	taken  int
	byHost map[string]int
}

// minShare is how many places every host may have. A tenth of few places would be too little for a
// host that many clients share.
const minShare = 10

// take takes a place for a client of a remote address, and reports whether there was one.
func (p *places) take(remote string) bool {
	host := hostOf(remote)
	p.mu.Lock()
	defer p.mu.Unlock()
	held := p.byHost[host]
	if p.taken >= p.most || p.taken > p.most/2 && held > max(p.most/10, minShare) {
		return false
	}
	if p.byHost == nil {
		p.byHost = make(map[string]int)
	}
	p.taken++
	p.byHost[host] = held + 1
	return true
}

// release gives back a place that take gave.
func (p *places) release(remote string) {
	host := hostOf(remote)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.byHost[host]--; p.byHost[host] == 0 {
		delete(p.byHost, host)
	}
}

// count returns how many places are taken, and how many of them the host has that has the most.
func (p *places) count() (taken, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, held := range p.byHost {
		most = max(most, held)
	}
	return p.taken, most
}

// hostOf returns what tells one host from another: an IPv4 address, or the network of an IPv6
// address, because a host that has one address has all of its /64 (RFC 4291 §2.5.4).
func hostOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap(); addr.Is6() {
		if network, err := addr.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
