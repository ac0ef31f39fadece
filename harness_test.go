package socketiojwt_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
)

var transports = []string{"polling", "websocket", "upgrade"}

func tokenOf(tb testing.TB, sub string) string {
	tb.Helper()
	return signHS256(tb, jwt.MapClaims{"sub": sub})
}

func withToken(raw string) url.Values { return url.Values{"token": {raw}} }

// testServer is a protected server that listens, for as long as its test runs.
type testServer struct {
	*socketiojwt.Server
	auth *socketiojwt.Authorizer
	at   place
	web  *http.Server
}

// start starts a server whose namespaces, all or the named ones, are protected. setup
// registers its handlers.
func start(tb testing.TB, opts socketiojwt.Options, setup func(*testServer), namespaces ...string) *testServer {
	tb.Helper()
	return startAt(tb, loopback(tb), opts, setup, namespaces...)
}

func startAt(tb testing.TB, at place, opts socketiojwt.Options, setup func(*testServer), namespaces ...string) *testServer {
	tb.Helper()
	auth := mustAuthorize(tb, opts)
	s := &testServer{auth: auth, at: at}
	s.Server = auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)), namespaces...)
	if setup != nil {
		setup(s)
	}
	s.web = serve(tb, s.Server, at, s.Server)
	return s
}

// server is a socketio.Server or one that is protected.
type server interface {
	Serve() error
	Close() error
	Count() int
}

// serve serves handler and runs server, and after the test requires that no session is
// left.
func serve(tb testing.TB, server server, at place, handler http.Handler) *http.Server {
	tb.Helper()
	web := &http.Server{Handler: handler}
	serveWith(tb, server, at, web)
	return web
}

// serveWith is serve with settings of net/http's.
func serveWith(tb testing.TB, server server, at place, httpServer *http.Server) {
	tb.Helper()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve()
	}()
	go func() { _ = httpServer.Serve(at.listener) }()
	tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			tb.Error(err)
		}
		<-served
		_ = httpServer.Close()
		eventually(tb, "sessions are gone", func() bool { return server.Count() == 0 })
	})
}

func serveHTTP(at place, handler http.Handler) *http.Server {
	s := &http.Server{Handler: handler}
	go func() { _ = s.Serve(at.listener) }()
	return s
}

// place is where a server listens, and how to get there.
type place struct {
	listener net.Listener
	url      string
	client   *http.Client // nil: any
}

func loopback(tb testing.TB) place {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return place{listener: l, url: "http://" + l.Addr().String()}
}

// inMemory is a network that testing/synctest can follow.
func inMemory(tb testing.TB) place {
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	transport := &http.Transport{DialContext: l.dial}
	tb.Cleanup(transport.CloseIdleConnections)
	return place{listener: l, url: "http://in.memory", client: &http.Client{Transport: transport}}
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dial opens a connection of a network in memory for as long as the test runs.
func (at place) dial(tb testing.TB) net.Conn {
	tb.Helper()
	conn, err := at.listener.(*pipeListener).dial(tb.Context(), "", "")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s *testServer) dial(tb testing.TB, o siotest.Options) (*siotest.Client, siotest.Must) {
	tb.Helper()
	return dial(tb, s.at, o)
}

func dial(tb testing.TB, at place, o siotest.Options) (*siotest.Client, siotest.Must) {
	tb.Helper()
	o.HTTP = at.client
	c := siotest.MustDial(tb, at.url, o)
	return c, c.Must(tb)
}

// meanwhile calls f again and again, in n goroutines, until stop is called.
func meanwhile(n int, f func()) (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					f()
				}
			}
		})
	}
	return func() {
		close(done)
		group.Wait()
	}
}

// eventually waits until something that happens in another goroutine has.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(siotest.DefaultTimeout); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("it never came true that ", what)
		}
	}
}

func hardened(limits ...socketiojwt.Limits) *engineio.Options {
	return socketiojwt.Harden(nil, limits...)
}

// expect ends the test unless these are the packets that came, and all.
func expect(tb testing.TB, got []siotest.Packet, want ...string) {
	tb.Helper()
	raw := make([]string, len(got))
	for i, p := range got {
		raw[i] = p.Raw
	}
	if len(raw) != len(want) {
		tb.Fatalf("got %q, want %q", raw, want)
	}
	for i := range raw {
		if raw[i] != want[i] {
			tb.Fatalf("got %q, want %q", raw, want)
		}
	}
}

// e is the payload of the wire contract.
func e(code, message string) string {
	return `{"message":"` + message + `","code":"` + code + `","type":"UnauthorizedError"}`
}
