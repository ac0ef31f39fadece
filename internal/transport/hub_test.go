package transport_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// TestSessionIDs: 160 bits that do not repeat (hazard 10).
func TestSessionIDs(t *testing.T) {
	pattern := regexp.MustCompile(`^[A-Za-z0-9_-]{27}$`)
	seen := make(map[string]bool)
	for range 10000 {
		id := transport.NewID()
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

// TestOpen: what a client is told of the server.
func TestOpen(t *testing.T) {
	tests := []struct {
		name     string
		config   config
		options  siotest.Options
		upgrades []string
	}{
		{"polling", config{}, siotest.Options{}, []string{"websocket"}},
		{"websocket", config{}, siotest.Options{Transport: "websocket"}, nil},
		{"no upgrades", config{noUpgrade: true}, siotest.Options{}, nil},
		{"polling only", config{only: transport.Polling}, siotest.Options{}, nil},
		{"websocket only", config{only: transport.WebSocket}, siotest.Options{Transport: "websocket"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, test.config)
			c, _ := s.connect(t, test.options)
			open := c.Open()
			if !slices.Equal(open.Upgrades, test.upgrades) || open.Upgrades == nil ||
				open.PingInterval != 10_000 || open.PingTimeout != 20_000 {
				t.Errorf("got %+v", open)
			}
		})
	}
}

// TestTransportsNotOffered: a transport without configuration is unknown, to handshakes and to
// connections.
func TestTransportsNotOffered(t *testing.T) {
	const unknown = `{"code":0,"message":"Transport unknown"}`
	for only, other := range map[string]string{"polling": "websocket", "websocket": "polling"} {
		s := newServer(t, config{only: only})
		c, _ := s.connect(t, siotest.Options{Transport: only})
		if s.hub.Has(other) || !s.hub.Has(only) {
			t.Errorf("the hub does not know what it has, with %s", only)
		}
		checkAnswer(t, s.request(t, "GET", "EIO=3&transport="+other), 400, unknown)
		checkAnswer(t, s.request(t, "GET", "EIO=3&transport="+other+"&sid="+c.SID()), 400, unknown)
		if conn, resp := s.webSocket(t, c.SID()); conn != nil {
			t.Errorf("%s: a second WebSocket was taken", only)
		} else {
			resp.Body.Close()
		}
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
	s := newServer(t, config{
		polling:   &transport.PollingConfig{CheckOrigin: allow},
		webSocket: &websocket.Upgrader{CheckOrigin: allow, Subprotocols: []string{"p1"}},
	})
	for origin, allowed := range map[string]bool{"https://good.example": true, "https://evil.example": false} {
		for _, method := range []string{"OPTIONS", "GET"} {
			r, err := http.NewRequest(method, s.url+"/socket.io/?EIO=3&transport=polling", nil)
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
				t.Errorf("%s %s: polling allows %q", method, origin, got)
			}
		}
		dialer := websocket.Dialer{Subprotocols: []string{"p0", "p1"}}
		conn, resp, err := dialer.Dial("ws"+strings.TrimPrefix(s.url, "http")+"/socket.io/?EIO=3&transport=websocket", http.Header{"Origin": {origin}})
		if (err == nil) != allowed {
			t.Errorf("%s: WebSocket %v %v", origin, resp, err)
		}
		if conn != nil {
			if conn.Subprotocol() != "p1" {
				t.Errorf("subprotocol %q", conn.Subprotocol())
			}
			conn.Close()
		} else {
			checkAnswer(t, resp, 403, `{"code":4,"message":"Forbidden"}`)
		}
	}
	wait(t, "session", s.arrived)
	for _, a := range s.connected() {
		a.client.Abort() // the polling ones
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
		badVersion       = `{"code":5,"message":"Unsupported protocol version"}`
	)
	tests := []struct {
		method, query, want string
	}{
		{"GET", "EIO=3", unknownTransport},
		{"GET", "EIO=3&transport=", unknownTransport},
		{"GET", "EIO=3&transport=flash", unknownTransport},
		{"GET", "EIO=5&transport=polling", badVersion},
		{"GET", "EIO=1&transport=polling", badVersion},
		{"GET", "EIO=4&transport=polling&j=0", badRequest},
		{"GET", "EIO=4&transport=websocket", badRequest},
		{"GET", "EIO=4&transport=polling&sid=" + c.SID(), badRequest},
		{"GET", "EIO=&transport=polling", badVersion},
		{"GET", "EIO=44&transport=websocket", badVersion},
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
	if n := s.hub.Count(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// TestRefuseHandshake: a refused client gets OPEN, what it is told, CLOSE; without a hub too.
func TestRefuseHandshake(t *testing.T) {
	refusal := []transport.Frame{text(`4{"message":"é"}`), text(`1`)}
	const text = `72:0{"sid":"refused","upgrades":[],"pingInterval":25000,"pingTimeout":5000}` + `17:44{"message":"é"}` + `2:41` + `1:1`
	for _, hub := range []*transport.Hub{nil, newServer(t, config{}).hub} {
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

// TestKnows: ids are known for some time after their connections, and not for ever.
func TestKnows(t *testing.T) {
	s := newServer(t, config{})
	c := s.dial(t, siotest.Options{})
	side, first := s.lookup(t, c), c.SID()
	if !s.hub.Knows(first) || s.hub.Knows(transport.NewID()) || s.hub.Knows("") {
		t.Error("an id is known that is not there, or not that is")
	}
	side.Abort()
	if !s.hub.Knows(first) {
		t.Error("the id of a connection that has just ended is not known")
	}
	for range 1000 {
		r := httptest.NewRequest("GET", "/?EIO=3&transport=polling", nil)
		another, err := s.hub.Accept(httptest.NewRecorder(), r, func(*transport.Client) transport.Above { return silent{} })
		if err != nil {
			t.Fatal(err)
		}
		another.Abort()
	}
	if s.hub.Knows(first) {
		t.Error("ids are remembered for ever")
	}
}

type silent struct{}

func (silent) Receive([]transport.Message) error { return nil }
func (silent) Closed()                           {}
func (silent) Closing(end func())                { end() }
