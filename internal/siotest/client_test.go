package siotest_test

import (
	"context"
	"encoding/json"
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

const opening = `{"sid":"s1","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000,"maxPayload":1000000}`

// fake is the least of an Engine.IO server with one session: it echoes messages, and its
// polls wait until there is something.
type fake struct {
	t       *testing.T
	version int
	after   []Frame // follow OPEN
	release []Frame // answer polls after a probe

	mu       sync.Mutex
	requests []*http.Request
	out      chan Frame
	probed   chan struct{} // closed by a probe: from then on no poll waits
	binary   int           // binary WebSocket frames that came
}

func newFake(t *testing.T, after ...Frame) (*fake, string) {
	return newFakeOf(t, 3, after...)
}

func newFakeOf(t *testing.T, version int, after ...Frame) (*fake, string) {
	f := &fake{
		t: t, version: version, after: after, release: []Frame{Text("6")},
		out: make(chan Frame, 100), probed: make(chan struct{}),
	}
	ts := httptest.NewServer(f)
	t.Cleanup(ts.Close)
	return f, ts.URL
}

func (f *fake) encode(frames ...Frame) string {
	if f.version == 4 {
		return EncodeText4(frames...)
	}
	return EncodeText(frames...)
}

func (f *fake) decode(contentType string, body []byte) ([]EnginePacket, error) {
	switch {
	case f.version == 4 && contentType == "text/plain;charset=UTF-8":
		return DecodeText4(string(body))
	case f.version == 3 && contentType == "application/octet-stream":
		return DecodeBinary(body)
	case f.version == 3:
		return DecodeText(string(body))
	}
	return nil, errors.New("content type " + contentType)
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
		if payload := f.encode(frames...); q.Has("j") {
			fmt.Fprintf(w, "___eio[%s](%q);", q.Get("j"), payload)
		} else {
			io.WriteString(w, payload)
		}
	}
	switch {
	case q.Get("EIO") != fmt.Sprint(f.version):
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
		contentType := r.Header.Get("Content-Type")
		if contentType == "application/x-www-form-urlencoded" {
			form, _ := url.ParseQuery(string(body))
			contentType, body = "text/plain;charset=UTF-8", []byte(form.Get("d"))
		}
		packets, err := f.decode(contentType, body)
		if err != nil {
			http.Error(w, "bad payload", http.StatusBadRequest)
			return
		}
		for _, p := range packets {
			frame := Text(p.String())
			if p.Binary {
				frame = Binary(p.Data)
			}
			f.out <- frame
		}
		io.WriteString(w, "ok")
	default:
		select {
		case frame := <-f.out:
			answer(frame)
		case <-f.probed:
			answer(f.release...)
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
		if kind == websocket.BinaryMessage {
			f.mu.Lock()
			f.binary++
			f.mu.Unlock()
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
	for _, o := range bothVersions(Options{}, Options{JSONP: true}, Options{Transport: "upgrade"}) {
		_, base := newFakeOf(t, o.Version, Text(`44{"code":"x"}`), Text("41"), Text("1"), Text("40"))
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

func TestNoSuchVersion(t *testing.T) {
	_, base := newFake(t)
	for _, version := range []int{-1, 1, 2, 5} {
		if c, err := Dial(t.Context(), base, Options{Version: version}); err == nil {
			c.Close()
			t.Errorf("%d: no error", version)
		}
	}
}

// bothVersions gives options for each version.
func bothVersions(options ...Options) (out []Options) {
	for _, version := range []int{3, 4} {
		for _, o := range options {
			o.Version = version
			out = append(out, o)
		}
	}
	return out
}

func TestEcho(t *testing.T) {
	for _, o := range bothVersions(
		Options{}, Options{B64: true}, Options{JSONP: true}, Options{Transport: "websocket"},
		Options{Transport: "websocket", B64: true}, Options{Transport: "upgrade"},
	) {
		t.Run(fmt.Sprintf("%d,%s,%t,%t", o.Version, o.Transport, o.B64, o.JSONP), func(t *testing.T) {
			f, base := newFakeOf(t, o.Version, Text(`40{"sid":"x"}`))
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
			f.mu.Lock()
			if raw := o.Transport != "" && !o.B64; (f.binary == 1) != raw {
				t.Errorf("%d binary frames", f.binary)
			}
			f.mu.Unlock()
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
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprint(version), func(t *testing.T) { upgradeByHand(t, version) })
	}
}

func upgradeByHand(t *testing.T, version int) {
	f, base := newFakeOf(t, version)
	c := MustDial(t, base, Options{Version: version, Header: http.Header{
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
		if r.URL.Query().Get("EIO") != fmt.Sprint(version) {
			t.Error(r.URL)
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

// TestHeartbeat4: the server's PING follows OPEN, and the fake echoes what the client answers.
func TestHeartbeat4(t *testing.T) {
	for _, o := range []Options{{}, {B64: true}, {Transport: "websocket"}} {
		for _, silent := range []bool{false, true} {
			_, base := newFakeOf(t, 4, Text("2"))
			o.Version, o.NoPong = 4, silent
			c := MustDial(t, base, o)
			want := []string{"2", "3"}
			if silent {
				want = []string{"2", `42["x"]`}
				c.Must(t).Emit("/", "x")
			}
			for _, w := range want {
				if p, err := c.NextEngine(t.Context()); err != nil || p.String() != w {
					t.Errorf("%s, NoPong %t: %v, %v, want %s", o.Transport, silent, p, err, w)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if p, err := c.NextEngine(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s, NoPong %t: %v, %v", o.Transport, silent, p, err)
			}
			cancel()
		}
	}
}

// TestHeartbeatOfTheOther: in version 4 the client sends no PING, in version 3 no PONG.
func TestHeartbeatOfTheOther(t *testing.T) {
	for _, version := range []int{3, 4} {
		other := map[int]string{3: "3", 4: "2"}[version]
		ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer conn.Close()
			conn.WriteMessage(websocket.TextMessage, []byte(`0{"sid":"s1","pingInterval":1}`))
			for range 5 {
				conn.WriteMessage(websocket.TextMessage, []byte("2"))
				time.Sleep(5 * time.Millisecond) // several pingIntervals
				_, data, err := conn.ReadMessage()
				if err != nil || string(data) == other {
					t.Errorf("version %d: %q, %v", version, data, err)
				}
			}
		}))
		c := MustDial(t, ts.URL, Options{Version: version, Transport: "websocket"})
		c.Must(t).Closed()
		ts.Close()
	}
}

// TestPingWhileUpgrading: the answer to a PING must not keep the poll that brought it from ending,
// because the upgrade waits for that poll and holds back what is sent.
func TestPingWhileUpgrading(t *testing.T) {
	f, base := newFakeOf(t, 4)
	f.release = []Frame{Text("2"), Text("6")}
	m := MustDial(t, base, Options{Version: 4, Transport: "upgrade"}).Must(t)
	m.NextRaw(`42["upgraded"]`)
}

func TestJoinWith(t *testing.T) {
	for _, o := range bothVersions(Options{}, Options{Transport: "websocket"}) {
		_, base := newFakeOf(t, o.Version)
		c := MustDial(t, base, o)
		m := c.Must(t)
		if got := c.Open().MaxPayload; got != 1000000 {
			t.Error(got)
		}
		for _, tt := range []struct {
			nsp  string
			auth any
			want string
		}{
			{"/", nil, "40"},
			{"", map[string]any{"token": "<x>"}, `40{"token":"<x>"}`},
			{"/admin", nil, "40/admin,"},
			{"/admin", json.RawMessage(`{}`), "40/admin,{}"},
		} {
			m.JoinWith(tt.nsp, tt.auth)
			m.NextRaw(tt.want)
		}
		m.JoinWith("/", []any{1}) // no client of either version does
		if p, err := c.NextEngine(t.Context()); err != nil || p.String() != `40[1]` {
			t.Error(p, err)
		}
		if err := c.JoinWith("/", make(chan int)); err == nil {
			t.Error("no error for a payload that is not JSON")
		}
	}
}

func TestConnectedAndRefused(t *testing.T) {
	for _, o := range bothVersions(Options{}) {
		_, base := newFakeOf(t, o.Version)
		c := MustDial(t, base, o)
		m := c.Must(t)
		m.Send(`40/a,{"sid":"x"}`, `40{"sid":"y"}`)
		if sid := m.Connected("/").SID(); sid != "y" {
			t.Error(sid)
		}
		m.Send(`40/a,{"sid":"x"}`, `44/b,{"message":"other"}`, `44/a,{"message":"no","data":{"code":1}}`)
		if sid := m.Connected("/a").SID(); sid != "x" {
			t.Error(sid)
		}
		if message, data := m.Refused("/a"); message != "no" || string(data) != `{"code":1}` {
			t.Error(message, string(data))
		}
		m.Send(`44/a,{"message":"no"}`)
		_, err := c.WaitConnect(t.Context(), "/a")
		if err == nil || err.Error() != `siotest: CONNECT in "/a" is refused: 44/a,{"message":"no"}` {
			t.Error(err)
		}
		m.Send("40")
		if _, err := c.WaitConnect(t.Context(), "/"); (err != nil) != (o.Version == 4) {
			t.Errorf("version %d: CONNECT without sid: %v", o.Version, err)
		}
	}
}

func TestServerClose4(t *testing.T) {
	_, base := newFakeOf(t, 4)
	c := MustDial(t, base, Options{Version: 4})
	m := c.Must(t)
	m.Send("41", "6", "1", "6") // one in each answer of the fake
	m.NextRaw("41")
	if got := m.Closed(); got != ReasonServerClose || c.Err() != nil {
		t.Error(got, c.Err())
	}

	c = MustDial(t, base, Options{Version: 4, Transport: "websocket"})
	m = c.Must(t)
	m.Send("1", `42["x"]`, "41") // at 41 the fake closes
	m.NextRaw(`42["x"]`)         // a CLOSE closes nothing here
	if got := m.Closed(); got != ReasonTransportClose || c.Err() == nil {
		t.Error(got, c.Err())
	}
}

func TestParseError4(t *testing.T) {
	f, base := newFakeOf(t, 4)
	polling := MustDial(t, base, Options{Version: 4})
	resp, err := polling.PostRaw("text/plain;charset=UTF-8", strings.NewReader("4a\x1e\x1e"))
	if err != nil || resp.StatusCode != 400 {
		t.Error(resp, err)
	}
	f.out <- Text("6\x1e9")
	ws := MustDial(t, base, Options{Version: 4, Transport: "websocket"})
	ws.Must(t).Send("9") // comes back
	for _, c := range []*Client{polling, ws} {
		if got := c.Must(t).Closed(); got != ReasonParseError {
			t.Error(got)
		}
	}
}
