package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

const secret = "a secret of 32 bytes for the test"

func TestWhoIsTheClient(t *testing.T) {
	trusting, err := trustProxies([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"by the proxy":                     {"10.1.1.1:5", []string{"203.0.113.7"}, "203.0.113.7:0"},
		"by two proxies":                   {"10.1.1.1:5", []string{"203.0.113.7, 10.2.2.2"}, "203.0.113.7:0"},
		"by two headers":                   {"10.1.1.1:5", []string{"203.0.113.7", "10.2.2.2"}, "203.0.113.7:0"},
		"with an invention of the client":  {"10.1.1.1:5", []string{"192.0.2.1, 203.0.113.7"}, "203.0.113.7:0"},
		"with a proxy's address invented":  {"10.1.1.1:5", []string{"10.9.9.9, 203.0.113.7"}, "203.0.113.7:0"},
		"IPv6":                             {"[fd00::1]:5", []string{"2001:db8::7"}, "[2001:db8::7]:0"},
		"not by a proxy":                   {"198.51.100.1:5", []string{"203.0.113.7"}, "198.51.100.1:5"},
		"nothing said":                     {"10.1.1.1:5", nil, "10.1.1.1:5"},
		"nonsense":                         {"10.1.1.1:5", []string{"nonsense"}, "10.1.1.1:5"},
		"nonsense behind what is invented": {"10.1.1.1:5", []string{"192.0.2.1, nonsense"}, "10.1.1.1:5"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = test.remote
			r.Header["X-Forwarded-For"] = test.forwarded
			trusting(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.RemoteAddr != test.want {
					t.Errorf("got %s, want %s", r.RemoteAddr, test.want)
				}
			})).ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	if _, err := trustProxies([]string{"everybody"}); err == nil {
		t.Error("no network, and no error")
	}
}

// output is a log that may be read meanwhile.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// One client cannot take the places of the others, and the log tells who tried: the client's address is
// what counts, not the proxy's.
func TestPlacesAndLogFollowTheClient(t *testing.T) {
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprint("EIO=", version), func(t *testing.T) {
			log := new(output)
			const places = 40
			handler, sio, err := newServer(socketiojwt.Options{
				Secret:     socketiojwt.StaticSecret(secret),
				MaxPending: places,
				Timeout:    time.Minute,
				Logger:     slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			}, []string{"127.0.0.1"})
			if err != nil {
				t.Fatal(err)
			}
			url := servetest.Start(t, sio, handler)
			enter := func(client string) bool { // the proxy is this test
				c, err := siotest.Dial(t.Context(), url, siotest.Options{Version: version, Transport: "websocket",
					Header: http.Header{"X-Forwarded-For": {"192.0.2.99, " + client}}})
				if err != nil {
					return false // EIO=4: HTTP status 503
				}
				t.Cleanup(c.Close)
				if version == 3 {
					return c.Must(t).Next().Raw == "40"
				}
				return true
			}
			for i := range places/2 + 1 {
				if !enter(fmt.Sprintf("198.51.100.%d", i)) {
					t.Fatalf("client %d is not let in", i)
				}
			}
			greedy := 0
			for range places {
				if enter("203.0.113.7") {
					greedy++
				}
			}
			if greedy == 0 || greedy > 11 {
				t.Errorf("one client took %d places", greedy)
			}
			if !enter("203.0.113.8") {
				t.Error("another is not let in")
			}
			if text := log.String(); !strings.Contains(text, "code=server_busy") || !strings.Contains(text, "remote=203.0.113.7:0") ||
				strings.Contains(text, "192.0.2.99") || strings.Contains(text, "remote=127.0.0.1") {
				t.Errorf("the log has %s", text)
			}
		})
	}
}

func TestHandlersFollowTheClient(t *testing.T) {
	handler, sio, err := newServer(socketiojwt.Options{Secret: socketiojwt.StaticSecret(secret), Optional: true, Handshake: true}, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	url := servetest.Start(t, sio, handler)
	must := siotest.MustDial(t, url, siotest.Options{Transport: "upgrade", Header: http.Header{"X-Forwarded-For": {"203.0.113.7"}}}).Must(t)
	must.NextRaw("40")
	if p := must.Call("/", "where"); string(p.Data) != `["203.0.113.7:0"]` {
		t.Errorf("it hears %s", p.Raw)
	}
}
