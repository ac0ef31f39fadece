package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// plainServer is a plain server that uses the hooks one by one for / and /a, and listens.
type plainServer struct {
	*socketio.Server
	auth *socketiojwt.Authorizer
	at   harness.Place
	left atomic.Int32 // OnDisconnect of / has run
	log  siotest.Log
}

// startPlain starts one that the test closes.
func startPlain(t *testing.T, at harness.Place, opts socketiojwt.Options, onDisconnect func()) *plainServer {
	t.Helper()
	s := &plainServer{Server: socketio.NewServer(socketiojwt.Harden(nil)), at: at}
	opts.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	s.auth = harness.Authorize(t, opts)
	for _, name := range []string{"/", "/a"} {
		s.OnConnect(name, s.auth.OnConnect)
		s.OnEvent(name, "authenticate", s.auth.OnAuthenticate)
		s.OnEvent(name, "echo", s.auth.Guard(func(_ socketio.Conn, text string) string { return text }))
		s.OnDisconnect(name, func(c socketio.Conn, reason string) {
			s.auth.OnDisconnect(c, reason)
			if onDisconnect != nil {
				onDisconnect()
			}
			if name == "/" {
				s.left.Add(1)
			}
		})
	}
	serves := make(chan struct{})
	go func() {
		defer close(serves)
		_ = s.Serve()
	}()
	httpServer := harness.ServeHTTP(at, s.auth.Handler(s.Server))
	t.Cleanup(func() {
		_ = s.Close()
		<-serves
		_ = httpServer.Close()
	})
	return s
}

// seats connects a client of each kind.
func (s *plainServer) seats(t *testing.T) (clients []*siotest.Client) {
	t.Helper()
	for _, version := range []int{3, 4} {
		for _, transport := range harness.Transports {
			o := harness.Bob(t, transport)
			o.Version = version
			c, must := harness.Dial(t, s.at, o)
			if version == 4 {
				must.Join("/")
			}
			must.Call("/", "echo", "x")
			clients = append(clients, c)
		}
	}
	return clients
}

// Clients are sent away so that they come back, nobody new is let in, Drain returns when the server's own
// OnDisconnect has run for all, and may be called again.
func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startPlain(t, harness.InMemory(t), harness.HandshakeMode, func() { time.Sleep(10 * time.Millisecond) })
		clients := s.seats(t)
		s.BroadcastToNamespace("/", "news", "last")
		drained := make(chan error)
		for range 2 {
			go func() { drained <- s.auth.Drain(t.Context()) }()
		}
		for _, c := range clients {
			packets, err := c.Rest(t.Context())
			if err != nil {
				t.Error(err)
			}
			if got := strings.Join(rawOf(packets), " "); got != `42["news","last"]` {
				t.Errorf("its last words were %s", got)
			}
		}
		for range 2 {
			if err := <-drained; err != nil {
				t.Error(err)
			}
		}
		if n := s.left.Load(); int(n) != len(clients) {
			t.Errorf("OnDisconnect has run for %d of %d", n, len(clients))
		}
		if n := s.Count(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		if err := s.auth.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s.refuses(t)
		if text := s.log.String(); strings.Contains(text, "without Authorizer.Drain") {
			t.Error(text)
		}
	})
}

// refuses requires 503 for clients of both versions and transports.
func (s *plainServer) refuses(t *testing.T) {
	t.Helper()
	for _, version := range []int{3, 4} {
		for _, transport := range []string{"polling", "websocket"} {
			for _, o := range []siotest.Options{harness.Bob(t, transport), {Transport: transport}} {
				o.Version, o.HTTP = version, s.at.Client
				_, err := siotest.Dial(t.Context(), s.at.URL, o)
				var refused *siotest.StatusError
				if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable || refused.Header.Get("Retry-After") == "" {
					t.Errorf("EIO=%d over %s: %v", version, transport, err)
				}
			}
		}
	}
}

// Strangers and clients with a token connect, ask for namespaces and leave all the time: nothing of that
// ends the process when the server is closed after Drain.
func TestDrainInAStorm(t *testing.T) {
	for range 5 {
		s := startPlain(t, harness.Loopback(t), harness.HandshakeMode, nil)
		var came atomic.Int32
		stop := harness.Meanwhile(8, func() {
			n := came.Add(1)
			o := siotest.Options{Version: 3 + int(n/2)%2, Transport: harness.Transports[n%2]} // polling or WebSocket
			if n%3 > 0 {
				o.Query = harness.WithToken(harness.TokenOf(t, "bob"))
			}
			ctx, cancel := context.WithTimeout(t.Context(), siotest.DefaultTimeout)
			defer cancel()
			c, err := siotest.Dial(ctx, s.at.URL, o)
			if err != nil {
				return
			}
			defer c.Close() // one that polls and vanishes would be waited for
			_ = c.Join("/a")
			_ = c.Emit("/a", "echo", "x")
			_, _ = c.Next(ctx)
		})
		for came.Load() < 100 {
			time.Sleep(time.Millisecond)
		}
		if err := s.auth.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for until := came.Load() + 100; came.Load() < until; {
			time.Sleep(time.Millisecond)
		}
		stop()
	}
}

// Drain says what it waited for in vain, and can be called again.
func TestDrainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s := startPlain(t, harness.InMemory(t), harness.HandshakeMode, func() { <-hold })
		clients := s.seats(t)
		ctx, cancel := within(30 * time.Second)
		defer cancel()
		err := s.auth.Drain(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "OnDisconnect still runs") {
			t.Error(err)
		}
		s.refuses(t)
		close(hold)
		if err := s.auth.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if n := s.left.Load(); int(n) != len(clients) {
			t.Errorf("OnDisconnect has run for %d of %d", n, len(clients))
		}
	})
}

// One of several Authorizers is enough to make Close safe; each waits for its own sockets.
func TestDrainOfSeveralAuthorizers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := harness.InMemory(t)
		plain := socketio.NewServer(socketiojwt.Harden(nil))
		hold := make(chan struct{})
		var ran atomic.Int32
		users := harness.Authorize(t, harness.HandshakeMode)
		admins := harness.Authorize(t, socketiojwt.Options{Handshake: true, OnAuthenticated: func(socketio.Conn, *socketiojwt.Session) { <-hold; ran.Add(1) }})
		for name, auth := range map[string]*socketiojwt.Authorizer{"/": users, "/admin": admins} {
			plain.OnConnect(name, auth.OnConnect)
			plain.OnDisconnect(name, auth.OnDisconnect)
			plain.OnEvent(name, "echo", auth.Guard(func(_ socketio.Conn, text string) string { return text }))
		}
		harness.Serve(t, plain, at, users.Handler(plain))
		for _, name := range []string{"/", "/admin"} {
			o := harness.Bob(t, "websocket")
			o.Version = 4
			_, must := harness.Dial(t, at, o)
			must.Join(name)
			must.Connected(name)
		}
		var group sync.WaitGroup
		group.Go(func() {
			if err := admins.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			if ran.Load() != 1 {
				t.Error("it returned before OnAuthenticated")
			}
		})
		if err := users.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if ran.Load() != 0 {
			t.Error("it waited for OnAuthenticated of the other")
		}
		close(hold)
		group.Wait()
		if n := plain.Count(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// An Authorizer that knows no server has nothing to make safe.
func TestDrainOfNoServer(t *testing.T) {
	t.Parallel()
	if err := harness.Authorize(t, harness.HandshakeMode).Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "Authorizer.Handler") {
		t.Error(err)
	}
}

// Without the gate the server is known from its first client on.
func TestDrainWithoutGate(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, harness.HandshakeMode)
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	plain.OnConnect("/", auth.OnConnect)
	plain.OnDisconnect("/", auth.OnDisconnect)
	at := harness.Loopback(t)
	harness.Serve(t, plain, at, plain)
	c, must := harness.Dial(t, at, harness.Bob(t, "websocket"))
	must.NextRaw("40")
	c.Close()
	if err := auth.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := plain.Close(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if response, _ := harness.Get(t, at.URL+"/socket.io/?EIO=3&transport=polling"); response.StatusCode != http.StatusBadGateway {
			t.Fatal(response.Status)
		}
	}
}

// A server that was closed and not drained before sends its clients away, and a client that comes later
// ends nothing.
func TestForgottenDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startPlain(t, harness.InMemory(t), harness.HandshakeMode, nil)
		clients := s.seats(t)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range clients {
			if packets, err := c.Rest(t.Context()); err != nil || len(packets) > 0 {
				t.Error(rawOf(packets), err)
			}
		}
		s.refuses(t)
		if err := s.auth.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if n := s.left.Load(); int(n) != len(clients) {
			t.Errorf("OnDisconnect has run for %d of %d", n, len(clients))
		}
		if text := s.log.String(); !strings.Contains(text, "without Authorizer.Drain") {
			t.Error(text)
		}
	})
}

// A connection that did not get to go-socket.io, because what stands between the gate and the server
// answered for it, is not waited for.
func TestDrainOfWhoNeverEntered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := harness.InMemory(t)
		auth := harness.Authorize(t, harness.HandshakeMode)
		plain := socketio.NewServer(socketiojwt.Harden(nil))
		plain.OnConnect("/", auth.OnConnect)
		plain.OnDisconnect("/", auth.OnDisconnect)
		var full atomic.Bool
		harness.Serve(t, plain, at, auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if full.Load() {
				http.Error(w, "full", http.StatusServiceUnavailable)
				return
			}
			plain.ServeHTTP(w, r)
		})))
		full.Store(true)
		o := harness.Bob(t, "websocket")
		o.Version = 4
		_, must := harness.Dial(t, at, o)
		must.Join("/")
		synctest.Wait()
		if err := auth.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		must.Closed()
	})
}
