package transport_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

const testTimeout = 30 * time.Second

// config says what newServer makes. Zero values are generous.
type config struct {
	pingTimeout, pingInterval time.Duration
	limits                    transport.Limits
	pipes                     bool // connections in memory, as testing/synctest needs them

	polling     *transport.PollingConfig
	webSocket   *websocket.Upgrader
	only        string // the one transport that is offered
	noUpgrade   bool
	arrive      func(*above) // in place of sending `0`, the CONNECT of the root
	arriveEarly func(*above) // before that
	notReady    bool         // Ready is the test's to call
}

// testServer serves a hub, with an above for each connection.
type testServer struct {
	hub      *transport.Hub
	url      string
	client   *http.Client // for pipes; else nil
	dialer   func(ctx context.Context, network, addr string) (net.Conn, error)
	aboves   sync.Map    // *transport.Client to *above
	handlers sync.Map    // name of an event to func(*above, *event)
	arrived  chan *above // the first ones, for tests without a session id
	reasons  chan transport.Reason
	log      logBuffer // of net/http
	mayLog   bool
}

// logBuffer is a bytes.Buffer that may be written to meanwhile.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// on sets the handler of an event.
func (s *testServer) on(name string, f func(a *above, e *event)) { s.handlers.Store(name, f) }

func newServer(t testing.TB, c config) *testServer {
	t.Helper()
	setDefault(&c.pingTimeout, 20*time.Second)
	setDefault(&c.pingInterval, 10*time.Second)
	setDefault(&c.limits.Message, 1<<20)
	setDefault(&c.limits.RestrictedMessage, 16<<10)
	setDefault(&c.limits.Outbox, 16<<20)
	setDefault(&c.limits.RestrictedPackets, 200)
	setDefault(&c.limits.RestrictedBytes, 64<<10)
	setDefault(&c.limits.Ping, 512)
	setDefault(&c.limits.BodyTime, 20*time.Second)
	setDefault(&c.polling, new(transport.PollingConfig))
	setDefault(&c.webSocket, new(websocket.Upgrader))
	switch c.only {
	case transport.Polling:
		c.webSocket = nil
	case transport.WebSocket:
		c.polling = nil
	}
	if c.arrive == nil {
		c.arrive = func(a *above) { a.client.Send(text("0")) }
	}
	hub := transport.NewHub(transport.Config{
		PingInterval: c.pingInterval,
		PingTimeout:  c.pingTimeout,
		Limits:       c.limits,
		Polling:      c.polling,
		WebSocket:    c.webSocket,
		Upgrade:      !c.noUpgrade,
	})
	s := &testServer{hub: hub, arrived: make(chan *above, 100), reasons: make(chan transport.Reason, 100)}
	hub.Observe(func(_ *transport.Client, reason transport.Reason) {
		select {
		case s.reasons <- reason:
		default:
		}
	})
	s.on("echo", func(a *above, e *event) { a.ack(e, "ok") })
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hub.Answer(w, r) {
			return
		}
		if sid := transport.QueryOf(r).Get("sid"); sid != "" {
			if client, ok := hub.Lookup(sid); ok {
				client.Serve(w, r)
			} else {
				transport.Refuse(w, http.StatusBadRequest, 1, "Session ID unknown")
			}
			return
		}
		hub.Open(w, r, func(client *transport.Client) transport.Above {
			a := &above{t: t, server: s, client: client, gone: make(chan struct{})}
			s.aboves.Store(client, a)
			select {
			case s.arrived <- a:
			default:
			}
			if c.arriveEarly != nil {
				c.arriveEarly(a)
			}
			c.arrive(a)
			if !c.notReady {
				client.Ready()
			}
			return a
		})
	})

	var stop func()
	if c.pipes {
		listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: handler, ErrorLog: log.New(&s.log, "", 0)}
		go server.Serve(listener)
		roundTripper := &http.Transport{DialContext: listener.dial}
		s.dialer = listener.dial
		s.url, s.client = "http://pipe.test", &http.Client{Transport: roundTripper}
		stop = func() {
			roundTripper.CloseIdleConnections()
			server.Close()
		}
	} else {
		server := httptest.NewUnstartedServer(handler)
		server.Config.ErrorLog = log.New(&s.log, "", 0)
		server.Start()
		s.url, s.dialer, stop = server.URL, new(net.Dialer).DialContext, server.Close
	}

	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := hub.Drain(ctx); err != nil {
			t.Error("Drain:", err)
		}
		s.empty(t)
		stop()
		if got := s.log.String(); got != "" && !s.mayLog {
			t.Errorf("net/http logs %s", got)
		}
	})
	return s
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// empty waits until the hub holds no connection, and every layer above was told.
func (s *testServer) empty(t testing.TB) {
	t.Helper()
	eventually(t, func() error {
		if n := s.hub.Count(); n != 0 {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
	s.aboves.Range(func(_, a any) bool {
		wait(t, "call of Closed", a.(*above).gone)
		return true
	})
}

// dial connects a client that is closed with the test.
func (s *testServer) dial(t testing.TB, o siotest.Options) *siotest.Client {
	t.Helper()
	o.HTTP = s.client
	return siotest.MustDial(t, s.url, o)
}

// connect dials and reads the CONNECT of the root.
func (s *testServer) connect(t testing.TB, o siotest.Options) (*siotest.Client, siotest.Must) {
	t.Helper()
	c := s.dial(t, o)
	must := c.Must(t)
	must.NextRaw("40")
	return c, must
}

// lookup finds the server's side of a client.
func (s *testServer) lookup(t testing.TB, c *siotest.Client) *transport.Client {
	t.Helper()
	found, ok := s.hub.Lookup(c.SID())
	if !ok {
		t.Fatal("the hub does not know the client")
	}
	return found
}

// above finds the layer above a client.
func (s *testServer) above(t testing.TB, c *siotest.Client) *above {
	t.Helper()
	a, ok := s.aboves.Load(s.lookup(t, c))
	if !ok {
		t.Fatal("the client has no layer above")
	}
	return a.(*above)
}

// connected gives the layers above that there are, also of connections that are gone.
func (s *testServer) connected() (all []*above) {
	s.aboves.Range(func(_, a any) bool {
		all = append(all, a.(*above))
		return true
	})
	return all
}

// request makes an HTTP request of its own. The caller closes the answer's body.
func (s *testServer) request(t testing.TB, method, query string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, s.url+"/socket.io/?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := s.client
	if client == nil {
		client = http.DefaultClient // whose connections httptest closes
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// raw writes to a connection of its own: a request, or as much of one as the test wants.
func (s *testServer) raw(t testing.TB, text string) net.Conn {
	t.Helper()
	conn, err := s.dialer(context.Background(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// requestText is the head of a polling request, with more header lines.
func requestText(method, query string, lines ...string) string {
	return method + " /socket.io/?EIO=3&transport=polling" + query + " HTTP/1.1\r\nHost: test\r\n" + strings.Join(lines, "\r\n") + "\r\n"
}

// webSocketText is a whole WebSocket request.
func webSocketText(query string) string {
	return "GET /socket.io/?EIO=3&transport=websocket" + query + " HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
}

// eventually waits until check gives nil.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(testTimeout)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("still: ", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// wait ends the test unless something comes through the channel, or it is closed.
func wait[T any](t testing.TB, what string, c <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-c:
	case <-time.After(testTimeout):
		t.Fatal("no " + what)
	}
	return value
}

// inParallel runs f n times, some at a time, and reports what fails.
func inParallel(t *testing.T, n, atOnce int, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*testTimeout)
	defer cancel()
	slots := make(chan struct{}, atOnce)
	errs := make(chan error, n)
	var group sync.WaitGroup
	for range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs <- f(ctx)
		})
	}
	group.Wait()
	close(errs)
	failed := 0
	for err := range errs {
		if err == nil {
			continue
		}
		if failed++; failed <= 3 {
			t.Error(err)
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d failed", failed, n)
	}
}

// modes are the ways in which a client can connect. In upgrade, it moves to WebSocket while the
// test goes on.
var modes = []struct {
	name    string
	options siotest.Options
	upgrade bool
}{
	{"polling", siotest.Options{}, false},
	{"polling b64", siotest.Options{B64: true}, false},
	{"JSONP", siotest.Options{JSONP: true}, false},
	{"websocket", siotest.Options{Transport: "websocket"}, false},
	{"websocket b64", siotest.Options{Transport: "websocket", B64: true}, false},
	{"upgrade", siotest.Options{}, true},
}

// pipeListener listens in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
