package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
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
)

// refusals are the rows of the wire contract that belong to a handshake.
func refusals(tb testing.TB) []struct {
	name   string
	opts   socketiojwt.Options
	query  url.Values
	header http.Header
	want   string
	retry  bool
} {
	unavailable := socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		return nil, errors.New("the database is down")
	})
	good := harness.TokenOf(tb, "bob")
	return []struct {
		name   string
		opts   socketiojwt.Options
		query  url.Values
		header http.Header
		want   string
		retry  bool
	}{
		{name: "no token", want: harness.Refusal("credentials_required", "no token provided")},
		{name: "header of one word", header: http.Header{"Authorization": {"Bearer"}},
			want: harness.Refusal("credentials_bad_format", "Format is Authorization: Bearer [token]")},
		{name: "two headers", header: http.Header{"Authorization": {"Bearer " + good, "Bearer " + good}},
			want: harness.Refusal("credentials_bad_format", "Format is Authorization: Bearer [token]")},
		{name: "two parameters", query: url.Values{"token": {good, good}},
			want: harness.Refusal("credentials_bad_format", "Format is Authorization: Bearer [token]")},
		{name: "header required", opts: socketiojwt.Options{HeaderRequired: true}, query: harness.WithToken(good),
			want: harness.Refusal("missing_authorization_header", "Server requires Authorization Header")},
		{name: "malformed", query: harness.WithToken("a.b.c"), want: harness.Refusal("invalid_token", "jwt malformed")},
		{name: "header wins over query", query: harness.WithToken(good), header: http.Header{"Authorization": {"bearer a.b.c"}},
			want: harness.Refusal("invalid_token", "jwt malformed")},
		{name: "no signature", query: harness.WithToken(good[:strings.LastIndex(good, ".")+1]),
			want: harness.Refusal("invalid_token", "jwt signature is required")},
		{name: "expired", query: harness.WithToken(harness.SignHS256(tb, jwt.MapClaims{"exp": 1})), want: harness.Refusal("invalid_token", "jwt expired")},
		{name: "too long", opts: socketiojwt.Options{MaxTokenBytes: 10}, query: harness.WithToken(good),
			want: harness.Refusal("invalid_token", "jwt too long")},
		{name: "secret unavailable", opts: socketiojwt.Options{Secret: unavailable}, query: harness.WithToken(good),
			want: harness.Refusal("invalid_secret", "secret unavailable"), retry: true},
		{name: "bad token although optional", opts: socketiojwt.Options{Optional: true}, query: harness.WithToken("a.b.c"),
			want: harness.Refusal("invalid_token", "jwt malformed")},
	}
}

func TestGateRefusesBeforeThereIsASession(t *testing.T) {
	t.Parallel()
	for _, test := range refusals(t) {
		for _, transport := range []string{"polling", "websocket", "jsonp"} {
			t.Run(test.name+"/"+transport, func(t *testing.T) {
				test.opts.Handshake = true
				var told atomic.Value
				test.opts.OnUnauthorized = func(_ *socketiojwt.Request, err *socketiojwt.UnauthorizedError) { told.Store(err.Code) }
				s := harness.Start(t, test.opts, nil)
				o := siotest.Options{Transport: transport, Query: test.query, Header: test.header}
				if transport == "jsonp" {
					o.Transport, o.JSONP = "polling", true
				}
				_, must := s.Dial(t, o)
				want := []string{"44" + test.want, "41"}
				if test.retry {
					want = want[:1] // the client comes back
				}
				harness.Expect(t, must.Rest(), want...)
				if n := s.Count(); n != 0 {
					t.Errorf("%d sessions, want none", n)
				}
				harness.Eventually(t, "OnUnauthorized was told", func() bool {
					code, _ := told.Load().(string)
					return code != "" && strings.Contains(test.want, code)
				})
			})
		}
	}
}

func TestGateRefusalByteForByte(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, nil)
	open := `0{"sid":"refused","upgrades":[],"pingInterval":25000,"pingTimeout":5000}`
	packets := []string{open, "44" + harness.Refusal("credentials_required", "no token provided"), "41", "1"}
	payload := ""
	for _, p := range packets {
		payload += fmt.Sprintf("%d:%s", len(p), p)
	}
	for _, test := range []struct{ query, contentType, body string }{
		{"EIO=3&transport=polling", "text/plain; charset=UTF-8", payload},
		{"transport=polling", "text/plain; charset=UTF-8", payload}, // a missing EIO counts as 3
		{"EIO=3&transport=polling&j=12", "text/javascript; charset=UTF-8",
			`___eio[12]("` + strings.ReplaceAll(payload, `"`, `\"`) + `");`},
	} {
		response, body := harness.Get(t, s.At.URL+"/socket.io/?"+test.query)
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != test.contentType || body != test.body {
			t.Errorf("%s: got %d %s %s\nwant %s", test.query, response.StatusCode, response.Header.Get("Content-Type"), body, test.body)
		}
	}
}

func TestGateAnswersWhatIsNoHandshake(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		s := harness.Start(t, socketiojwt.Options{Handshake: handshake}, nil)
		for _, test := range []struct {
			method, query string
			status        int
			body          string
		}{
			{"GET", "EIO=5&transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
			{"GET", "EIO=3&transport=carrier-pigeon", 400, `{"code":0,"message":"Transport unknown"}`},
			{"GET", "EIO=3", 400, `{"code":0,"message":"Transport unknown"}`},
			{"GET", "EIO=3&transport=polling&sid=1", 400, `{"code":1,"message":"Session ID unknown"}`},
			{"POST", "EIO=3&transport=polling&sid=1", 400, `{"code":1,"message":"Session ID unknown"}`},
			{"POST", "EIO=3&transport=polling&sid=refused", 200, "ok"}, // the goodbye of who was refused
			{"GET", "EIO=3&transport=polling&sid=refused", 400, `{"code":1,"message":"Session ID unknown"}`},
			{"GET", "EIO=3&transport=websocket&sid=1", 400, `{"code":1,"message":"Session ID unknown"}`},
			{"POST", "EIO=3&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
			{"PUT", "EIO=3&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
			{"HEAD", "EIO=3&transport=polling", 400, ""},
			{"OPTIONS", "EIO=3&transport=polling", 204, ""},
			{"GET", "EIO=3&transport=polling&j=0)%3Balert(1", 400, `{"code":3,"message":"Bad request"}`},
			{"GET", "EIO=3&transport=polling&x=" + strings.Repeat("x", 40_000), 414, `{"code":3,"message":"Bad request"}`},
		} {
			response, body := harness.Request(t, test.method, s.At.URL+"/socket.io/?"+test.query)
			if response.StatusCode != test.status || body != test.body {
				t.Errorf("%s %s: got %d %s, want %d %s", test.method, test.query, response.StatusCode, body, test.status, test.body)
			}
		}
		if n := s.Count(); n != 0 {
			t.Errorf("%d sessions, want none", n)
		}
	}
}

func TestHandshakeAcceptsTokenFromEachPlace(t *testing.T) {
	t.Parallel()
	good := harness.TokenOf(t, "bob")
	for _, test := range []struct {
		name string
		opts socketiojwt.Options
		o    siotest.Options
	}{
		{"query", socketiojwt.Options{}, siotest.Options{Query: harness.WithToken(good)}},
		{"named query", socketiojwt.Options{QueryParam: "jwt"}, siotest.Options{Query: url.Values{"jwt": {good}}}},
		{"header", socketiojwt.Options{}, siotest.Options{Header: http.Header{"Authorization": {"Bearer " + good}}}},
		{"header, other case", socketiojwt.Options{}, siotest.Options{Header: http.Header{"Authorization": {"bEARER " + good}}}},
		{"header required", socketiojwt.Options{HeaderRequired: true}, siotest.Options{Header: http.Header{"Authorization": {"Bearer " + good}}}},
		{"header and bad query", socketiojwt.Options{}, siotest.Options{Header: http.Header{"Authorization": {"Bearer " + good}}, Query: harness.WithToken("bad")}},
		{"cookie", socketiojwt.Options{Cookie: "jwt"}, siotest.Options{Header: http.Header{"Cookie": {"a=b; jwt=" + good}}}},
	} {
		for _, transport := range harness.Transports {
			t.Run(test.name+"/"+transport, func(t *testing.T) {
				test.opts.Handshake = true
				var lookups atomic.Int32
				test.opts.Secret = socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
					lookups.Add(1)
					return harness.Secret, nil
				})
				s := harness.Start(t, test.opts, func(s *harness.App) {
					s.OnEvent("/", "who", func(c socketio.Conn) string {
						session, ok := s.Auth.Session(c)
						return fmt.Sprintf("%s %t %t", session.Subject(), ok, session.ID() != c.ID() && len(session.ID()) == 22)
					})
				})
				test.o.Transport = transport
				c, must := s.Dial(t, test.o)
				must.NextRaw("40")
				if got := string(must.Call("/", "who").Data); got != `["bob true true"]` {
					t.Errorf("session: %s", got)
				}
				if n := lookups.Load(); n != 1 {
					t.Errorf("the token was verified %d times", n)
				}
				if len(c.SID()) != 27 {
					t.Errorf("session id %q", c.SID())
				}
			})
		}
	}
}

// With a public root, the namespace decides, on its own token or that of the handshake.
func TestHandshakeOfANamespace(t *testing.T) {
	t.Parallel()
	good := harness.TokenOf(t, "bob")
	for _, test := range []struct {
		name  string
		opts  socketiojwt.Options
		query url.Values
		join  string
		want  []string
	}{
		{name: "own token", join: "/admin?token=" + good, want: []string{"40/admin", `42/admin,["welcome","bob"]`}},
		{name: "token of the handshake", query: harness.WithToken(good), join: "/admin", want: []string{"40/admin", `42/admin,["welcome","bob"]`}},
		{name: "own token first", query: harness.WithToken("bad"), join: "/admin?token=" + good, want: []string{"40/admin", `42/admin,["welcome","bob"]`}},
		{name: "own token bad", query: harness.WithToken(good), join: "/admin?token=a.b.c",
			want: []string{"44/admin," + harness.Refusal("invalid_token", "jwt malformed"), "41/admin"}},
		{name: "none", join: "/admin", want: []string{"44/admin," + harness.Refusal("credentials_required", "no token provided"), "41/admin"}},
		{name: "guest", opts: socketiojwt.Options{Optional: true}, join: "/admin", want: []string{"40/admin", `42/admin,["welcome",""]`}},
		{name: "header required", opts: socketiojwt.Options{HeaderRequired: true}, join: "/admin?token=" + good,
			want: []string{"44/admin," + harness.Refusal("missing_authorization_header", "Server requires Authorization Header"), "41/admin"}},
	} {
		for _, transport := range harness.Transports {
			t.Run(test.name+"/"+transport, func(t *testing.T) {
				test.opts.Handshake = true
				s := harness.Start(t, test.opts, func(s *harness.App) {
					s.OnEvent("/", "ping", func(socketio.Conn) string { return "pong" })
					s.OnConnect("/admin", func(c socketio.Conn) error {
						subject := ""
						if session, ok := s.Auth.Session(c); ok {
							subject = session.Subject()
						}
						c.Emit("welcome", subject)
						return nil
					})
				}, "/admin")
				_, must := s.Dial(t, siotest.Options{Transport: transport, Query: test.query})
				must.NextRaw("40")
				must.Join(test.join)
				for _, want := range test.want {
					must.NextRaw(want)
				}
				must.Call("/", "ping") // the root lives on
			})
		}
	}
}

func TestRefusedNamespaceMayBeJoinedAgain(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, func(s *harness.App) {
		s.OnConnect("/", func(socketio.Conn) error { return nil })
		s.OnEvent("/admin", "rooms", func(c socketio.Conn) []string { return c.Rooms() })
		s.OnEvent("/admin", "all", func(c socketio.Conn) { s.BroadcastToNamespace("/admin", "all") })
	}, "/admin")
	c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	for range 20 {
		must.Join("/admin?token=bad")
		must.NextRaw("44/admin," + harness.Refusal("invalid_token", "jwt malformed"))
		must.NextRaw("41/admin")
		must.Join("/admin?token=" + harness.TokenOf(t, "bob"))
		must.NextRaw("40/admin")
		rooms := string(must.Call("/admin", "rooms").Data)
		if !strings.Contains(rooms, c.SID()) {
			t.Fatalf("rooms %s, want its own among them", rooms)
		}
		must.Emit("/admin", "all")
		must.NextRaw(`42/admin,["all"]`)
		must.OK(c.Leave("/admin"))
	}
}

// The hook alone, on a server without a gate.
func TestConnectHookWithoutGate(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			auth := harness.Authorize(t, socketiojwt.Options{Handshake: true})
			server := socketio.NewServer(socketiojwt.Harden(nil))
			server.OnConnect("/", auth.OnConnect)
			server.OnDisconnect("/", auth.OnDisconnect)
			server.OnEvent("/", "who", auth.Guard(func(c socketio.Conn) string {
				session, _ := auth.Session(c)
				return session.Subject()
			}))
			at := harness.Loopback(t)
			harness.Serve(t, server, at, server)

			_, must := harness.Dial(t, at, siotest.Options{Transport: transport, Query: harness.WithToken(harness.TokenOf(t, "bob"))})
			must.NextRaw("40")
			if got := string(must.Call("/", "who").Data); got != `["bob"]` {
				t.Errorf("got %s", got)
			}
			if transport == "upgrade" {
				transport = "polling" // Dial would upgrade a connection that is being closed
			}
			_, must = harness.Dial(t, at, siotest.Options{Transport: transport, Query: harness.WithToken("a.b.c")})
			harness.Expect(t, must.Rest(), "40", "44"+harness.Refusal("invalid_token", "jwt malformed"), "41")
		})
	}
}

// go-socket.io calls OnError without a Conn when a hook in front of ours returned an error.
func TestErrorWithoutConn(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, harness.HandshakeMode)
	server := socketio.NewServer(socketiojwt.Harden(nil))
	server.OnConnect("/", func(c socketio.Conn) error { _ = auth.OnConnect(c); return errors.New("no") })
	told := make(chan bool, 1)
	server.OnError("/", func(c socketio.Conn, _ error) {
		_, ok := auth.Session(c)
		auth.OnDisconnect(c, "error")
		told <- ok || c != nil
	})
	at := harness.Loopback(t)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve() }()
	httpServer := harness.ServeHTTP(at, auth.Handler(server))
	_, must := harness.Dial(t, at, harness.Bob(t, "websocket"))
	must.Closed()
	if <-told {
		t.Error("there is a session, or a Conn")
	}
	_ = server.Close()
	<-served
	_ = httpServer.Close()
}

func TestServerWithoutHarden(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: true, Logger: slog.New(slog.DiscardHandler)})
	server := socketio.NewServer(nil)
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "socketio.NewServer(socketiojwt.Harden(nil))") {
			t.Errorf("panic says %q", got)
		}
		if server.Count() != 0 {
			t.Error("the probe left a session")
		}
	}()
	auth.Protect(server)
}

// A namespace whose token is longer than its name may be, and one that is too long: it hears so once.
func TestLongTokenOfANamespace(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnEvent("/open", "echo", func(_ socketio.Conn, text string) string { return text })
	}, "/admin")
	for _, transport := range harness.Transports {
		_, must := s.Dial(t, siotest.Options{Transport: transport})
		must.Connected("/")
		must.Join("/admin?token=" + harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "groups": strings.Repeat("g", 5000)}))
		must.Connected("/admin")

		_, must = s.Dial(t, siotest.Options{Transport: transport})
		must.Connected("/")
		must.Join("/admin?token=" + strings.Repeat("x", 9000))
		must.NextRaw(`44/admin,{"message":"jwt too long","code":"invalid_token","type":"UnauthorizedError"}`)
		must.NextRaw(`41/admin`)
	}
}

// Names that nobody has are answered, whatever they are.
func TestOddNamespaces(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
			s.OnEvent("/room[1]", "echo", func(_ socketio.Conn, text string) string { return text })
			if plain {
				s.Plain.OnConnect("/plain", func(socketio.Conn) error { return nil })
			}
		}, "/")
		for _, transport := range harness.Transports {
			_, must := s.Dial(t, harness.Bob(t, transport))
			must.Connected("/")
			for _, name := range []string{`/room[2]`, `/a"b`, `/a{}`, `/a\b`, `/plain["x"]`} {
				must.Join(name)
				must.NextRaw("44" + name + `,"Invalid namespace"`)
			}
			must.Join("/room[1]")
			must.Connected("/room[1]")
			must.Call("/room[1]", "echo", "x")
		}
	}
}

// The verdict of the gate counts once. After a Disconnect, Accept is asked again.
func TestVerdictCountsOnce(t *testing.T) {
	t.Parallel()
	var accepted atomic.Int64
	auth := harness.Authorize(t, socketiojwt.Options{
		Handshake: true,
		Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			if accepted.Add(1) > 1 {
				return nil, &socketiojwt.UnauthorizedError{Code: "banned", Message: "banned since"}
			}
			return nil, nil
		},
	})
	server := socketio.NewServer(socketiojwt.Harden(nil))
	server.OnConnect("/", func(socketio.Conn) error { return nil })
	server.OnConnect("/admin", auth.OnConnect)
	server.OnDisconnect("/admin", auth.OnDisconnect)
	at := harness.Loopback(t)
	harness.Serve(t, server, at, auth.Handler(server))
	c, must := harness.Dial(t, at, siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, "bob"))})
	must.NextRaw("40")
	must.Join("/admin")
	must.NextRaw("40/admin")
	if n := auth.DisconnectSubject("bob", nil); n != 1 {
		t.Fatalf("%d ended", n)
	}
	harness.Unauthorized(t, must.Next(), "unauthorized", "unauthorized")
	must.NextRaw("41/admin")
	must.Join("/admin")
	must.NextRaw("44/admin," + harness.Refusal("banned", "banned since"))
	must.NextRaw("41/admin")
	c.Close()
}

// The verdict of the gate is no answer to a namespace that is joined much later: the token may have
// been revoked by another node, and nobody knows.
func TestVerdictDoesNotKeep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		auth := harness.Authorize(t, socketiojwt.Options{
			Handshake: true,
			Revocations: lameRevocations{socketiojwt.NewMemoryRevocations(), func() (bool, error) {
				if away.Load() {
					return false, errors.New("no connection")
				}
				return false, nil
			}},
		})
		server := socketio.NewServer(socketiojwt.Harden(nil))
		server.OnConnect("/", func(socketio.Conn) error { return nil })
		server.OnConnect("/admin", auth.OnConnect)
		at := harness.InMemory(t)
		harness.Serve(t, server, at, auth.Handler(server))
		c, must := harness.Dial(t, at, siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, "bob"))})
		must.NextRaw("40")
		time.Sleep(time.Hour)
		away.Store(true)
		must.Join("/admin")
		must.NextRaw("44/admin," + harness.Refusal("server_busy", "server busy"))
		c.Close()
	})
}
