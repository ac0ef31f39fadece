package transport_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

func isNormalClosure(err error) bool {
	return websocket.IsCloseError(err, websocket.CloseNormalClosure)
}

// webSocket opens a WebSocket of its own, for a client's session unless sid is "".
func (s *testServer) webSocket(t *testing.T, sid string) (*websocket.Conn, *http.Response) {
	t.Helper()
	dialer := websocket.Dialer{NetDialContext: s.dialer}
	url := "ws" + strings.TrimPrefix(s.url, "http") + "/socket.io/?EIO=3&transport=websocket"
	if sid != "" {
		url += "&sid=" + sid
	}
	conn, resp, err := dialer.Dial(url, nil)
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return nil, resp
	}
	t.Cleanup(func() { conn.Close() })
	return conn, resp
}

// TestConcurrentUpgrades: ten WebSockets for one session leave no orphan (hazard 11).
func TestConcurrentUpgrades(t *testing.T) {
	for _, finish := range []bool{true, false} {
		s := newServer(t, config{})
		c, must := s.connect(t, siotest.Options{})
		conns := make(chan *websocket.Conn, 10)
		inParallel(t, cap(conns), cap(conns), func(context.Context) error {
			conn, resp := s.webSocket(t, c.SID())
			if conn == nil {
				checkAnswer(t, resp, 400, `{"code":3,"message":"Bad request"}`)
			}
			conns <- conn
			return nil
		})
		close(conns)
		var won *websocket.Conn
		for conn := range conns {
			if conn == nil {
				continue
			}
			if won != nil {
				t.Fatal("two WebSockets for one session")
			}
			won = conn
		}
		if won == nil {
			t.Fatal("no WebSocket")
		}
		if finish {
			exchangeFrames(t, won, "2probe", "3probe")
			exchangeFrames(t, won, "5")
			exchangeFrames(t, won, `420["echo"]`, `430["ok"]`)
		} else {
			must.Call("/", "echo")
		}
		s.lookup(t, c).Abort()
		if _, _, err := won.ReadMessage(); err == nil {
			t.Error("the WebSocket outlived its session")
		}
		s.empty(t)
	}
}

// exchangeFrames writes a text frame and reads some.
func exchangeFrames(t *testing.T, conn *websocket.Conn, send string, want ...string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(send)); err != nil {
		t.Fatal(err)
	}
	for _, want := range want {
		_ = conn.SetReadDeadline(time.Now().Add(testTimeout))
		if _, got, err := conn.ReadMessage(); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
}

// TestFailedUpgrades: whatever a WebSocket brings in place of an upgrade, the client goes on polling,
// nothing it brought is delivered, and the next upgrade works.
func TestFailedUpgrades(t *testing.T) {
	tests := []struct {
		name  string
		sends []string
		bytes bool
	}{
		{"nothing", nil, false},
		{"probe without upgrade", []string{"2probe"}, false},
		{"upgrade without probe", []string{"5"}, false},
		{"event in place of a probe", []string{`42["evil"]`}, false},
		{"event in place of an upgrade", []string{"2probe", `42["evil"]`}, false},
		{"two probes, then an event", []string{"2probe", "2probe", `42["evil"]`}, false},
		{"close", []string{"1"}, false},
		{"empty frame", []string{""}, false},
		{"junk", []string{"\x00"}, false},
		{"large probe", []string{"2" + strings.Repeat("x", 10000)}, false},
		{"binary", []string{"\x04evil"}, true},
		{"binary upgrade", []string{"2probe", "\x05"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, config{pipes: true, pingTimeout: time.Minute})
				s.on("evil", func(*above, *event) { t.Error("the event arrived") })
				c, must := s.connect(t, siotest.Options{})
				conn, _ := s.webSocket(t, c.SID())
				read := make(chan error)
				go func() {
					for {
						if _, _, err := conn.ReadMessage(); err != nil {
							read <- err
							return
						}
					}
				}()
				start := time.Now()
				for i, send := range test.sends {
					kind := websocket.TextMessage
					if test.bytes && i == len(test.sends)-1 {
						kind = websocket.BinaryMessage
					}
					_ = conn.WriteMessage(kind, []byte(send))
				}
				must.Call("/", "echo")
				<-read
				if d := time.Since(start); d > 15*time.Second {
					t.Errorf("the WebSocket lived %v", d)
				}
				must.Call("/", "echo")
				must.Upgrade()
				must.Call("/", "echo")
			})
		})
	}
}

// TestAbortedUpgrade: a WebSocket that is gone after the probe costs nothing but itself.
func TestAbortedUpgrade(t *testing.T) {
	s := newServer(t, config{})
	c, must := s.connect(t, siotest.Options{})
	for range 10 {
		eventually(t, func() error { // until the server has noticed that the one before is gone
			conn, resp := s.webSocket(t, c.SID())
			if conn == nil {
				resp.Body.Close()
				return context.DeadlineExceeded
			}
			exchangeFrames(t, conn, "2probe", "3probe")
			return conn.Close()
		})
		must.Call("/", "echo")
	}
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		defer cancel()
		return c.UpgradeNow(ctx)
	})
	must.Call("/", "echo")
}

// TestStalledUpgrade: a WebSocket that does not even read the 101 ends when it should be done.
func TestStalledUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true})
		c, _ := s.connect(t, siotest.Options{})
		conn := s.raw(t, webSocketText("&sid="+c.SID()))
		synctest.Wait()
		s.lookup(t, c).Abort()
		time.Sleep(10*time.Second + time.Millisecond)
		if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
}

// TestInboxSurvivesUpgrade: what was posted and still waits is delivered, before what comes by WebSocket.
func TestInboxSurvivesUpgrade(t *testing.T) {
	s := newServer(t, config{})
	release, got := make(chan struct{}), make(chan int, 20)
	s.on("n", func(_ *above, e *event) {
		<-release
		got <- e.int(t, 0)
	})
	c, must := s.connect(t, siotest.Options{})
	side := s.lookup(t, c)
	for i := range cap(got) {
		if i == cap(got)/2 {
			must.Upgrade()
			eventually(t, func() error {
				if !side.Upgraded() {
					return errors.New("the upgrade was not read")
				}
				return nil
			})
		}
		must.Emit("/", "n", i)
	}
	close(release)
	for want := range cap(got) {
		if i := wait(t, "event", got); i != want {
			t.Fatalf("got event %d, want %d", i, want)
		}
	}
}

// TestCloseDuringUpgrade: closing between probe and upgrade ends both sides.
func TestCloseDuringUpgrade(t *testing.T) {
	s := newServer(t, config{})
	c, must := s.connect(t, siotest.Options{})
	conn, _ := s.webSocket(t, c.SID())
	exchangeFrames(t, conn, "2probe", "3probe")
	s.lookup(t, c).SendAndClose(text(`2["reason"]`))
	must.NextRaw(`42["reason"]`)
	must.Closed()
	if _, _, err := conn.ReadMessage(); err == nil {
		t.Error("the WebSocket goes on")
	}
	s.empty(t)
}

// TestUpgradeDuringClose: an upgrade that ends after SendAndClose was called takes nothing from what
// was sent before. If it fails, it hangs.
func TestUpgradeDuringClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, config{pipes: true})
		c, must := s.connect(t, siotest.Options{ManualPoll: true}) // no poll, so no time passes
		must.OK(c.Probe(t.Context()))
		a := s.above(t, c)
		a.emit("before", []byte("first"))
		a.client.SendAndClose(encode('2', "", []any{"reason", []byte("bytes")})...)
		must.OK(c.FinishUpgrade())
		for _, want := range [][2]string{{"before", "first"}, {"reason", "bytes"}} {
			p := must.Next()
			var data []byte
			must.OK(p.Decode(&data))
			if name, _ := p.Event(); name != want[0] || string(data) != want[1] {
				t.Errorf("got %s with %q", p.Raw, data)
			}
		}
		must.Closed()
		if !isNormalClosure(c.Err()) {
			t.Errorf("ended by %v", c.Err())
		}
		s.empty(t)
	})
}
