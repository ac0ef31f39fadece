package attacks_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

const (
	strangerTimeout = 500 * time.Millisecond
	strangerPending = 30
)

// stranger is a client without a token, and the server it plays with.
type stranger struct {
	t    *testing.T
	s    *harness.App
	http *http.Client // whose connections end with their requests
}

// dial connects. Where the gate refuses, the client is closed and its packets go nowhere.
func (a stranger) dial(o siotest.Options) *siotest.Client {
	a.t.Helper()
	o.HTTP = a.http
	c, err := siotest.Dial(a.t.Context(), a.s.At.URL, o)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(c.Abort)
	return c
}

// everywhere plays with a client of each transport.
func (a stranger) everywhere(play func(c *siotest.Client)) {
	for _, transport := range []string{"polling", "websocket"} {
		play(a.dial(siotest.Options{Transport: transport}))
	}
}

// raw writes to a connection of its own and reads what comes until the server ends it.
func (a stranger) raw(text string) net.Conn {
	conn, err := a.http.Transport.(*http.Transport).DialContext(a.t.Context(), "tcp", "")
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	_ = conn.SetWriteDeadline(time.Now().Add(strangerTimeout))
	_, _ = io.WriteString(conn, text)
	return conn
}

// request11 is the text of a polling request that ends its connection.
func request11(method, query, headers, body string) string {
	return method + " /socket.io/?EIO=3&transport=polling" + query + " HTTP/1.1\r\nHost: in.memory\r\nConnection: close\r\n" + headers + "\r\n" + body
}

func (a stranger) status(want int, method, query string) {
	a.t.Helper()
	r, err := http.NewRequest(method, a.s.At.URL+"/socket.io/?"+query, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	response, err := a.http.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != want {
		a.t.Errorf("%s %s: %s, want %d", method, query, response.Status, want)
	}
}

// badToken has the wrong signature, so that it costs a verification.
func badToken(tb testing.TB) string {
	return harness.Sign(tb, jwt.SigningMethodHS256, []byte("a different secret of at least 32 bytes"), jwt.MapClaims{"sub": "eve"})
}

func repeat(n int, packets ...string) (frames []siotest.Frame) {
	for range n {
		for _, p := range packets {
			frames = append(frames, siotest.Text(p))
		}
	}
	return frames
}

const halfPost = "Content-Length: 100\r\n"

var webSocketHead = "GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: in.memory\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// pranks are what strangers do. Errors of what they send do not count.
var pranks = map[string]func(stranger){
	"events before authenticate": func(a stranger) {
		for _, packet := range []string{`42["echo","x"]`, `427["echo","x"]`, `42/other,["echo","x"]`, `451-["echo",{"_placeholder":true,"num":0}]`} {
			a.everywhere(func(c *siotest.Client) { _ = c.SendFrames(repeat(3, packet)...) })
		}
		a.everywhere(func(c *siotest.Client) { _ = c.Emit("/", "echo", []byte("binary")) })
	},
	"authenticate storm": func(a stranger) {
		storm := repeat(1000, `42["authenticate",{"token":"`+badToken(a.t)+`"}]`)
		a.everywhere(func(c *siotest.Client) { _ = c.SendFrames(storm...) })
		c := a.dial(siotest.Options{})
		var group sync.WaitGroup
		for i := range 50 { // which are as many as a POST may hold
			group.Go(func() { _ = c.SendFrames(storm[20*i : 20*i+20]...) })
		}
		group.Wait()
	},
	"40 again": func(a stranger) {
		a.everywhere(func(c *siotest.Client) { _ = c.SendFrames(repeat(50, "40", "40/", "40/other")...) })
	},
	"41, then 40": func(a stranger) {
		a.everywhere(func(c *siotest.Client) { _ = c.SendFrames(repeat(50, "41", "40", `42["echo","x"]`)...) })
		a.everywhere(func(c *siotest.Client) { _ = c.SendFrames(repeat(50, "40/other", "41/other")...) })
	},
	"unknown namespaces": func(a stranger) {
		a.everywhere(func(c *siotest.Client) {
			for i := range 100 {
				name := fmt.Sprintf("/unknown%d", i)
				_ = c.SendFrames(repeat(1, "40"+name, "42"+name+`,["echo","x"]`, "41"+name)...)
			}
		})
	},
	"events to namespaces that were not joined": func(a stranger) {
		a.everywhere(func(c *siotest.Client) {
			_ = c.SendFrames(repeat(10, `42/other,["echo","x"]`, `42/other,["authenticate",{"token":"x"}]`, "41/other")...)
		})
	},
	"events to a namespace that was joined": func(a stranger) {
		a.everywhere(func(c *siotest.Client) { _ = c.SendFrames(repeat(10, "40/other", `42/other,["echo","x"]`)...) })
	},
	"acknowledgements that nobody asked for": func(a stranger) {
		a.everywhere(func(c *siotest.Client) {
			for _, id := range []string{"0", "1", "4096", "1099511627776", "1099511627777", "9007199254740993"} {
				_ = c.SendFrames(repeat(20, "43"+id+"[]", "43/other,"+id+"[]", `461-`+id+`[{"_placeholder":true,"num":0}]`)...)
				_ = c.SendBinary([]byte("x"))
			}
		})
		a.everywhere(func(c *siotest.Client) { _ = c.SendPacket("4318446744073709551616[]") })
	},
	"parallel GETs": func(a stranger) {
		c := a.dial(siotest.Options{})
		var group sync.WaitGroup
		for range 30 {
			group.Go(func() { _, _, _ = c.Poll(a.t.Context()) })
		}
		group.Wait()
	},
	"parallel POSTs": func(a stranger) {
		c := a.dial(siotest.Options{})
		var group sync.WaitGroup
		for range 30 {
			group.Go(func() { _, _ = c.PostRaw("text/plain", strings.NewReader(`14:42["echo","x"]`)) })
		}
		group.Wait()
	},
	"half a POST, then gone": func(a stranger) {
		c := a.dial(siotest.Options{})
		_ = a.raw(request11("POST", "&sid="+c.SID(), halfPost, `14:42["echo","x"]`)).Close()
		_ = a.raw(request11("POST", "", halfPost, `14:42["echo","x"]`)).Close()
	},
	"half a POST, then silence": func(a stranger) {
		c := a.dial(siotest.Options{})
		a.raw(request11("POST", "&sid="+c.SID(), halfPost, `14:42["echo","x"]`))
		a.raw(request11("POST", "", halfPost, `14:42["echo","x"]`))
	},
	"Content-Length lies": func(a stranger) {
		for _, headers := range []string{
			"Content-Length: 3\r\n", "Content-Length: -1\r\n", "Content-Length: 17\r\nContent-Length: 3\r\n", "Content-Length: x\r\n",
			"Content-Length: 99999999999999999999\r\n", "Content-Length: 17\r\nTransfer-Encoding: chunked\r\n", "",
		} {
			c := a.dial(siotest.Options{})
			_ = a.raw(request11("POST", "&sid="+c.SID(), headers, `14:42["echo","x"]`)).Close()
		}
		c := a.dial(siotest.Options{})
		_ = a.raw(request11("GET", "&sid="+c.SID(), halfPost, `14:42["echo","x"]`)).Close()
	},
	"gone at every step": func(a stranger) {
		_ = a.raw("").Close()
		for _, request := range []string{request11("GET", "", "", ""), webSocketHead} {
			_ = a.raw(request[:len(request)/2]).Close()
			_ = a.raw(request).Close()
		}
		for _, transport := range []string{"polling", "websocket"} {
			a.dial(siotest.Options{Transport: transport, ManualPoll: true}).Abort() // after OPEN
			c := a.dial(siotest.Options{Transport: transport})
			_, _ = c.Next(a.t.Context()) // 40
			c.Abort()
			c = a.dial(siotest.Options{Transport: transport, ManualPoll: true, ManualRead: true})
			_ = c.SendPacket(`42["authenticate",{"token":"` + badToken(a.t) + `"}]`)
			c.Abort() // before the answer
		}
		for _, upgrade := range []func(*siotest.Client) error{
			func(c *siotest.Client) error { return c.Probe(a.t.Context()) },
			func(c *siotest.Client) error { return c.UpgradeNow(a.t.Context()) },
		} {
			c := a.dial(siotest.Options{})
			_ = upgrade(c)
			c.Abort()
		}
	},
	"idle": func(a stranger) {
		a.everywhere(func(*siotest.Client) {})
		a.dial(siotest.Options{ManualPoll: true, NoPing: true})
		_ = a.dial(siotest.Options{}).Probe(a.t.Context())
	},
	"made-up session ids": func(a stranger) {
		victim := a.dial(siotest.Options{}).SID()
		for _, sid := range []string{"1", "2", victim + "x", victim[1:], strings.ToUpper(victim), "%00", "..%2f", strings.Repeat("x", 10_000)} {
			for _, method := range []string{"GET", "POST", "PUT"} {
				a.status(400, method, "EIO=3&transport=polling&sid="+sid)
			}
			c := a.dial(siotest.Options{})
			_ = a.raw(strings.Replace(webSocketHead, "websocket HTTP", "websocket&sid="+sid+" HTTP", 1)).Close()
			c.Abort()
		}
	},
	"requests on a WebSocket's session": func(a stranger) {
		victim := a.dial(siotest.Options{Transport: "websocket"}).SID()
		if victim == "refused" {
			return // by the gate, which lets such clients say goodbye
		}
		for range 3 {
			a.status(400, "GET", "EIO=3&transport=polling&sid="+victim)
			a.status(400, "POST", "EIO=3&transport=polling&sid="+victim)
			_ = a.raw(strings.Replace(webSocketHead, "websocket HTTP", "websocket&sid="+victim+" HTTP", 1)).Close()
		}
	},
	"wrong methods": func(a stranger) {
		c := a.dial(siotest.Options{})
		for _, method := range []string{"HEAD", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"} {
			for _, query := range []string{"EIO=3&transport=polling", "EIO=3&transport=websocket", "transport=polling&sid=" + c.SID(), "transport=websocket&sid=" + c.SID()} {
				a.status(400, method, query)
			}
		}
		a.status(400, "POST", "EIO=3&transport=polling")
		a.status(400, "POST", "EIO=3&transport=websocket")
	},
	"EIO=4, and no namespace": func(a stranger) {
		for range 10 {
			a.dial(siotest.Options{Version: 4})
			a.status(400, "GET", "EIO=4&transport=websocket")
			a.status(400, "POST", "EIO=4&transport=polling")
			a.status(400, "GET", "EIO=4&transport=polling&j=0")
		}
	},
	"EIO=4, and no token": func(a stranger) {
		for range 10 {
			c := a.dial(siotest.Options{Version: 4})
			c.Must(a.t).Join("/")
		}
	},
	"EIO=5": func(a stranger) {
		for range 10 {
			a.status(400, "GET", "EIO=5&transport=polling")
			a.status(400, "GET", "EIO=5&transport=websocket")
			a.status(400, "POST", "EIO=5&transport=polling")
		}
	},
}

// Whatever strangers do, no handler runs, an honest client is served, they are not held
// longer than the timeout and a second, and nothing of them stays.
func TestStrangers(t *testing.T) {
	t.Parallel()
	for mode, opts := range map[string]socketiojwt.Options{
		"handshake":             {Handshake: true},
		"round trip":            {},
		"round trip with grace": {CloseGrace: -1},
	} {
		for name, prank := range pranks {
			t.Run(mode+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var verified atomic.Int32
					opts.Timeout, opts.MaxPending = strangerTimeout, strangerPending
					opts.Secret = socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
						verified.Add(1)
						return harness.Secret, nil
					})
					suffer(t, opts, prank)
					if n := verified.Load(); n > 25 { // 5 for each connection, and those of the honest client
						t.Errorf("%d tokens were verified", n)
					}
				})
			})
		}
	}
}

// suffer plays a prank. It is called in a bubble of testing/synctest.
func suffer(t *testing.T, opts socketiojwt.Options, prank func(stranger)) {
	var ran harness.Record
	s := harness.StartAt(t, harness.InMemory(t), opts, func(s *harness.App) {
		mine := func(c socketio.Conn) bool {
			session, ok := s.Auth.Session(c)
			return ok && session.Subject() == "bob"
		}
		for _, nsp := range []string{"/", "/other"} {
			note := func(what string, c socketio.Conn) {
				if !mine(c) {
					ran.Add("%s of %s", what, nsp)
				}
			}
			s.OnConnect(nsp, func(c socketio.Conn) error { note("OnConnect", c); return nil })
			s.OnDisconnect(nsp, func(c socketio.Conn, _ string) { note("OnDisconnect", c) })
			s.OnError(nsp, func(c socketio.Conn, _ error) { note("OnError", c) })
			s.OnEvent(nsp, "echo", func(c socketio.Conn, text string) string { note("echo", c); return text })
		}
	})
	_, honest := s.Honest(t, "websocket")
	transport := s.At.Client.Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	before, began := harness.InBubble(), time.Now()

	prank(stranger{t, s, &http.Client{Transport: transport}})
	harness.Served(t, honest)
	for s.Count() > 1 || harness.InBubble() > before {
		if time.Since(began) >= strangerTimeout+time.Second {
			t.Fatalf("after %v there are %d sessions and %d goroutines more", time.Since(began), s.Count()-1, harness.InBubble()-before)
		}
		time.Sleep(50 * time.Millisecond)
	}
	harness.Served(t, honest)

	if n := s.Auth.Stats().Pending; n != 0 {
		t.Errorf("%d places are still taken", n)
	}
	var waiting []*siotest.Client
	for range strangerPending/2 + 1 { // as many as one host gets if nobody had been there
		c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
		if !opts.Handshake {
			must.NextRaw("40")
		}
		waiting = append(waiting, c)
	}
	for _, c := range waiting {
		c.Abort()
	}
	if ran.String() != "" {
		t.Errorf("these ran: %s", &ran)
	}
}
