package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/session"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
	"github.com/googollee/go-socket.io/parser"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

const (
	burst = 80 // numbered messages, with a binary one in the middle
	note  = "é€😀\"\\n\n"
)

var allBytes = func() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()

// burstLog is what one side must have got, in order.
var burstLog = func() (log []string) {
	for i := range burst {
		log = append(log, numbered(i, note))
		if i == burst/2+3 {
			log = append(log, binary(allBytes))
		}
	}
	return log
}()

func numbered(i int, text string) string { return fmt.Sprintf("%d %q", i, text) }
func binary(data []byte) string          { return fmt.Sprintf("%x", data) }

// newBurstServer sends a burst from OnConnect on, and answers `report` with the burst it got.
func newBurstServer(t *testing.T) *testServer {
	s := newServer(t, config{})
	var logs sync.Map
	log := func(conn socketio.Conn, line string) {
		v, _ := logs.LoadOrStore(conn.ID(), new([]string))
		lines := v.(*[]string) // used in the connection's read goroutine only
		*lines = append(*lines, line)
	}
	s.OnConnect("/", func(conn socketio.Conn) error {
		go func() {
			for i := range burst {
				conn.Emit("n", i, note)
				if i == burst/2+3 {
					conn.Emit("bin", &parser.Buffer{Data: allBytes})
				}
			}
		}()
		return nil
	})
	s.OnEvent("/", "n", func(conn socketio.Conn, i int, text string) { log(conn, numbered(i, text)) })
	s.OnEvent("/", "bin", func(conn socketio.Conn, b parser.Buffer) { log(conn, binary(b.Data)) })
	s.OnEvent("/", "report", func(conn socketio.Conn) string {
		v, _ := logs.LoadAndDelete(conn.ID())
		return strings.Join(*v.(*[]string), "\n")
	})
	return s
}

// exchange makes both sides send a burst at the same time, and checks that all of it arrives once
// and in order.
func exchange(ctx context.Context, url string, o siotest.Options, upgrade bool) error {
	c, err := siotest.Dial(ctx, url, o)
	if err != nil {
		return err
	}
	defer c.Close()

	upgraded := make(chan error, 1)
	sent := make(chan error, 1)
	go func() {
		var frames []siotest.Frame
		for i := range burst {
			if i == burst/4 {
				go func() {
					if upgrade {
						upgraded <- c.UpgradeNow(ctx)
					} else {
						upgraded <- nil
					}
				}()
			}
			frames = append(frames, siotest.Text(fmt.Sprintf(`42["n",%d,%q]`, i, note)))
			var err error
			if len(frames) == 4 { // as a burst of emits becomes one POST
				err, frames = c.SendFrames(frames...), nil
			}
			if err == nil && i == burst/2+3 {
				err = c.Emit("/", "bin", allBytes)
			}
			if err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()

	var log []string
	for len(log) < len(burstLog) {
		p, err := c.Next(ctx)
		if err != nil {
			return fmt.Errorf("after %d messages: %w", len(log), err)
		}
		var i int
		var text string
		switch name, _ := p.Event(); name {
		case "n":
			if err := p.Decode(&i, &text); err != nil {
				return err
			}
			log = append(log, numbered(i, text))
		case "bin":
			var data []byte
			if err := p.Decode(&data); err != nil {
				return err
			}
			log = append(log, binary(data))
		}
	}
	if !slices.Equal(log, burstLog) {
		return fmt.Errorf("the client got %q", log)
	}
	if err := errors.Join(<-sent, <-upgraded); err != nil {
		return err
	}
	id, err := c.EmitAck("/", "report")
	if err != nil {
		return err
	}
	p, err := c.Next(ctx) // nothing may come twice
	if err != nil {
		return err
	}
	var report string
	if err := p.Decode(&report); err != nil || p.ID != id {
		return fmt.Errorf("%s in place of the report: %w", p.Raw, err)
	}
	if report != strings.Join(burstLog, "\n") {
		return fmt.Errorf("the server got %s", report)
	}
	return nil
}

func TestExchange(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newBurstServer(t)
			inParallel(t, 60, 60, func(ctx context.Context) error {
				return exchange(ctx, s.url, mode.options, mode.upgrade)
			})
			s.empty(t)
		})
	}
}

// TestEngineIOClient runs go-socket.io's own client, which sends binary payloads for text.
func TestEngineIOClient(t *testing.T) {
	for _, dial := range []eiotransport.Transport{polling.Default, websocket.Default} {
		t.Run(dial.Name(), func(t *testing.T) {
			s := newServer(t, config{})
			s.OnEvent("/", "echo", func(conn socketio.Conn, i int) { conn.Emit("echo", i) })
			dialer := engineio.Dialer{Transports: []eiotransport.Transport{dial}}
			inParallel(t, 10, 10, func(context.Context) error {
				conn, err := dialer.Dial(s.url+"/socket.io/", nil)
				if err != nil {
					return err
				}
				defer conn.Close()
				// It fails when the next poll returns before this is read.
				if err := readEngine(conn, "0"); err != nil {
					return err
				}
				sent := make(chan error, 1)
				go func() {
					var err error
					for i := 0; i < burst && err == nil; i++ {
						err = writeEngine(conn, fmt.Sprintf(`2["echo",%d]`, i))
					}
					sent <- err
				}()
				for i := 0; i < burst && err == nil; i++ {
					err = readEngine(conn, fmt.Sprintf(`2["echo",%d]`, i))
				}
				return errors.Join(err, <-sent)
			})
		})
	}
}

func writeEngine(conn engineio.Conn, packet string) error {
	w, err := conn.NextWriter(session.TEXT)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, packet)
	return errors.Join(err, w.Close())
}

func readEngine(conn engineio.Conn, want string) error {
	_, r, err := conn.NextReader()
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

func TestLargeMessages(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{limits: transport.Limits{Message: 4 << 20}}) // JSONP triples some characters
			s.OnEvent("/", "text", func(_ socketio.Conn, text string) string { return text })
			s.OnEvent("/", "bin", func(conn socketio.Conn, b parser.Buffer) { conn.Emit("bin", &b) })
			c, must := s.connect(t, mode.options)
			if mode.upgrade {
				must.Upgrade()
			}
			sent := strings.Repeat(strings.Repeat("x", 83)+"é😀\n", 900<<10/90)
			var text string
			must.OK(must.Call("/", "text", sent).Decode(&text))
			if text != sent {
				t.Errorf("%d bytes of text came back, or others", len(text))
			}
			data, got := bytes.Repeat(allBytes, 900<<10/256), []byte(nil)
			must.OK(c.Emit("/", "bin", data))
			must.OK(must.Event("/", "bin").Decode(&got))
			if !bytes.Equal(got, data) {
				t.Errorf("%d bytes of binary came back, or others", len(got))
			}
		})
	}
}

func TestTooLargeMessageCloses(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{limits: transport.Limits{Message: 10 << 10}})
			s.OnEvent("/", "big", func(socketio.Conn, string) { t.Error("the event arrived") })
			c, must := s.connect(t, mode.options)
			if mode.upgrade {
				must.Upgrade()
			}
			_ = c.Emit("/", "big", strings.Repeat("x", 10<<10))
			must.Closed()
			s.empty(t)
		})
	}
}

// TestMalformedCloses sends what check and decodePayload refuse.
func TestMalformedCloses(t *testing.T) {
	for _, mode := range modes {
		for _, packet := range []string{
			`42["bin",{"_placeholder":true,"num":0}]`, `4599999999999999999-["bin","x"]`, `451000000000-["bin"]`, `42"bin"]`,
			`42[null,"bin"]`, `42["\u0062in"]`, `44"no"`, `4`, "42[\"bin\",\"\xff\"]", `5`, `3probe`, `0{}`, `7`, `b4%%`,
		} {
			t.Run(mode.name+" "+packet, func(t *testing.T) {
				s := newServer(t, config{})
				s.OnEvent("/", "bin", func(_ socketio.Conn, b parser.Buffer) { t.Error("the event arrived") })
				c, must := s.connect(t, mode.options)
				if mode.upgrade {
					must.Upgrade()
				}
				_ = c.SendPacket(packet)
				must.Closed()
				s.empty(t)
			})
		}
	}
}

func TestInspect(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{})
			s.OnEvent("/", "secret", func(_ socketio.Conn, a, b parser.Buffer) { t.Error("a dropped event arrived") })
			s.OnEvent("/", "bin", func(_ socketio.Conn, b parser.Buffer) string { return string(b.Data) })
			c, must := s.connect(t, mode.options)
			side := s.lookup(t, c)
			var seen []string
			side.Inspect(func(h transport.Header) bool {
				seen = append(seen, h.Event)
				return h.Event != "secret"
			})
			asked := 0
			side.Inspect(func(transport.Header) bool { asked++; return true })

			if mode.upgrade {
				must.Upgrade()
			}
			for range 3 {
				must.Emit("/", "secret", []byte("a"), []byte("b"))
				var got string
				must.OK(must.Call("/", "bin", []byte("c")).Decode(&got))
				if got != "c" {
					t.Errorf("the next event got the attachment %q", got)
				}
			}
			if want := "secret bin secret bin secret bin"; strings.Join(seen, " ") != want || asked != 3 {
				t.Errorf("inspected %q, the second function %d", seen, asked)
			}
		})
	}
}

func TestNamespaceHooks(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{})
			queries := make(chan string, 1)
			s.OnConnect("/admin", func(conn socketio.Conn) error {
				c := fromConn(conn)
				queries <- c.LastHeader().Namespace + "?" + c.LastHeader().Query
				written := c.SwallowConnect("/admin")
				go func() {
					<-written
					c.Send(`4/admin,"no"`, `1/admin,`)
				}()
				return nil
			})
			s.OnConnect("/open", func(socketio.Conn) error { return nil })
			s.hub.SetGuard(func(c *transport.Client, h transport.Header) bool {
				if h.Type == transport.Connect && h.Namespace == "/nosuch" {
					c.Send(`4/nosuch,"Invalid namespace"`)
					return false
				}
				return true
			})
			c, must := s.connect(t, mode.options)
			if mode.upgrade {
				must.Upgrade()
			}
			for range 2 {
				must.Join("/admin?token=x.y&a=b")
				if q := wait(t, "query", queries); q != "/admin?token=x.y&a=b" {
					t.Errorf("LastHeader says %q", q)
				}
				must.NextRaw(`44/admin,"no"`)
				must.NextRaw(`41/admin,`)
			}
			must.Join("/nosuch")
			must.NextRaw(`44/nosuch,"Invalid namespace"`)
			must.Join("/open")
			if p := must.Next(); p.Type != siotest.Connect || p.Namespace != "/open" {
				t.Errorf("got %s, want the CONNECT of /open", p.Raw)
			}
			wait(t, "written root", s.lookup(t, c).SwallowConnect("/"))
		})
	}
}

func TestRestrict(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{limits: transport.Limits{Message: 100 << 10, RestrictedMessage: 1 << 10}})
			s.OnConnect("/", func(conn socketio.Conn) error {
				fromConn(conn).Restrict(true)
				return nil
			})
			s.OnEvent("/", "unlock", func(conn socketio.Conn) string {
				fromConn(conn).Restrict(false)
				return ""
			})
			s.OnEvent("/", "big", func(_ socketio.Conn, text string) int { return len(text) })
			big := strings.Repeat("x", 2<<10)

			_, must := s.connect(t, mode.options)
			if mode.upgrade {
				must.Upgrade()
			}
			must.Call("/", "unlock")
			must.Call("/", "big", big)

			c, must := s.connect(t, mode.options)
			if mode.upgrade {
				must.Upgrade()
			}
			_ = c.Emit("/", "big", big)
			must.Closed()
		})
	}
}

// TestAccusedOnce: a client that breaks the rules with two requests at once is counted once.
func TestAccusedOnce(t *testing.T) {
	s := newServer(t, config{})
	c, _ := s.connect(t, siotest.Options{ManualPoll: true})
	side := s.lookup(t, c)
	side.Restrict(true)
	var accusations atomic.Int32
	s.hub.Observe(func(*transport.Client, transport.Reason) {
		if accusations.Add(1) == 1 {
			_, _, _ = c.Poll(t.Context())
		}
	})
	_ = c.SendFrames(slices.Repeat([]siotest.Frame{siotest.Text("2")}, 300)...)
	wait(t, "end", side.Done())
	if got := accusations.Load(); got != 1 {
		t.Errorf("it is counted %d times", got)
	}
}

// TestRestrictionHoldsFromTheStart: go-socket.io tells the client that it is connected before it
// calls the hook, and the client may be quick.
func TestRestrictionHoldsFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, limits: transport.Limits{RestrictedMessage: 1 << 10}})
		s.OnConnect("/", func(conn socketio.Conn) error {
			time.Sleep(time.Second)
			fromConn(conn).Restrict(true)
			return nil
		})
		s.OnEvent("/", "big", func(socketio.Conn, string) { t.Error("the event arrived") })
		c, must := s.connect(t, siotest.Options{})
		_ = c.Emit("/", "big", strings.Repeat("x", 2<<10))
		must.Closed()
		time.Sleep(time.Second) // until net/http has closed its connection
	})
}

// TestRestrictionEndsDuringARead: a hook may decide while the connection is waited for already.
func TestRestrictionEndsDuringARead(t *testing.T) {
	s := newServer(t, config{limits: transport.Limits{RestrictedMessage: 1 << 10}})
	s.OnConnect("/", func(conn socketio.Conn) error {
		fromConn(conn).Restrict(true)
		return nil
	})
	s.OnEvent("/", "big", func(_ socketio.Conn, text string) int { return len(text) })
	c, must := s.connect(t, siotest.Options{Transport: "websocket"})
	side := s.lookup(t, c)
	eventually(t, func() error {
		if !side.Reading() {
			return errors.New("not reading")
		}
		return nil
	})
	side.Restrict(false)
	must.Call("/", "big", strings.Repeat("x", 2<<10))
}

// TestOneWrite: what begins a WebSocket connection is written at once. A pipe shows each write.
func TestOneWrite(t *testing.T) {
	s := newServer(t, config{pipes: true})
	conn := s.raw(t, webSocketText(""))
	first := make([]byte, 4096)
	n, err := conn.Read(first)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(first[:n]); !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.Contains(got, `0{"sid":`) || !strings.HasSuffix(got, "40") {
		t.Errorf("got %q", got)
	}
}

// TestHandshakeStays: an upgrade changes nothing of what is known about a client (hazard 25).
func TestHandshakeStays(t *testing.T) {
	s := newServer(t, config{})
	type facts struct{ url, header, addr string }
	read := make(chan facts, 1)
	s.OnEvent("/", "facts", func(conn socketio.Conn) {
		u := conn.URL()
		read <- facts{u.Query().Get("token"), conn.RemoteHeader().Get("Authorization"), conn.RemoteAddr().String()}
	})
	_, must := s.connect(t, siotest.Options{
		Query:  map[string][]string{"token": {"abc"}},
		Header: map[string][]string{"Authorization": {"Bearer x"}},
	})
	must.Emit("/", "facts")
	before := wait(t, "facts", read)
	must.Upgrade()
	must.Emit("/", "facts")
	after := wait(t, "facts", read)
	if before != after || before.url != "abc" || before.header != "Bearer x" || !strings.HasPrefix(before.addr, "127.0.0.1:") {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestOutboxOverflowCloses(t *testing.T) {
	for _, o := range []siotest.Options{{ManualPoll: true}, {Transport: "websocket", ManualRead: true}} {
		t.Run(o.Transport, func(t *testing.T) {
			s := newServer(t, config{limits: transport.Limits{Outbox: 100 << 10}, pingTimeout: time.Hour})
			emitted := make(chan struct{})
			s.OnEvent("/", "flood", func(conn socketio.Conn) {
				go func() {
					defer close(emitted)
					for range 1000 {
						conn.Emit("x", strings.Repeat("x", 32<<10)) // more than the kernel takes
					}
				}()
			})
			c := s.dial(t, o)
			side := s.lookup(t, c)
			must := c.Must(t)
			must.Emit("/", "flood")
			wait(t, "end of the emitter", emitted)
			wait(t, "end of the connection", side.Done())
			s.empty(t)
		})
	}
}

// TestSmallPacketsCount: what a packet costs is more than its bytes.
func TestSmallPacketsCount(t *testing.T) {
	s := newServer(t, config{limits: transport.Limits{Outbox: 64 << 10}})
	c := s.dial(t, siotest.Options{ManualPoll: true})
	side := s.lookup(t, c)
	pings := strings.NewReader(strings.Repeat("1:2", 2000))
	if _, err := c.PostRaw("text/plain", pings); err != nil {
		t.Fatal(err)
	}
	wait(t, "end of the connection: its 2000 empty PONGs count as little", side.Done())
}

// TestInboxIsBounded: while a handler runs, POSTs wait instead of filling the memory.
func TestInboxIsBounded(t *testing.T) {
	s := newServer(t, config{limits: transport.Limits{Message: 16 << 10}})
	release := make(chan struct{})
	s.OnEvent("/", "block", func(socketio.Conn) { <-release })
	c, must := s.connect(t, siotest.Options{})
	must.Emit("/", "block")
	var posted sync.WaitGroup
	accepted := make(chan struct{}, 3)
	for range cap(accepted) {
		posted.Go(func() {
			if resp, err := c.PostRaw("text/plain", strings.NewReader(strings.Repeat("1:2", 1000))); err == nil && resp.StatusCode == 200 {
				accepted <- struct{}{}
			}
		})
	}
	wait(t, "first POST", accepted)
	select {
	case <-accepted:
		t.Error("a second POST of 1000 packets was taken while the first waits")
	case <-time.After(100 * time.Millisecond): // had it been taken, it would be here by now
	}
	close(release)
	posted.Wait()
	c.Close()
	s.empty(t)
}

// TestStalledWebSocketBlocksNobody: hazard 19.
func TestStalledWebSocketBlocksNobody(t *testing.T) {
	s := newServer(t, config{limits: transport.Limits{Outbox: 2 << 20}, pingTimeout: time.Hour})
	stalled := s.dial(t, siotest.Options{Transport: "websocket", ManualRead: true})
	side := s.lookup(t, stalled)
	_, must := s.connect(t, siotest.Options{Transport: "websocket"})
	text := strings.Repeat("x", 64<<10)
	for i := range 128 { // more than the kernel takes
		s.BroadcastToNamespace("/", "news", i, text)
		var got int
		must.OK(must.Event("/", "news").Decode(&got))
		if got != i {
			t.Fatalf("got broadcast %d, want %d", got, i)
		}
	}
	wait(t, "end of the one that does not read", side.Done())
	stalled.Abort()
}

// TestStalledWebSocketIsHeard: a client that does not read can still say goodbye.
func TestStalledWebSocketIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true})
		sides := make(chan *transport.Client, 1)
		s.OnConnect("/", func(conn socketio.Conn) error {
			sides <- fromConn(conn)
			return nil
		})
		conn := s.raw(t, webSocketText(""))
		if _, err := conn.Read(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		side := wait(t, "connection", sides)
		side.Send(`2["news"]`)
		synctest.Wait() // it is being written
		began := time.Now()
		if _, err := conn.Write([]byte{0x88, 0x80, 0, 0, 0, 0}); err != nil { // an empty close frame
			t.Fatal(err)
		}
		wait(t, "end", side.Done())
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// TestSendBetweenAttachments: what Send writes does not come between an event and its attachments.
func TestSendBetweenAttachments(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{})
			const each = 100
			s.OnEvent("/", "go", func(conn socketio.Conn) {
				go func() {
					c := fromConn(conn)
					for range each {
						buffers := make([]parser.Buffer, 50)
						conn.Emit("bin", &buffers) // encoded while this goes on
						for range 5 {
							runtime.Gosched()
							c.Send(`2["a"]`, `2["b"]`)
						}
					}
				}()
			})
			_, must := s.connect(t, mode.options)
			must.Emit("/", "go")
			if mode.upgrade {
				must.Upgrade()
			}
			counts := make(map[string]int)
			for range each * 11 {
				name, _ := must.Next().Event()
				counts[name]++
			}
			if counts["bin"] != each || counts["a"] != 5*each || counts["b"] != 5*each {
				t.Errorf("got %v", counts)
			}
		})
	}
}
