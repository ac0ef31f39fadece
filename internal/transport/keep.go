package transport

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What a handshake costs as long as its connection lasts, in bytes of memory. An empty line of a
// header costs some too.
const (
	nameCost  = 80 // an entry of http.Header
	valueCost = 32 // an element of a slice, and an allocation
)

// HandshakeCost is about how much memory the URL, the header and the host of a request take.
func HandshakeCost(r *http.Request) int { return handshakeCost(r.URL, r.Header, r.Host) }

// Cost is about how much memory the handshake takes.
func (h *Handshake) Cost() int { return handshakeCost(h.URL, h.Header, h.Host) }

func handshakeCost(u *url.URL, header http.Header, host string) int {
	// net/http has the whole first line in one string, which any part of it keeps in memory.
	cost := len(u.Scheme) + len(u.Opaque) + len(u.Path) + len(u.RawPath) + len(u.RawQuery) + len(host)
	if u.User != nil {
		cost += len(u.User.String())
	}
	for name, values := range header {
		cost += len(name) + nameCost
		for _, value := range values {
			cost += len(value) + valueCost
		}
	}
	return cost
}

// Keep cuts the handshake down to a Cost of at most most: to the shortest fields of its header and
// parameters of its query. The layer above may call it while it is made, before anybody else reads
// the handshake.
func (h *Handshake) Keep(most int) {
	if h.Cost() <= most {
		return
	}
	u := &url.URL{Path: keptWhole(h.URL.Path, most/8)}
	h.Host = keptWhole(h.Host, most/8)

	query := strings.Split(h.URL.RawQuery, "&")
	var costs []int
	for _, parameter := range query {
		costs = append(costs, parameterCost(parameter))
	}
	for name, values := range h.Header {
		for _, value := range values {
			costs = append(costs, fieldCost(name, value))
		}
	}
	longest := longestThatFits(costs, most-len(u.Path)-len(h.Host))

	query = slices.DeleteFunc(query, func(parameter string) bool { return parameterCost(parameter) > longest })
	u.RawQuery = strings.Clone(strings.Join(query, "&")) // of a single one Join makes no copy
	header := make(http.Header)
	for name, values := range h.Header {
		for _, value := range values {
			if fieldCost(name, value) <= longest {
				header[name] = append(header[name], value)
			}
		}
	}
	h.URL, h.Header = u, header
}

func parameterCost(parameter string) int { return len(parameter) + 1 }

func fieldCost(name, value string) int { return nameCost + len(name) + valueCost + len(value) }

// keptWhole returns a copy of text, because net/http has the whole first line in one string. It
// returns "" if text is longer than most.
func keptWhole(text string, most int) string {
	if len(text) > most {
		return ""
	}
	return strings.Clone(text)
}

// longestThatFits returns the greatest of the costs for which all costs up to it together are at
// most most.
func longestThatFits(costs []int, most int) (longest int) {
	slices.Sort(costs)
	sum := 0
	for i, cost := range costs {
		sum += cost
		if sum > most {
			break
		}
		if i == len(costs)-1 || costs[i+1] > cost {
			longest = cost
		}
	}
	return longest
}
