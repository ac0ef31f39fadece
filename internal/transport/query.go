package transport

import (
	"net/http"
	"net/url"
	"strings"
)

// Query is the query of a URL, read where it stands. The gate reads the query of every request;
// with a map that would cost as much as verifying the signature of a token. What is malformed is
// left out, as url.ParseQuery does.
type Query string

// QueryOf returns the query of a request.
func QueryOf(r *http.Request) Query { return Query(r.URL.RawQuery) }

// maxPlainParams is how many parameters are read here. How net/url reads very many depends on its
// version, and go-socket.io reads with net/url.
const maxPlainParams = 500

// Lookup returns the first value of a parameter, and how many there are.
func (q Query) Lookup(name string) (first string, n int) {
	rest := string(q)
	if strings.Count(rest, "&") > maxPlainParams {
		values, _ := url.ParseQuery(rest)
		return values.Get(name), len(values[name])
	}
	for rest != "" {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		key, value, _ := strings.Cut(pair, "=")
		if key, ok := unescape(key); !ok || key != name || pair == "" || strings.Contains(pair, ";") {
			continue
		}
		value, ok := unescape(value)
		if !ok {
			continue
		}
		if n == 0 {
			first = value
		}
		n++
	}
	return first, n
}

// unescape is url.QueryUnescape that costs nothing where there are no escapes, as in tokens.
func unescape(escaped string) (text string, ok bool) {
	if strings.IndexByte(escaped, '%') < 0 && strings.IndexByte(escaped, '+') < 0 {
		return escaped, true
	}
	text, err := url.QueryUnescape(escaped)
	return text, err == nil
}

// Get returns the first value of a parameter, "" if there is none.
func (q Query) Get(name string) string {
	first, _ := q.Lookup(name)
	return first
}

// Has reports whether there is a parameter.
func (q Query) Has(name string) bool {
	_, n := q.Lookup(name)
	return n > 0
}
