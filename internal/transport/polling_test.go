package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// polled is what a Poll gave.
type polled struct {
	packets []siotest.EnginePacket
	err     error
}

func (p polled) String() string { return fmt.Sprintf("%v %v", p.packets, p.err) }

// poll starts a poll.
func poll(ctx context.Context, c *siotest.Client) <-chan polled {
	result := make(chan polled, 1)
	go func() {
		packets, _, err := c.Poll(ctx)
		result <- polled{packets, err}
	}()
	return result
}

// waitPolled waits until the server holds a GET.
func waitPolled(t *testing.T, side interface{ Polled() bool }, want bool) {
	t.Helper()
	eventually(t, func() error {
		if side.Polled() != want {
			return fmt.Errorf("a GET waits: %v", !want)
		}
		return nil
	})
}

// TestOverlappingGETs: the newest wins, the older one gets NOOP (hazard 30).
func TestOverlappingGETs(t *testing.T) {
	s := newServer(t, config{})
	c, _ := s.connect(t, siotest.Options{ManualPoll: true})
	side := s.lookup(t, c)
	for i := range 20 {
		first := poll(t.Context(), c)
		waitPolled(t, side, true)
		second := poll(t.Context(), c)
		if got := wait(t, "answer to the older GET", first).String(); got != "[6] <nil>" {
			t.Fatalf("the older GET got %s", got)
		}
		side.Send(text(fmt.Sprintf(`2["n",%d]`, i)))
		if got := wait(t, "answer to the newer GET", second).String(); got != fmt.Sprintf(`[42["n",%d]] <nil>`, i) {
			t.Fatalf("the newer GET got %s", got)
		}
	}
	eventually(t, func() error { // until the last GET is over on the server's side
		if _, out := side.Buffered(); out != 0 {
			return fmt.Errorf("the empty outbox counts %d bytes", out)
		}
		return nil
	})
}

// TestAbortedGET: whether or not the server has noticed, the GET after it works (hazard 30).
func TestAbortedGET(t *testing.T) {
	t.Parallel()
	for _, noticed := range []bool{true, false} {
		t.Run(fmt.Sprintf("noticed %v", noticed), func(t *testing.T) {
			s := newServer(t, config{})
			c, _ := s.connect(t, siotest.Options{ManualPoll: true})
			side := s.lookup(t, c)
			for i := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				aborted := poll(ctx, c)
				waitPolled(t, side, true)
				cancel()
				wait(t, "end of the aborted GET", aborted)
				if noticed {
					waitPolled(t, side, false)
				}
				// What is sent before the server has seen a new GET may go to the aborted one. So there are
				// two, and the one that is answered shows that the other is there.
				older, newer := poll(t.Context(), c), poll(t.Context(), c)
				var got polled
				select {
				case got = <-older:
					older = newer
				case got = <-newer:
				}
				if got.String() != "[6] <nil>" {
					t.Fatalf("the first GET to be answered got %s", got)
				}
				side.Send(text(fmt.Sprintf(`2["n",%d]`, i)))
				if got := wait(t, "answer to the other GET", older).String(); got != fmt.Sprintf(`[42["n",%d]] <nil>`, i) {
					t.Fatalf("the other GET got %s", got)
				}
			}
		})
	}
}

// TestSlowGET: while a GET is being written nobody else takes from the outbox, neither another GET
// nor a WebSocket; two writers on a WebSocket would end the process.
func TestSlowGET(t *testing.T) {
	s := newServer(t, config{pipes: true})
	c, _ := s.connect(t, siotest.Options{ManualPoll: true, ManualRead: true})
	side := s.lookup(t, c)
	message := func(i int) string { return fmt.Sprintf(`2["n",%d,"%s"]`, i, strings.Repeat("x", 64<<10)) }

	slow := s.raw(t, requestText("GET", "&sid="+c.SID(), "Connection: close", ""))
	waitPolled(t, side, true)
	side.Send(text(message(0)))
	waitPolled(t, side, false) // pipes have no buffers: it is being written
	side.Send(text(message(1)))

	second := poll(t.Context(), c)
	waitPolled(t, side, true)
	third := poll(t.Context(), c)
	if got := wait(t, "answer to the older GET", second).String(); got != "[6] <nil>" {
		t.Fatalf("the older GET got %.80s", got)
	}
	if err := c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, "answer to the newer GET", third).String(); got != "[6] <nil>" {
		t.Fatalf("the newer GET got %.80s", got)
	}
	if err := c.FinishUpgrade(); err != nil {
		t.Fatal(err)
	}
	side.Send(text(message(2)))
	body, err := io.ReadAll(slow)
	if err != nil || !strings.HasSuffix(string(body), "4"+message(0)) {
		t.Fatalf("the slow GET got %.80q, %v", body, err)
	}
	side.Send(text(message(3)))
	for i := 1; i < 4; {
		p, err := c.ReadFrame(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Type == siotest.EngineNoop {
			continue
		}
		if p.String() != "4"+message(i) {
			t.Fatalf("message %d is %.80s", i, p)
		}
		i++
	}
}

// TestQueuedPOSTs: several POSTs at once all arrive, also while a handler runs.
func TestQueuedPOSTs(t *testing.T) {
	s := newServer(t, config{})
	release, got := make(chan struct{}), make(chan int, 50)
	s.on("n", func(_ *above, e *event) {
		<-release
		got <- e.int(t, 0)
	})
	c, _ := s.connect(t, siotest.Options{})
	var group sync.WaitGroup
	for i := range cap(got) {
		group.Go(func() {
			resp, err := c.PostRaw("text/plain;charset=UTF-8", strings.NewReader(siotest.EncodeText(siotest.Text(fmt.Sprintf(`42["n",%d]`, i)))))
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Error(resp, err)
			}
		})
	}
	group.Wait()
	close(release)
	var all []int
	for range cap(got) {
		all = append(all, wait(t, "event", got))
	}
	slices.Sort(all)
	for i, n := range all {
		if i != n {
			t.Fatalf("got %v", all)
		}
	}
}

// TestBrokenPOSTs: nothing of a POST that does not arrive whole is delivered, and its connection is
// closed (hazards 15 and 17).
func TestBrokenPOSTs(t *testing.T) {
	const evil = `9:42["evil"]`
	tests := []struct {
		name, lines, body string
		hangUp            bool
	}{
		{"half a body, then gone", "Content-Length: 100", evil, true},
		{"half a body, then silence", "Content-Length: 100", evil, false},
		{"half a chunked body, then gone", "Transfer-Encoding: chunked", "c\r\n" + evil + "\r\n", true},
		{"half a chunked body, then silence", "Transfer-Encoding: chunked", "c\r\n" + evil + "\r\n", false},
		{"malformed chunk", "Transfer-Encoding: chunked", "c\r\n" + evil + "\r\nzz\r\n", false},
		{"a second packet that is malformed", "Content-Length: 16", evil + "9:42", false},
		{"a second packet that is refused", "Content-Length: 16", `9:42["evil"]2:47`, false},
		{"empty", "Content-Length: 0", "", false},
		{"gzip", "Content-Length: 12\r\nContent-Encoding: gzip", "\x1f\x8b\x08\x00aaaaaaaa", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, config{pipes: true, pingTimeout: time.Hour})
				s.on("evil", func(*above, *event) { t.Error("the event arrived") })
				c, _ := s.connect(t, siotest.Options{NoPing: true})
				side, start := s.lookup(t, c), time.Now()
				conn := s.raw(t, requestText("POST", "&sid="+c.SID(), test.lines, "")+test.body)
				if test.hangUp {
					conn.Close()
				}
				<-side.Done()
				if d := time.Since(start); d > 25*time.Second {
					t.Errorf("it took %v", d)
				}
				s.empty(t)
			})
		})
	}
}

func TestRequestsAfterClose(t *testing.T) {
	s := newServer(t, config{})
	s.on("late", func(*above, *event) { t.Error("the event arrived") })
	c, must := s.connect(t, siotest.Options{})
	s.lookup(t, c).SendAndClose()
	must.Closed()
	s.empty(t)
	resp, err := c.PostRaw("text/plain", strings.NewReader(`9:42["late"]`))
	if err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, resp, 400, `{"code":1,"message":"Session ID unknown"}`)
	var status *siotest.StatusError
	if _, _, err := c.Poll(t.Context()); !errors.As(err, &status) || status.Status != 400 {
		t.Errorf("GET: %v", err)
	}
	if err := c.Probe(t.Context()); !errors.As(err, &status) || status.Status != 400 {
		t.Errorf("upgrade: %v", err)
	}
}

func checkAnswer(t *testing.T, resp *http.Response, status int, want string) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status || string(body) != want {
		t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, status, want)
	}
}

// TestPingTimeout: a client may be silent for an interval and a timeout, and leave what was sent to
// it for a timeout.
func TestPingTimeout(t *testing.T) {
	const pingTimeout, pingInterval = time.Minute, 25 * time.Second
	tests := []struct {
		name    string
		options siotest.Options
		after   time.Duration // 0: it lives
	}{
		{"silent poller", siotest.Options{NoPing: true}, pingInterval + pingTimeout},
		{"silent JSONP", siotest.Options{NoPing: true, JSONP: true}, pingInterval + pingTimeout},
		{"silent websocket", siotest.Options{Transport: "websocket", NoPing: true}, pingInterval + pingTimeout},
		{"silent upgraded", siotest.Options{Transport: "upgrade", NoPing: true}, pingInterval + pingTimeout},
		{"pings but never fetches", siotest.Options{ManualPoll: true}, pingTimeout},
		{"pinging poller", siotest.Options{}, 0},
		{"pinging JSONP", siotest.Options{JSONP: true}, 0},
		{"pinging websocket", siotest.Options{Transport: "websocket"}, 0},
		{"pinging upgraded", siotest.Options{Transport: "upgrade"}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, config{pipes: true, pingTimeout: pingTimeout, pingInterval: pingInterval})
				c := s.dial(t, test.options)
				side := s.lookup(t, c)
				start := time.Now()
				if test.after == 0 {
					time.Sleep(time.Hour)
					if s.hub.Count() != 1 || c.CloseReason() != "" {
						t.Fatalf("closed: %s", c.CloseReason())
					}
					side.Send(text(`2["x"]`))
					c.Must(t).Event("/", "x")
					return
				}
				side.Send(text(`2["x"]`))
				<-side.Done()
				if d := time.Since(start); d != test.after {
					t.Errorf("closed after %v, want %v", d, test.after)
				}
				s.empty(t)
			})
		})
	}
}

// TestLastPing: the silence is counted from the last PING.
func TestLastPing(t *testing.T) {
	for _, o := range []siotest.Options{{NoPing: true}, {NoPing: true, Transport: "websocket"}} {
		t.Run(o.Transport, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, config{pipes: true, pingTimeout: 20 * time.Second, pingInterval: 10 * time.Second})
				c, must := s.connect(t, o)
				side := s.lookup(t, c)
				for range 5 {
					time.Sleep(29 * time.Second)
					must.Send("2")
				}
				start := time.Now()
				<-side.Done()
				if d := time.Since(start); d != 30*time.Second {
					t.Errorf("closed after %v", d)
				}
			})
		})
	}
}

// TestVanishedHandshake: a client that is gone right after its first request leaves nothing.
func TestVanishedHandshake(t *testing.T) {
	t.Parallel()
	s := newServer(t, config{pingTimeout: time.Second, pingInterval: time.Second})
	for i := range 100 {
		conn := s.raw(t, []string{requestText("GET", "", ""), webSocketText("")}[i%2])
		if i%4 < 2 {
			if _, err := conn.Read(make([]byte, 1)); err != nil { // the answer is on its way
				t.Fatal(err)
			}
		}
		conn.Close()
	}
	s.empty(t)
}
