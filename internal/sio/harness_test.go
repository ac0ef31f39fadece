package sio

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

const testTimeout = 10 * time.Second

// testServer is a Server with a doorkeeper that lets everybody in. Clients come by HTTP, or, where
// a test needs only sockets, by arrive.
type testServer struct {
	*Server
	t   testing.TB
	url string

	mu      sync.Mutex
	conns   []*Conn
	errs    []error // that visitors were told
	panics  []any
	calls   []string // what visitors were called with
	met     func(*Socket)
	arrived chan *Conn
}

func newServer(t testing.TB, limits transport.Limits) *testServer {
	s := &testServer{t: t, arrived: make(chan *Conn, 100)}
	defaults := transport.Limits{
		Message: 1 << 20, RestrictedMessage: 16 << 10, RestrictedPackets: 200, RestrictedBytes: 64 << 10,
		Ping: 512, Outbox: 16 << 20, BodyTime: testTimeout,
	}
	if limits.Message != 0 {
		defaults.Message = limits.Message
	}
	hub := transport.NewHub(transport.Config{
		PingInterval: time.Minute, PingTimeout: time.Minute, Limits: defaults,
		Polling: new(transport.PollingConfig), WebSocket: new(websocket.Upgrader), Upgrade: true,
	})
	s.Server = NewServer(hub, noUpstream{}, testLimits)
	s.SetDoorkeeper(s)
	s.Add(Root)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hub.Answer(w, r) {
			return
		}
		if sid := transport.QueryOf(r).Get("sid"); sid != "" {
			if client, ok := hub.Lookup(sid); ok {
				client.Serve(w, r)
			}
			return
		}
		hub.Open(w, r, s.above)
	}))
	s.url = server.URL
	t.Cleanup(func() {
		for _, c := range s.all() {
			c.Client().Abort()
		}
		server.Close()
	})
	return s
}

func (s *testServer) above(client *transport.Client) transport.Above {
	c := s.Server.Open(client, nil)
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	s.arrived <- c
	client.Ready()
	return c
}

func (s *testServer) all() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.conns)
}

// failures are the errors that visitors were told.
func (s *testServer) failures() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.errs)
}

// arrive makes a connection of nobody's, with a socket in each namespace.
func (s *testServer) arrive(namespaces ...string) *Conn {
	s.t.Helper()
	r := httptest.NewRequest("GET", "/socket.io/?EIO=3&transport=polling", nil)
	if _, err := s.Hub().Accept(httptest.NewRecorder(), r, s.above); err != nil {
		s.t.Fatal(err)
	}
	c := <-s.arrived
	for _, name := range namespaces {
		if err := c.Receive([]transport.Message{textMessage("0" + name)}); err != nil {
			s.t.Fatal(err)
		}
	}
	return c
}

// sent takes what waits for the client of arrive, without OPEN.
func (s *testServer) sent(c *Conn) []string {
	s.t.Helper()
	w := httptest.NewRecorder()
	c.Client().Serve(w, httptest.NewRequest("GET", "/socket.io/?EIO=3&transport=polling&sid="+c.Client().ID(), nil))
	packets, err := siotest.DecodeText(w.Body.String())
	if err != nil {
		s.t.Fatalf("%v: %s", err, w.Body)
	}
	var all []string
	for _, p := range packets {
		if p.Type != siotest.EngineOpen {
			all = append(all, p.String())
		}
	}
	return all
}

func (s *testServer) dial(o siotest.Options) (*siotest.Client, siotest.Must) {
	s.t.Helper()
	c := siotest.MustDial(s.t, s.url, o)
	must := c.Must(s.t)
	must.NextRaw("40")
	return c, must
}

// The doorkeeper, and the visitor.

func (s *testServer) Opened(*Conn) Visitor      { return visitor{s} }
func (s *testServer) AllowsForeign(string) bool { return false }

type visitor struct{ server *testServer }

func (v visitor) NewSocket(s *Socket) {
	v.note("new " + s.name)
	if v.server.met != nil {
		v.server.met(s)
	}
}

func (v visitor) Join(s *Socket)                                  { s.Admit(true) }
func (v visitor) Intercept(*Socket, string, json.RawMessage) bool { return false }
func (v visitor) Dropped(*Socket)                                 {}
func (v visitor) Left(s *Socket)                                  { v.note("left " + s.name) }
func (v visitor) OnConnect(s *Socket)                             { v.note("connect " + s.name) }
func (v visitor) OnDisconnect(s *Socket, _ string)                { v.note("disconnect " + s.name) }

func (v visitor) note(call string) {
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	v.server.calls = append(v.server.calls, call)
}

func (v visitor) OnError(_ *Socket, err error) {
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	v.server.errs = append(v.server.errs, err)
}

func (v visitor) Panicked(_ *Socket, _ string, recovered any) {
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	v.server.panics = append(v.server.panics, recovered)
}

// noUpstream has no namespaces.
type noUpstream struct{}

func (noUpstream) Serves(string) bool     { return false }
func (noUpstream) NewBridge(*Conn) Bridge { return nil }
