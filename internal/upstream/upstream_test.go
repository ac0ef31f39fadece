package upstream_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
)

func newServer(t *testing.T, transports ...eiotransport.Transport) (*upstream.Server, *engineio.Options) {
	t.Helper()
	opts := engineio.Options{Transports: transports}
	u, err := upstream.New(opts, transport.Limits{Message: 1 << 20, RestrictedMessage: 1 << 10, Outbox: 1 << 20}, sio.Limits{Attachments: 4, Depth: 64})
	if err != nil {
		t.Fatal(err)
	}
	return u, u.Options(opts)
}

// Probe finds the Server through what wraps the handler, whatever the transports are.
func TestProbe(t *testing.T) {
	for name, transports := range map[string][]eiotransport.Transport{
		"defaults":  nil,
		"polling":   {polling.Default},
		"websocket": {websocket.Default},
	} {
		t.Run(name, func(t *testing.T) {
			u, opts := newServer(t, transports...)
			server := socketio.NewServer(opts)
			mux := http.NewServeMux()
			mux.Handle("/socket.io/", http.StripPrefix("", server))
			for _, handler := range []http.Handler{server, mux} {
				if upstream.Probe(handler) != u {
					t.Errorf("it is not found behind a %T", handler)
				}
			}
			if n := server.Count() + u.Hub().Count(); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
	polls := socketio.NewServer(&engineio.Options{Transports: []eiotransport.Transport{polling.Default}})
	for _, handler := range []http.Handler{socketio.NewServer(nil), polls, http.NotFoundHandler()} {
		if upstream.Probe(handler) != nil {
			t.Errorf("something is found behind a %T that has nothing", handler)
		}
	}
}

type foreignTransport struct{ eiotransport.Transport }

func TestUnknownTransport(t *testing.T) {
	if _, err := upstream.New(engineio.Options{Transports: []eiotransport.Transport{foreignTransport{}}}, transport.Limits{}, sio.Limits{}); err == nil {
		t.Error("a transport of an unknown type is taken")
	}
}

// A Server takes the transports of another one for what those stand for.
func TestHardenedAgain(t *testing.T) {
	_, opts := newServer(t)
	again, opts := newServer(t, opts.Transports...)
	if upstream.Probe(socketio.NewServer(opts)) != again {
		t.Error("it is not found")
	}
}

// go-socket.io gets the ids that the clients have, also where sessions begin at once.
func TestSessionIDs(t *testing.T) {
	u, opts := newServer(t, polling.Default)
	const clients = 50
	got := make(chan [2]string, clients)
	for range clients {
		go func() {
			r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=3&transport=polling", nil)
			conn, err := opts.Transports[1].Accept(httptest.NewRecorder(), r)
			if err != nil {
				t.Error(err)
			}
			id := opts.SessionIDGenerator.NewID()
			client, _ := u.Hub().Lookup(id)
			got <- [2]string{id, client.ID()}
			if at := conn.URL(); at.Path != "/socket.io/" || url.URL(at).RawQuery == "" {
				t.Errorf("its URL is %v", at)
			}
			client.Abort()
		}()
	}
	seen := map[string]bool{}
	for range clients {
		ids := <-got
		if ids[0] != ids[1] || seen[ids[0]] || len(ids[0]) < 27 { // 160 bits
			t.Errorf("session %q is client %q", ids[0], ids[1])
		}
		seen[ids[0]] = true
	}
}
