package attacks_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/parser"
)

// The other targets are where their tables are: FuzzToken, FuzzAuthenticateData,
// FuzzHandshakeToken, and those of internal/transport.

// unixSocket is a place that hundreds of connections in a second do not run out of ports at.
func unixSocket(tb testing.TB) harness.Place {
	tb.Helper()
	// net/http lingers for half a second on connections it cuts off; goleak would see it.
	tb.Cleanup(func() { harness.Eventually(tb, "connections end", func() bool { return !lingering() }) })
	path := filepath.Join(tb.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	tb.Cleanup(transport.CloseIdleConnections)
	return harness.Place{Listener: l, URL: "http://unix.socket", Client: &http.Client{Transport: transport}}
}

func lingering() bool {
	stacks := make([]byte, 1<<20)
	return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("closeWriteAndWait"))
}

// FuzzAnonymousFrames plays four arbitrary messages of a client that does not authenticate
// into a running server. The process has to live, nothing protected may run for it or be
// sent to it, an honest client has to be served all the while, and when the client leaves
// nothing of it may stay.
func FuzzAnonymousFrames(f *testing.F) {
	for _, seed := range anonymousSeeds {
		for _, way := range []byte{0, 1, 3} {
			f.Add(way, seed.kinds, []byte(seed.frames[0]), []byte(seed.frames[1]), []byte(seed.frames[2]), []byte(seed.frames[3]))
		}
	}
	f.Add(byte(upgraded), byte(0), []byte(`42["echo","x"]`), []byte(`42["authenticate",{}]`), []byte(`40/admin`), []byte(`2probe`))
	target := startFuzzed(f)
	f.Fuzz(func(t *testing.T, way, kinds byte, a, b, c, d []byte) {
		target.play(t, way, kinds, a, b, c, d)
	})
}

var anonymousSeeds = []struct {
	kinds  byte // two bits for each message, see deliver
	frames [4]string
}{
	{0, [4]string{`42["echo","x"]`, `420["echo","x"]`, `42["map",{"a":[1]}]`, `42["struct",{"X":1}]`}},
	{0, [4]string{`40/admin`, `42/admin,["echo","x"]`, `42/admin,0["pointer",{"X":1}]`, `41/admin`}},
	{0, [4]string{`40/admin?token=a.b.c`, `41/admin`, `40/admin`, `42/admin,["authenticate",{"token":"x"}]`}},
	{0, [4]string{`42["authenticate",{"token":"a.b.c"}]`, `42["authenticate"]`, `42["echo","x"]`, `40`}},
	{0, [4]string{`41`, `40`, `42["echo","x"]`, `42["authenticate",{}]`}},
	{0, [4]string{`40/nosuch`, `42/nosuch,["echo","x"]`, `41/nosuch`, `40/nosuch,1`}},
	{1 << 2, [4]string{`451-["buffer",{"_placeholder":true,"num":0}]`, "\x00\xff", `42["echo","x"]`, `1`}},
	{1 << 2, [4]string{`451-["nested",{"A":{"_placeholder":true,"num":0}}]`, ``, `42"echo","x"]`, `42[null,"x"]`}},
	{0, [4]string{`42["buffer",{"_placeholder":true,"num":0}]`, `42["buffer",{"_Placeholder":true,"num":9}]`, `461-0[{"_placeholder":true,"num":1}]`, ``}},
	{0, [4]string{`4599999999999999999-["echo","x"]`, `451000000000-["buffer"]`, `44"x"`, `431[]`}},
	{0, [4]string{`431099511627776[]`, `430["x"]`, `43/admin,1[]`, `42["unauthorized"]`}},
	{0, [4]string{`2probe`, `5`, `6`, `3probe`}},
	{0, [4]string{`40/admin,`, `40//`, `40/?`, `4`}},
	{0xaa, [4]string{`2:40`, `18:42["echo","x"]2:411:1`, `1:6`, `99999999999:4`}},
	{0xff, [4]string{"\x00\x02\xff40", "\x01\x03\xff\x04ab", "\x00\x01\x00\xff42[\"echo\"]", "\x02\xff"}},
	{0x55, [4]string{"\x04", "", "\xff\xfe", "echo"}},
	{0, [4]string{`42["echo","` + strings.Repeat("x", 20<<10) + `"]`, `42` + strings.Repeat(`[`, 100), `42["\u0065cho","x"]`, "42[\"echo\",\"\xff\"]"}},
}

// fuzzed is the server of FuzzAnonymousFrames and the honest client that stays.
type fuzzed struct {
	*harness.App
	honest     *siotest.Client
	sid        atomic.Value // of the honest client
	trespasses atomic.Pointer[string]
	rounds     int
	goroutines int
}

const (
	fuzzTimeout   = 2 * time.Second // until an anonymous client is thrown out
	fuzzBroadcast = "only for those who are authenticated"
)

type point struct{ X, Y int }

type withBuffer struct {
	A *parser.Buffer
	B []*parser.Buffer
	C map[string]parser.Buffer
}

func startFuzzed(tb testing.TB) *fuzzed {
	tb.Helper()
	z := new(fuzzed)
	z.sid.Store("")
	z.App = harness.StartAt(tb, unixSocket(tb), socketiojwt.Options{Timeout: fuzzTimeout, MaxAttempts: 3}, func(s *harness.App) {
		for _, nsp := range []string{"/", "/admin"} {
			z.handlers(s, nsp)
		}
	}, "/", "/admin")
	c, err := siotest.Dial(context.Background(), z.At.URL, siotest.Options{Transport: "websocket", HTTP: z.At.Client})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	z.honest = c
	z.sid.Store(c.SID())
	must := c.Must(tb)
	must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(tb, "honest")})
	must.Event("/", "authenticated")
	must.Join("/admin")
	must.Connected("/admin")
	if why := z.serves(); why != nil {
		tb.Fatal(why)
	}
	return z
}

// handlers has one of each kind of signature. All are for the honest client only.
func (z *fuzzed) handlers(s *harness.App, nsp string) {
	enter := func(c socketio.Conn, what string) {
		if c.ID() != z.sid.Load() {
			what = nsp + " " + what
			z.trespasses.Store(&what)
		}
	}
	s.OnConnect(nsp, func(c socketio.Conn) error { enter(c, "OnConnect"); return nil })
	s.OnDisconnect(nsp, func(c socketio.Conn, _ string) { enter(c, "OnDisconnect") })
	s.OnError(nsp, func(c socketio.Conn, _ error) { enter(c, "OnError") })
	s.OnEvent(nsp, "none", func(c socketio.Conn) { enter(c, "none") })
	s.OnEvent(nsp, "any", func(c socketio.Conn, _ any) { enter(c, "any") })
	s.OnEvent(nsp, "map", func(c socketio.Conn, _ map[string]any) { enter(c, "map") })
	s.OnEvent(nsp, "struct", func(c socketio.Conn, _ point) { enter(c, "struct") })
	s.OnEvent(nsp, "pointer", func(c socketio.Conn, p *point) *point { enter(c, "pointer"); return p })
	s.OnEvent(nsp, "buffer", func(c socketio.Conn, b *parser.Buffer) *parser.Buffer { enter(c, "buffer"); return b })
	s.OnEvent(nsp, "nested", func(c socketio.Conn, _ withBuffer) { enter(c, "nested") })
	s.OnEvent(nsp, "many", func(c socketio.Conn, _ string, _ int, _ []bool) { enter(c, "many") })
	s.OnEvent(nsp, "echo", func(c socketio.Conn, text string) string { enter(c, "echo"); return text })
	s.OnEvent(nsp, "broadcast", func(c socketio.Conn, text string) string {
		enter(c, "broadcast")
		s.BroadcastToNamespace(nsp, "news", fuzzBroadcast)
		s.Plain.BroadcastToNamespace(nsp, "news", fuzzBroadcast) // around our own room
		return text
	})
}

// serves has the honest client echo and broadcast in both namespaces.
func (z *fuzzed) serves() error {
	ctx, cancel := context.WithTimeout(context.Background(), siotest.DefaultTimeout)
	defer cancel()
	ids := make(map[string]int64)
	for _, nsp := range []string{"/", "/admin"} {
		id, err := z.honest.EmitAck(nsp, "broadcast", "hello")
		if err != nil {
			return err
		}
		ids[nsp] = id
	}
	for _, nsp := range []string{"/", "/admin"} {
		if p, err := z.honest.WaitAck(ctx, nsp, ids[nsp]); err != nil || string(p.Data) != `["hello"]` {
			return fmt.Errorf("the honest client got %s: %w", p.Raw, err)
		}
	}
	return nil
}

// anonymousMayGet are the packets a client can get that never authenticates.
var anonymousMayGet = regexp.MustCompile(`^(40|41|40/admin|41/admin|42(/admin,)?\d+\["unauthorized",\{.*\}\]|44/[^,]*,"Invalid namespace"|44/[^,]*,\{"message":"[a-z ]+","code":"[a-z_]+","type":"UnauthorizedError"\})$`)

// What the ways of a client are made of. The upgrade is by itself, because it takes a
// tenth of a second.
const (
	polled   = 1 << 0
	jsonp    = 1 << 1
	hasty    = 1 << 2 // it leaves without waiting for an answer
	upgraded = 0xff
)

func (z *fuzzed) play(t *testing.T, way, kinds byte, messages ...[]byte) {
	began := time.Now()
	o := siotest.Options{Transport: "websocket", HTTP: z.At.Client, NoPing: true}
	switch {
	case way == upgraded:
		o.Transport = "upgrade"
	case way&polled != 0:
		o.Transport, o.JSONP = "polling", way&jsonp != 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), siotest.DefaultTimeout)
	defer cancel()
	c, err := siotest.Dial(ctx, z.At.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, message := range messages {
		if kind := kinds >> (2 * i) & 3; len(message) > 0 || kind > 0 {
			z.deliver(c, o, kind, message)
		}
	}
	if err := z.serves(); err != nil {
		t.Fatal(err)
	}
	if way&hasty == 0 || way == upgraded {
		// What was broadcast would come before this is answered.
		_ = c.SendPacket("2end")
		z.read(t, ctx, c)
	}
	c.Close()
	z.read(t, ctx, c)

	for z.Count() != 1 {
		if time.Since(began) > fuzzTimeout+time.Second {
			t.Fatalf("%d sessions %v after it came", z.Count(), time.Since(began))
		}
		time.Sleep(50 * time.Microsecond)
	}
	if what := z.trespasses.Load(); what != nil {
		t.Fatalf("%s ran for a client that is not authenticated", *what)
	}
	if z.rounds++; z.rounds%500 == 0 {
		z.checkGoroutines(t)
	}
}

// deliver sends a message in one of the ways there are; a server that hung up is no error.
func (z *fuzzed) deliver(c *siotest.Client, o siotest.Options, kind byte, message []byte) {
	switch {
	case kind == 1: // an attachment
		_ = c.SendFrames(siotest.Binary(message))
	case kind == 0 || o.Transport != "polling":
		_ = c.SendFrames(siotest.Frame{Binary: kind > 1, Data: message})
	case o.JSONP:
		_, _ = c.PostRaw("application/x-www-form-urlencoded", strings.NewReader("d="+string(message)))
	case kind == 2:
		_, _ = c.PostRaw("text/plain;charset=UTF-8", bytes.NewReader(message))
	case kind == 3:
		_, _ = c.PostRaw("application/octet-stream", bytes.NewReader(message))
	}
}

// read checks what the client got, up to the answer to `2end` or its end.
func (z *fuzzed) read(t *testing.T, ctx context.Context, c *siotest.Client) {
	for {
		p, err := c.NextEngine(ctx)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				t.Fatal("it gets neither PONG nor the end")
			}
			return
		}
		if p.Type == siotest.EnginePong && string(p.Data) == "end" {
			return
		}
		if p.Type == siotest.EngineMessage && !anonymousMayGet.MatchString(p.String()) {
			t.Fatalf("an anonymous client got %q", p)
		}
	}
}

// checkGoroutines requires that there are no more of them than at the first time.
func (z *fuzzed) checkGoroutines(t *testing.T) {
	z.At.Client.CloseIdleConnections()
	if z.goroutines == 0 {
		z.goroutines = runtime.NumGoroutine() + 20 // a few are always on their way out
	}
	harness.Eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= z.goroutines })
}

// FuzzGate sends arbitrary requests, as far as net/http takes them, to the gates of both
// modes. What passes has to be a handshake, in handshake mode with a good token, or a
// request of a session that there is; everything else has to be answered, with an answer
// that is fit for a browser. SID, TOKEN and FORGED stand for a session id and for tokens.
func FuzzGate(f *testing.F) {
	for _, seed := range gateSeeds {
		f.Add(seed.method, seed.query, seed.header)
	}
	handshake := startGated(f, true)
	roundTrip := startGated(f, false)
	f.Fuzz(func(t *testing.T, method, query, header string) {
		handshake.try(t, method, query, header)
		roundTrip.try(t, method, query, header)
	})
}

var gateSeeds = []struct{ method, query, header string }{
	{"GET", "EIO=3&transport=polling", ""},
	{"GET", "EIO=2&transport=polling&token=TOKEN", ""},
	{"GET", "EIO=3&transport=polling&token=TOKEN", ""},
	{"GET", "EIO=3&transport=polling&token=FORGED&j=0", "Cookie: jwt=TOKEN"},
	{"GET", "EIO=3&transport=polling&token=TOKEN&token=TOKEN", ""},
	{"GET", "transport=polling&%74oken=TOKEN", "Authorization: Basic eDp5"},
	{"GET", "EIO=3&transport=polling", "Authorization: Bearer TOKEN"},
	{"GET", "EIO=3&transport=polling&token=TOKEN", "Authorization: Bearer FORGED\r\nAuthorization: Bearer TOKEN"},
	{"GET", "EIO=3&transport=polling", "Cookie: jwt=TOKEN\r\nOrigin: http://api.example"},
	{"GET", "EIO=3&transport=polling", "Cookie: jwt=TOKEN\r\nOrigin: https://evil.example"},
	{"GET", "EIO=3&transport=polling&j=1", "Cookie: jwt=TOKEN\r\nSec-Fetch-Site: cross-site"},
	{"GET", "EIO=3&transport=websocket&token=TOKEN", gateUpgrade},
	{"GET", "EIO=3&transport=websocket", gateUpgrade},
	{"GET", "EIO=3&transport=websocket&sid=SID", gateUpgrade},
	{"GET", "EIO=3&transport=websocket&sid=1", gateUpgrade},
	{"POST", "EIO=3&transport=polling&sid=SID", "Content-Type: application/octet-stream"},
	{"POST", "EIO=3&transport=polling&sid=SID&sid=1", ""},
	{"POST", "EIO=3&transport=polling&token=TOKEN", ""},
	{"PUT", "EIO=3&transport=polling&sid=SID", ""},
	{"HEAD", "EIO=3&transport=polling&token=TOKEN", ""},
	{"OPTIONS", "EIO=3&transport=polling&sid=SID", "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST"},
	{"GET", "EIO=4&transport=polling&token=TOKEN", ""},
	{"get", "EIO=4&transport=polling&token=TOKEN", ""},
	{"GET", "EIO=3&transport=polling&j=0)%3Balert(1", ""},
	{"GET", "EIO=3&transport=polling;token=TOKEN&sid=%00", ""},
	{"GET", "EIO=3&EIO=4&transport=polling&transport=websocket&token=TOKEN", ""},
}

const gateUpgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

// gated is a gate whose other side only notes what reaches it.
type gated struct {
	handshake   bool
	gate        http.Handler
	words       *strings.Replacer
	sid, token  string
	sessions    func() int
	passedOn    *http.Request
	gateAnswers http.HandlerFunc
}

func startGated(tb testing.TB, handshake bool) *gated {
	tb.Helper()
	g := &gated{handshake: handshake, token: harness.TokenOf(tb, "bob")}
	// Nobody pings for the client whose session id the requests may name, and it must last.
	engine := socketiojwt.Harden(&engineio.Options{PingTimeout: 24 * time.Hour})
	s := harness.New(tb, unixSocket(tb), socketiojwt.Options{Handshake: handshake, Cookie: "jwt"}, engine)
	harness.Serve(tb, s.Server, s.At, s.Server)
	type tried struct{}
	g.gate = s.Auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(tried{}) == nil {
			s.Plain.ServeHTTP(w, r) // the gate looks for Harden's transports
			return
		}
		g.passedOn = r
	}))
	g.gateAnswers = func(w http.ResponseWriter, r *http.Request) {
		g.gate.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tried{}, true)))
	}
	o := siotest.Options{Transport: "polling", ManualPoll: true, NoPing: true, HTTP: s.At.Client}
	if handshake {
		o.Query = harness.WithToken(g.token)
	}
	c := siotest.MustDial(tb, s.At.URL, o)
	if !handshake {
		must := c.Must(tb)
		must.Emit("/", "authenticate", map[string]string{"token": g.token})
	}
	g.sid = c.SID()
	g.sessions = s.Count
	g.words = strings.NewReplacer("SID", g.sid, "TOKEN", g.token, "FORGED", g.token[:len(g.token)-2]+"AA")
	return g
}

func (g *gated) try(t *testing.T, method, query, header string) {
	text := g.words.Replace(method + " /socket.io/?" + query + " HTTP/1.1\r\nHost: api.example\r\n" + header + "\r\n\r\n")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		return
	}
	if transport.VersionOf(transport.QueryOf(r)) == 4 && transport.QueryOf(r).Get("sid") == "" {
		return // anybody may open one of these
	}
	r.RemoteAddr = "192.0.2.1:1234"
	w := newGateWriter()
	g.passedOn = nil
	g.gateAnswers(w, r)
	w.done()

	if n := g.sessions(); n != 1 {
		t.Fatalf("%d sessions", n)
	}
	if g.passedOn != nil {
		if why := g.mayPass(r); why != "" {
			t.Fatalf("%q passed the gate: %s", text, why)
		}
		if w.Code != http.StatusOK || w.Body.Len() > 0 || w.hijacked != nil {
			t.Fatalf("the gate answered %q and passed it on: %d %s", text, w.Code, w.Body)
		}
		return
	}
	if why := w.wrong(r); why != "" {
		t.Fatalf("%q: %s: %d %v %s", text, why, w.Code, w.Header(), w.Body)
	}
	if strings.Contains(w.Body.String(), g.token) || strings.Contains(w.Body.String(), g.sid) {
		t.Fatalf("%q: the answer has a token or a session id in it: %s", text, w.Body)
	}
}

// mayPass says in words of its own why a request should not have passed, "" if it should.
func (g *gated) mayPass(r *http.Request) string {
	query := r.URL.Query()
	transport := query.Get("transport")
	if transport != "polling" && transport != "websocket" {
		return "transport"
	}
	if js := query["j"]; js != nil {
		if n, err := strconv.Atoi(js[0]); err != nil || n < 0 || len(js) > 1 {
			return "JSONP index"
		}
	}
	if sid := query.Get("sid"); sid != "" {
		switch {
		case sid != g.sid:
			return "unknown session"
		case r.Method != "GET" && (r.Method != "POST" || transport != "polling"):
			return "method"
		}
		return ""
	}
	if r.Method != "GET" {
		return "method"
	}
	if eio, ok := query["EIO"]; ok && eio[0] != "3" && eio[0] != "2" {
		return "protocol version"
	}
	if !g.handshake {
		return ""
	}

	header := r.Header["Authorization"]
	if len(header) > 1 || len(query["token"]) > 1 {
		return "two tokens in one place"
	}
	if len(header) == 1 {
		if words := strings.Split(header[0], " "); strings.EqualFold(words[0], "bearer") && !(len(words) == 2 && words[1] == "") {
			if len(words) != 2 || words[1] != g.token {
				return "the header counts, and it is no good"
			}
			return ""
		}
	}
	if tokens := query["token"]; len(tokens) == 1 && tokens[0] != "" {
		if tokens[0] != g.token {
			return "the query counts, and it is no good"
		}
		return ""
	}
	if origin := r.Header["Origin"]; len(origin) > 1 || len(origin) == 1 && !slices.Contains([]string{"http://" + r.Host, "https://" + r.Host}, strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(origin[0], ":80"), ":443"))) {
		return "no token, or a foreign page's cookie"
	}
	if site := r.Header.Get("Sec-Fetch-Site"); r.Header.Get("Origin") == "" && (site == "cross-site" || site == "same-site") {
		return "the cookie of a foreign page"
	}
	if !slices.ContainsFunc(r.CookiesNamed("jwt"), func(c *http.Cookie) bool { return c.Value == g.token }) {
		return "no token anywhere"
	}
	return ""
}

// gateWriter is a ResponseRecorder that can be hijacked: what then comes is read by a
// client that closes when it is told to.
type gateWriter struct {
	*httptest.ResponseRecorder
	hijacked chan struct{}
	frames   []byte
}

func newGateWriter() *gateWriter { return &gateWriter{ResponseRecorder: httptest.NewRecorder()} }

func (w *gateWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	client, server := net.Pipe()
	w.hijacked = make(chan struct{})
	go func() {
		defer close(w.hijacked)
		defer client.Close()
		buffer := make([]byte, 4096)
		for !bytes.Contains(w.frames, []byte("\x88\x02\x03\xe8")) { // a close frame, code 1000
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			w.frames = append(w.frames, buffer[:n]...)
		}
	}()
	return server, bufio.NewReadWriter(bufio.NewReader(server), bufio.NewWriter(server)), nil
}

func (w *gateWriter) done() {
	if w.hijacked != nil {
		<-w.hijacked
	}
}

var (
	refusedBody  = regexp.MustCompile(`^72:0\{"sid":"refused","upgrades":\[\],"pingInterval":25000,"pingTimeout":5000\}\d+:44\{"message":"[A-Za-z :\[\]]+","code":"[a-z_]+","type":"UnauthorizedError"\}2:411:1$`)
	refusedJSONP = regexp.MustCompile(`^___eio\[\d{1,10}\]\((".*")\);$`)
)

// wrong says what is wrong with an answer of the gate, "" if nothing is.
func (w *gateWriter) wrong(r *http.Request) string {
	if w.hijacked != nil {
		text := string(w.frames)
		if !strings.HasPrefix(text, "HTTP/1.1 101 ") || !strings.Contains(text, `44{"message":`) || !strings.HasSuffix(text, "\x88\x02\x03\xe8") {
			return fmt.Sprintf("WebSocket got %q", text)
		}
		return ""
	}
	body, contentType := w.Body.String(), w.Header().Get("Content-Type")
	if strings.HasPrefix(contentType, "text/html") {
		return "a browser would show it as a page"
	}
	if r.Method == http.MethodHead && body != "" {
		body = "" // net/http leaves it out
	}
	switch w.Code {
	case http.StatusOK:
		if contentType == "text/javascript; charset=UTF-8" {
			if match := refusedJSONP.FindStringSubmatch(body); match == nil || json.Unmarshal([]byte(match[1]), &body) != nil {
				return "no script"
			}
		}
		if !refusedBody.MatchString(body) || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			return "no refusal"
		}
	case http.StatusNoContent:
		if r.Method != http.MethodOptions {
			return "empty"
		}
	case http.StatusBadRequest, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		var answer struct {
			Code    *int
			Message string
		}
		if contentType == "application/json" && (json.Unmarshal(w.Body.Bytes(), &answer) != nil || answer.Code == nil || answer.Message == "") {
			return "no JSON"
		}
		if contentType != "application/json" && r.URL.Query().Get("transport") != "websocket" {
			return "no JSON"
		}
	case http.StatusForbidden, http.StatusUpgradeRequired, http.StatusMethodNotAllowed: // of gorilla/websocket
		if r.URL.Query().Get("transport") != "websocket" {
			return "status"
		}
	default:
		return "status"
	}
	return ""
}
