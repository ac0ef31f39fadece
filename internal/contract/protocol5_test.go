package contract_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"
)

// Clients 3.x and 4.x: what e2e does not see, because real clients do not do it or hide it.

func eachTransport(t *testing.T, f func(t *testing.T, transport string)) {
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) { f(t, transport) })
	}
}

func TestConnectErrorBytes(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true, MaxAttempts: 100}, func(s *harness.App) {
		s.OnEvent("/admin", "x", func(socketio.Conn) {})
	})
	eachTransport(t, func(t *testing.T, transport string) {
		for packet, want := range map[string]string{
			`40`:                               "44" + harness.ConnectError("credentials_required", "no token provided"),
			`40{}`:                             "44" + harness.ConnectError("credentials_required", "no token provided"),
			`40/admin,{"token":"a.b.c"}`:       "44/admin," + harness.ConnectError("invalid_token", "jwt malformed"),
			`40/,`:                             "44" + harness.ConnectError("credentials_required", "no token provided"),
			`40/,{"token":"a.b.c"}`:            "44" + harness.ConnectError("invalid_token", "jwt malformed"),
			`40{"pid":"x","offset":"y"}`:       "44" + harness.ConnectError("credentials_required", "no token provided"),
			`40[]`:                             "44" + harness.ConnectError("invalid_token", "invalid token datatype"),
			`40"token"`:                        "44" + harness.ConnectError("invalid_token", "invalid token datatype"),
			`40null`:                           "44" + harness.ConnectError("invalid_token", "invalid token datatype"),
			`40 7`:                             "44" + harness.ConnectError("invalid_token", "invalid token datatype"),
			`40{"token":null}`:                 "44" + harness.ConnectError("invalid_token", "invalid token datatype"),
			`40{"token":""}`:                   "44" + harness.ConnectError("invalid_token", "invalid token datatype"),
			`40{"token":"a","token":"b"}`:      "44" + harness.ConnectError("invalid_token", "invalid token datatype"),
			`40{"token":"Bearer a.b.c"}`:       "44" + harness.ConnectError("invalid_token", "jwt malformed"),
			`40/nowhere,`:                      `44/nowhere,{"message":"Invalid namespace"}`,
			`40/nowhere?token=x,{"token":"x"}`: `44/nowhere?token=x,{"message":"Invalid namespace"}`,
			`40{"token":"` + harness.TokenOf(t, "a") + `x"}`: "44" + harness.ConnectError("invalid_token", "invalid signature"),
		} {
			m := harness.Dial4(t, s, transport)
			m.Send(packet)
			m.NextRaw(want)
		}
		m := harness.Dial4(t, s, transport)
		m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
		m.Connected("/")
		m.Send("40", "40{}") // again: once is enough
		m.JoinWith("/admin", harness.Auth{"token": harness.TokenOf(t, "alice")})
		if message, _ := m.Refused("/admin"); message != "jwt subject changed" {
			t.Errorf("another user's token: %s", message)
		}
		m.Join("/admin")
		m.Connected("/admin")
		m.Send("41/,") // the root
		m.JoinWith("/", harness.Auth{"pid": "x"})
		m.Connected("/")
	})
}

// What is no packet of protocol 5 ends the connection, and reaches nobody.
func TestProtocol5Grammar(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, nil)
	eachTransport(t, func(t *testing.T, transport string) {
		for _, packet := range []string{
			"40{", "40{]", "40nonsense", "40" + strings.Repeat("[", 100), "40/a\x1fb,", "40/a\x7f,", "44{}", "4", "47", "2", "2probe", "41{}",
		} {
			c := siotest.MustDial(t, s.At.URL, siotest.Options{Version: 4, Transport: transport})
			_ = c.SendPacket(packet) // a POST is answered with 400
			c.Must(t).Closed()
		}
		m := harness.Dial4(t, s, transport)
		m.Send(`42["early"]`, `430[]`, "41", "3") // nowhere to go, and no harm
		m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
		m.Connected("/")
	})
}

func TestDeadlineOfAConnection(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		for name, send := range map[string][]string{
			"nothing":      nil,
			"no token":     {"40"},
			"refused":      {`40{"token":"a.b.c"}`},
			"unknown":      {"40/nowhere,"},
			"all of these": {"40", "40/nowhere,", "40/admin,"},
		} {
			for _, handshake := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/%v", transport, name, handshake), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: handshake, Timeout: 3 * time.Second}, func(s *harness.App) {
							s.OnEvent("/admin", "x", func(socketio.Conn) {})
						})
						began := time.Now()
						m := harness.Dial4(t, s, transport)
						if len(send) > 0 {
							m.Send(send...)
						}
						left := map[string]bool{}
						for _, p := range m.Rest() {
							if p.Type == siotest.Disconnect {
								left[p.Namespace] = true
							}
						}
						if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
							t.Errorf("it lasted %v", took)
						}
						for _, packet := range send {
							name, _, _ := strings.Cut(strings.TrimPrefix(packet, "40"), ",")
							if name == "" || name[0] != '/' {
								name = "/"
							}
							if !left[name] {
								t.Errorf("no DISCONNECT for %s", name)
							}
						}
						synctest.Wait()
						if s.Count() != 0 || s.Auth.Stats().Pending != 0 {
							t.Errorf("%d connections, %d pending", s.Count(), s.Auth.Stats().Pending)
						}
					})
				})
			}
		}
	}
}

// A refusal that may be gone a moment later is not told: clients take it for final.
func TestRetryableRefusal(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
					Handshake: true, Timeout: 2 * time.Second,
					Secret: socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
						return nil, errors.New("no store")
					}),
				}, nil)
				began := time.Now()
				m := harness.Dial4(t, s, transport)
				m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
				for _, p := range m.Rest() {
					t.Errorf("told %s", p.Raw)
				}
				if took := time.Since(began); took < 2*time.Second || took > 3*time.Second {
					t.Errorf("it lasted %v", took)
				}
			})
		})
	}
}

func TestMaxPendingOfConnections(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true, MaxPending: 1}, nil)
	handshake := func() (int, string) {
		response, err := http.Get(s.At.URL + "/socket.io/?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	first := harness.Dial4(t, s, "websocket")
	if status, body := handshake(); status != 503 || body != `{"message":"server busy","code":"server_busy","type":"UnauthorizedError"}` {
		t.Errorf("one too many: %d %s", status, body)
	}
	first.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
	first.Connected("/") // gives the place back
	second := harness.Dial4(t, s, "polling")
	second.Send("1")
	second.Closed()
	harness.Eventually(t, "the place is free", func() bool { return s.Auth.Stats().Pending == 0 })
	if status, body := handshake(); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

func TestAttemptsOfAConnection(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true, MaxAttempts: 2}, nil)
	m := harness.Dial4(t, s, "websocket")
	for range 5 {
		m.Join("/")
		m.Refused("/") // no token, no attempt
	}
	for _, want := range []string{"jwt malformed", "jwt malformed", "too many attempts"} {
		m.JoinWith("/", harness.Auth{"token": "a.b.c"})
		if message, _ := m.Refused("/"); message != want {
			t.Errorf("%q, want %q", message, want)
		}
	}
}

func TestNamespaceAlone(t *testing.T) {
	t.Parallel()
	var roots atomic.Int32
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, func(s *harness.App) {
		s.OnConnect("/", func(socketio.Conn) error { roots.Add(1); return nil })
		s.OnEvent("/admin", "size", func(_ socketio.Conn, text string) int { return len(text) })
	})
	eachTransport(t, func(t *testing.T, transport string) {
		m := harness.Dial4(t, s, transport)
		m.JoinWith("/admin", harness.Auth{"token": harness.TokenOf(t, "bob")})
		m.Connected("/admin")
		p := m.Call("/admin", "size", strings.Repeat("x", 20<<10))
		if p.Raw != "43/admin,0[20480]" {
			t.Errorf("got %s", p.Raw)
		}
		s.BroadcastToNamespace("/", "news")
		s.BroadcastToNamespace("/admin", "news")
		if p := m.Next(); p.Namespace != "/admin" {
			t.Errorf("got %s", p.Raw)
		}
	})
	if n := roots.Load(); n != 0 {
		t.Errorf("the root's OnConnect ran %d times", n)
	}
}

func TestEndsOfProtocol5(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *harness.App, m siotest.Must){
		"Disconnect": func(s *harness.App, _ siotest.Must) { s.Auth.DisconnectSubject("bob", nil) },
		"OnConnect":  func(_ *harness.App, m siotest.Must) { m.Join("/no") },
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, socketiojwt.Options{}, func(s *harness.App) {
				s.OnConnect("/no", func(c socketio.Conn) error {
					c.Emit("before")
					return errors.New("no")
				})
				s.OnEvent("/public", "x", func(socketio.Conn) {})
			}, "/", "/no")
			eachTransport(t, func(t *testing.T, transport string) {
				m := harness.Dial4(t, s, transport)
				m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
				m.Connected("/")
				m.NextRaw(`42["authenticated"]`)
				end(s, m)
				if name == "OnConnect" {
					m.Connected("/no")
					m.NextRaw(`42/no,["before"]`)
					m.NextRaw(`42/no,0["unauthorized",` + harness.ConnectError("unauthorized", "unauthorized") + `]`)
					m.NextRaw(`41/no,`)
					m.Emit("/", "still here")
					return
				}
				m.NextRaw(`420["unauthorized",` + harness.ConnectError("unauthorized", "unauthorized") + `]`)
				m.NextRaw(`41`)
				m.Closed() // nothing is left
			})
		})
	}
}

// A public namespace lives on, and the client may come back in.
func TestPublicNamespaceOfProtocol5(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, func(s *harness.App) {
		s.OnEvent("/", "ping", func(socketio.Conn) string { return "pong" })
	}, "/admin")
	m := harness.Dial4(t, s, "websocket")
	m.Join("/")
	m.Connected("/")
	m.JoinWith("/admin", harness.Auth{"token": harness.TokenOf(t, "bob")})
	m.Connected("/admin")
	s.Auth.DisconnectSubject("bob", nil)
	m.NextRaw(`42/admin,0["unauthorized",` + harness.ConnectError("unauthorized", "unauthorized") + `]`)
	m.NextRaw(`41/admin,`)
	if p := m.Call("/", "ping"); p.Raw != `430["pong"]` {
		t.Errorf("got %s", p.Raw)
	}
	m.JoinWith("/admin", harness.Auth{"token": harness.TokenOf(t, "alice")})
	m.Connected("/admin")
}

func TestIDOfProtocol5(t *testing.T) {
	t.Parallel()
	ids := make(chan string, 1)
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error { ids <- c.ID(); return nil })
	})
	m := harness.Dial4(t, s, "polling")
	m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
	id := <-ids
	if p := m.Connected("/"); p.SID() != id || id == "" {
		t.Errorf("CONNECT says %q, ID is %q", p.SID(), id)
	}
	response, err := http.Get(s.At.URL + "/socket.io/?EIO=4&transport=polling&sid=" + id)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != 400 {
		t.Errorf("the id is good for a poll: %s", response.Status)
	}
	s.BroadcastToRoom("/", id, "hello")
	m.NextRaw(`42["hello"]`)
}

func TestEventsThatClientsDoNotTake(t *testing.T) {
	t.Parallel()
	failed := make(chan string, 10)
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error {
			c.Emit("disconnect")
			c.Emit("fine")
			return nil
		})
		s.OnError("/", func(_ socketio.Conn, err error) { failed <- err.Error() })
	})
	m := harness.Dial4(t, s, "websocket")
	m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
	m.Connected("/")
	m.NextRaw(`42["fine"]`)
	if text := <-failed; !strings.Contains(text, `"disconnect"`) {
		t.Error(text)
	}
}

// go-socket.io connects in a goroutine of its own: whatever comes first, nobody passes its hook.
func TestHooksOfProtocol5(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		t.Run(fmt.Sprint(handshake), func(t *testing.T) {
			a := harness.Authorize(t, socketiojwt.Options{Handshake: handshake})
			server := socketio.NewServer(socketiojwt.Harden(nil))
			for _, name := range []string{"/", "/admin"} {
				server.OnConnect(name, a.OnConnect)
				server.OnEvent(name, "authenticate", a.OnAuthenticate)
				server.OnDisconnect(name, a.OnDisconnect)
				server.OnEvent(name, "whoami", a.Guard(func(c socketio.Conn) string {
					session, _ := a.Session(c)
					return session.Subject()
				}))
			}
			at := harness.Loopback(t)
			harness.Serve(t, server, at, a.Handler(server))
			s := &harness.App{Auth: a, At: at}
			for _, transport := range harness.Transports {
				rounds := 8
				if transport == "upgrade" { // which takes 100 ms
					rounds = 2
				}
				for range rounds {
					for _, order := range [][]string{{"/"}, {"/admin"}, {"/admin", "/"}, {"/", "/admin"}} {
						m := harness.Dial4(t, s, transport)
						m.JoinWith(order[0], harness.Auth{"token": "a.b.c"})
						if message, _ := m.Refused(order[0]); message != "jwt malformed" {
							t.Fatal(message)
						}
						m = harness.Dial4(t, s, transport)
						for _, name := range order {
							m.JoinWith(name, harness.Auth{"token": harness.TokenOf(t, "bob")})
							m.Connected(name)
							if p := m.Call(name, "whoami"); !strings.HasSuffix(p.Raw, `["bob"]`) {
								t.Fatalf("%v: %s", order, p.Raw)
							}
						}
						if len(order) == 1 {
							m.Send("41" + strings.TrimSuffix(order[0]+",", "/,"))
							m.Join(order[0])
							m.Connected(order[0])
						}
					}
				}
			}
		})
	}
}

func TestRequestAuth(t *testing.T) {
	t.Parallel()
	seen := make(chan *socketiojwt.Request, 1)
	s := harness.Start(t, socketiojwt.Options{Handshake: true, Accept: func(_ context.Context, r *socketiojwt.Request, _ *jwt.Token) (any, error) {
		seen <- r
		return nil, nil
	}}, nil)
	m := harness.Dial4(t, s, "websocket")
	token := harness.TokenOf(t, "bob")
	m.JoinWith("/", json.RawMessage(`{"token":"`+token+`","room":7}`))
	r := <-seen
	if string(r.Auth) != `{"token":"`+token+`","room":7}` {
		t.Errorf("Auth is %s", r.Auth)
	}
	if text := fmt.Sprint(r, r.LogValue()); strings.Contains(text, token) || !strings.Contains(text, "127.0.0.1") {
		t.Errorf("it says %s", text)
	}
}

func TestHeartbeatOfVersion4(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		for _, silent := range []bool{false, true} {
			t.Run(fmt.Sprint(transport, " silent ", silent), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: true}, nil)
					c := siotest.MustDial(t, s.At.URL, siotest.Options{Version: 4, Transport: transport, NoPong: silent, HTTP: s.At.Client})
					if open := c.Open(); open.PingInterval != 20_000 || open.PingTimeout != 40_000 || open.MaxPayload != 1<<20 {
						t.Errorf("OPEN says %+v", open)
					}
					m := c.Must(t)
					m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
					m.Connected("/")
					began := time.Now()
					if silent {
						<-c.Done()
						if took := time.Since(began); took < 79*time.Second || took > 81*time.Second {
							t.Errorf("a silent client was there for %v", took)
						}
						return
					}
					time.Sleep(10 * time.Minute)
					s.BroadcastToNamespace("/", "still here")
					m.NextRaw(`42["still here"]`)
				})
			})
		}
	}
}

// With CLOSE beside it, clients would lose what says why (EIO4: they dispatch later).
func TestCloseApart(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{}, func(s *harness.App) {
		s.OnEvent("/", "go", func(c socketio.Conn) {
			c.Emit("last")
			_ = c.Close()
		})
	})
	c := siotest.MustDial(t, s.At.URL, siotest.Options{Version: 4, Transport: "polling", ManualPoll: true})
	m := c.Must(t)
	m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
	var answers []string
	poll := func() {
		packets, _, err := c.Poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		answer := ""
		for _, p := range packets {
			answer += p.String() + " "
		}
		answers = append(answers, answer)
	}
	poll()
	m.Emit("/", "go")
	for len(answers) < 10 && !strings.HasSuffix(answers[len(answers)-1], "6 1 ") {
		poll()
	}
	all := strings.Join(answers, "| ")
	if !strings.HasSuffix(all, `42["last"] 41 | 6 1 `) {
		t.Errorf("the answers were %q", all)
	}
}

func TestModesOfProtocol5(t *testing.T) {
	t.Parallel()
	t.Run("guests", func(t *testing.T) {
		for _, handshake := range []bool{true, false} {
			s := harness.Start(t, socketiojwt.Options{Handshake: handshake, Optional: true}, nil)
			m := harness.Dial4(t, s, "websocket")
			m.Join("/")
			m.Connected("/")
			s.BroadcastToNamespace("/", "for members")
			m.Emit("/", "authenticate", harness.Auth{"token": harness.TokenOf(t, "bob")})
			m.NextRaw(`42["authenticated"]`)
			s.BroadcastToNamespace("/", "for members")
			m.NextRaw(`42["for members"]`)
			bad := harness.Dial4(t, s, "websocket")
			bad.JoinWith("/", harness.Auth{"token": "a.b.c"})
			if message, _ := bad.Refused("/"); message != "jwt malformed" {
				t.Errorf("a guest with a bad token: %s", message)
			}
		}
	})
	t.Run("cookie", func(t *testing.T) {
		s := harness.Start(t, socketiojwt.Options{Handshake: true, Cookie: "jwt"}, nil)
		for origin, want := range map[string]string{"": "", s.At.URL: "", "https://evil.example": "no token provided"} {
			header := http.Header{"Cookie": {"jwt=" + harness.TokenOf(t, "bob")}}
			if origin != "" {
				header.Set("Origin", origin)
			}
			m := siotest.MustDial(t, s.At.URL, siotest.Options{Version: 4, Transport: "polling", Header: header}).Must(t)
			m.Join("/")
			if want == "" {
				m.Connected("/")
			} else if message, _ := m.Refused("/"); message != want {
				t.Errorf("from %s: %s", origin, message)
			}
		}
	})
	t.Run("two Authorizers", func(t *testing.T) {
		const otherSecret = "another secret of at least 32 bytes"
		s := harness.Start(t, socketiojwt.Options{Handshake: true}, nil, "/")
		other := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(otherSecret)})
		other.Protect(s.Plain, "/admin").OnEvent("/admin", "x", func(socketio.Conn) {})
		theirs := harness.Sign(t, jwt.SigningMethodHS256, []byte(otherSecret), jwt.MapClaims{"sub": "alice"})
		m := harness.Dial4(t, s, "upgrade")
		m.JoinWith("/admin", harness.Auth{"token": theirs})
		m.Connected("/admin")
		m.NextRaw(`42/admin,["authenticated"]`)
		m.JoinWith("/", harness.Auth{"token": theirs})
		if message, _ := m.Refused("/"); message != "invalid signature" {
			t.Errorf("the other's token: %s", message)
		}
		m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
		m.Connected("/")
		other.DisconnectSubject("alice", nil)
		m.NextRaw(`42/admin,0["unauthorized",` + harness.ConnectError("unauthorized", "unauthorized") + `]`)
		m.NextRaw("41/admin,")
		s.BroadcastToNamespace("/", "still here")
		m.NextRaw(`42["still here"]`)
	})
}

// Attachments follow their header and nothing else, in both forms that version 4 has for them.
func TestAttachmentsOfProtocol5(t *testing.T) {
	t.Parallel()
	const header = `451-["size",{"_placeholder":true,"num":0}]`
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, func(s *harness.App) {
		s.OnEvent("/", "size", func(_ socketio.Conn, b *parser.Buffer) int { return len(b.Data) })
	})
	for _, transport := range harness.Transports {
		for _, b64 := range []bool{false, true} {
			dial := func() (*siotest.Client, siotest.Must) {
				o := siotest.Options{Version: 4, Transport: transport}
				if b64 {
					o.Query = url.Values{"b64": {"1"}}
				}
				c := siotest.MustDial(t, s.At.URL, o)
				m := c.Must(t)
				m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
				m.Connected("/")
				return c, m
			}
			c, m := dial()
			m.OK(c.SendFrames(siotest.Text(`451-0["size",{"_placeholder":true,"num":0}]`), siotest.Binary([]byte{0, 30, 4})))
			m.NextRaw("430[3]")
			for _, frames := range [][]siotest.Frame{
				{siotest.Binary([]byte("alone"))},
				{siotest.Text(header), siotest.Text(`42["x"]`)},
				{siotest.Text(header), siotest.Binary(nil), siotest.Binary(nil)},
				{siotest.Text(`451-["size",{"_placeholder":true,"num":1}]`)},
				{siotest.Text(`499999-["size"]`)},
				{siotest.Text("b!")},
			} {
				c, m := dial()
				_ = c.SendFrames(frames...)
				m.Closed()
			}
		}
	}
}

// The root that go-socket.io connects for a client of /admin may be asked for at that very moment.
// Without a token nobody gets in, and nothing comes out.
func TestHookOfARootAskedForLate(t *testing.T) {
	a := harness.Authorize(t, harness.HandshakeMode)
	server := socketio.NewServer(socketiojwt.Harden(nil))
	server.OnConnect("/", a.OnConnect)
	server.OnDisconnect("/", a.OnDisconnect)
	server.OnConnect("/open", func(socketio.Conn) error { return nil })
	at := harness.Loopback(t)
	harness.Serve(t, server, at, a.Handler(server))
	s := &harness.App{Auth: a, At: at}
	stop := harness.Meanwhile(1, func() { server.BroadcastToNamespace("/", "news", "secret") })
	defer stop()
	for i := range 400 {
		m := harness.Dial4(t, s, "websocket")
		m.Send("40/open,")
		for range i % 20 * 40 { // another moment each time
			runtime.Gosched()
		}
		m.Send("40")
		for refused := false; !refused; {
			switch p := m.Next(); {
			case p.Type == siotest.ConnectError:
				refused = true
			case p.Namespace != "/open":
				t.Fatalf("it got %s", p.Raw)
			}
		}
	}
}

// A Secret that takes its time holds up nothing else of the connection, and a client that joins and
// leaves meanwhile makes no more of it run.
func TestSlowSecretOfProtocol5(t *testing.T) {
	for _, handshake := range []bool{true, false} {
		t.Run(fmt.Sprint(handshake), func(t *testing.T) {
			asked, answer := make(chan struct{}, 1000), make(chan struct{})
			s := harness.Start(t, socketiojwt.Options{
				Handshake: handshake,
				Secret: socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
					asked <- struct{}{}
					<-answer
					return []byte(harness.Secret), nil
				}),
			}, func(s *harness.App) {
				s.OnEvent("/open", "echo", func(_ socketio.Conn, text string) string { return text })
			}, "/")
			m := harness.Dial4(t, s, "websocket")
			m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
			<-asked
			m.Join("/open")
			m.Connected("/open")
			before := runtime.NumGoroutine()
			for range 15 {
				m.Send("41")
				m.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
			}
			if p := m.Call("/open", "echo", "x"); p.Raw != `43/open,0["x"]` {
				t.Errorf("got %s", p.Raw)
			}
			if n := runtime.NumGoroutine() - before; n > 5 {
				t.Errorf("%d goroutines more", n)
			}
			close(answer)
			m.Connected("/")
			if n := len(asked); n > 1 {
				t.Errorf("Secret was asked %d times more", n)
			}
		})
	}
}
