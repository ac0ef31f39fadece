package socketiojwt_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
	gorilla "github.com/gorilla/websocket"
)

// engineio.Options count for every connection: where the root is ours, so that go-socket.io
// never sees it, and where the root is on the plain server.

// eachRoot runs f with a server of each kind, whose root has the OnConnect.
// With only set its root is ours.
func eachRoot(t *testing.T, only bool, opts engineio.Options, onConnect func(socketio.Conn), f func(t *testing.T, at harness.Place, plain *socketio.Server)) {
	for _, ours := range []bool{true, false} {
		if only && !ours {
			continue
		}
		t.Run(fmt.Sprint("the root is ours ", ours), func(t *testing.T) {
			connect := func(c socketio.Conn) error {
				if onConnect != nil {
					onConnect(c)
				}
				return nil
			}
			plain := socketio.NewServer(socketiojwt.Harden(&opts))
			names := []string{"/a"}
			if ours {
				names = append(names, "/")
			}
			sio := harness.Authorize(t, harness.HandshakeMode).Protect(plain, names...)
			if ours {
				sio.OnConnect("/", connect)
			} else {
				plain.OnConnect("/", connect)
			}
			at := harness.Loopback(t)
			harness.Serve(t, sio, at, sio)
			f(t, at, plain)
		})
	}
}

// open makes a WebSocket handshake.
func open(t *testing.T, at harness.Place, header http.Header, protocols ...string) *http.Response {
	t.Helper()
	dialer := gorilla.Dialer{Subprotocols: protocols}
	conn, response, err := dialer.DialContext(t.Context(), strings.Replace(at.URL, "http", "ws", 1)+"/socket.io/?EIO=3&transport=websocket&token="+harness.TokenOf(t, "bob"), header)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	} else if !errors.Is(err, gorilla.ErrBadHandshake) {
		t.Fatal(err)
	}
	return response
}

func TestRequestChecker(t *testing.T) {
	t.Parallel()
	var refuses atomic.Bool
	opts := engineio.Options{RequestChecker: func(r *http.Request) (http.Header, error) {
		if refuses.Load() {
			return nil, errors.New("no")
		}
		return http.Header{"X-Checked": {r.URL.Query().Get("transport"), "twice"}}, nil
	}}
	eachRoot(t, false, opts, nil, func(t *testing.T, at harness.Place, _ *socketio.Server) {
		refuses.Store(false)
		if got := open(t, at, nil).Header["X-Checked"]; fmt.Sprint(got) != "[websocket twice]" {
			t.Errorf("a WebSocket handshake has %q", got)
		}
		handshake := at.URL + "/socket.io/?EIO=3&transport=polling&token=" + harness.TokenOf(t, "bob")
		response, body := harness.Get(t, handshake)
		if got := response.Header["X-Checked"]; fmt.Sprint(got) != "[polling twice]" || response.StatusCode != http.StatusOK {
			t.Errorf("a handshake has %q, %s", got, response.Status)
		}
		_, rest, _ := strings.Cut(body, `"sid":"`)
		sid, _, _ := strings.Cut(rest, `"`)
		if response, err := http.Post(handshake+"&sid="+sid, "text/plain", strings.NewReader("1:1")); err != nil || response.StatusCode != http.StatusOK || response.Body.Close() != nil {
			t.Error("the connection cannot be closed", err)
		}
		http.DefaultClient.CloseIdleConnections()
		o := harness.Bob(t, "polling")
		o.ManualPoll = true
		client, must := harness.Dial(t, at, o)
		must.Send(`42["x"]`)
		refuses.Store(true)
		for what, url := range map[string]string{"a handshake": handshake, "a poll": client.URL()} {
			if response, body := harness.Get(t, url); response.StatusCode != http.StatusBadGateway {
				t.Errorf("%s is answered with %s %s", what, response.Status, body)
			}
		}
		if response := open(t, at, nil); response.StatusCode != http.StatusBadGateway {
			t.Errorf("a WebSocket handshake is answered with %s", response.Status)
		}
		refuses.Store(false)
	})
}

func TestConnInitor(t *testing.T) {
	t.Parallel()
	type initialised struct {
		id, remote, query string
		context           any
	}
	var calls atomic.Int32
	connected, made := make(chan initialised, 1), make(chan initialised, 1)
	describe := func(c engineio.Conn) initialised {
		url := c.URL()
		return initialised{c.ID(), c.RemoteAddr().String(), url.Query().Get("mine"), "given"}
	}
	// go-socket.io reads the Context while ConnInitor sets it (hazard 32), so ours only.
	opts := engineio.Options{ConnInitor: func(r *http.Request, c engineio.Conn) {
		calls.Add(1)
		c.SetContext("given")
		if c.Context() != "given" || r.URL.Query().Get("mine") != "1" {
			t.Errorf("the context is %v, the request for %s", c.Context(), r.URL)
		}
		made <- describe(c)
	}}
	onConnect := func(c socketio.Conn) {
		url := c.URL()
		connected <- initialised{c.ID(), c.RemoteAddr().String(), url.Query().Get("mine"), c.Context()}
	}
	eachRoot(t, true, opts, onConnect, func(t *testing.T, at harness.Place, _ *socketio.Server) {
		for _, transport := range harness.Transports {
			calls.Store(0)
			o := harness.Bob(t, transport)
			o.Query.Set("mine", "1")
			client, must := harness.Dial(t, at, o)
			must.NextRaw("40")
			if len(made) != 1 {
				t.Fatal("ConnInitor was not called")
			}
			got, want := <-connected, <-made
			if got != want || got.id != client.SID() {
				t.Errorf("%s: the root's socket is %+v, ConnInitor had %+v", transport, got, want)
			}
			must.Join("/a")
			must.Connected("/a")
			if n := calls.Load(); n != 1 {
				t.Errorf("%s: called %d times", transport, n)
			}
		}
	})
}

func TestOpenSaysThePingTimes(t *testing.T) {
	t.Parallel()
	for _, opts := range []engineio.Options{{}, {PingInterval: 7 * time.Second, PingTimeout: 1500 * time.Millisecond}} {
		interval, timeout := 20000, 60000
		if opts.PingInterval != 0 {
			interval, timeout = 7000, 1500
		}
		eachRoot(t, false, opts, nil, func(t *testing.T, at harness.Place, _ *socketio.Server) {
			for _, transport := range harness.BothTransports {
				client, _ := harness.Dial(t, at, harness.Bob(t, transport))
				if got := client.Open(); got.PingInterval != interval || got.PingTimeout != timeout {
					t.Errorf("%s: OPEN says %+v", transport, got)
				}
			}
		})
	}
}

func TestOriginsAndSubprotocols(t *testing.T) {
	t.Parallel()
	const friend = "https://friend.example"
	check := func(r *http.Request) bool { return r.Header.Get("Origin") == friend }
	opts := engineio.Options{Transports: []transport.Transport{
		&polling.Transport{CheckOrigin: check},
		&websocket.Transport{CheckOrigin: check, Subprotocols: []string{"one", "two"}},
	}}
	eachRoot(t, false, opts, nil, func(t *testing.T, at harness.Place, _ *socketio.Server) {
		for origin, fits := range map[string]bool{friend: true, "https://foe.example": false} {
			header := http.Header{"Origin": {origin}}
			o := harness.Bob(t, "polling")
			o.Header = header
			client, must := harness.Dial(t, at, o)
			response, err := client.PostRaw("text/plain", strings.NewReader("1:2"))
			must.OK(err)
			if got := response.Header.Get("Access-Control-Allow-Origin"); (got == origin) != fits {
				t.Errorf("polling from %s: %s allows %q", origin, response.Status, got)
			}
			response = open(t, at, header, "three", "two")
			if (response.StatusCode == http.StatusSwitchingProtocols) != fits {
				t.Errorf("a WebSocket from %s: %s", origin, response.Status)
			}
			if got := response.Header.Get("Sec-WebSocket-Protocol"); fits && got != "two" {
				t.Errorf("the subprotocol is %q", got)
			}
		}
	})
}

// What is registered on the plain server while clients are there already can be joined, by them
// and by those who come later.
func TestPlainNamespaceRegisteredLate(t *testing.T) {
	t.Parallel()
	var left harness.Record
	eachRoot(t, false, engineio.Options{}, nil, func(t *testing.T, at harness.Place, plain *socketio.Server) {
		left.Reset()
		_, early := harness.Dial(t, at, harness.Bob(t, "websocket"))
		early.NextRaw("40")
		early.Join("/late")
		early.NextRaw(`44/late,"Invalid namespace"`)
		plain.OnConnect("/late", func(c socketio.Conn) error { c.Emit("hello", c.Namespace()); return nil })
		plain.OnEvent("/late", "echo", func(_ socketio.Conn, text string) string { return text })
		plain.OnDisconnect("/late", func(socketio.Conn, string) { left.Add("left") })
		for _, must := range []siotest.Must{early, func() siotest.Must { _, must := harness.Dial(t, at, harness.Bob(t, "polling")); return must }()} {
			must.Join("/late")
			must.Event("/late", "hello")
			if got := string(must.Call("/late", "echo", "x").Data); got != `["x"]` {
				t.Errorf("it echoes %s", got)
			}
			must.Join("/a")
			must.Connected("/a")
			must.Send("41/late")
		}
		left.Eventually(t, "left, left")
	})
}

// A ConnInitor that panics takes no place of MaxPending with it.
func TestConnInitorThatPanics(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, socketiojwt.Options{MaxPending: 2})
	s := auth.Protect(socketio.NewServer(socketiojwt.Harden(&engineio.Options{ConnInitor: func(r *http.Request, _ engineio.Conn) {
		if r.URL.Query().Has("bad") {
			panic(http.ErrAbortHandler) // which net/http does not log
		}
	}})))
	at := harness.Loopback(t)
	harness.Serve(t, s, at, s)
	for range 4 {
		if response, err := http.Get(at.URL + "/socket.io/?EIO=3&transport=polling&bad=1"); err == nil {
			response.Body.Close()
			t.Errorf("it was answered with %s", response.Status)
		}
	}
	_, must := harness.Dial(t, at, siotest.Options{})
	must.NextRaw("40")
}

func TestNegativeLimitsPanic(t *testing.T) {
	t.Parallel()
	defer func() {
		if got := fmt.Sprint(recover()); got != "socketiojwt: Limits.BodyTime is -1s: use 0 for the default of 20s" {
			t.Errorf("panic says %q", got)
		}
	}()
	socketiojwt.Harden(nil, socketiojwt.Limits{BodyTime: -time.Second})
}
