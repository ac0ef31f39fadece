package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// world is a provider that can be down, and a server that gets its keys there.
type world struct {
	*provider
	down   atomic.Bool
	asked  atomic.Int64
	server string
	issuer string
}

func newWorld(t *testing.T, down bool, looks *rate.Limiter) *world {
	t.Helper()
	w := &world{}
	w.down.Store(down)
	endpoint := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		if w.down.Load() {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		w.ServeHTTP(rw, r)
	}))
	t.Cleanup(endpoint.Close)
	w.issuer = endpoint.URL
	var err error
	if w.provider, err = newProvider(endpoint.URL, "chat", ""); err != nil {
		t.Fatal(err)
	}
	keys, err := followIssuer(t.Context(), endpoint.URL, looks)
	if err != nil {
		t.Fatal(err)
	}
	sio, err := newServer(keys, endpoint.URL, "chat")
	if err != nil {
		t.Fatal(err)
	}
	w.server = servetest.Start(t, sio, sio)
	return w
}

func always() *rate.Limiter { return rate.NewLimiter(rate.Inf, 0) }

func (w *world) sign(t *testing.T, change func(*jwt.Token, jwt.MapClaims)) string {
	t.Helper()
	raw, err := w.Token("red", change)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// connect returns the packets that tell how it went, "" where there is none.
func (w *world) connect(t *testing.T, raw string) (first, second string) {
	t.Helper()
	c := siotest.MustDial(t, w.server, siotest.Options{Transport: "websocket", Query: url.Values{"token": {raw}}})
	defer c.Close()
	must := c.Must(t)
	first = must.Next().Raw
	if first == "40" {
		return first, must.Next().Raw
	}
	for _, p := range must.Rest() {
		second += p.Raw
	}
	return first, second
}

func (w *world) accepts(t *testing.T, raw string) {
	t.Helper()
	if _, got := w.connect(t, raw); got != `42["welcome","red"]` {
		t.Errorf("got %s", got)
	}
}

// retry requires the refusal on which a client tries again: it is not told to stay away by 41.
func (w *world) retry(t *testing.T, raw string) {
	t.Helper()
	first, rest := w.connect(t, raw)
	if first != `44{"message":"secret unavailable","code":"invalid_secret","type":"UnauthorizedError"}` || rest != "" {
		t.Errorf("got %s %s", first, rest)
	}
}

func (w *world) refuses(t *testing.T, raw, message string) {
	t.Helper()
	first, rest := w.connect(t, raw)
	if first != `44{"message":"`+message+`","code":"invalid_token","type":"UnauthorizedError"}` || rest != "41" {
		t.Errorf("got %s %s", first, rest)
	}
}

func TestTokensOfTheProvider(t *testing.T) {
	w := newWorld(t, false, always())
	w.accepts(t, w.sign(t, nil))
	w.accepts(t, w.sign(t, func(token *jwt.Token, _ jwt.MapClaims) { delete(token.Header, "kid") }))
	for message, change := range map[string]func(*jwt.Token, jwt.MapClaims){
		"jwt audience invalid": func(_ *jwt.Token, c jwt.MapClaims) { c["aud"] = "mail" },
		"jwt issuer invalid":   func(_ *jwt.Token, c jwt.MapClaims) { c["iss"] = "https://other.example/" },
		"jwt claim required":   func(_ *jwt.Token, c jwt.MapClaims) { delete(c, "exp") },
		"jwt expired":          func(_ *jwt.Token, c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() },
		"invalid algorithm": func(token *jwt.Token, _ jwt.MapClaims) {
			token.Method = jwt.SigningMethodPS256
			token.Header["alg"] = "PS256"
		},
	} {
		w.refuses(t, w.sign(t, change), message)
	}
	stranger, err := newProvider("http://127.0.0.1", "chat", "")
	if err != nil {
		t.Fatal(err)
	}
	forged, err := stranger.Token("red", func(_ *jwt.Token, c jwt.MapClaims) { c["iss"] = w.issuer })
	if err != nil {
		t.Fatal(err)
	}
	w.refuses(t, forged, "invalid signature")
}

func TestRotation(t *testing.T) {
	w := newWorld(t, false, always())
	first := w.sign(t, nil)
	w.accepts(t, first)
	for range 2 {
		if err := w.Rotate(); err != nil {
			t.Fatal(err)
		}
		asked := w.asked.Load()
		second := w.sign(t, nil)
		w.accepts(t, second)
		w.accepts(t, second)
		if n := w.asked.Load() - asked; n != 1 {
			t.Errorf("the endpoint was asked %d times for one new key", n)
		}
	}
	w.retry(t, first) // its key was withdrawn
}

func TestUnknownKeyID(t *testing.T) {
	w := newWorld(t, false, rate.NewLimiter(rate.Every(time.Hour), 2))
	asked := w.asked.Load()
	unknown := w.sign(t, func(token *jwt.Token, _ jwt.MapClaims) { token.Header["kid"] = "unknown" })
	for range 5 {
		w.retry(t, unknown)
	}
	if n := w.asked.Load() - asked; n != 2 {
		t.Errorf("the endpoint was asked %d times", n)
	}
	w.accepts(t, w.sign(t, nil))
}

func TestEndpointDownAtStart(t *testing.T) {
	w := newWorld(t, true, always())
	raw := w.sign(t, nil)
	w.retry(t, raw)
	w.down.Store(false)
	w.accepts(t, raw)
}

func TestEndpointDownLater(t *testing.T) {
	w := newWorld(t, false, always())
	known := w.sign(t, nil)
	w.accepts(t, known)
	w.down.Store(true)
	if err := w.Rotate(); err != nil {
		t.Fatal(err)
	}
	fresh := w.sign(t, nil)
	w.retry(t, fresh)
	w.accepts(t, known)
	w.down.Store(false)
	w.accepts(t, fresh)
	w.accepts(t, known)
}
