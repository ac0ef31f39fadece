package siotest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	. "github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// TestMain fails when a goroutine of a client or of its connections is left.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leaked(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines left:\n"+left)
		code = 1
	}
	os.Exit(code)
}

func leaked() (left string) {
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); runtime.Gosched() {
		all := string(stacks[:runtime.Stack(stacks, true)])
		left = ""
		for _, stack := range strings.Split(all, "\n\n") {
			if strings.Contains(stack, "siotest.(*Client)") || strings.Contains(stack, "net/http.(*persistConn)") {
				left += stack + "\n\n"
			}
		}
		if left == "" {
			break
		}
	}
	return left
}

const opening = `{"sid":"s1","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}`

// fake is the least of an Engine.IO server with one session: it echoes messages, and its
// polls wait until there is something.
type fake struct {
	t     *testing.T
	after []Frame // follow OPEN

	mu       sync.Mutex
	requests []*http.Request
	out      chan Frame
	probed   chan struct{} // closed by a probe: from then on no poll waits
}

func newFake(t *testing.T, after ...Frame) (*fake, string) {
	f := &fake{t: t, after: after, out: make(chan Frame, 100), probed: make(chan struct{})}
	ts := httptest.NewServer(f)
	t.Cleanup(ts.Close)
	return f, ts.URL
}

func (f *fake) seen() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*http.Request(nil), f.requests...)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r)
	f.mu.Unlock()
	q := r.URL.Query()
	open := append([]Frame{Text("0" + opening)}, f.after...)
	answer := func(frames ...Frame) {
		if payload := EncodeText(frames...); q.Has("j") {
			fmt.Fprintf(w, "___eio[%s](%q);", q.Get("j"), payload)
		} else {
			io.WriteString(w, payload)
		}
	}
	switch {
	case q.Get("EIO") != "3":
		http.Error(w, "wrong version", http.StatusBadRequest)
	case q.Get("transport") == "websocket":
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		if q.Get("sid") == "" {
			for _, o := range open {
				conn.WriteMessage(websocket.TextMessage, o.Data)
			}
		}
		f.serveWebSocket(conn)
	case q.Get("sid") == "":
		answer(open...)
	case r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		packets, err := DecodeText(string(body))
		if r.Header.Get("Content-Type") == "application/octet-stream" {
			packets, err = DecodeBinary(body)
		}
		if err != nil {
			http.Error(w, "bad payload", http.StatusBadRequest)
			return
		}
		for _, p := range packets {
			f.out <- Text(p.String())
		}
		io.WriteString(w, "ok")
	default:
		select {
		case frame := <-f.out:
			answer(frame)
		case <-f.probed:
			answer(Text("6"))
		case <-r.Context().Done():
		}
	}
}

func (f *fake) serveWebSocket(conn *websocket.Conn) {
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		switch string(data) {
		case "2probe":
			data = []byte("3probe")
			close(f.probed)
		case "5":
			data = []byte(`42["upgraded"]`)
		case "41":
			return
		}
		conn.WriteMessage(kind, data)
	}
}

func TestRefusedHandshake(t *testing.T) {
	_, base := newFake(t, Text(`44{"code":"x"}`), Text("41"), Text("1"), Text("40"))
	for _, o := range []Options{{}, {JSONP: true}, {Transport: "upgrade"}} {
		c := MustDial(t, base, o)
		m := c.Must(t)
		m.NextRaw(`44{"code":"x"}`)
		m.NextRaw("41")
		if rest := m.Rest(); len(rest) > 0 || m.Closed() != ReasonServerClose {
			t.Errorf("%v after CLOSE, %s", rest, c.CloseReason())
		}
		if err := c.Emit("/", "x"); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

func TestStatusError(t *testing.T) {
	_, base := newFake(t)
	for _, transport := range []string{"polling", "websocket"} {
		_, err := Dial(t.Context(), base, Options{Transport: transport, Query: url.Values{"EIO": {"4"}}})
		var refused *StatusError
		if !errors.As(err, &refused) || refused.Status != 400 || refused.Body != "wrong version\n" || refused.Op != "handshake" {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

func TestDialEndsWithContext(t *testing.T) {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil); err == nil {
			conn.ReadMessage() // never says OPEN
			conn.Close()
		}
	}))
	defer ts.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, transport := range []string{"polling", "websocket"} {
		if _, err := Dial(ctx, ts.URL, Options{Transport: transport}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

func TestEcho(t *testing.T) {
	for _, o := range []Options{{}, {B64: true}, {Transport: "websocket"}, {Transport: "websocket", B64: true}, {Transport: "upgrade"}} {
		t.Run(fmt.Sprintf("%s,%t", o.Transport, o.B64), func(t *testing.T) {
			_, base := newFake(t, Text("40"))
			c := MustDial(t, base, o)
			m := c.Must(t)
			m.Connected("/")
			if o.Transport == "upgrade" {
				m.NextRaw(`42["upgraded"]`)
			}
			m.Emit("/", "é😀", []byte{1, 2})
			var b []byte
			m.OK(m.Event("/", "é😀").Decode(&b))
			if string(b) != "\x01\x02" {
				t.Errorf("% x", b)
			}
			for i := range 20 {
				m.Emit("/", "n", i)
			}
			for i := range 20 {
				m.NextRaw(fmt.Sprintf(`42["n",%d]`, i))
			}
			c.Close()
			if c.CloseReason() != ReasonClientClose {
				t.Error(c.CloseReason())
			}
		})
	}
}

func TestUpgradeByHand(t *testing.T) {
	f, base := newFake(t)
	c := MustDial(t, base, Options{Header: http.Header{
		"Authorization": {"Bearer x"}, "Cookie": {"a=b"}, "Origin": {base},
	}})
	m := c.Must(t)
	m.OK(c.Probe(t.Context()))
	m.Emit("/", "by polling")
	m.NextRaw(`42["by polling"]`)
	m.OK(c.FinishUpgrade())
	m.NextRaw(`42["upgraded"]`)
	m.Emit("/", "by websocket")
	m.NextRaw(`42["by websocket"]`)
	if err := c.UpgradeNow(t.Context()); err == nil {
		t.Error("upgraded twice")
	}
	for _, r := range f.seen() {
		authorization := "Bearer x"
		if r.URL.Query().Get("transport") == "websocket" {
			authorization = ""
		}
		if r.Header.Get("Authorization") != authorization || r.Header.Get("Cookie") != "a=b" || r.Header.Get("Origin") != base {
			t.Errorf("%s %s: %v", r.Method, r.URL, r.Header)
		}
	}
	m.OK(c.Leave("/")) // the fake closes
	m.Rest()
	if got := m.Closed(); got != ReasonTransportClose || c.Err() == nil {
		t.Error(got, c.Err())
	}
}

func TestFailedUpgradeGoesOnPolling(t *testing.T) {
	_, base := newFake(t)
	c := MustDial(t, base, Options{})
	m := c.Must(t)
	if err := c.FinishUpgrade(); err == nil {
		t.Error("upgrade without a probe")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.UpgradeNow(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	m.Emit("/", "x")
	m.Event("/", "x")
}

func TestManualPoll(t *testing.T) {
	f, base := newFake(t)
	c := MustDial(t, base, Options{ManualPoll: true})
	c.Must(t).Emit("/", "x")
	packets, resp, err := c.Poll(t.Context())
	if err != nil || len(packets) != 1 || packets[0].String() != `42["x"]` {
		t.Fatal(packets, err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != `7:42["x"]` {
		t.Errorf("%q", body)
	}
	c.Must(t).NextRaw(`42["x"]`)
	resp, err = c.PostRaw("text/plain", strings.NewReader("nonsense"))
	if err != nil || resp.StatusCode != 400 {
		t.Error(resp, err)
	}
	if n := len(f.seen()); n != 4 {
		t.Errorf("%d requests", n)
	}
}

func TestManualRead(t *testing.T) {
	_, base := newFake(t, Text("40"))
	c := MustDial(t, base, Options{Transport: "websocket", ManualRead: true})
	ctx, cancel := context.WithCancel(t.Context())
	if p, err := c.ReadFrame(ctx); err != nil || p.String() != "40" {
		t.Fatal(p, err)
	}
	c.Must(t).NextRaw("40")
	cancel()
	if _, err := c.ReadFrame(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.Must(t).Closed()
}

func TestAbort(t *testing.T) {
	for _, transport := range []string{"polling", "websocket", "upgrade"} {
		f, base := newFake(t)
		c := MustDial(t, base, Options{Transport: transport})
		before := len(f.seen())
		c.Abort()
		c.Close()
		for _, r := range f.seen()[before:] {
			if r.Method == http.MethodPost {
				t.Errorf("%s: said goodbye", transport)
			}
		}
		if c.CloseReason() != ReasonClientAbort {
			t.Error(c.CloseReason())
		}
		if err := c.SendText(`42["x"]`); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := c.Next(t.Context()); err != io.EOF && transport != "upgrade" {
			t.Error(err)
		}
	}
}

func TestSendTextWantsMessage(t *testing.T) {
	_, base := newFake(t)
	c := MustDial(t, base, Options{})
	if err := c.SendText(`2["x"]`); err == nil {
		t.Error("a PING was sent as text")
	}
}
