package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// serve is an issuer whose discovery document is what document makes of its URL.
func serve(t *testing.T, document func(url string) string) string {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprint(w, document(server.URL))
		case "/away":
			http.Redirect(w, r, "http://issuer.invalid/", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestWrongIssuers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ issuer, want string }{
		"another issuer": {serve(t, func(url string) string {
			return `{"issuer":"https://other.example","jwks_uri":"` + url + `/jwks.json"}`
		}), "did not match"},
		"a slash more": {serve(t, func(url string) string {
			return `{"issuer":"` + url + `/","jwks_uri":"` + url + `/jwks.json"}`
		}), "did not match"},
		"no keys":          {serve(t, func(url string) string { return `{"issuer":"` + url + `"}` }), "jwks_uri"},
		"keys without TLS": {serve(t, func(url string) string { return `{"issuer":"` + url + `","jwks_uri":"http://issuer.invalid/"}` }), "jwks_uri"},
		"no TLS":           {"http://issuer.invalid", "https"},
		"no URL":           {"issuer.invalid", "https"},
	} {
		if _, err := followIssuer(t.Context(), test.issuer, always()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whoever answers in the place of the keys could sign tokens.
func TestKeysAreNotReadWithoutTLS(t *testing.T) {
	t.Parallel()
	k, err := followIssuer(t.Context(), serve(t, func(url string) string {
		return `{"issuer":"` + url + `","jwks_uri":"` + url + `/away"}`
	}), always())
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.client.Get(k.issuer + "/away")
	if err == nil || !strings.Contains(err.Error(), "redirects to http://issuer.invalid/") {
		t.Error(err)
	}
}

// An issuer that never answers keeps nobody waiting for long, and one that is asked too often is
// not asked.
func TestSilentIssuer(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	began := time.Now()
	k, err := followIssuer(t.Context(), server.URL, rate.NewLimiter(rate.Every(time.Hour), 1))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProvider(server.URL, "chat", "")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := p.Token("red", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := jwt.Parse(raw, k.find); err == nil {
			t.Error("a key from nowhere")
		}
	}
	if took := time.Since(began); took > 3*lookupTime {
		t.Errorf("it took %v", took)
	}
	if n := len(asked); n != 2 { // at start, and once more
		t.Errorf("it was asked %d times", n)
	}
}
