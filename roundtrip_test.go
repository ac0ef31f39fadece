package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			s := harness.Start(t, socketiojwt.Options{}, harness.Chat)
			_, must := s.Dial(t, siotest.Options{Transport: transport})
			must.NextRaw("40")
			must.Emit("/", "authenticate", map[string]string{"token": "Bearer " + harness.TokenOf(t, "bob")})
			must.NextRaw(`42["authenticated"]`)
			must.NextRaw(`42["welcome","bob"]`)
			if got := string(must.Call("/", "echo", "hé😀").Data); got != `["hé😀"]` {
				t.Errorf("got %s", got)
			}
			// A refresh is answered once, and OnConnect does not run again.
			must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			must.NextRaw(`42["authenticated"]`)
			must.Emit("/", "all", "hello")
			must.NextRaw(`42["all","hello"]`)
		})
	}
}

func TestRoundTripRefusal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, data, code, message string
	}{
		{"no argument", `42["authenticate"]`, "invalid_token", "invalid token datatype"},
		{"null", `42["authenticate",null]`, "invalid_token", "invalid token datatype"},
		{"no token", `42["authenticate",{}]`, "invalid_token", "invalid token datatype"},
		{"number", `42["authenticate",{"token":1}]`, "invalid_token", "invalid token datatype"},
		{"empty", `42["authenticate",{"token":""}]`, "invalid_token", "invalid token datatype"},
		{"a string", `42["authenticate","a.b.c"]`, "invalid_token", "invalid token datatype"},
		{"malformed", `42["authenticate",{"token":"a.b.c"}]`, "invalid_token", "jwt malformed"},
		{"expired", `42["authenticate",{"token":"` + harness.SignHS256(t, jwt.MapClaims{"exp": 1}) + `"}]`, "invalid_token", "jwt expired"},
	} {
		for _, transport := range harness.Transports {
			t.Run(test.name+"/"+transport, func(t *testing.T) {
				s := harness.Start(t, socketiojwt.Options{}, harness.Chat)
				_, must := s.Dial(t, siotest.Options{Transport: transport})
				must.NextRaw("40")
				must.Send(test.data)
				rest := must.Rest()
				if len(rest) != 2 || rest[1].Raw != "41" {
					t.Fatalf("got %v, want unauthorized and 41", rest)
				}
				harness.Unauthorized(t, rest[0], test.code, test.message)
			})
		}
	}
}

// Events before authentication are dropped, as on Node, where nobody listens yet: no answer,
// nobody is sent away, and what comes behind them counts.
func TestEventsBeforeAuthentication(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			var ran, log harness.Record
			s := harness.Start(t, socketiojwt.Options{Logger: harness.LogTo(&log)}, func(s *harness.App) {
				harness.Chat(s)
				s.OnEvent("/", "binary", func(socketio.Conn, *parser.Buffer) { ran.Add("binary") })
				s.OnEvent("/", "early", func(socketio.Conn) string { ran.Add("early"); return "" })
			})
			c, must := s.Dial(t, siotest.Options{Transport: transport})
			must.NextRaw("40")
			must.Send(`42["early"]`)
			must.Send(`420["early"]`)
			must.Send(`451-["binary",{"_placeholder":true,"num":0}]`)
			must.OK(c.SendBinary([]byte("x")))
			must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			must.NextRaw(`42["authenticated"]`)
			must.Event("/", "welcome")
			must.Call("/", "echo", "x")
			if ran.String() != "" {
				t.Errorf("these ran: %s", &ran)
			}
			if n := s.Auth.Stats().EarlyEvents; n != 3 {
				t.Errorf("%d early events are counted", n)
			}
			if n := strings.Count(log.String(), "before authentication are dropped"); n != 1 {
				t.Errorf("it is said %d times: %s", n, &log)
			}
		})
	}
}

func TestRoundTripTimeout(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"polling", "websocket"} {
		t.Run(transport, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{}, harness.Chat)
				began := time.Now()
				_, must := s.Dial(t, siotest.Options{Transport: transport})
				rest := must.Rest()
				if len(rest) != 3 || rest[2].Raw != "41" {
					t.Fatalf("got %v", rest)
				}
				harness.Unauthorized(t, rest[1], "timeout", "authentication timed out")
				if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		})
	}
}

// The deadline runs until authentication succeeds, whatever the client does meanwhile.
func TestRoundTripDeadlineCannotBeMoved(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		sends []string
	}{
		{"failed attempts", []string{`42["authenticate",{"token":"x"}]`}},
		{"leaving and joining the root", []string{"41", "40"}},
		{"joining another namespace", []string{"40/other", "41/other"}},
		{"pings", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{CloseGrace: -1, Timeout: 3 * time.Second}, func(s *harness.App) {
					s.OnConnect("/", func(socketio.Conn) error { t.Error("OnConnect ran"); return nil })
					s.OnConnect("/other", func(socketio.Conn) error { t.Error("OnConnect ran"); return nil })
				})
				began := time.Now()
				c, _ := s.Dial(t, siotest.Options{Transport: "websocket"})
				for range 2 {
					time.Sleep(time.Second)
					for _, packet := range test.sends {
						_ = c.SendText("4" + packet[1:]) // it may be closed already
					}
				}
				<-c.Done()
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		})
	}
}

func TestCloseGrace(t *testing.T) {
	t.Parallel()
	bad := `42["authenticate",{"token":"x"}]`
	for _, test := range []struct {
		name  string
		grace time.Duration
		ack   bool
		after time.Duration
	}{
		{"nobody calls back", 2 * time.Second, false, 2 * time.Second},
		{"the client calls back", 2 * time.Second, true, 0},
		{"until the deadline", -1, false, 5 * time.Second},
		{"until the deadline, the client calls back", -1, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{CloseGrace: test.grace}, harness.Chat)
				began := time.Now()
				c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
				must.NextRaw("40")
				must.Send(bad)
				id := harness.Unauthorized(t, must.Next(), "invalid_token", "jwt malformed")
				if test.ack {
					must.OK(c.Ack("/", id))
				}
				rest := must.Rest()
				if len(rest) == 0 || rest[len(rest)-1].Raw != "41" {
					t.Errorf("got %v, want 41 at the end", rest)
				}
				if took := time.Since(began).Round(time.Second); took != test.after {
					t.Errorf("disconnected after %v, want %v", took, test.after)
				}
			})
		})
	}

	for name, optional := range map[string]bool{"the client tries again": false, "a guest tries again": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{CloseGrace: time.Second, Optional: optional}, harness.Chat)
				_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
				must.NextRaw("40")
				if optional {
					must.NextRaw(`42["welcome","a guest"]`)
				}
				must.Send(bad)
				harness.Unauthorized(t, must.Next(), "invalid_token", "jwt malformed")
				must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
				must.NextRaw(`42["authenticated"]`)
				if !optional {
					must.NextRaw(`42["welcome","bob"]`)
				}
				time.Sleep(10 * time.Second)
				must.Call("/", "echo", "still here")
			})
		})
	}
}

func TestMaxAttempts(t *testing.T) {
	t.Parallel()
	var verified atomic.Int32
	s := harness.Start(t, socketiojwt.Options{
		CloseGrace:  -1,
		MaxAttempts: 3,
		Secret: socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			verified.Add(1)
			return "another secret of more than thirty-two bytes", nil
		}),
	}, harness.Chat)
	_, must := s.Dial(t, siotest.Options{})
	must.NextRaw("40")
	for range 3 {
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		harness.Unauthorized(t, must.Next(), "invalid_token", "invalid signature")
	}
	must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	rest := must.Rest()
	if len(rest) != 2 || rest[1].Raw != "41" {
		t.Fatalf("got %v", rest)
	}
	harness.Unauthorized(t, rest[0], "too_many_attempts", "too many attempts")
	if n := verified.Load(); n != 3 {
		t.Errorf("%d tokens were verified", n)
	}
}

func TestMaxPending(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{MaxPending: 2}, harness.Chat)
	var clients []siotest.Must
	for range 2 {
		_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		clients = append(clients, must)
	}
	_, must := s.Dial(t, siotest.Options{})
	harness.Expect(t, must.Rest(), "44"+harness.Refusal("server_busy", "server busy")) // no 41: it comes back
	clients[0].Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	clients[0].Event("/", "welcome")
	_, must = s.Dial(t, siotest.Options{})
	must.NextRaw("40")
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		t.Run(fmt.Sprint("handshake ", handshake), func(t *testing.T) {
			var told atomic.Int32
			s := harness.Start(t, socketiojwt.Options{
				Handshake:       handshake,
				OnAuthenticated: func(socketio.Conn, *socketiojwt.Session) { told.Add(1) },
			}, func(s *harness.App) {
				harness.Chat(s)
				s.OnEvent("/", "version", func(c socketio.Conn) float64 {
					session, _ := s.Auth.Session(c)
					return session.Claims().(jwt.MapClaims)["v"].(float64)
				})
			})
			token := func(sub string, version int) map[string]string {
				return map[string]string{"token": harness.SignHS256(t, jwt.MapClaims{"sub": sub, "v": version})}
			}
			version := func(must siotest.Must, want int) {
				t.Helper()
				if got := string(must.Call("/", "version").Data); got != fmt.Sprintf("[%d]", want) {
					t.Errorf("version %s, want %d", got, want)
				}
			}
			o := siotest.Options{}
			if handshake {
				o.Query = harness.WithToken(token("bob", 1)["token"])
			}
			_, must := s.Dial(t, o)
			must.NextRaw("40")
			if !handshake {
				must.Emit("/", "authenticate", token("bob", 1))
				must.NextRaw(`42["authenticated"]`)
			}
			must.NextRaw(`42["welcome","bob"]`)
			version(must, 1)

			must.Emit("/", "authenticate", token("bob", 2))
			must.NextRaw(`42["authenticated"]`)
			version(must, 2)

			must.Emit("/", "authenticate", token("eve", 3))
			harness.Unauthorized(t, must.Next(), "invalid_token", "jwt subject changed")
			version(must, 2)

			must.Emit("/", "authenticate", map[string]string{"token": "x"})
			harness.Unauthorized(t, must.Next(), "invalid_token", "jwt malformed")
			version(must, 2)
			if n := told.Load(); n != 1 {
				t.Errorf("OnAuthenticated was called %d times", n)
			}
		})
	}
}

func TestOptionalRoundTrip(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Optional: true}, harness.Chat)
	_, must := s.Dial(t, siotest.Options{})
	must.NextRaw("40")
	must.NextRaw(`42["welcome","a guest"]`)
	must.Call("/", "echo", "guests may")
	must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	must.NextRaw(`42["authenticated"]`)
	must.Call("/", "echo", "now in the room")
	must.Emit("/", "all", "hello")
	must.NextRaw(`42["all","hello"]`)

	_, must = s.Dial(t, siotest.Options{})
	must.Event("/", "welcome")
	must.Emit("/", "authenticate", map[string]string{"token": "x"})
	rest := must.Rest()
	if len(rest) != 2 || rest[1].Raw != "41" {
		t.Fatalf("got %v", rest)
	}
}

// Sockets that wait in other namespaces are let in with the first that authenticates,
// and those that join later at once. Only who sent `authenticate` gets `authenticated`.
func TestOneSessionForAllNamespaces(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			s := harness.Start(t, socketiojwt.Options{}, func(s *harness.App) {
				harness.Chat(s)
				for _, name := range []string{"/a", "/b"} {
					s.OnConnect(name, func(c socketio.Conn) error {
						session, _ := s.Auth.Session(c)
						c.Emit("welcome", session.Subject())
						return nil
					})
				}
			})
			_, must := s.Dial(t, siotest.Options{Transport: transport})
			must.NextRaw("40")
			must.Join("/a")
			must.NextRaw("40/a")
			must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			must.NextRaw(`42["authenticated"]`)
			var rest []string
			for range 2 {
				rest = append(rest, must.Next().Raw)
			}
			if all := strings.Join(rest, " "); !strings.Contains(all, `42["welcome","bob"]`) || !strings.Contains(all, `42/a,["welcome","bob"]`) {
				t.Errorf("got %s", all)
			}
			must.Join("/b")
			must.NextRaw("40/b")
			must.NextRaw(`42/b,["welcome","bob"]`)
			must.Emit("/b", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			must.NextRaw(`42/b,["authenticated"]`)
			must.Join("/nosuch")
			must.NextRaw(`44/nosuch,"Invalid namespace"`)
			must.Call("/", "echo", "the connection lives")
		})
	}
}

func TestRoundTripOfANamespace(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{}, func(s *harness.App) {
		s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
		s.OnEvent("/admin", "echo", func(_ socketio.Conn, text string) string { return text })
	}, "/admin")
	_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	must.Join("/admin")
	must.NextRaw("40/admin")
	must.Emit("/admin", "authenticate", map[string]string{"token": "x"})
	harness.Unauthorized(t, must.Next(), "invalid_token", "jwt malformed")
	must.NextRaw("41/admin")
	must.Call("/", "echo", "the root lives on")
	must.Join("/admin")
	must.NextRaw("40/admin")
	must.Emit("/admin", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	must.NextRaw(`42/admin,["authenticated"]`)
	must.Call("/admin", "echo", "now")
}

func TestCookieInTheRoundTrip(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Cookie: "jwt"}, harness.Chat)
	header := http.Header{"Cookie": {"jwt=" + harness.TokenOf(t, "bob")}}
	_, must := s.Dial(t, siotest.Options{Header: header})
	must.NextRaw("40")
	must.Emit("/", "authenticate")
	must.NextRaw(`42["authenticated"]`)

	foreign := header.Clone()
	foreign.Set("Origin", "https://evil.example")
	_, must = s.Dial(t, siotest.Options{Header: foreign})
	must.NextRaw("40")
	must.Emit("/", "authenticate")
	harness.Unauthorized(t, must.Next(), "invalid_token", "invalid token datatype")
}

// A lookup that does not end in time ends with the deadline, whether it listens to its
// context or not.
func TestSecretThatTakesTooLong(t *testing.T) {
	t.Parallel()
	for _, listens := range []bool{true, false} {
		for _, handshake := range []bool{true, false} {
			t.Run(fmt.Sprintf("listens %t, handshake %t", listens, handshake), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					defer close(release)
					s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
						Handshake: handshake,
						Secret: socketiojwt.SecretFunc(func(ctx context.Context, _ *socketiojwt.Request, _ *jwt.Token) (any, error) {
							if !listens {
								<-release
								return nil, errors.New("too late")
							}
							<-ctx.Done()
							return nil, ctx.Err()
						}),
					}, harness.Chat)
					began := time.Now()
					var want []string
					o := siotest.Options{Transport: "websocket"}
					if handshake {
						o.Query = harness.WithToken(harness.TokenOf(t, "bob"))
						want = []string{"44" + harness.Refusal("invalid_secret", "secret unavailable")}
					}
					_, must := s.Dial(t, o)
					if !handshake {
						must.NextRaw("40")
						must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
						harness.Unauthorized(t, must.Next(), "invalid_secret", "secret unavailable")
					}
					harness.Expect(t, must.Rest(), want...)
					if took := time.Since(began).Round(time.Second); took != 5*time.Second {
						t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}

// A client that is in may try again after a while: it needs a newer token to stay.
func TestAttemptsOfASession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: true, MaxAttempts: 3, Timeout: 10 * time.Second}, harness.Chat)
		_, must := s.Dial(t, harness.Bob(t, "websocket"))
		must.Event("/", "welcome")
		try := func(token string) siotest.Packet {
			must.Emit("/", "authenticate", map[string]string{"token": token})
			return must.Next()
		}
		for range 3 {
			harness.Unauthorized(t, try("x.y.z"), "invalid_token", "jwt malformed")
		}
		harness.Unauthorized(t, try(harness.TokenOf(t, "bob")), "too_many_attempts", "too many attempts")
		time.Sleep(10 * time.Second) // one of four is forgotten
		harness.Unauthorized(t, try(harness.TokenOf(t, "bob")), "too_many_attempts", "too many attempts")
		time.Sleep(20 * time.Second)
		harness.Unauthorized(t, try("x.y.z"), "invalid_token", "jwt malformed") // that was the one
		harness.Unauthorized(t, try(harness.TokenOf(t, "bob")), "too_many_attempts", "too many attempts")
		time.Sleep(20 * time.Second)
		if p := try(harness.TokenOf(t, "bob")); p.Raw != `42["authenticated"]` {
			t.Errorf("got %s", p.Raw)
		}
	})
}
