//go:build soak && unix

package attacks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/gorilla/websocket"
)

// What hostile clients do in the soak. The numbers are those of the hazard table.

// soakHostile is one attack: anonymous clients, or those of mallory, who has a token.
type soakHostile struct {
	k         *soak
	name      string
	ctx       context.Context // ends with the storm
	target    *soakTarget
	anonymous bool
	transport string
	clients   []*siotest.Client
	opened    []time.Time // those
	conns     []io.Closer
}

type soakAttack struct {
	name string
	run  func(*soakHostile) error // an error says that it did not get in
}

// soakCounts are how often an attack was begun, how often it got in, and with how many connections.
type soakCounts struct{ begun, gotIn, connections int }

// soakHold is how long a server may hold who is anonymous, and a second for a busy machine.
const soakHold = soakTimeout + 2*time.Second

var (
	soakLazy = siotest.Options{ManualPoll: true, NoPing: true}
	soakDeaf = siotest.Options{Transport: "websocket", ManualRead: true, NoPing: true}
)

var soakAttacks = []soakAttack{
	{"01 never poll", soakClient(soakLazy, func(h *soakHostile, c *siotest.Client) { h.hold(soakPingTimeout + time.Second) })},
	{"01 ping and never poll", soakClient(soakLazy, func(h *soakHostile, c *siotest.Client) {
		for range 8 {
			_ = c.SendPacket("2")
			h.hold(soakPingTimeout / 8)
		}
	})},
	{"03 length lie", soakPost("1:6" + strings.Repeat("x", 9000))},
	{"05 polls never read", soakClient(soakLazy, func(h *soakHostile, c *siotest.Client) { h.overfeed(c); h.hold(soakPingTimeout) })},
	{"06 polls broken off", soakClient(soakLazy, func(h *soakHostile, c *siotest.Client) {
		poll := h.overfeed(c)
		h.hold(200 * time.Millisecond)
		soakReset(poll)
	})},
	{"07 placeholders", soakEach(
		`42["bin",{"_placeholder":true,"num":0}]`, `42["bin",{"\u005fplaceholder":true,"num":0}]`,
		`451-["bin",{"_placeholder":true,"num":1}]`, `461-0[{"_placeholder":true,"num":9}]`, `430[{"_placeholder":true,"num":0}]`)},
	{"08 attachment bombs", soakEach(
		`4599999999999999999-["echo","x"]`, `451000000000-["bin","x"]`, `4299999999999999999-["echo","x"]`,
		`4399999999999999999-["x"]`, `4699999999999999999-0["x"]`, `45100-["nobody","x"]`, `4564-["bin",{"_placeholder":true,"num":0}]`)},
	{"09 probe and no upgrade", soakClient(siotest.Options{Transport: "polling"}, func(h *soakHostile, c *siotest.Client) {
		_ = c.Probe(h.ctx)
		h.hold(soakPingTimeout)
	})},
	{"10 sid guessing", (*soakHostile).guessIDs},
	{"11 orphaned upgrades", (*soakHostile).orphans},
	{"12 frames after close", soakFrames(`42["closeme"]`, `42["forbidden"]`, "41", "40", "40/admin", `42/admin,["forbidden"]`, `42["forbidden"]`)},
	{"13 join and listen", soakClient(siotest.Options{}, func(h *soakHostile, c *siotest.Client) { _ = c.Join("/admin"); h.hold(soakHold) })},
	{"14 event smuggling", soakEach(
		`42"X"]`, `42[null,"X"]`, `42[,"X"]`, `42[["say"],"X"]`, `42]`)},
	{"15 frame smuggling", (*soakHostile).smuggle},
	{"16 floods of 44", soakFrames(strings.Split(strings.Repeat("44 ", 1500), " ")[:1500]...)},
	{"16 floods of acks", soakFrames(strings.Split(strings.Repeat("43999[] ", 1500), " ")[:1500]...)},
	{"17 stalled bodies", soakClient(soakLazy, func(h *soakHostile, c *siotest.Client) {
		body := siotest.EncodeText(siotest.Text(`42["forbidden"]`))
		conn := h.request(c, http.MethodPost, len(body), body[:8])
		if h.hold(soakPingTimeout + 2*time.Second) { // else it is not too late
			_, _ = io.WriteString(conn, body[8:])
		}
	})},
	{"17 lies about length", soakClient(siotest.Options{}, func(h *soakHostile, c *siotest.Client) {
		body := siotest.EncodeText(siotest.Text(`42["forbidden"]`))
		_ = h.request(c, http.MethodPost, len(body)+100, body).CloseWrite()
		h.hold(time.Second)
	})},
	{"18 methods and HEAD floods", soakRequests(30, "HEAD", "HEAD", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW", "POST")},
	{"18 big URLs", func(h *soakHostile) error {
		for _, size := range []int{40_000, 900_000} {
			_ = h.do(http.MethodGet, "EIO=3&transport=polling&x="+strings.Repeat("x", size), "")
		}
		return nil
	}},
	{"19 WebSockets not read", soakClient(soakDeaf, func(h *soakHostile, c *siotest.Client) {
		for range 4 {
			_ = c.SendPacket(`42["flood"]`)
		}
		h.hold(soakPingTimeout)
	})},
	{"19 big PINGs", soakEach("2"+strings.Repeat("x", 600), "2"+strings.Repeat("x", 2<<20))},
	{"20 resets during broadcasts", soakWebSocket(func(h *soakHostile, ws *websocket.Conn) { h.hold(300 * time.Millisecond); soakReset(ws.NetConn()) })},
	{"22 Close from OnError", soakEach(`42["echo",{}]`, `42["say",1]`)},
	{"24 leave and stay", soakClient(siotest.Options{}, func(h *soakHostile, c *siotest.Client) {
		_ = c.SendFrames(siotest.Text("41"), siotest.Text("40"), siotest.Text(`42["forbidden"]`))
		h.hold(soakHold)
		_ = c.SendPacket(`42["forbidden"]`)
	})},
	{"25 another on upgrade", (*soakHostile).changeIdentity},
	{"26 unknown namespaces", soakFrames(soakRepeat(150, func(i int) string { return fmt.Sprintf("40/nosuch%d?token=x", i) })...)},
	{"26 join floods", soakFrames(soakRepeat(150, func(i int) string { return []string{"40/admin", `42/admin,["say","a"]`, "41/admin"}[i%3] })...)},
	{"30 overlapping polls", (*soakHostile).overlap},
	{"31 JSONP", (*soakHostile).scriptPolls},
	{"34 CONNECT again", soakFrames("40", "40", "40/admin", "40/admin", "40/", "40")},
	{"35 panics", soakEach(`42["panic"]`, `42/admin,["panic"]`)},
	{"before authenticate", soakEach(`42["closeme"]`, `420["who"]`, `42/admin,["flood"]`, `43/admin,1099511627776[]`, `431099511627776[]`)},
	{"authenticate storms", soakFrames(soakRepeat(60, func(i int) string {
		return `42["authenticate",` + []string{`{"token":"a.b.c"}`, `{}`, `null`, `[[]]`, `{"token":"` + strings.Repeat("x", 150) + `"}`}[i%5] + `]`
	})...)},
	{"huge tokens", soakEach(`42["authenticate",{"token":"`+strings.Repeat("x", 8<<10)+`"}]`, `42["authenticate",{"token":"`+strings.Repeat("x", 1<<20)+`"}]`)},
	{"nonsense", soakEach("", "4", "9", "x", "5", "3probe", "2probe", "b4!!", "42"+strings.Repeat("[", 5000), "42[\"\xff\"]", `40`+strings.Repeat("/", 5000), "6")},
	{"today: no namespace", soakClient(siotest.Options{Version: 4}, func(h *soakHostile, _ *siotest.Client) { h.hold(soakHold) })},
	{"today: join storms", soakClient(siotest.Options{Version: 4}, func(h *soakHostile, c *siotest.Client) {
		for i := range 60 {
			_ = c.SendPacket([]string{"40", `40{"token":"a.b.c"}`, "40[]", "40/admin,", fmt.Sprintf("40/nosuch%d,", i), "41", `42["forbidden"]`}[i%7])
		}
		h.hold(soakHold)
	})},
	{"today: nonsense", func(h *soakHostile) (err error) {
		for _, packet := range []string{"2", "40{", "4\x1e4", "40" + strings.Repeat("[", 5000), "40/a\x1fb,", `40{"token":"` + strings.Repeat("x", 12<<10) + `"}`, `451-["x"]`, "b!!"} {
			c, openErr := h.open(siotest.Options{Version: 4})
			if openErr != nil {
				err = openErr
				continue
			}
			_ = c.SendPacket(packet)
		}
		h.hold(time.Second)
		return err
	}},
	{"binary nonsense", soakClient(siotest.Options{}, func(h *soakHostile, c *siotest.Client) {
		_ = c.SendBinary([]byte("nobody waits for it"))
		_, _ = c.PostRaw("application/octet-stream", strings.NewReader("\x00\x09\x09\x09\x09\x09\x09\x09\xff4"))
	})},
	{"wrong protocols", func(h *soakHostile) error {
		for _, query := range []string{"", "EIO=4&transport=polling", "EIO=3", "EIO=3&transport=carrier-pigeon", "EIO=3&EIO=4&transport=polling", "EIO=3&transport=websocket", "%zz", "EIO=3&transport=polling&token=a.b.c"} {
			_ = h.do(http.MethodGet, query, "")
		}
		return nil
	}},
	{"half requests", func(h *soakHostile) error {
		for _, half := range []string{"", "G", "GET /socket.io/?EIO=3&trans", "POST /socket.io/?EIO=3 HTTP/1.1\r\nHost: x\r\nContent-"} {
			_, _ = io.WriteString(h.tcp(), half)
		}
		h.hold(soakPingTimeout)
		return nil
	}},
	{"vanish at every step", (*soakHostile).vanish},
	{"half frames", soakWebSocket(func(h *soakHostile, ws *websocket.Conn) {
		_, _ = ws.NetConn().Write([]byte{0x81, 0x80 | 126, 0x03, 0xe8, 1, 2, 3, 4, '4' ^ 1, '2' ^ 2}) // of 1000 bytes
		if h.hold(soakPingTimeout + 2*time.Second) {
			_ = ws.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.Copy(io.Discard, ws.NetConn()); isTimeout(err) {
				h.k.fault("a WebSocket is kept open for half a frame")
			}
		}
	})},
	{"fragments and control frames", soakWebSocket(func(h *soakHostile, ws *websocket.Conn) {
		_, _ = ws.NetConn().Write([]byte{0x01, 0x81, 0, 0, 0, 0, '4'}) // a fragment, and then no end
		for range 300 {
			_ = ws.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second))
		}
		h.hold(time.Second)
	})},
}

// attack runs the attacks in turn until ctx ends, each as whom and where it has not been.
func (k *soak) attack(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	room := make(chan struct{}, soakAttackers)
	ticker := time.NewTicker(soakAttackEvery)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		select {
		case room <- struct{}{}:
		default:
			i-- // it comes when there is room
			continue
		}
		attack, round := soakAttacks[i%len(soakAttacks)], i/len(soakAttacks)
		h := &soakHostile{
			k: k, name: attack.name, ctx: ctx,
			target:    k.targets[[]int{0, 0, 1, 1}[round%4]],
			anonymous: round%2 == 0,
			transport: harness.Transports[round%3],
		}
		running.Go(func() {
			defer func() { <-room }()
			err := attack.run(h)
			h.leave()
			k.mu.Lock()
			defer k.mu.Unlock()
			counts := k.attacks[attack.name]
			if counts == nil {
				counts = new(soakCounts)
				k.attacks[attack.name] = counts
			}
			counts.connections += len(h.clients) + len(h.conns)
			if counts.begun++; err == nil {
				counts.gotIn++
			}
		})
	}
}

// hold waits, at most until the storm is over, which it reports as false.
func (h *soakHostile) hold(d time.Duration) bool { return soakSleep(h.ctx, d) }

// open connects a client, and authenticates it if it has a token.
func (h *soakHostile) open(o siotest.Options) (*siotest.Client, error) {
	if o.Transport == "" && !o.ManualPoll && !o.JSONP {
		o.Transport = h.transport
	}
	token := ""
	if !h.anonymous {
		token = harness.TokenOf(h.k.t, "mallory")
		o.Query = harness.WithToken(token)
	}
	ctx, cancel := context.WithTimeout(h.ctx, siotest.DefaultTimeout)
	defer cancel()
	c, err := siotest.Dial(ctx, h.target.url, o)
	if err != nil {
		return nil, err
	}
	h.clients = append(h.clients, c)
	h.opened = append(h.opened, time.Now())
	if !h.anonymous && !h.target.handshake {
		_ = c.Emit("/", "authenticate", map[string]string{"token": token})
	}
	if c.CloseReason() != "" {
		return nil, errors.New("refused")
	}
	return c, nil
}

// leave vanishes. Nobody anonymous may have heard anything, or still be connected.
func (h *soakHostile) leave() {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for i, c := range h.clients {
		if held := time.Since(h.opened[i]); h.anonymous && held > soakHold && isConnected(c) {
			h.k.fault("%s: somebody anonymous is still connected after %v (%s)", h.name, held, h.transport)
		}
		c.Abort()
		for h.anonymous {
			p, err := c.Next(over) // what there is
			if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
				break
			}
			if name, _ := p.Event(); err == nil && name != "" && name != "unauthorized" {
				h.k.fault("%s: somebody anonymous heard %.100s", h.name, p.Raw)
			}
		}
	}
	for _, conn := range h.conns {
		_ = conn.Close()
	}
}

// isConnected also looks for clients that do not read by themselves.
func isConnected(c *siotest.Client) bool {
	ctx, cancel := context.WithTimeout(context.Background(), siotest.DefaultTimeout)
	defer cancel()
	for c.CloseReason() == "" && ctx.Err() == nil {
		if _, _, err := c.Poll(ctx); err != nil && ctx.Err() == nil {
			var status *siotest.StatusError // of a WebSocket's session, too
			if errors.As(err, &status) && strings.Contains(status.Body, "Session ID unknown") {
				return false
			}
			_, _ = c.ReadFrame(ctx)
		}
	}
	return c.CloseReason() == ""
}

func soakClient(o siotest.Options, attack func(*soakHostile, *siotest.Client)) func(*soakHostile) error {
	return func(h *soakHostile) error {
		c, err := h.open(o)
		if err != nil {
			return err
		}
		attack(h, c)
		return nil
	}
}

// soakEach sends packets one by one, each from a client of its own, who waits for the end.
func soakEach(packets ...string) func(*soakHostile) error {
	return func(h *soakHostile) (err error) {
		for _, packet := range packets {
			c, openErr := h.open(siotest.Options{})
			if openErr != nil {
				err = openErr
				continue
			}
			if !h.anonymous { // who would be closed for it
				_ = c.SendPacket(`42["say","a"]`)
			}
			_ = c.SendPacket(packet)
		}
		h.hold(time.Second)
		return err
	}
}

// soakFrames sends packets together.
func soakFrames(packets ...string) func(*soakHostile) error {
	all := make([]siotest.Frame, len(packets))
	for i, packet := range packets {
		all[i] = siotest.Text(packet)
	}
	return soakClient(siotest.Options{}, func(h *soakHostile, c *siotest.Client) {
		_ = c.SendFrames(all...)
		h.hold(time.Second)
	})
}

func soakRepeat(n int, f func(int) string) []string {
	packets := make([]string, n)
	for i := range packets {
		packets[i] = f(i)
	}
	return packets
}

func soakPost(body string) func(*soakHostile) error {
	return soakClient(siotest.Options{Transport: "polling"}, func(h *soakHostile, c *siotest.Client) {
		_, _ = c.PostRaw(plainText, strings.NewReader(body))
		h.hold(time.Second)
	})
}

// do makes a request that belongs to no session.
func (h *soakHostile) do(method, query, body string) int {
	ctx, cancel := context.WithTimeout(h.ctx, siotest.DefaultTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, h.target.url+"/socket.io/", strings.NewReader(body))
	if err != nil {
		return 0
	}
	r.URL.RawQuery = query
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func soakRequests(n int, methods ...string) func(*soakHostile) error {
	return func(h *soakHostile) error {
		for i := range n {
			method := methods[i%len(methods)]
			if status := h.do(method, "EIO=3&transport="+harness.Transports[i%2], ""); status == http.StatusOK {
				h.k.fault("%s opens a session", method)
			}
		}
		return nil
	}
}

// tcp connects, and does no more. Without a connection there is one that is closed.
func (h *soakHostile) tcp() *net.TCPConn {
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.target.url, "http://"))
	if err != nil {
		return new(net.TCPConn) // every method fails
	}
	h.conns = append(h.conns, conn)
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	return conn.(*net.TCPConn)
}

func soakReset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// request writes a request of c, of which nobody reads the answer.
func (h *soakHostile) request(c *siotest.Client, method string, length int, body string) *net.TCPConn {
	conn := h.tcp()
	u, err := url.Parse(c.URL())
	if err == nil {
		_, _ = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			method, u.RequestURI(), u.Host, plainText, length, body)
	}
	return conn
}

// overfeed has the server answer a poll that nobody reads with more than sockets buffer.
func (h *soakHostile) overfeed(c *siotest.Client) *net.TCPConn {
	poll := h.request(c, http.MethodGet, 0, "")
	_ = c.SendPacket(`42["flood"]`)
	h.hold(100 * time.Millisecond)
	return poll
}

func (h *soakHostile) webSocket(query url.Values) (*websocket.Conn, int, error) {
	query.Set("EIO", "3")
	query.Set("transport", "websocket")
	ctx, cancel := context.WithTimeout(h.ctx, siotest.DefaultTimeout)
	defer cancel()
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, strings.Replace(h.target.url, "http", "ws", 1)+"/socket.io/?"+query.Encode(), nil)
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	if err == nil {
		h.conns = append(h.conns, conn)
	}
	return conn, status, err
}

func soakWebSocket(attack func(*soakHostile, *websocket.Conn)) func(*soakHostile) error {
	return func(h *soakHostile) error {
		query, token := url.Values{}, harness.TokenOf(h.k.t, "mallory")
		if !h.anonymous {
			query = harness.WithToken(token)
		}
		ws, _, err := h.webSocket(query)
		if err != nil {
			return err
		}
		if !h.anonymous && !h.target.handshake {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(`42["authenticate",{"token":"`+token+`"}]`))
		}
		attack(h, ws)
		return nil
	}
}

func (h *soakHostile) guessIDs() error {
	body := siotest.EncodeText(siotest.Text(`42["forbidden"]`))
	for n := range 12 {
		sid := strconv.FormatInt(int64(n), 36)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if status := h.do(method, "EIO=3&transport=polling&sid="+sid, body); status == http.StatusOK {
				h.k.fault("session id %s was guessed", sid)
			}
		}
	}
	if _, _, err := h.webSocket(url.Values{"sid": {"1"}}); err == nil {
		h.k.fault("a WebSocket took over session 1")
	}
	return nil
}

func (h *soakHostile) orphans() error {
	c, err := h.open(soakLazy)
	if err != nil {
		return err
	}
	for range 5 {
		if ws, _, err := h.webSocket(url.Values{"sid": {c.SID()}}); err == nil {
			_ = ws.WriteMessage(websocket.TextMessage, []byte("2probe"))
		}
	}
	_ = c.SendPacket(`42["closeme"]`)
	_, _ = c.PostRaw(plainText, strings.NewReader("1:1"))
	h.hold(soakPingTimeout)
	return nil
}

func (h *soakHostile) smuggle() error {
	c, err := h.open(siotest.Options{Transport: "polling"})
	if err != nil {
		return err
	}
	for _, pieces := range [][]string{{`43999[`, `2["forbidden"]`}, {`43999["`, `2["forbidden"]`, `"]`}, {`42["nobody",4`, `2["forbidden"]`}} {
		text := strings.Join(pieces, "")
		length := strconv.Itoa(len(text)) + ":"
		conn := h.request(c, http.MethodPost, len(length)+len(text), length)
		for _, piece := range pieces {
			h.hold(30 * time.Millisecond)
			_, _ = io.WriteString(conn, piece)
		}
	}
	return nil
}

// changeIdentity upgrades with the token of another: it is mallory who stays.
func (h *soakHostile) changeIdentity() error {
	c, err := h.open(soakLazy)
	if err != nil {
		return err
	}
	query := harness.WithToken(harness.TokenOf(h.k.t, "root"))
	query.Set("sid", c.SID())
	ws, _, err := h.webSocket(query)
	if err != nil {
		return err
	}
	_ = ws.SetReadDeadline(time.Now().Add(soakHold))
	_ = ws.WriteMessage(websocket.TextMessage, []byte("2probe"))
	_, _, _ = ws.ReadMessage()
	for _, packet := range []string{"5", `420["who"]`} {
		_ = ws.WriteMessage(websocket.TextMessage, []byte(packet))
	}
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return nil
		}
		if answer := string(data); strings.HasPrefix(answer, "43") {
			if answer != `430["mallory"]` {
				h.k.fault("mallory became %.100s", answer)
			}
			return nil
		}
	}
}

func (h *soakHostile) overlap() error {
	c, err := h.open(soakLazy)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(h.ctx, soakHold)
	defer cancel()
	var polls sync.WaitGroup
	for range 6 {
		polls.Go(func() { _, _, _ = c.Poll(ctx) })
		polls.Go(func() { _, _ = c.PostRaw(plainText, strings.NewReader("1:2")) })
	}
	polls.Wait()
	return nil
}

func (h *soakHostile) scriptPolls() error {
	if status := h.do(http.MethodGet, "EIO=3&transport=polling&j=0%5D)%3Balert(1)%2F%2F", ""); status == http.StatusOK {
		h.k.fault("JSONP takes a callback that is no number")
	}
	c, err := h.open(siotest.Options{JSONP: true})
	if err != nil {
		return err
	}
	_ = c.SendPacket(`42["say","a"]`)
	_, _ = c.PostRaw("application/x-www-form-urlencoded", strings.NewReader("d="+url.QueryEscape(`2:6\n9:x`)))
	h.hold(time.Second)
	return nil
}

// vanish goes in the middle of an open, a poll, an answer, a probe, and a WebSocket handshake.
func (h *soakHostile) vanish() error {
	for _, request := range []string{
		"", "GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: x\r\n",
		"GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	} {
		conn := h.tcp()
		_, _ = io.WriteString(conn, request)
		h.hold(5 * time.Millisecond)
		soakReset(conn)
	}
	c, err := h.open(siotest.Options{Transport: "polling"})
	if err != nil {
		return err
	}
	_ = c.Probe(h.ctx)
	c.Abort()
	if c, err = h.open(soakLazy); err == nil {
		soakReset(h.request(c, http.MethodGet, 0, ""))
		soakReset(h.request(c, http.MethodPost, 100, "10:4"))
	}
	return err
}
