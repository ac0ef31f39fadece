package transport_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/session"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	eiowebsocket "github.com/googollee/go-socket.io/engineio/transport/websocket"
	"github.com/gorilla/websocket"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

func newHub(t *testing.T, configured ...eiotransport.Transport) *transport.Hub {
	t.Helper()
	hub, err := transport.NewHub(configured, time.Minute, transport.Limits{Message: 1 << 20, RestrictedMessage: 1 << 10, Attachments: 1, Outbox: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return hub
}

// TestSessionIDs: 160 bits that do not repeat (hazard 10).
func TestSessionIDs(t *testing.T) {
	pattern := regexp.MustCompile(`^[A-Za-z0-9_-]{27}$`)
	seen := make(map[string]bool)
	for range 10000 {
		id := transport.IDGenerator{}.NewID()
		if !pattern.MatchString(id) || seen[id] {
			t.Fatalf("%q is malformed or came twice", id)
		}
		seen[id] = true
	}
	s := newServer(t, config{})
	for _, o := range []siotest.Options{{}, {Transport: "websocket"}} {
		if c := s.dial(t, o); !pattern.MatchString(c.SID()) {
			t.Errorf("the server gave %q", c.SID())
		}
	}
}

func TestProbe(t *testing.T) {
	s := newServer(t, config{})
	if transport.Probe(s.Server) != s.hub {
		t.Error("the hub was not found")
	}
	s.empty(t)
	plain := socketio.NewServer(nil)
	for _, handler := range []http.Handler{plain, http.NotFoundHandler()} {
		if transport.Probe(handler) != nil {
			t.Errorf("found a hub behind %T", handler)
		}
	}
	if n := plain.Count(); n != 0 {
		t.Errorf("%d sessions were left behind", n)
	}
	if transport.IsProbe(httptest.NewRequest("GET", "/", nil)) {
		t.Error("any request is taken for a probe")
	}
}

func TestNewHub(t *testing.T) {
	names := func(h *transport.Hub) string {
		var names []string
		for _, t := range h.Transports() {
			names = append(names, t.Name())
		}
		return strings.Join(names, " ")
	}
	tests := []struct {
		configured []eiotransport.Transport
		want       string
	}{
		{nil, "polling websocket"},
		{[]eiotransport.Transport{eiowebsocket.Default, polling.Default}, "websocket polling"},
		{[]eiotransport.Transport{&eiowebsocket.Transport{}}, "websocket"},
		{newHub(t).Transports(), "polling websocket"},
	}
	for _, test := range tests {
		if got := names(newHub(t, test.configured...)); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
	type unknown struct{ eiotransport.Transport }
	if _, err := transport.NewHub([]eiotransport.Transport{unknown{polling.Default}}, time.Minute, transport.Limits{}); err == nil {
		t.Error("an unknown transport was taken")
	}
}

// TestAttach: one value for each key, on the hub and on a client.
func TestAttach(t *testing.T) {
	s := newServer(t, config{})
	c := s.lookup(t, s.dial(t, siotest.Options{}))
	if c.Hub() != s.hub || c.ID() == "" || c.Handshake().URL.Path != "/socket.io/" {
		t.Errorf("hub %p, id %q, handshake %+v", c.Hub(), c.ID(), c.Handshake())
	}
	for _, attach := range []func(any, func() any) any{c.Attach, s.hub.Attach} {
		made := 0
		value := func() any { made++; return made }
		if a, b, other := attach("a", value), attach("a", value), attach("b", value); a != 1 || b != 1 || other != 2 {
			t.Errorf("got %v %v %v", a, b, other)
		}
	}
	if got := c.Attach("nothing", nil); got != nil {
		t.Errorf("got %v", got)
	}
}

// TestConfiguredTransports: a user's CheckOrigin and subprotocols keep their meaning.
func TestConfiguredTransports(t *testing.T) {
	allow := func(r *http.Request) bool { return r.Header.Get("Origin") == "https://good.example" }
	hub := newHub(t, &polling.Transport{CheckOrigin: allow}, &eiowebsocket.Transport{CheckOrigin: allow, Subprotocols: []string{"p1"}})
	engine := engineio.NewServer(&engineio.Options{Transports: hub.Transports()})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hub.Answer(w, r) {
			engine.ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	accepted := make(chan error, 1)
	go func() {
		conn, err := engine.Accept()
		if err != nil {
			accepted <- err
			return
		}
		defer conn.Close()
		w, err := conn.NextWriter(session.TEXT)
		if err == nil {
			_, _ = w.Write([]byte{transport.Connect}) // what comes before waits for it
			err = w.Close()
		}
		if _, _, readErr := conn.NextReader(); readErr == nil {
			err = errors.New("a packet from a client that is gone")
		}
		accepted <- err
	}()
	for origin, allowed := range map[string]bool{"https://good.example": true, "https://evil.example": false} {
		r, err := http.NewRequest("OPTIONS", server.URL+"/socket.io/?EIO=3&transport=polling", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", origin)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Access-Control-Allow-Origin"); (got == origin) != allowed || (!allowed && got != "") {
			t.Errorf("%s: polling allows %q", origin, got)
		}
		dialer := websocket.Dialer{Subprotocols: []string{"p0", "p1"}}
		conn, resp, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/socket.io/?EIO=3&transport=websocket", http.Header{"Origin": {origin}})
		if (err == nil) != allowed {
			t.Errorf("%s: WebSocket %v %v", origin, resp, err)
		}
		if conn != nil {
			if conn.Subprotocol() != "p1" {
				t.Errorf("subprotocol %q", conn.Subprotocol())
			}
			conn.Close()
		}
	}
	if err := wait(t, "session", accepted); err != nil {
		t.Error(err)
	}
}

func TestAnswer(t *testing.T) {
	s := newServer(t, config{})
	c := s.dial(t, siotest.Options{})
	upgraded := s.dial(t, siotest.Options{Transport: "upgrade"})
	const (
		unknownTransport = `{"code":0,"message":"Transport unknown"}`
		unknownSession   = `{"code":1,"message":"Session ID unknown"}`
		badMethod        = `{"code":2,"message":"Bad handshake method"}`
		badRequest       = `{"code":3,"message":"Bad request"}`
		badVersion       = `{"code":5,"message":"Unsupported protocol version: this server speaks EIO=3, which socket.io-client 1.x and 2.x do"}`
	)
	tests := []struct {
		method, query, want string
	}{
		{"GET", "EIO=3", unknownTransport},
		{"GET", "EIO=3&transport=", unknownTransport},
		{"GET", "EIO=3&transport=flash", unknownTransport},
		{"GET", "EIO=4&transport=polling", badVersion},
		{"GET", "EIO=2&transport=polling", badVersion},
		{"GET", "EIO=&transport=polling", badVersion},
		{"GET", "EIO=4&transport=websocket", badVersion},
		{"POST", "EIO=3&transport=polling", badMethod},
		{"PUT", "EIO=3&transport=polling", badMethod},
		{"DELETE", "EIO=3&transport=websocket", badMethod},
		{"GET", "EIO=3&transport=polling&j=0%5D)%3Balert(1)", badRequest},
		{"GET", "EIO=3&transport=polling&j=", badRequest},
		{"GET", "EIO=3&transport=polling&j=-1", badRequest},
		{"GET", "EIO=3&transport=polling&j=1&j=2", badRequest},
		{"GET", "EIO=3&transport=polling&j=99999999999", badRequest},
		{"GET", "EIO=3&transport=polling&sid=1", unknownSession},
		{"POST", "EIO=3&transport=polling&sid=" + c.SID() + "x", unknownSession},
		{"GET", "EIO=3&transport=websocket&sid=1", unknownSession},
		{"GET", "EIO=3&transport=websocket", badRequest},
		{"GET", "EIO=3&transport=websocket&sid=" + c.SID(), badRequest},
		{"GET", "EIO=3&transport=polling&sid=" + upgraded.SID(), badRequest},
		{"POST", "EIO=3&transport=polling&sid=" + upgraded.SID(), badRequest},
		{"PUT", "EIO=3&transport=polling&sid=" + c.SID(), badMethod},
		{"POST", "EIO=3&transport=websocket&sid=" + c.SID(), badMethod},
		{"GET", "EIO=3&transport=polling&j=%00&sid=" + c.SID(), badRequest},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.query, func(t *testing.T) {
			checkAnswer(t, s.request(t, test.method, test.query), 400, test.want)
		})
	}
	resp := s.request(t, "OPTIONS", "EIO=3&transport=polling")
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("OPTIONS: %s", resp.Status)
	}
	resp = s.request(t, "HEAD", "EIO=3&transport=polling")
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("HEAD: %s", resp.Status)
	}
	if n := s.Count(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

// TestRefuseHandshake: a refused client gets OPEN, what it is told, CLOSE; without a hub too.
func TestRefuseHandshake(t *testing.T) {
	refusal := []string{`4{"message":"é"}`, `1`}
	const text = `72:0{"sid":"refused","upgrades":[],"pingInterval":25000,"pingTimeout":5000}` + `17:44{"message":"é"}` + `2:41` + `1:1`
	for _, hub := range []*transport.Hub{nil, newHub(t)} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			transport.RefuseHandshake(w, r, hub, refusal...)
		}))
		t.Cleanup(server.Close)
		for query, want := range map[string]string{
			"EIO=3&transport=polling":       "text/plain; charset=UTF-8|" + text,
			"EIO=3&transport=polling&b64=1": "text/plain; charset=UTF-8|" + text,
			"EIO=3&transport=polling&j=7":   "text/javascript; charset=UTF-8|___eio[7](\"" + strings.ReplaceAll(text, `"`, `\"`) + "\");",
		} {
			w := httptest.NewRecorder()
			transport.RefuseHandshake(w, httptest.NewRequest("GET", "/socket.io/?"+query, nil), hub, refusal...)
			if got := w.Header().Get("Content-Type") + "|" + w.Body.String(); got != want || w.Code != 200 {
				t.Errorf("%s: %d %s\nwant %s", query, w.Code, got, want)
			}
			for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %s is %q", query, name, got)
				}
			}
		}
		for _, mode := range modes {
			if mode.upgrade {
				continue
			}
			t.Run(mode.name, func(t *testing.T) {
				c := siotest.MustDial(t, server.URL, mode.options)
				must := c.Must(t)
				must.NextRaw(`44{"message":"é"}`)
				must.NextRaw(`41`)
				must.Closed()
				if c.CloseReason() == siotest.ReasonTransportClose && !isNormalClosure(c.Err()) {
					t.Errorf("ended by %v", c.Err())
				}
			})
		}
		// A WebSocket that does not answer the close frame is not waited for.
		conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/?"+
			url.Values{"EIO": {"3"}, "transport": {"websocket"}}.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetCloseHandler(func(int, string) error { return nil })
		for err == nil {
			_, _, err = conn.ReadMessage()
		}
		if !isNormalClosure(err) {
			t.Errorf("ended by %v", err)
		}
		conn.Close()
	}
}
