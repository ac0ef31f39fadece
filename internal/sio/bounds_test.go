package sio

import (
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// What one packet, and one client, may make the server hold.

// TestEscapeAtTheEnd: nothing is read behind a packet that ends inside an escape.
func TestEscapeAtTheEnd(t *testing.T) {
	for _, packet := range []string{`2["\`, `2["\u`, `2["\u0`, `2["\u00`, `2["\u006`, `2["\u0063`, `2["\u0063"`} {
		if _, _, err := parseHeader(slices.Clip([]byte(packet)), testLimits, protocol4{}); err != BadJSON {
			t.Errorf("%s: %v", packet, err)
		}
	}
}

// TestLongConnects: what CONNECT brings is kept, so it is bounded, whatever a message may be.
func TestLongConnects(t *testing.T) {
	for _, test := range []struct {
		protocol protocol
		packet   func(length int) string
		longest  int
		want     error
	}{
		{protocol5{}, func(n int) string { return `0/a,"` + strings.Repeat("x", n-2) + `"` }, maxAuthBytes, transport.TooLarge},
		{protocol4{}, func(n int) string { return `0/a?` + strings.Repeat("x", n) }, maxQueryBytes, BadNamespace},
		{protocol4{}, func(n int) string { return `0/` + strings.Repeat("x", n-1) }, maxNamespaceBytes, BadNamespace},
		{protocol5{}, func(n int) string { return `0/` + strings.Repeat("x", n-1) }, maxNamespaceBytes, BadNamespace},
	} {
		if _, _, err := parseHeader([]byte(test.packet(test.longest)), testLimits, test.protocol); err != nil {
			t.Errorf("%T, %.5s…: %v", test.protocol, test.packet(10), err)
		}
		if _, _, err := parseHeader([]byte(test.packet(test.longest+1)), testLimits, test.protocol); err != test.want {
			t.Errorf("%T, %.5s… and one more: %v, want %v", test.protocol, test.packet(10), err, test.want)
		}
	}
}

// TestFits: what closes the connection of a client 4.x is not sent.
func TestFits(t *testing.T) {
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		if protocol5.fits(protocol5{}, name, 0) == nil {
			t.Errorf("event %q fits clients 4.x", name)
		}
		if err := protocol4.fits(protocol4{}, name, 0); err != nil {
			t.Error(err)
		}
	}
	if err := protocol5.fits(protocol5{}, "x", maxClientAttachments); err != nil {
		t.Error(err)
	}
	if protocol5.fits(protocol5{}, "x", maxClientAttachments+1) == nil {
		t.Errorf("%d attachments fit clients 4.x", maxClientAttachments+1)
	}
}

// newQuietServer is newServer without a listener, as testing/synctest needs it.
func newQuietServer(t *testing.T, limits transport.Limits) *testServer {
	t.Helper()
	limits.RestrictedMessage, limits.Outbox = limits.Message, 1<<20
	hub := transport.NewHub(transport.Config{
		PingInterval: time.Hour, PingTimeout: time.Hour, Limits: limits, Polling: new(transport.PollingConfig),
	})
	s := &testServer{t: t, arrived: make(chan *Conn, 100), Server: NewServer(hub, noUpstream{}, testLimits)}
	s.SetDoorkeeper(s)
	s.Add(Root)
	return s
}

// arrive5 makes a connection of nobody's, of protocol 5.
func (s *testServer) arrive5() *Conn {
	s.t.Helper()
	r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil)
	if _, err := s.Hub().Accept(httptest.NewRecorder(), r, s.above); err != nil {
		s.t.Fatal(err)
	}
	return <-s.arrived
}

func take(t *testing.T, c *Conn, packets ...string) {
	t.Helper()
	for _, p := range packets {
		if err := c.Receive([]transport.Message{textMessage(p)}); err != nil {
			t.Fatalf("%.20s: %v", p, err)
		}
	}
}

// fetch returns the packets that wait for a client of arrive5.
func fetch(c *Conn) []string {
	w := httptest.NewRecorder()
	c.Client().Serve(w, httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling&sid="+c.Client().ID(), nil))
	return strings.Split(w.Body.String(), "\x1e")
}

// TestGoodbyesAreBounded: before a connection ends, the client hears of the namespaces that it was
// refused, of a few that there are not, and of no others.
func TestGoodbyesAreBounded(t *testing.T) {
	s := newQuietServer(t, transport.Limits{Message: 1 << 20})
	s.Add("/left")
	c := s.arrive5()
	defer c.Client().Abort()
	long := "/" + strings.Repeat("x", maxUnknownBytes)
	take(t, c, "0/left,", "1/left,", "0"+long+",")
	for i := range 2 * maxUnknown {
		take(t, c, fmt.Sprintf("0/unknown%d,", i))
	}
	c.End(true)
	var want []string
	for i := range maxUnknown {
		want = append(want, fmt.Sprintf("41/unknown%d,", i))
	}
	var got []string
	for _, p := range fetch(c) {
		if strings.HasPrefix(p, "41") {
			got = append(got, p)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %.100q, want %q", got, want)
	}
}

// TestWaitOfWhoIsGone: the deadline of a connection does not keep it when it is gone.
func TestWaitOfWhoIsGone(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		s := newQuietServer(t, transport.Limits{Message: 1 << 20})
		c := s.arrive5()
		s.conns = nil
		if when == "before" {
			c.Wait(time.Hour)
		}
		gone := make(chan struct{})
		c.OnClosed(func() { close(gone) })
		c.Client().Abort()
		<-gone
		if when == "after" {
			c.Wait(time.Hour)
		}
		kept := weak.Make(c)
		c = nil
		for end := time.Now().Add(testTimeout); kept.Value() != nil; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it is kept by a Wait %s its end", when)
			}
			runtime.GC()
		}
	}
}

// TestEndTwice: a socket is told once that it ends.
func TestEndTwice(t *testing.T) {
	s := newServer(t, transport.Limits{})
	s.Add("/a")
	c := s.arrive("/a")
	for range 2 {
		c.End(false, LastWord{Socket: c.Socket("/a")})
	}
	lane := make(chan struct{})
	c.lane.run(func() { close(lane) })
	<-lane
	if got := s.sent(c); !slices.Equal(got, []string{"40", "40/a", "41/a"}) {
		t.Errorf("sent %q", got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := count(s.calls, "disconnect /a"); n != 1 {
		t.Errorf("%d times disconnect in %q", n, s.calls)
	}
}

// TestAllAreCheckedFirst: of messages that come together none counts if one is malformed.
func TestAllAreCheckedFirst(t *testing.T) {
	s := newServer(t, transport.Limits{})
	ran := false
	s.Namespace(Root).OnEvent("x", func(socketio.Conn) { ran = true })
	c := s.arrive()
	if err := c.Receive([]transport.Message{textMessage(`2["x"]`), textMessage(`2["x"`)}); err != BadJSON {
		t.Error(err)
	}
	lane := make(chan struct{})
	c.lane.run(func() { close(lane) })
	<-lane
	if ran {
		t.Error("an event was handled beside a malformed one")
	}
}

// TestAttachmentsAreAccountedOnce: whatever a client has sent before, what waits for a handler is
// no more than one message may be, or little more.
func TestAttachmentsAreAccountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const message = 16 << 10
		s := newQuietServer(t, transport.Limits{Message: message})
		release := make(chan struct{})
		s.Namespace(Root).OnEvent("bin", func(socketio.Conn, ...parser.Buffer) {})
		s.Namespace(Root).OnEvent("hold", func(socketio.Conn, string) { <-release })
		c := s.arrive()
		defer c.Client().Abort()
		post := func(packet string) {
			body := strings.NewReader(fmt.Sprintf("%d:%s", len(packet), packet))
			w := httptest.NewRecorder()
			c.Client().Serve(w, httptest.NewRequest("POST", "/socket.io/?EIO=3&transport=polling&sid="+c.Client().ID(), body))
			if w.Body.String() != "ok" {
				t.Errorf("got %s", w.Body)
			}
		}
		attachment := "b4" + base64.StdEncoding.EncodeToString(make([]byte, 2000))
		for range 5 {
			post(`454-["bin",` + ph0 + "," + ph1 + `]`)
			for range 4 {
				post(attachment)
			}
		}
		read := 0
		go func() {
			for range 100 {
				post(`42["hold","` + strings.Repeat("x", 1000) + `"]`)
				read++
			}
		}()
		synctest.Wait()
		if read < 10 || read > message/1000+1 {
			t.Errorf("%d events of 1000 bytes wait for the first", read)
		}
		close(release)
		synctest.Wait()
		if read != 100 {
			t.Errorf("%d events were read", read)
		}
	})
}
