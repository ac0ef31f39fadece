package attacks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/gorilla/websocket"
)

// The tests of the hazards_* files play the reproductions of go-socket.io's hazards,
// by their numbers, against a whole server, and require that they do nothing.

// siege is a protected server with an honest client, bob, on it. Everything else that comes is
// hostile: anonymous, or mallory, who has a token.
type siege struct {
	*harness.App
	t         *testing.T
	handshake bool
	count     func() int     // the goroutines there are
	ran       harness.Record // what ran and must not have
	honest    *siotest.Client
	before    footprint
	leaving   []func() // how the hostile clients go
}

// besiege starts a siege. setup registers more handlers, or others.
func besiege(t *testing.T, opts socketiojwt.Options, engine engineio.Options, setup func(*siege)) *siege {
	t.Helper()
	return besiegeAt(t, harness.Loopback(t), runtime.NumGoroutine, opts, engine, setup)
}

// besiegeInMemory starts one in a bubble of testing/synctest, where nobody waits for a timeout.
func besiegeInMemory(t *testing.T, opts socketiojwt.Options, engine engineio.Options, setup func(*siege)) *siege {
	t.Helper()
	at := harness.InMemory(t)
	at.Client.Transport.(*http.Transport).DisableKeepAlives = true // idle connections have goroutines
	return besiegeAt(t, at, harness.InBubble, opts, engine, setup)
}

func besiegeAt(t *testing.T, at harness.Place, count func() int, opts socketiojwt.Options, engine engineio.Options, setup func(*siege)) *siege {
	t.Helper()
	s := &siege{App: harness.New(t, at, opts, socketiojwt.Harden(&engine)), t: t, handshake: opts.Handshake, count: count}
	for _, nsp := range namespaces {
		s.OnConnect(nsp, func(c socketio.Conn) error {
			if _, ok := s.Auth.Session(c); !ok {
				s.ran.Add("OnConnect without a session")
			}
			return nil
		})
		s.OnEvent(nsp, "echo", func(_ socketio.Conn, text string) string { return text })
		s.OnEvent(nsp, "secret", func(socketio.Conn) { s.ran.Add("secret") })
	}
	if setup != nil {
		setup(s)
	}
	harness.Serve(t, s.Server, s.At, s.Server)
	s.honest = s.enter("bob", siotest.Options{Transport: "websocket"})
	s.before = s.footprint()
	return s
}

var namespaces = []string{"/", "/admin"}

// impatient makes a server give up those who are silent within two seconds.
var impatient = engineio.Options{PingTimeout: 2 * time.Second, PingInterval: 300 * time.Millisecond}

// anonymity lets a client be anonymous for a moment.
var anonymity = socketiojwt.Options{Timeout: 500 * time.Millisecond}

// footprint is what clients take up of a server.
type footprint struct{ sessions, members, goroutines int }

func (s *siege) footprint() footprint {
	return footprint{sessions: s.Count(), members: s.members(), goroutines: s.count()}
}

func (s *siege) members() (n int) {
	for _, nsp := range namespaces {
		for _, room := range s.Rooms(nsp) {
			n += s.RoomLen(nsp, room)
		}
	}
	return n
}

// enter connects and authenticates, and returns when OnConnect is done.
func (s *siege) enter(subject string, o siotest.Options) *siotest.Client {
	s.t.Helper()
	o.Query = harness.WithToken(harness.TokenOf(s.t, subject))
	c, must := s.Dial(s.t, o)
	fetched := make(chan struct{})
	go func() { // who does not fetch by itself has to, until it is in
		defer close(fetched)
		for in, err := !o.ManualPoll && !o.ManualRead, error(nil); !in && err == nil; {
			packets := make([]siotest.EnginePacket, 1)
			if o.ManualPoll {
				packets, _, err = c.Poll(s.t.Context())
			} else {
				packets[0], err = c.ReadFrame(s.t.Context())
			}
			in = slices.ContainsFunc(packets, func(p siotest.EnginePacket) bool { return strings.HasPrefix(p.String(), "43") })
		}
	}()
	if !s.handshake {
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(s.t, subject)})
	}
	id, err := c.EmitAck("/", "echo", "in")
	must.OK(err)
	s.await("fetching", fetched)
	must.Ack("/", id)
	return c
}

// anonymous connects a client that does not authenticate.
func (s *siege) anonymous(o siotest.Options) (*siotest.Client, siotest.Must) {
	s.t.Helper()
	c, must := s.Dial(s.t, o)
	s.leaving = append(s.leaving, c.Abort)
	if !o.ManualPoll && !o.ManualRead {
		must.NextRaw("40")
	}
	return c, must
}

// mallory connects one that does.
func (s *siege) mallory(o siotest.Options) (*siotest.Client, siotest.Must) {
	s.t.Helper()
	c := s.enter("mallory", o)
	s.leaving = append(s.leaving, c.Abort)
	return c, c.Must(s.t)
}

// everybody plays an attack on both transports, as who is anonymous and as who is not.
func (s *siege) everybody(attack func(*siotest.Client, siotest.Must)) {
	s.t.Helper()
	for _, transport := range []string{"polling", "websocket"} {
		attack(s.anonymous(siotest.Options{Transport: transport}))
		attack(s.mallory(siotest.Options{Transport: transport}))
	}
}

// served requires that honest clients are: one that was there all the time, and a new one.
func (s *siege) served() {
	s.t.Helper()
	must := s.honest.Must(s.t)
	must.Call("/", "echo", "x")
	s.within("broadcast", func() { s.BroadcastToNamespace("/", "news", "x") })
	must.Event("/", "news")
	s.enter("bob", siotest.Options{Transport: "websocket"}).Close()
}

// survived requires that honest clients are served, that the server has rid itself of the hostile
// ones, that nothing is left once they are gone, and that these things ran, and no more.
func (s *siege) survived(ran ...string) {
	s.t.Helper()
	s.served()
	harness.Eventually(s.t, "hostile sessions and their rooms are gone", func() bool {
		return s.Count() <= s.before.sessions && s.members() <= s.before.members
	})
	for _, leave := range s.leaving {
		leave()
	}
	harness.Eventually(s.t, "their goroutines are gone", func() bool { return s.count() <= s.before.goroutines })
	if got, want := s.ran.String(), strings.Join(ran, ", "); got != want {
		s.t.Errorf("these ran: %q, want %q", got, want)
	}
	s.served()
}

// within ends the test unless f returns in time.
func (s *siege) within(what string, f func()) {
	s.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	s.await(what, done)
}

func (s *siege) await(what string, done <-chan struct{}) {
	s.t.Helper()
	select {
	case <-done:
	case <-time.After(siotest.DefaultTimeout):
		s.t.Fatalf("%s hangs", what)
	}
}

// request writes the head of a request of c, and as much of its body as there is. Nobody reads
// the answer, and nobody closes the connection but the server.
func (s *siege) request(c *siotest.Client, method string, length int, body string) *net.TCPConn {
	s.t.Helper()
	must := c.Must(s.t)
	u, err := url.Parse(c.URL())
	must.OK(err)
	conn, err := net.Dial("tcp", u.Host)
	must.OK(err)
	s.t.Cleanup(func() { _ = conn.Close() })
	tcp := conn.(*net.TCPConn)
	must.OK(tcp.SetReadBuffer(4 << 10))
	_, err = fmt.Fprintf(tcp, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s",
		method, u.RequestURI(), u.Host, length, body)
	must.OK(err)
	return tcp
}

// answers requires that the server answers a request, or ends it.
func (s *siege) answers(conn net.Conn) {
	s.t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(siotest.DefaultTimeout))
	if _, err := conn.Read(make([]byte, 1)); isTimeout(err) {
		s.t.Error("the server does not answer")
	}
}

// ends requires that the server ends a connection, whatever it sends before.
func (s *siege) ends(conn net.Conn) {
	s.t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(siotest.DefaultTimeout))
	if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
		s.t.Error("the server keeps a connection open")
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// webSocket opens one that knows nothing of Engine.IO.
func (s *siege) webSocket(query url.Values) (*websocket.Conn, *http.Response, error) {
	query.Set("EIO", "3")
	query.Set("transport", "websocket")
	ctx, cancel := context.WithTimeout(s.t.Context(), siotest.DefaultTimeout)
	defer cancel()
	target := strings.Replace(s.At.URL, "http", "ws", 1) + "/socket.io/?" + query.Encode()
	dialer := *websocket.DefaultDialer
	if s.At.Client != nil {
		dialer.NetDialContext = s.At.Client.Transport.(*http.Transport).DialContext
	}
	conn, resp, err := dialer.DialContext(ctx, target, nil)
	if err == nil {
		s.leaving = append(s.leaving, func() { _ = conn.Close() })
	}
	return conn, resp, err
}

// peak is how many goroutines there are at most while f runs and in the moment after it.
func peak(f func()) int {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
		time.Sleep(100 * time.Millisecond)
	}()
	most := 0
	for {
		most = max(most, runtime.NumGoroutine())
		select {
		case <-done:
			return most
		case <-time.After(time.Millisecond):
		}
	}
}
