package transport

import (
	"net/url"
	"strings"
)

// Origin is an origin (RFC 6454) in lower case, without the default port of its scheme.
type Origin struct{ scheme, host string }

func (o Origin) String() string { return o.scheme + "://" + o.host }

// ParseOrigin reads what browsers send in the Origin header. ok is false for what is none, and for
// "null".
func ParseOrigin(text string) (o Origin, ok bool) {
	// Browsers write other alphabets as punycode. Folding them could make different hosts equal.
	if strings.ContainsFunc(text, func(c rune) bool { return c > 0x7e }) {
		return Origin{}, false
	}
	text = strings.ToLower(text)
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || text != u.Scheme+"://"+u.Host {
		return Origin{}, false
	}
	return Origin{u.Scheme, trimDefaultPort(u.Scheme, u.Host)}, true
}

// IsHost reports whether a page of this origin is a page of the server itself, which is asked as
// host. The scheme does not count, because a proxy may end TLS. Only the schemes of web pages have
// hosts that the network gives.
func (o Origin) IsHost(host string) bool {
	switch o.scheme {
	case "http", "https", "ws", "wss":
		return o.host == trimDefaultPort(o.scheme, strings.ToLower(host))
	}
	return false
}

func trimDefaultPort(scheme, host string) string {
	switch scheme {
	case "http", "ws":
		return strings.TrimSuffix(host, ":80")
	case "https", "wss":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}
