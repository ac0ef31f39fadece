package attacks_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// heapOf returns how much the heap holds after a collection.
func heapOf() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestHeapOfWhoWaits measures what a connection holds that has yet to authenticate, whatever came with
// its handshake. With polling the TCP connections have ended; with a WebSocket they count, the
// buffers of net/http too.
func TestHeapOfWhoWaits(t *testing.T) {
	const connections = 30
	idle := runtime.NumGoroutine() + 20 // tests that run in parallel wait meanwhile
	s := harness.Start(t, socketiojwt.Options{Timeout: time.Hour}, nil)
	lines := func(n int, line string) string { return strings.Repeat(line+"\r\n", n) }
	names := func(n int, value string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: %s\r\n", i, value)
		}
		return b.String()
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	for name, test := range map[string]struct{ host, query, headers string }{
		"nothing":           {},
		"very many lines":   {headers: lines(21_000, "abc:")},
		"very many names":   {headers: names(8_000, "")},
		"names and values":  {headers: names(500, x(80))},
		"what just fits":    {headers: names(30, x(70))},
		"a long value":      {headers: "X: " + x(60_000) + "\r\n"},
		"a long name":       {headers: x(60_000) + ": x\r\n"},
		"a cookie":          {headers: "Cookie: jwt=" + x(60_000) + "\r\n"},
		"a bearer":          {headers: "Authorization: Bearer " + x(8_000) + "\r\n"},
		"what browsers add": {headers: "User-Agent: " + x(200) + "\r\nOrigin: http://x\r\nAccept-Language: " + x(40) + "\r\nCookie: a=" + x(1000) + "\r\n"},
		"a long host":       {host: x(900_000)},
		"a long query":      {query: "&a=" + x(30_000)},
		"a long token":      {query: "&token=" + x(8_000)},
	} {
		for _, version := range []string{"3", "4"} {
			for _, transport := range []string{"polling", "websocket"} {
				t.Run(name+"/EIO="+version+"/"+transport, func(t *testing.T) {
					if test.host == "" {
						test.host = "x"
					}
					request := "GET /socket.io/?EIO=" + version + "&transport=" + transport + test.query + " HTTP/1.1\r\nHost: " + test.host + "\r\n" + test.headers
					if transport == "websocket" {
						request += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
					} else {
						request += "Connection: close\r\n\r\n"
					}
					open := func() net.Conn {
						conn, err := net.Dial("tcp", strings.TrimPrefix(s.At.URL, "http://"))
						if err != nil {
							t.Fatal(err)
						}
						_ = conn.SetDeadline(time.Now().Add(siotest.DefaultTimeout))
						_, _ = io.WriteString(conn, request)
						response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
						if err == nil && transport == "polling" {
							_, _ = io.Copy(io.Discard, response.Body)
							_ = conn.Close()
						}
						return conn
					}
					open().Close()
					harness.Eventually(t, "it is quiet", func() bool { return runtime.NumGoroutine() <= idle })
					before, there := heapOf(), s.Count()
					var conns []net.Conn
					for range connections {
						conns = append(conns, open())
					}
					most := int64(10 << 10)
					if transport == "websocket" {
						most = 16 << 10
					}
					// The requests of the refused are still ending.
					harness.Eventually(t, "each takes little", func() bool { return (heapOf()-before)/connections <= most })
					if n := s.Count() - there; n != 0 && n < connections {
						t.Errorf("%d of %d connections are there", n, connections)
					}
					for _, conn := range conns {
						_ = conn.Close()
					}
					if transport == "websocket" {
						harness.Eventually(t, "they are gone", func() bool { return s.Count() <= there })
					}
				})
			}
		}
	}
}

// TestHeapOfWhoSends measures what a connection holds that has yet to authenticate and sends, for as long
// as it may, all that it may.
func TestHeapOfWhoSends(t *testing.T) {
	const connections, namespaces = 10, 20
	x := func(n int) string { return strings.Repeat("x", n) }
	each := func(format string, n, size int) (frames []siotest.Frame) {
		for i := range n {
			frames = append(frames, siotest.Text(fmt.Sprintf(format, i, x(size))))
		}
		return frames
	}
	attachments := func(header ...string) (frames []siotest.Frame) {
		for _, packet := range header {
			frames = append(frames, siotest.Text(packet))
		}
		for range 20 {
			frames = append(frames, siotest.Binary([]byte(x(11_000)))) // in base64 it is no large message
		}
		return frames
	}
	const announced = `4564-["x",{"_placeholder":true,"num":0}]`
	for name, test := range map[string]struct {
		version   int
		handshake bool
		unread    bool // nothing is fetched
		frames    []siotest.Frame
		stay      bool
	}{
		"attachments/EIO=3":          {3, false, false, attachments(announced), false},
		"attachments/EIO=4":          {4, false, false, attachments("40", announced), false},
		"attachments/EIO=4, nowhere": {4, true, false, attachments(announced), false},
		"auth, to wait":              {4, false, false, each(`40/n%d,{"x":"%s"}`, namespaces, 15_000), true},
		"auth, to be refused":        {4, true, false, each(`40/n%d,{"x":"%s"}`, namespaces, 15_000), true},
		"a query":                    {3, false, false, each("40/n%d?x=%s", namespaces, 15_000), true},
		"unknown names, unread":      {4, true, true, each("40/%d%s", 200, 1_000), false},
		"refusals, unread":           {4, true, true, slices.Repeat([]siotest.Frame{siotest.Text("40/n1,")}, 900), false},
	} {
		for _, transport := range []string{"polling", "websocket"} {
			t.Run(name+"/"+transport, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: test.handshake}, func(s *harness.App) {
						for i := range namespaces {
							s.OnEvent(fmt.Sprint("/n", i), "x", func(socketio.Conn) {})
						}
					})
					var clients []*siotest.Client
					for range connections {
						c, _ := s.Dial(t, siotest.Options{Version: test.version, Transport: transport, ManualPoll: test.unread, ManualRead: test.unread, NoPing: true})
						clients = append(clients, c)
					}
					synctest.Wait()
					before, pause := heapOf(), 4500*time.Millisecond/time.Duration(len(test.frames))
					for _, frame := range test.frames {
						for _, c := range clients {
							_ = c.SendFrames(frame) // the server may have closed it
						}
						time.Sleep(pause)
					}
					synctest.Wait()
					if holds := (heapOf() - before) / connections; holds > 64<<10 {
						t.Errorf("each holds %d KiB", holds>>10)
					}
					if n := s.Count(); test.stay && n != connections || !test.stay && n != 0 {
						t.Errorf("%d of %d are there", n, connections)
					}
				})
			})
		}
	}
}

// What is not kept of a client that has ended is told all the same.
func TestAuthOfTheRefused(t *testing.T) {
	t.Parallel()
	told := make(chan string, 1)
	s := harness.Start(t, socketiojwt.Options{Handshake: true, OnUnauthorized: func(r *socketiojwt.Request, _ *socketiojwt.UnauthorizedError) {
		told <- string(r.Auth)
	}}, nil)
	long := fmt.Sprintf(`{"token":"%s"}`, strings.Repeat("x", 4000))
	_, must := s.Dial(t, siotest.Options{Version: 4, Transport: "websocket"})
	must.Send("40" + long)
	must.Refused("/")
	if got := <-told; got != long {
		t.Errorf("OnUnauthorized was told %q", got)
	}
}

// What callbacks may need is found in a handshake that is larger than what is kept of it.
func TestLargeHandshakes(t *testing.T) {
	t.Parallel()
	x := strings.Repeat("x", 20_000)
	for _, version := range []int{3, 4} {
		for _, transport := range harness.Transports {
			for _, handshake := range []bool{true, false} {
				t.Run(fmt.Sprintf("EIO=%d/%s/handshake=%t", version, transport, handshake), func(t *testing.T) {
					var asked harness.Record
					s := harness.Start(t, socketiojwt.Options{
						Handshake: handshake,
						Cookie:    "jwt",
						Secret: socketiojwt.SecretFunc(func(_ context.Context, r *socketiojwt.Request, _ *jwt.Token) (any, error) {
							asked.Add("%s %s", r.Header.Get("X-Tenant"), r.URL.Query().Get("tenant"))
							return harness.Secret, nil
						}),
					}, nil)
					header := http.Header{"X-Tenant": {"acme"}, "X-Long": {x}, "Cookie": {"a=" + x + "; jwt=" + harness.TokenOf(t, "bob") + "; b=" + x}}
					c := siotest.MustDial(t, s.At.URL, siotest.Options{Version: version, Transport: transport, Header: header,
						Query: url.Values{"tenant": {"acme"}, "long": {x}}})
					must := c.Must(t)
					if version == 4 {
						must.Join("/")
					}
					must.Connected("/")
					if !handshake {
						must.Emit("/", "authenticate", map[string]string{})
						must.Event("/", "authenticated")
					}
					if asked.String() != "acme acme" {
						t.Errorf("Secret saw %q", &asked)
					}
				})
			}
		}
	}
}

// A token that is too long is refused for that, also where it is not kept.
func TestLongTokenOfALargeHandshake(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, nil)
	must := siotest.MustDial(t, s.At.URL, siotest.Options{Version: 4, Header: http.Header{"Authorization": {"Bearer " + strings.Repeat("x", 20_000)}}}).Must(t)
	must.Join("/")
	if message, _ := must.Refused("/"); message != "jwt too long" {
		t.Errorf("refused for %s", message)
	}
}

// The first line of a request is one string: what is in no part of the URL that anybody reads is kept with it.
func TestHeapOfUserinfo(t *testing.T) {
	const connections = 30
	idle := runtime.NumGoroutine() + 20 // tests that run in parallel wait meanwhile
	s := harness.Start(t, socketiojwt.Options{Timeout: time.Hour}, nil)
	for name, test := range map[string]struct{ target, query string }{
		"userinfo":      {"http://" + strings.Repeat("a", 900_000) + "@x", ""},
		"password":      {"http://u:" + strings.Repeat("a", 900_000) + "@x", ""},
		"scheme":        {strings.Repeat("a", 900_000) + "://x", ""},
		"one parameter": {"", strings.Repeat("&aaaaaaa", 4_000)},
	} {
		for _, version := range []string{"3", "4"} {
			t.Run(name+"/EIO="+version, func(t *testing.T) {
				open := func() {
					conn, err := net.Dial("tcp", strings.TrimPrefix(s.At.URL, "http://"))
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					_ = conn.SetDeadline(time.Now().Add(siotest.DefaultTimeout))
					_, _ = io.WriteString(conn, "GET "+test.target+"/socket.io/?EIO="+version+"&transport=polling"+test.query+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
					if response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil); err == nil {
						_, _ = io.Copy(io.Discard, response.Body)
					}
				}
				open()
				harness.Eventually(t, "it is quiet", func() bool { return runtime.NumGoroutine() <= idle })
				before := heapOf()
				for range connections {
					open()
				}
				harness.Eventually(t, "each takes little", func() bool { return (heapOf()-before)/connections <= 10<<10 })
			})
		}
	}
}
