package attacks_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/gorilla/websocket"
)

// What a client may send before it is authenticated is bounded, and only then.
func TestLimitsBeforeAuthentication(t *testing.T) {
	t.Parallel()
	large := fmt.Sprintf(`42["echo","%s"]`, strings.Repeat("x", 20_000))
	pings := strings.Split(strings.Repeat("2 ", 300), " ")[:300]
	for _, test := range []struct {
		name, reason string
		send         []string
	}{
		{"a large message", "message too large", []string{large}},
		{"many packets", "too much before authentication", pings},
		{"a large ping", "message too large", []string{"2" + strings.Repeat("x", 1000)}},
		{"what is no packet", "malformed payload", []string{"x"}},
		{"an error packet", "packet type not allowed", []string{`44"x"`}},
		{"an attachment out of order", "attachment count or order", []string{`451-["echo",{"_placeholder":true,"num":0}]`, "2", `42["echo"]`}},
		{"a missing attachment", "placeholder without attachment", []string{`450-["echo",{"_placeholder":true,"num":0}]`}},
	} {
		for _, transport := range harness.Transports {
			t.Run(test.name+"/"+transport, func(t *testing.T) {
				var log harness.Record
				s := harness.Start(t, socketiojwt.Options{
					CloseGrace: -1, // so that it is not closed for an event before authentication
					Logger:     slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo})),
				}, harness.Chat)
				c, must := s.Dial(t, siotest.Options{Transport: transport})
				must.NextRaw("40")
				frames := make([]siotest.Frame, len(test.send))
				for i, packet := range test.send {
					frames[i] = siotest.Text(packet)
				}
				_ = c.SendFrames(frames...) // the server may close before all is sent
				must.Closed()
				harness.Eventually(t, "it is counted", func() bool { return s.Auth.Stats().PacketsRefused[test.reason] == 1 })
				harness.Eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), test.reason) })
				if line := log.String(); strings.Contains(line, "echo") {
					t.Errorf("the log says %q", line)
				}
			})
		}
	}

	t.Run("many polls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { // where they come in no time
			s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{}, harness.Chat)
			c, _ := s.Dial(t, siotest.Options{ManualPoll: true})
			var polls sync.WaitGroup
			for range 300 {
				polls.Go(func() { _, _, _ = c.Poll(t.Context()) })
			}
			polls.Wait()
			if got := s.Auth.Stats().PacketsRefused["too much before authentication"]; got != 1 {
				t.Errorf("it is counted %d times", got)
			}
		})
	})

	t.Run("a malformed form", func(t *testing.T) {
		s := harness.Start(t, socketiojwt.Options{}, harness.Chat)
		c, must := s.Dial(t, siotest.Options{JSONP: true})
		_, _ = c.PostRaw("application/x-www-form-urlencoded", strings.NewReader("d=%zz"))
		must.Closed()
		harness.Eventually(t, "it is counted", func() bool { return s.Auth.Stats().PacketsRefused["malformed payload"] == 1 })
	})

	t.Run("authenticated", func(t *testing.T) {
		s := harness.Start(t, harness.HandshakeMode, harness.Chat)
		for _, transport := range harness.Transports {
			_, must := s.Dial(t, harness.Bob(t, transport))
			must.Event("/", "welcome")
			must.Send(large)
			must.Send(pings...)
			must.Call("/", "echo", "x")
		}
	})

	// The 80 messages that a client has ready when it connects come with its token.
	t.Run("an eager client", func(t *testing.T) {
		s := harness.Start(t, socketiojwt.Options{}, harness.Chat)
		for _, transport := range harness.Transports {
			c, must := s.Dial(t, siotest.Options{Transport: transport})
			must.NextRaw("40")
			frames := []siotest.Frame{siotest.Text(`42["authenticate",{"token":"` + harness.TokenOf(t, "bob") + `"}]`)}
			for i := range 80 {
				frames = append(frames, siotest.Text(fmt.Sprintf(`42%d["echo","x"]`, i)))
			}
			must.OK(c.SendFrames(frames...))
			must.Ack("/", 79)
		}
	})
}

// A body that never ends holds its connection no longer than the authentication timeout.
func TestStalledBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{}, harness.Chat)
		c, must := s.Dial(t, siotest.Options{})
		must.NextRaw("40")
		began := time.Now()
		body, end := io.Pipe()
		posted := make(chan error, 1)
		go func() {
			_, err := c.PostRaw("text/plain", body)
			posted <- err
		}()
		_, _ = io.WriteString(end, "100:4")
		<-posted
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it was held for %v", took)
		}
		_ = end.Close()
		must.Closed()
	})
}

// Neither does an answer that is not read.
func TestStalledAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{}, harness.Chat)
		c, must := s.Dial(t, siotest.Options{ManualPoll: true, NoPing: true})
		must.NextRaw("40")
		for range 20 {
			must.Send("40/" + strings.Repeat("x", 500)) // which is answered
		}
		response, err := s.At.Client.Get(c.URL())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if body, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("%d bytes came in the end", len(body))
		}
		response.Body.Close()
	})
}

// A body where none is read holds up no answer.
func TestBodiesThatNobodyReads(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		for _, test := range []struct {
			method, query string
			status        int
		}{
			{"GET", "transport=polling", http.StatusBadRequest},
			{"GET", "transport=websocket", http.StatusBadRequest},
			{"GET", "transport=polling&sid=x", http.StatusBadRequest},
			{"OPTIONS", "transport=polling", http.StatusBadRequest},
			{"POST", "transport=polling", http.StatusBadRequest},
			{"POST", "transport=polling&sid=x", http.StatusBadRequest},
			{"POST", "transport=polling&sid=refused", http.StatusOK},
		} {
			t.Run(fmt.Sprintf("handshake %t/%s %s", handshake, test.method, test.query), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: handshake}, harness.Chat)
					body, end := io.Pipe()
					defer end.Close()
					r, err := http.NewRequestWithContext(t.Context(), test.method, s.At.URL+"/socket.io/?EIO=3&"+test.query, body)
					if err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					response, err := s.At.Client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					response.Body.Close()
					if took := time.Since(began); response.StatusCode != test.status || took > 2*time.Second {
						t.Errorf("%s after %v", response.Status, took)
					}
				})
			})
		}
	}
}

// One host does not get all places of MaxPending; behind a proxy, where all are one host, it gets
// half of them and nobody is worse off.
func TestPlacesAreShared(t *testing.T) {
	t.Parallel()
	for name, hosts := range map[string]struct{ greedy, greedyToo, other string }{
		"IPv4":              {"10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"},
		"IPv6":              {"[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1", "[2001:db8:0:2::1]:1"},
		"IPv4 told as IPv6": {"10.0.0.1:1", "[::ffff:10.0.0.1]:2", "[::ffff:10.0.0.2]:1"},
		"a link":            {"[fe80::1%eth0]:1", "[fe80::2%eth1]:1", "10.0.0.1:1"},
		"no address":        {"@", "@", "10.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, socketiojwt.Options{MaxPending: 200, Timeout: time.Hour}, nil)
			// enter opens connections until one is refused.
			enter := func(remotes ...string) (n int) {
				for ; ; n++ {
					r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil)
					r.RemoteAddr = remotes[n%len(remotes)]
					w := httptest.NewRecorder()
					s.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						if w.Code != http.StatusServiceUnavailable {
							t.Errorf("status %d: %s", w.Code, w.Body)
						}
						return n
					}
				}
			}
			if n := enter(hosts.greedy, hosts.greedyToo); n != 101 {
				t.Errorf("the first host got %d of 200 places, want 101", n)
			}
			if n := enter(hosts.other); n != 21 {
				t.Errorf("the second host got %d places, want 21", n)
			}
			if n := enter(hosts.greedy); n != 0 {
				t.Errorf("the first host got %d more places", n)
			}
			if pending := s.Auth.Stats().Pending; pending != 122 {
				t.Errorf("%d are pending, want 122", pending)
			}
		})
	}
}

// Places that were given back count for the host that had them.
func TestPlacesComeBack(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true, MaxPending: 20}, nil)
	o := siotest.Options{Version: 4, Transport: "websocket"}
	var waiting []*siotest.Client
	for range 11 {
		waiting = append(waiting, siotest.MustDial(t, s.At.URL, o))
	}
	if _, err := siotest.Dial(t.Context(), s.At.URL, o); err == nil {
		t.Error("a host got more than its share")
	}
	for _, c := range waiting[:5] {
		c.Must(t).JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
		c.Must(t).Connected("/")
	}
	for _, c := range waiting[5:] {
		c.Close()
	}
	harness.Eventually(t, "the places are free", func() bool { return s.Auth.Stats().Pending == 0 })
	for range 11 {
		siotest.MustDial(t, s.At.URL, o)
	}
}

// The limits before authentication are for everybody who is not authenticated, also where the root is
// public, and for guests.
func TestLimitsOfWhoNeverAuthenticates(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 20_000)
	for name, test := range map[string]struct {
		opts       socketiojwt.Options
		namespaces []string
	}{
		"public root": {harness.HandshakeMode, []string{"/admin"}},
		"guest":       {socketiojwt.Options{Optional: true}, nil},
	} {
		for _, version := range []int{3, 4} {
			for _, transport := range harness.Transports {
				t.Run(fmt.Sprintf("%s/EIO=%d/%s", name, version, transport), func(t *testing.T) {
					s := harness.Start(t, test.opts, func(s *harness.App) {
						s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
						s.OnEvent("/admin", "x", func(socketio.Conn) {})
					}, test.namespaces...)
					enter := func() (*siotest.Client, siotest.Must) {
						c := siotest.MustDial(t, s.At.URL, siotest.Options{Version: version, Transport: transport})
						must := c.Must(t)
						if version == 4 {
							must.Join("/")
						}
						must.Connected("/")
						return c, must
					}
					c, must := enter()
					must.Call("/", "echo", large[:10_000])
					_ = c.SendPacket(`42["echo","` + large + `"]`)
					must.Closed()

					_, must = enter()
					switch {
					case test.namespaces == nil:
						must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
						must.Event("/", "authenticated")
					case version == 4:
						must.JoinWith("/admin", harness.Auth{"token": harness.TokenOf(t, "bob")})
						must.Connected("/admin")
					default:
						must.Join("/admin?token=" + harness.TokenOf(t, "bob"))
						must.Connected("/admin")
					}
					must.Call("/", "echo", large)
				})
			}
		}
	}
}

// Frames that bring nothing count too.
func TestFragmentsAreMetered(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]string{
		"empty continuations": "\x00\x80mask",
		"pongs":               "\x8a\x80mask",
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, socketiojwt.Options{Timeout: time.Hour}, nil)
			conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.At.URL, "http")+"/socket.io/?EIO=3&transport=websocket", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			raw := conn.NetConn()
			_, _ = io.WriteString(raw, "\x01\x80mask") // a text message that goes on
			flood := []byte(strings.Repeat(frame, 1000))
			for sent := 0; ; sent += len(flood) {
				if _, err := raw.Write(flood); err != nil {
					break
				}
				if sent > 16<<20 {
					t.Fatal("16 MiB of frames were read")
				}
			}
			harness.Eventually(t, "it is counted", func() bool { return s.Auth.Stats().PacketsRefused["too much before authentication"] == 1 })
		})
	}
}

// A refused WebSocket is not read for as long as its client sends frames that bring nothing.
func TestFragmentsOfTheRefused(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, nil)
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.At.URL, "http")+"/socket.io/?EIO=3&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw := conn.NetConn()
	flood := []byte(strings.Repeat("\x00\x80mask", 1000))
	_, _ = io.WriteString(raw, "\x01\x80mask")
	for sent := 0; ; sent += len(flood) {
		if _, err := raw.Write(flood); err != nil {
			return
		}
		if sent > 16<<20 {
			t.Fatal("16 MiB of frames were read")
		}
	}
}

// PONGs that a client does not fetch do not add up.
func TestPongsThatNobodyFetches(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Timeout: time.Hour}, nil)
	c := siotest.MustDial(t, s.At.URL, siotest.Options{ManualPoll: true, NoPing: true})
	must := c.Must(t)
	must.NextRaw("40")
	for i := range 100 {
		must.Send(fmt.Sprint("2", i))
	}
	response, err := http.Get(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "2:303:399" {
		t.Errorf("got %.100s", body)
	}
}

// A client whose session has ended is one that is not authenticated.
func TestLimitsAfterASession(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			s := harness.Start(t, socketiojwt.Options{}, func(s *harness.App) {
				for _, name := range []string{"/", "/admin"} {
					s.OnEvent(name, "size", func(_ socketio.Conn, text string) int { return len(text) })
				}
			}, "/admin")
			c := siotest.MustDial(t, s.At.URL, siotest.Options{Version: version, Transport: "websocket"})
			must := c.Must(t)
			if version == 4 {
				must.Join("/")
			}
			must.Connected("/")
			must.Join("/admin")
			must.Connected("/admin")
			must.Emit("/admin", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			must.Event("/admin", "authenticated")
			must.Call("/", "size", strings.Repeat("x", 100_000))
			s.Auth.DisconnectSubject("bob", nil)
			must.Event("/admin", "unauthorized")
			must.Type("/admin", 1)
			_ = c.Emit("/", "size", strings.Repeat("x", 100_000)) // may find it closed
			must.Closed()
		})
	}
}

// One message may be as large as it may be, with what a frame adds to it.
func TestLargestMessageAtALowRate(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"polling", "websocket"} {
		t.Run(transport, func(t *testing.T) {
			auth := harness.Authorize(t, socketiojwt.Options{})
			s := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil, socketiojwt.Limits{UnauthenticatedMessageBytes: 4 << 10, UnauthenticatedBytes: 1000})), "/admin")
			s.OnEvent("/", "size", func(_ socketio.Conn, text string) int { return len(text) })
			at := harness.Loopback(t)
			harness.Serve(t, s, at, s)
			_, must := harness.Dial(t, at, siotest.Options{Transport: transport, NoPing: true})
			must.NextRaw("40")
			const head, tail = `420["size","`, `"]`
			size := 4<<10 - len(head+tail)
			if transport == "polling" {
				size -= len("4096:")
			}
			must.Send(head + strings.Repeat("x", size) + tail)
			must.Ack("/", 0)
		})
	}
}
