package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

const (
	testSecret = "a secret of 32 bytes for the test"
	ours       = "https://app.example.com"
	foreign    = "https://evil.example"
)

// page makes the requests of a page as browsers do (Fetch standard, "CORS protocol"): with its
// origin, after a preflight where one is due, and it sees the answers that it is allowed to see.
type page struct {
	origin     string
	preflights atomic.Int64
}

func (p *page) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Origin", p.origin)
	if names := unsafe(r.Header); len(names) > 0 || (r.Method != http.MethodGet && r.Method != http.MethodPost) {
		if err := p.preflight(r, names); err != nil {
			return nil, err
		}
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if err := p.maySee(response); err != nil {
		response.Body.Close()
		return nil, err
	}
	return response, nil
}

// unsafe returns the headers that need a preflight, as Access-Control-Request-Headers has them.
func unsafe(header http.Header) (names []string) {
	for name, values := range header {
		switch kind, _, _ := strings.Cut(values[0], ";"); {
		case name == "Origin", name == "Cookie", name == "Accept": // the browser's own, or harmless
		case name == "Content-Type" && slices.Contains([]string{"text/plain", "application/x-www-form-urlencoded"}, kind):
		default:
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return names
}

func (p *page) preflight(r *http.Request, names []string) error {
	p.preflights.Add(1)
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodOptions, r.URL.String(), nil)
	if err != nil {
		return err
	}
	ask.Header.Set("Origin", p.origin)
	ask.Header.Set("Access-Control-Request-Method", r.Method)
	ask.Header.Set("Access-Control-Request-Headers", strings.Join(names, ","))
	response, err := http.DefaultTransport.RoundTrip(ask)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := p.maySee(response); err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("preflight: %s", response.Status)
	}
	allowed := strings.Split(strings.ToLower(response.Header.Get("Access-Control-Allow-Headers")), ",")
	for _, name := range names {
		if !slices.ContainsFunc(allowed, func(a string) bool { return strings.TrimSpace(a) == name }) {
			return fmt.Errorf("preflight: %s is not among %q", name, allowed)
		}
	}
	return nil
}

var errNotAllowed = errors.New("the page may not see the answer")

// maySee checks the answer to a request with credentials: "*" will not do, nor will two values.
func (p *page) maySee(response *http.Response) error {
	if !slices.Equal(response.Header.Values("Access-Control-Allow-Origin"), []string{p.origin}) ||
		!slices.Equal(response.Header.Values("Access-Control-Allow-Credentials"), []string{"true"}) {
		return fmt.Errorf("%w: %v", errNotAllowed, response.Header)
	}
	return nil
}

func (p *page) client() *http.Client { return &http.Client{Transport: p} }

func start(t *testing.T) string {
	t.Helper()
	sio, handler, err := newServer(testSecret, []string{ours})
	if err != nil {
		t.Fatal(err)
	}
	return servetest.Start(t, sio, handler)
}

func sign(t *testing.T) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: "red", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func header(name, value string) http.Header { return http.Header{name: {value}} }

func TestPageOfAnAllowedOrigin(t *testing.T) {
	server, token := start(t), sign(t)
	for name, test := range map[string]struct {
		query      url.Values
		header     http.Header
		preflights bool
	}{
		"header": {nil, header("Authorization", "Bearer "+token), true},
		"query":  {url.Values{"token": {token}}, nil, false},
		"cookie": {nil, header("Cookie", "token="+token), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &page{origin: ours}
			c := siotest.MustDial(t, server, siotest.Options{Query: test.query, Header: test.header, HTTP: p.client()})
			must := c.Must(t)
			must.NextRaw("40")
			must.NextRaw(`42["welcome","red"]`)
			c.Close()
			if test.preflights != (p.preflights.Load() > 0) {
				t.Errorf("%d preflights", p.preflights.Load())
			}
		})
	}

	t.Run("refused", func(t *testing.T) {
		p := &page{origin: ours}
		must := siotest.MustDial(t, server, siotest.Options{Header: header("Authorization", "Bearer x"), HTTP: p.client()}).Must(t)
		must.NextRaw(`44{"message":"jwt malformed","code":"invalid_token","type":"UnauthorizedError"}`)
	})

	t.Run("upgrade", func(t *testing.T) {
		h := header("Authorization", "Bearer "+token)
		h.Set("Origin", ours)
		must := siotest.MustDial(t, server, siotest.Options{Transport: "upgrade", Header: h}).Must(t)
		must.NextRaw("40")
		must.NextRaw(`42["welcome","red"]`)
	})

	t.Run("REST", func(t *testing.T) {
		for auth, status := range map[string]int{"Bearer " + token: 200, "Bearer x": 401} {
			r, err := http.NewRequest(http.MethodGet, server+"/self", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", auth)
			response, err := (&page{origin: ours}).client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body, _ := io.ReadAll(response.Body); response.StatusCode != status || (status == 200 && string(body) != "red") {
				t.Errorf("%d %s", response.StatusCode, body)
			}
		}
	})
}

func TestPageOfAnotherOrigin(t *testing.T) {
	server, token := start(t), sign(t)
	for name, o := range map[string]siotest.Options{
		"header": {Header: header("Authorization", "Bearer "+token)},
		"query":  {Query: url.Values{"token": {token}}},
		"cookie": {Header: header("Cookie", "token="+token)},
	} {
		for _, origin := range []string{foreign, "null", "http://app.example.com", ours + ".evil.example"} {
			o.HTTP = (&page{origin: origin}).client()
			if _, err := siotest.Dial(t.Context(), server, o); !errors.Is(err, errNotAllowed) {
				t.Errorf("%s from %s: %v", name, origin, err)
			}
			w := o
			w.Transport, w.HTTP = "websocket", nil
			w.Header = o.Header.Clone()
			if w.Header == nil {
				w.Header = http.Header{}
			}
			w.Header.Set("Origin", origin)
			var status *siotest.StatusError
			// With a good token it is go-socket.io that answers, with 502.
			if _, err := siotest.Dial(t.Context(), server, w); !errors.As(err, &status) || (status.Status != http.StatusForbidden && status.Status != http.StatusBadGateway) {
				t.Errorf("%s from %s, WebSocket: %v", name, origin, err)
			}
		}
	}

	// JSONP is no subject of CORS, so the cookie must not count for it.
	o := siotest.Options{JSONP: true, Header: http.Header{"Cookie": {"token=" + token}, "Origin": {foreign}}}
	must := siotest.MustDial(t, server, o).Must(t)
	must.NextRaw(`44{"message":"no token provided","code":"credentials_required","type":"UnauthorizedError"}`)
}

func TestOwnPagesAndProgramsNeedNoCORS(t *testing.T) {
	server, token := start(t), sign(t)
	for _, origin := range []string{"", server} {
		for _, transport := range []string{"polling", "websocket", "upgrade"} {
			h := header("Authorization", "Bearer "+token)
			if origin != "" {
				h.Set("Origin", origin)
			}
			must := siotest.MustDial(t, server, siotest.Options{Transport: transport, Header: h}).Must(t)
			must.NextRaw("40")
			must.NextRaw(`42["welcome","red"]`)
		}
	}
}
