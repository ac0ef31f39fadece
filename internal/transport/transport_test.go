package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

// newBurstServer sends a burst from the first moment on, and answers `report` with the burst it got.
func newBurstServer(t *testing.T) *testServer {
	s := newServer(t, config{arrive: func(a *above) {
		a.client.Send(text("0"))
		go func() {
			for i := range burst {
				a.emit("n", i, note)
				if i == burst/2+3 {
					a.emit("bin", allBytes)
				}
			}
		}()
	}})
	var logs sync.Map
	log := func(a *above, line string) {
		v, _ := logs.LoadOrStore(a, new([]string))
		lines := v.(*[]string) // used by the handlers of one connection only
		*lines = append(*lines, line)
	}
	s.on("n", func(a *above, e *event) { log(a, numbered(e.int(t, 0), e.string(t, 1))) })
	s.on("bin", func(a *above, e *event) { log(a, binary(e.attachments[0])) })
	s.on("report", func(a *above, e *event) {
		v, _ := logs.LoadAndDelete(a)
		a.ack(e, strings.Join(*v.(*[]string), "\n"))
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
	t.Parallel()
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

// TestTextInBinaryPayloads: go-socket.io's own client sends text that way.
func TestTextInBinaryPayloads(t *testing.T) {
	s := newServer(t, config{})
	c, must := s.connect(t, siotest.Options{})
	body := siotest.EncodeBinary(siotest.Text(`421["echo","é😀"]`), siotest.Text("2x"), siotest.Text(`422["echo"]`))
	resp, err := c.PostRaw("application/octet-stream", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, resp, 200, "ok")
	must.NextRaw(`431["ok"]`)
	must.NextRaw(`432["ok"]`)
}

func TestLargeMessages(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{limits: transport.Limits{Message: 4 << 20}}) // JSONP triples some characters
			s.on("text", func(a *above, e *event) { a.ack(e, e.args[0]) })
			s.on("bin", func(a *above, e *event) { a.emit("bin", e.attachments[0]) })
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
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{limits: transport.Limits{Message: 10 << 10}})
			s.on("big", func(*above, *event) { t.Error("the event arrived") })
			c, must := s.connect(t, mode.options)
			if mode.upgrade {
				must.Upgrade()
			}
			_ = c.Emit("/", "big", strings.Repeat("x", 10<<10))
			must.Closed()
			s.empty(t)
			if reason := wait(t, "reason", s.reasons); reason != transport.TooLarge {
				t.Errorf("it is sent away for %v", reason)
			}
		})
	}
}

// TestMalformedCloses sends what no Engine.IO client sends, and what the layer above refuses.
func TestMalformedCloses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		packet string
		want   []transport.Reason // some do not survive the payload of a poll
	}{
		{`5`, []transport.Reason{transport.BadPacketType}},
		{`3probe`, []transport.Reason{transport.BadPacketType}},
		{`0{}`, []transport.Reason{transport.BadPacketType}},
		{`7`, []transport.Reason{transport.BadPayload}},
		{`b4%%`, []transport.Reason{transport.BadPayload}},
		{"42[\"bin\",\"\xff\"]", []transport.Reason{transport.BadUTF8, transport.BadPayload}},
		{"42[\"bin\",\"\xed\xa0\x80\"]", []transport.Reason{transport.BadUTF8, transport.BadPayload}},
		{"40/\xff", []transport.Reason{transport.BadUTF8, transport.BadPayload}},
		{"2" + strings.Repeat("x", 513), []transport.Reason{transport.TooLarge}},
		{`4`, []transport.Reason{refused}},
		{`47`, []transport.Reason{refused}},
		{`42"bin"]`, []transport.Reason{refused}},
		{`b4AQID`, []transport.Reason{refused}},
	}
	for _, mode := range modes {
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s %.20q", mode.name, test.packet), func(t *testing.T) {
				s := newServer(t, config{})
				s.on("bin", func(*above, *event) { t.Error("the event arrived") })
				c, must := s.connect(t, mode.options)
				if mode.upgrade {
					must.Upgrade()
				}
				_ = c.SendPacket(test.packet)
				must.Closed()
				s.empty(t)
				if reason := wait(t, "reason", s.reasons); !slices.Contains(test.want, reason) {
					t.Errorf("it is sent away for %v, want %v", reason, test.want)
				}
			})
		}
	}
}

// TestAllOrNothing: of a request whose last packet is bad, nothing is delivered or answered.
func TestAllOrNothing(t *testing.T) {
	for _, last := range []string{"5", "47", "2" + strings.Repeat("x", 513)} {
		s := newServer(t, config{})
		s.on("evil", func(*above, *event) { t.Error("the event arrived") })
		c, must := s.connect(t, siotest.Options{})
		a := s.above(t, c)
		_ = c.SendFrames(siotest.Text(`42["evil"]`), siotest.Text("2x"), siotest.Text(last))
		must.Closed()
		s.empty(t)
		if n := a.received(); n != 0 {
			t.Errorf("%.3s: %d messages were delivered", last, n)
		}
	}
}

// TestNothingBehindClose: what stands behind the client's CLOSE is not delivered; what stands
// before it is.
func TestNothingBehindClose(t *testing.T) {
	s := newServer(t, config{})
	c, _ := s.connect(t, siotest.Options{})
	a := s.above(t, c)
	_ = c.SendFrames(siotest.Text(`42["one"]`), siotest.Text(`42["two"]`), siotest.Text("1"), siotest.Text(`42["three"]`))
	wait(t, "end", a.gone)
	if n := a.received(); n != 2 {
		t.Errorf("%d messages were delivered", n)
	}
}

func TestRestrict(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{
				limits:      transport.Limits{Message: 100 << 10, RestrictedMessage: 1 << 10},
				arriveEarly: func(a *above) { a.client.Restrict(true) },
			})
			s.on("unlock", func(a *above, e *event) {
				a.client.Restrict(false)
				a.ack(e)
			})
			s.on("big", func(a *above, e *event) { a.ack(e, len(e.string(t, 0))) })
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

// TestRestrictionHoldsFromTheStart: what arrive sets holds for the first thing that a quick client
// sends.
func TestRestrictionHoldsFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{
			pipes:  true,
			limits: transport.Limits{RestrictedMessage: 1 << 10},
			arrive: func(a *above) {
				a.client.Send(text("0"))
				time.Sleep(time.Second) // a WebSocket knows that it is connected
				a.client.Restrict(true)
			},
		})
		s.on("big", func(*above, *event) { t.Error("the event arrived") })
		for _, o := range []siotest.Options{{}, {Transport: "websocket"}} {
			c, must := s.connect(t, o)
			_ = c.Emit("/", "big", strings.Repeat("x", 2<<10))
			must.Closed()
			time.Sleep(time.Second) // until net/http has closed its connection
		}
	})
}

// TestRestrictionEndsDuringARead: the restriction may end while the connection is waited for
// already.
func TestRestrictionEndsDuringARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{
			pipes:       true,
			limits:      transport.Limits{RestrictedMessage: 1 << 10},
			arriveEarly: func(a *above) { a.client.Restrict(true) },
		})
		c, must := s.connect(t, siotest.Options{Transport: "websocket"})
		synctest.Wait() // it is being read
		s.lookup(t, c).Restrict(false)
		must.Call("/", "echo", strings.Repeat("x", 2<<10))
	})
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

// TestWaitingFramesAreOneWrite: what waits while something is written leaves in one write.
func TestWaitingFramesAreOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true})
		conn := s.raw(t, webSocketText(""))
		a := wait(t, "connection", s.arrived)
		synctest.Wait() // 101, OPEN and CONNECT are being written: nobody reads
		a.client.Send(text("2[1]"))
		a.emit("bin", []byte("x"), []byte("y"))
		a.client.Send(text("2[2]"), text("2[3]"))
		a.client.Send()
		buf := make([]byte, 64<<10)
		var writes []string
		for range 2 {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			writes = append(writes, string(buf[:n]))
		}
		const bin = `452-["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`
		want := "\x81\x0542[1]" + "\x81" + string(rune(len(bin))) + bin + "\x82\x02\x04x" + "\x82\x02\x04y" + "\x81\x0542[2]" + "\x81\x0542[3]"
		if writes[1] != want {
			t.Errorf("got %q\nwant %q", writes[1], want)
		}
		synctest.Wait()
		if _, out := a.client.Buffered(); out != 0 {
			t.Errorf("the empty outbox counts %d bytes", out)
		}
	})
}

// TestLongWaitingFrames: what is more than one write's arrives whole and in order too.
func TestLongWaitingFrames(t *testing.T) {
	s := newServer(t, config{pipes: true})
	c := s.dial(t, siotest.Options{Transport: "websocket", ManualRead: true})
	side := s.lookup(t, c)
	var want []string
	for i, size := range []int{10, 60 << 10, 10 << 10, 100 << 10, 1, 65 << 10, 64<<10 - 9, 1, 200 << 10, 3} {
		want = append(want, fmt.Sprintf(`2["n",%d,"%s"]`, i, strings.Repeat("x", size)))
		side.Send(text(want[i]))
	}
	for _, want := range append([]string{"0"}, want...) {
		if p, err := c.ReadFrame(t.Context()); err != nil || p.String() != "4"+want {
			t.Fatalf("got %.20s, %v; want %.20s", p, err, want)
		}
	}
}

// TestOpenWaits: OPEN leaves with what the layer above sends first.
func TestOpenWaits(t *testing.T) {
	for _, query := range []string{requestText("GET", "", "", ""), webSocketText("")} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, config{pipes: true, arrive: func(*above) {}})
			conn := s.raw(t, query)
			read := make(chan string, 1)
			go func() {
				buf := make([]byte, 4096)
				n, _ := conn.Read(buf)
				read <- string(buf[:n])
			}()
			a := wait(t, "connection", s.arrived)
			synctest.Wait()
			select {
			case got := <-read:
				t.Fatalf("got %q", got)
			default:
			}
			a.client.Send(text("0"))
			if got := <-read; !strings.Contains(got, `0{"sid":`) || !strings.Contains(got, "40") {
				t.Errorf("got %q", got)
			}
			a.client.Abort()
			conn.Close()
		})
	}
}

// TestHandshakeStays: an upgrade changes nothing of what is known about a client (hazard 25).
func TestHandshakeStays(t *testing.T) {
	s := newServer(t, config{})
	type facts struct{ url, header, addr, host, local string }
	c, must := s.connect(t, siotest.Options{
		Query:  map[string][]string{"token": {"abc"}},
		Header: map[string][]string{"Authorization": {"Bearer x"}},
	})
	side := s.lookup(t, c)
	read := func() facts {
		h := side.Handshake()
		if err := h.Context.Err(); err != nil {
			t.Error(err)
		}
		return facts{h.URL.Query().Get("token"), h.Header.Get("Authorization"), h.RemoteAddr, h.Host, h.LocalAddr.String()}
	}
	before := read()
	must.Upgrade()
	must.Call("/", "echo")
	if after := read(); before != after {
		t.Errorf("before %+v, after %+v", before, after)
	}
	host := strings.TrimPrefix(s.url, "http://")
	if before.url != "abc" || before.header != "Bearer x" || !strings.HasPrefix(before.addr, "127.0.0.1:") ||
		before.host != host || before.local != host {
		t.Errorf("got %+v", before)
	}
}

func TestOutboxOverflowCloses(t *testing.T) {
	for _, o := range []siotest.Options{{ManualPoll: true}, {Transport: "websocket", ManualRead: true}} {
		t.Run(o.Transport, func(t *testing.T) {
			s := newServer(t, config{limits: transport.Limits{Outbox: 100 << 10}, pingTimeout: time.Hour})
			emitted := make(chan struct{})
			c := s.dial(t, o)
			a := s.above(t, c)
			go func() {
				defer close(emitted)
				for range 1000 {
					a.emit("x", strings.Repeat("x", 32<<10)) // more than the kernel takes
				}
			}()
			wait(t, "end of the emitter", emitted)
			wait(t, "end of the connection", a.gone)
			s.empty(t)
		})
	}
}

// TestOutboxHoldsWhatIsWritten: what is being written counts, too.
func TestOutboxHoldsWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, limits: transport.Limits{Outbox: 100 << 10}})
		a := s.above(t, s.dial(t, siotest.Options{Transport: "websocket", ManualRead: true}))
		for i := range 5 {
			synctest.Wait()
			select {
			case <-a.client.Done():
				if i != 4 {
					t.Errorf("closed by message %d", i)
				}
			default:
			}
			a.emit("x", strings.Repeat("x", 32<<10))
		}
		<-a.gone
	})
}

// TestSmallPacketsCount: what a packet costs is more than its bytes, and each of a request counts.
func TestSmallPacketsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true, limits: transport.Limits{Outbox: 64 << 10}})
		c := s.dial(t, siotest.Options{ManualPoll: true, NoPing: true})
		a := s.above(t, c)
		for range 2000 {
			a.emit("")
		}
		synctest.Wait()
		select {
		case <-a.gone:
		default:
			_, out := a.client.Buffered()
			t.Errorf("2000 short packets wait: the outbox counts %d bytes", out)
		}
	})
}

// TestStalledWebSocketBlocksNobody: hazard 19.
func TestStalledWebSocketBlocksNobody(t *testing.T) {
	s := newServer(t, config{limits: transport.Limits{Outbox: 2 << 20}, pingTimeout: time.Hour})
	stalled := s.dial(t, siotest.Options{Transport: "websocket", ManualRead: true})
	side := s.lookup(t, stalled)
	_, must := s.connect(t, siotest.Options{Transport: "websocket"})
	long := strings.Repeat("x", 64<<10)
	for i := range 128 { // more than the kernel takes
		frames := encode('2', "", []any{"news", i, long})
		for _, a := range s.connected() {
			a.client.Send(frames...)
		}
		var got int
		must.OK(must.Event("/", "news").Decode(&got))
		if got != i {
			t.Fatalf("got broadcast %d, want %d", got, i)
		}
	}
	wait(t, "end of the one that does not read", side.Done())
	stalled.Abort()
}

// TestStalledWebSocketIsHeard: a client that does not read can still say goodbye. What is being
// written to it is not waited for longer than for any client that closes.
func TestStalledWebSocketIsHeard(t *testing.T) {
	for restricted, within := range map[bool]time.Duration{true: time.Second, false: 5 * time.Second} {
		t.Run(fmt.Sprintf("restricted %v", restricted), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, config{pipes: true})
				conn := s.raw(t, webSocketText(""))
				if _, err := conn.Read(make([]byte, 4096)); err != nil {
					t.Fatal(err)
				}
				side := wait(t, "connection", s.arrived).client
				side.Restrict(restricted)
				side.Send(text(`2["news"]`))
				synctest.Wait() // it is being written
				began := time.Now()
				if _, err := conn.Write([]byte{0x88, 0x80, 0, 0, 0, 0}); err != nil { // an empty close frame
					t.Fatal(err)
				}
				wait(t, "end", side.Done())
				if d := time.Since(began); d > within {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// TestSendBetweenAttachments: frames of one Send stay together, whoever sends at the same time.
func TestSendBetweenAttachments(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t, config{})
			const each, senders = 100, 4
			s.on("go", func(a *above, _ *event) {
				for range senders {
					go func() {
						for i := range each {
							a.emit("bin", []byte{1}, []byte{}, []byte{byte(i)})
							a.emit("a")
						}
					}()
				}
			})
			_, must := s.connect(t, mode.options)
			must.Emit("/", "go")
			if mode.upgrade {
				must.Upgrade()
			}
			counts := make(map[string]int)
			for range senders * each * 2 {
				p := must.Next()
				name, _ := p.Event()
				counts[name]++
				if name == "bin" && (len(p.Attachments) != 3 || string(p.Attachments[0]) != "\x01" || len(p.Attachments[1]) != 0) {
					t.Fatalf("got %s with %q", p.Raw, p.Attachments)
				}
			}
			if counts["bin"] != senders*each || counts["a"] != senders*each {
				t.Errorf("got %v", counts)
			}
		})
	}
}
