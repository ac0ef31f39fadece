// Package goclient_test has a client of protocol 5 that somebody else wrote in another language than
// socket.io-client's: github.com/zishang520/socket.io. Over polling alone that client never sends a second
// POST, to Node's server neither, so only what its first one brings is tested there.
package goclient_test

import (
	"fmt"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/zishang520/socket.io/clients/engine/v3/transports"
	"github.com/zishang520/socket.io/clients/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"

	"github.com/go-socketiojwt/socketiojwt"
)

const (
	secret   = "a secret for the tests of this module"
	patience = 20 * time.Second
)

var kinds = map[string][]transports.TransportCtor{
	"polling":   {transports.Polling},
	"websocket": {transports.WebSocket},
	"upgrade":   {transports.Polling, transports.WebSocket},
}

func serve(t *testing.T, handshake bool) string {
	t.Helper()
	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: socketiojwt.StaticSecret(secret), Handshake: handshake, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject(), s.ID())
		return nil
	})
	sio.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	sio.OnEvent("/", "everybody", func(_ socketio.Conn, text string) { sio.BroadcastToNamespace("/", "news", text) })
	go sio.Serve()
	web := httptest.NewServer(sio)
	t.Cleanup(func() {
		sio.Close()
		web.CloseClientConnections()
		web.Close()
	})
	return web.URL
}

func sign(t *testing.T, key string, life time.Duration) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256,
		jwt.MapClaims{"sub": "red", "exp": float64(time.Now().Add(life).UnixMilli()) / 1000}).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// client is a socket and what it hears.
type client struct {
	*socket.Socket
	t     *testing.T
	heard map[string]chan []any
}

func connect(t *testing.T, url, kind string, auth map[string]any) *client {
	t.Helper()
	opts := socket.DefaultOptions()
	opts.SetTransports(types.NewSet(kinds[kind]...))
	// Over a WebSocket that client now and then misses an OPEN that comes together with the 101, as ours
	// does: it tries again then.
	opts.SetTimeout(2 * time.Second)
	opts.SetReconnectionDelay(100)
	opts.SetAutoConnect(false) // not before somebody listens
	if auth != nil {
		opts.SetAuth(auth)
	}
	manager := socket.NewManager(url, opts)
	c := &client{manager.Socket("/", opts), t, map[string]chan []any{}}
	for _, event := range []string{"connect", "connect_error", "disconnect", "welcome", "authenticated", "unauthorized", "news"} {
		heard := make(chan []any, 100)
		c.heard[event] = heard
		c.On(types.EventName(event), func(args ...any) { heard <- args })
	}
	t.Cleanup(func() { c.Disconnect() })
	c.Connect()
	return c
}

func (c *client) until(event string) []any {
	c.t.Helper()
	select {
	case args := <-c.heard[event]:
		return args
	case <-time.After(patience):
		c.t.Fatalf("no %s after %v", event, patience)
		return nil
	}
}

func (c *client) welcomed() {
	c.t.Helper()
	if got, want := c.until("welcome"), []any{"red", c.Id()}; !reflect.DeepEqual(got, want) {
		c.t.Errorf("welcome %v, want %v", got, want)
	}
}

// refused returns what an error says that came from the server.
func refused(code, message string) map[string]any {
	return map[string]any{"message": message, "code": code, "type": "UnauthorizedError"}
}

func TestIn(t *testing.T) {
	for kind := range kinds {
		for _, handshake := range []bool{true, false} {
			t.Run(fmt.Sprint(kind, " handshake=", handshake), func(t *testing.T) {
				t.Parallel()
				url := serve(t, handshake)
				c := connect(t, url, kind, map[string]any{"token": sign(t, secret, time.Hour)})
				c.welcomed()
				if !handshake {
					c.until("authenticated")
				}
				if kind == "polling" {
					return
				}
				for i := range 100 {
					answered := make(chan []any, 1)
					text := fmt.Sprint("message ", i)
					c.Emit("echo", text, func(args []any, _ error) { answered <- args })
					select {
					case got := <-answered:
						if !reflect.DeepEqual(got, []any{text}) {
							t.Fatalf("answer %v, want %s", got, text)
						}
					case <-time.After(patience):
						t.Fatalf("no answer to %s", text)
					}
				}
				c.Emit("everybody", "good morning")
				if got := c.until("news"); !reflect.DeepEqual(got, []any{"good morning"}) {
					t.Errorf("news %v", got)
				}
			})
		}
	}
}

func TestRefused(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url := serve(t, true)
			for _, test := range []struct {
				auth map[string]any
				want map[string]any
			}{
				{nil, refused("credentials_required", "no token provided")},
				{map[string]any{"token": sign(t, "another secret", time.Hour)}, refused("invalid_token", "invalid signature")},
				{map[string]any{"token": sign(t, secret, -time.Hour)}, refused("invalid_token", "jwt expired")},
				{map[string]any{"token": 5}, refused("invalid_token", "invalid token datatype")},
			} {
				c := connect(t, url, kind, test.auth)
				var got *types.ExtendedError
				for got == nil {
					got, _ = c.until("connect_error")[0].(*types.ExtendedError) // others are about the connection
				}
				if got.Message != test.want["message"] || !reflect.DeepEqual(got.Data, any(test.want)) {
					t.Errorf("connect_error %#v, want %v", got, test.want)
				}
				if len(c.heard["connect"]) > 0 {
					t.Error("it was connected")
				}
				c.Disconnect()
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	for kind := range kinds {
		if kind == "polling" {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url := serve(t, false)
			c := connect(t, url, kind, nil)
			c.until("connect")
			c.Emit("authenticate", map[string]any{"token": sign(t, secret, 3*time.Second)})
			c.until("authenticated")
			c.welcomed()
			// What a server says right before it closes a WebSocket gets lost in that client: with Node's
			// `unauthorized` and DISCONNECT it did in 2 of 6 runs.
			c.until("disconnect")
		})
	}
}
