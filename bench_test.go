package socketiojwt_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
)

// BenchmarkVerify is one verification, by the type of the claims, and of claims that are as
// long as they may be.
func BenchmarkVerify(b *testing.B) {
	long, nested := benchmarkClaims(), benchmarkClaims()
	long["x"] = strings.Repeat("x", 5000)
	nested["x"] = strings.Split(strings.Repeat("member,", 600), ",")
	for name, claims := range map[string]jwt.MapClaims{"": benchmarkClaims(), ", long": long, ", many values": nested} {
		raw := harness.SignHS256(b, claims)
		for kind, newClaims := range map[string]func() jwt.Claims{
			"MapClaims":        nil,
			"RegisteredClaims": func() jwt.Claims { return new(jwt.RegisteredClaims) },
		} {
			a := harness.Authorize(b, socketiojwt.Options{NewClaims: newClaims})
			b.Run(kind+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := a.Verify(b.Context(), testRequest, raw); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// Broadcasts to 100 authenticated clients, with and without 1,000 anonymous ones that
// opened a connection and never polled again (hazard 1). Compare the two.
func BenchmarkBroadcastBesideAnonymousClients(b *testing.B) {
	for _, anonymous := range []int{0, 1000} {
		b.Run(fmt.Sprint(anonymous), func(b *testing.B) {
			s := harness.Start(b, socketiojwt.Options{Timeout: time.Minute}, harness.Chat)
			for range anonymous {
				_, must := s.Dial(b, siotest.Options{ManualPoll: true, NoPing: true})
				must.NextRaw("40")
			}
			for range 100 {
				c, must := s.Dial(b, siotest.Options{Transport: "websocket"})
				must.NextRaw("40")
				must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(b, "bob")})
				must.Event("/", "welcome")
				go func() { // reads, so that the queues stay short
					for {
						if _, err := c.NextEngine(b.Context()); err != nil {
							return
						}
					}
				}()
			}
			for b.Loop() {
				s.BroadcastToNamespace("/", "news", "x")
			}
		})
	}
}

// BenchmarkGate is the verification path, request in and session out, against
// jwt.Parser.ParseWithClaims with the same token.
func BenchmarkGate(b *testing.B) {
	keys := harness.Keys()
	for _, c := range []struct {
		method          jwt.SigningMethod
		private, public any
	}{
		{jwt.SigningMethodHS256, []byte(harness.Secret), []byte(harness.Secret)},
		{jwt.SigningMethodRS256, keys.RSA, &keys.RSA.PublicKey},
		{jwt.SigningMethodES256, keys.P256, &keys.P256.PublicKey},
		{jwt.SigningMethodEdDSA, keys.Ed25519, keys.Ed25519Public},
	} {
		method, public := c.method, c.public
		raw := harness.Sign(b, method, c.private, benchmarkClaims())
		parser, keyfunc := jwt.NewParser(), func(*jwt.Token) (any, error) { return public, nil }
		floor := func() {
			if _, err := parser.ParseWithClaims(raw, jwt.MapClaims{}, keyfunc); err != nil {
				b.Fatal(err)
			}
		}
		secret := socketiojwt.StaticSecret(public)
		b.Run(method.Alg(), func(b *testing.B) {
			sideBySide(b, gateOnly(b, socketiojwt.Options{Secret: secret}, raw), floor)
		})
		if method != jwt.SigningMethodHS256 {
			continue
		}
		b.Run(method.Alg()+" with SecretFunc and Accept", func(b *testing.B) {
			sideBySide(b, gateOnly(b, socketiojwt.Options{
				Secret: harness.SecretReturning(public),
				Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { return "bob", nil },
			}, raw), floor)
		})
		b.Run(method.Alg()+" with Revocations", func(b *testing.B) {
			sideBySide(b, gateOnly(b, socketiojwt.Options{
				Secret:      secret,
				Revocations: socketiojwt.NewMemoryRevocations(),
			}, raw), floor)
		})
	}
}

func benchmarkClaims() jwt.MapClaims {
	now := time.Now().Unix()
	return jwt.MapClaims{"sub": "user-1234567", "name": "Bob", "iss": "https://issuer.example/", "aud": "chat", "iat": now, "exp": now + 3600, "jti": "c0ffee"}
}

// gateOnly returns a function that takes a handshake request through a gate to its session.
// What comes after that is go-socket.io's work.
func gateOnly(b *testing.B, opts socketiojwt.Options, raw string) func() {
	opts.Handshake = true
	auth := harness.Authorize(b, opts)
	server := socketio.NewServer(socketiojwt.Harden(nil))
	b.Cleanup(func() { server.Close() })
	var session *socketiojwt.Session
	gate := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if upstream.IsProbe(r) {
			server.ServeHTTP(w, r)
			return
		}
		session = auth.SessionOfGate(r)
	}))
	// net/http's request contexts can be cancelled.
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(cancel)
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/socket.io/?EIO=3&transport=websocket&token="+raw, nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	w := httptest.NewRecorder()
	return func() {
		session = nil
		gate.ServeHTTP(w, r)
		if session == nil {
			b.Fatal("refused: ", w.Body)
		}
	}
}

// BenchmarkRefusal is the gate's answer to a token that was signed with another key.
func BenchmarkRefusal(b *testing.B) {
	auth := harness.Authorize(b, socketiojwt.Options{Handshake: true})
	server := socketio.NewServer(socketiojwt.Harden(nil))
	defer server.Close()
	gate := auth.Handler(server)
	raw := harness.Sign(b, jwt.SigningMethodHS256, []byte("another secret, also of 32 bytes"), benchmarkClaims())
	r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=3&transport=polling&token="+raw, nil)
	b.ReportAllocs()
	for b.Loop() {
		gate.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// BenchmarkGuard is what Guard adds to the call of an event handler that does nothing, by
// the handler's signature. go-socket.io itself calls handlers through reflection, which is
// not counted here.
func BenchmarkGuard(b *testing.B) {
	auth := harness.Authorize(b, socketiojwt.Options{Handshake: true})
	conn := fakeConns(b, socketiojwt.Harden(nil), 1, func(int) string { return harness.TokenOf(b, "bob") })[0]
	b.Cleanup(conn.client().Abort)
	if err := auth.OnConnect(conn); err != nil {
		b.Fatal(err)
	}
	var s socketio.Conn = conn
	harness.Eventually(b, "the socket is open", func() bool {
		ran := false
		auth.Guard(func(socketio.Conn) { ran = true }).(func(socketio.Conn))(s)
		return ran
	})

	type data struct{ Text string }
	var argument any = "x"
	plain := auth.Guard(func(socketio.Conn) {}).(func(socketio.Conn))
	text := auth.Guard(func(socketio.Conn, string) {}).(func(socketio.Conn, string))
	answer := auth.Guard(func(_ socketio.Conn, text string) string { return text }).(func(socketio.Conn, string) string)
	anything := auth.Guard(func(socketio.Conn, any) {}).(func(socketio.Conn, any))
	object := auth.Guard(func(socketio.Conn, data) {}).(func(socketio.Conn, data))
	many := auth.Guard(func(_ socketio.Conn, n int, _ data, _ []string) (int, error) { return n, nil }).(func(socketio.Conn, int, data, []string) (int, error))
	for _, c := range []struct {
		name string
		call func()
	}{
		{"func(Conn)", func() { plain(s) }},
		{"func(Conn,string)", func() { text(s, "x") }},
		{"func(Conn,string)string", func() { answer(s, "x") }},
		{"func(Conn,any)", func() { anything(s, argument) }},
		{"func(Conn,struct)", func() { object(s, data{"x"}) }},
		{"func(Conn,int,struct,slice)(int,error)", func() { _, _ = many(s, 1, data{"x"}, nil) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.call()
			}
		})
	}
}

// Verification with keys from a SecretFunc, where secrets are told from public keys for
// each token.
func BenchmarkSecretFunc(b *testing.B) {
	raw := bytes.Repeat([]byte("\xd1k\x9f\x07\xe2\x55\xb8\x3c"), 8)
	inHex, inBase64 := hex.EncodeToString(raw[:32]), base64.StdEncoding.EncodeToString(raw)
	for _, bench := range []struct {
		name    string
		key     any
		method  jwt.SigningMethod
		private any
	}{
		{"32 bytes", raw[:32], jwt.SigningMethodHS256, raw[:32]},
		{"64 bytes", raw, jwt.SigningMethodHS256, raw},
		{"32 bytes in hex", inHex, jwt.SigningMethodHS256, []byte(inHex)},
		{"64 bytes in base64", inBase64, jwt.SigningMethodHS256, []byte(inBase64)},
		{"PEM", harness.PublicPEM(b, harness.Keys().Ed25519Public), jwt.SigningMethodEdDSA, harness.Keys().Ed25519},
	} {
		b.Run(bench.name, func(b *testing.B) {
			a := harness.Authorize(b, socketiojwt.Options{Secret: harness.SecretReturning(bench.key)})
			token := harness.Sign(b, bench.method, bench.private, jwt.MapClaims{"sub": "bob"})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Verify(b.Context(), testRequest, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPlaces takes a place of MaxPending and gives it back, while more than half of them are
// taken, by few hosts or by as many.
func BenchmarkPlaces(b *testing.B) {
	for _, n := range []int{1000, 8000} {
		for _, hosts := range []int{20, n} {
			b.Run(fmt.Sprintf("%d/of %d hosts", n, hosts), func(b *testing.B) {
				takeAndRelease := socketiojwt.Places(n, hosts)
				b.ReportAllocs()
				for b.Loop() {
					if !takeAndRelease("192.0.2.7:1234") {
						b.Fatal("there is no place")
					}
				}
			})
		}
	}
}

// BenchmarkAcceptNamespace has a client join a namespace and leave it, beside others that are in, with
// AcceptNamespace and without. There is no network.
func BenchmarkAcceptNamespace(b *testing.B) {
	for _, n := range []int{1000, 8000} {
		for _, asks := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/asked %t", n, asks), func(b *testing.B) {
				opts := socketiojwt.Options{Handshake: true, MaxPending: 2 * n}
				if asks {
					opts.AcceptNamespace = func(context.Context, *socketiojwt.Session, string) error { return nil }
				}
				s := harness.Authorize(b, opts).Protect(socketio.NewServer(socketiojwt.Harden(&engineio.Options{PingInterval: time.Hour, PingTimeout: time.Hour})))
				s.OnEvent("/chat", "x", func(socketio.Conn) {})
				go s.Serve()
				defer s.Close()
				request := func(method, query, body string) string {
					w := httptest.NewRecorder()
					s.ServeHTTP(w, httptest.NewRequest(method, "/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body)))
					if w.Code != http.StatusOK {
						b.Fatalf("%s %s: %d %s", method, body, w.Code, w.Body)
					}
					return w.Body.String()
				}
				hear := func(query, what string) {
					for !strings.Contains(request(http.MethodGet, query, ""), what) {
					}
				}
				token := harness.TokenOf(b, "bob")
				var query string
				for range n {
					_, sid, _ := strings.Cut(request(http.MethodGet, "", ""), `"sid":"`)
					sid, _, _ = strings.Cut(sid, `"`)
					query = "&sid=" + sid
					request(http.MethodPost, query, `40{"token":"`+token+`"}`)
					hear(query, "40{")
				}
				runtime.GC()
				b.ReportAllocs()
				for b.Loop() {
					request(http.MethodPost, query, "40/chat,")
					hear(query, "40/chat,")
					request(http.MethodPost, query, "41/chat,")
				}
			})
		}
	}
}

// BenchmarkReadNames is the scan of the claims that comes before golang-jwt decodes them, against
// verification as a whole.
func BenchmarkReadNames(b *testing.B) {
	groups := make([]string, 100)
	for i := range groups {
		groups[i] = fmt.Sprintf("/department-%d/team-%d", i/10, i)
	}
	long := benchmarkClaims()
	long["groups"] = groups
	for name, claims := range map[string]jwt.MapClaims{"seven claims": benchmarkClaims(), "and 100 groups": long} {
		raw := harness.SignHS256(b, claims)
		payload := strings.Split(raw, ".")[1]
		auth := harness.Authorize(b, socketiojwt.Options{})
		b.Run(name, func(b *testing.B) {
			sideBySide(b, func() {
				if err := socketiojwt.ReadNames(payload); err != nil {
					b.Fatal(err)
				}
			}, func() {
				if _, err := auth.Verify(context.Background(), &socketiojwt.Request{}, raw); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// fakeConn is a connection of our transports that nobody is at the other end of.
type fakeConn struct {
	eiotransport.Conn
	id string
}

func (c *fakeConn) ID() string                { return c.id }
func (c *fakeConn) Close() error              { return nil }
func (c *fakeConn) URL() url.URL              { return url.URL{} }
func (c *fakeConn) LocalAddr() net.Addr       { return nil }
func (c *fakeConn) RemoteHeader() http.Header { return nil }
func (c *fakeConn) Context() any              { return nil }
func (c *fakeConn) SetContext(any)            {}
func (c *fakeConn) Namespace() string         { return "/" }
func (c *fakeConn) Emit(string, ...any)       {}
func (c *fakeConn) Join(string)               {}
func (c *fakeConn) Leave(string)              {}
func (c *fakeConn) LeaveAll()                 {}
func (c *fakeConn) Rooms() []string           { return nil }
func (c *fakeConn) client() *transport.Client { conn, _ := sio.FromConn(c); return conn.Client() }

var _ socketio.Conn = (*fakeConn)(nil)

func fakeConns(b *testing.B, options *engineio.Options, n int, token func(i int) string) []*fakeConn {
	b.Helper()
	conns := make([]*fakeConn, n)
	for i := range conns {
		r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=3&transport=polling&token="+token(i), nil)
		conn, err := options.Transports[0].Accept(httptest.NewRecorder(), r)
		if err != nil {
			b.Fatal(err)
		}
		options.SessionIDGenerator.NewID() // as go-socket.io does
		conns[i] = &fakeConn{Conn: conn, id: fmt.Sprint(i)}
	}
	return conns
}

func heap() float64 {
	runtime.GC()
	runtime.GC() // what has a finalizer, or is in a sync.Pool, takes two
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkSessions holds 100,000 sessions of 50,000 subjects and tells what it takes to find one
// (ns/op; cold, where nothing of it is in the processor's caches), what each keeps besides its connection and its parsed token, how many goroutines they
// all keep, and what it takes to disconnect a subject.
func BenchmarkSessions(b *testing.B) {
	const n = 100_000
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // the set-up makes much garbage
	list := socketiojwt.NewMemoryRevocations()
	auth := harness.Authorize(b, socketiojwt.Options{Handshake: true, Revocations: list, MaxPending: 2 * n})
	exp := time.Now().Add(time.Hour).Unix()
	token := func(i int) string {
		return harness.SignHS256(b, jwt.MapClaims{"sub": fmt.Sprint("user ", i/2), "jti": fmt.Sprint(i), "exp": exp})
	}

	parsed := make([]*jwt.Token, n)
	empty := heap()
	for i := range parsed {
		t, err := jwt.Parse(token(i), func(*jwt.Token) (any, error) { return []byte(harness.Secret), nil })
		if err != nil {
			b.Fatal(err)
		}
		parsed[i] = t
	}
	tokenBytes := (heap() - empty) / n
	runtime.KeepAlive(parsed)
	parsed = nil

	conns := fakeConns(b, socketiojwt.Harden(nil), n, token)
	goroutines := runtime.NumGoroutine()
	without := heap()
	for i, c := range conns {
		if err := auth.OnConnect(c); err != nil {
			b.Fatal(err)
		}
		for (i+1)%1000 == 0 && auth.Stats().Active <= i { // or Timeout could end before the last had its turn
			time.Sleep(time.Millisecond)
		}
	}
	for runtime.NumGoroutine() > goroutines {
		time.Sleep(time.Millisecond)
	}
	each := (heap()-without)/n - tokenBytes
	kept := runtime.NumGoroutine() - goroutines

	i := 0
	for b.Loop() {
		if _, ok := auth.Session(conns[i%100]); !ok {
			b.Fatal("no session")
		}
		i++
	}
	began := time.Now()
	for _, c := range conns {
		auth.Session(c)
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/n, "ns/cold")
	began = time.Now()
	const subjects = 5000
	for subject := range subjects {
		if ended := auth.DisconnectSubject(fmt.Sprint("user ", subject), nil); ended != 2 {
			b.Fatal("ended ", ended)
		}
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/subjects, "ns/DisconnectSubject")
	b.ReportMetric(each, "B/session")
	b.ReportMetric(float64(kept), "goroutines")
	for _, c := range conns {
		c.client().Abort()
	}
}

// sideBySide benchmarks ours, and tells what it takes against floor: the ratio of their times,
// which is the median of many short rounds that run both, so that what else the machine does
// slows down both; and how often it allocates more.
func sideBySide(b *testing.B, ours, floor func()) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		ours()
	}
	const rounds = 301
	n := int(max(1, time.Millisecond*time.Duration(b.N)/max(1, b.Elapsed())))
	if b.N == 1 {
		n = 1 // it should be over soon
	}
	ratios := make([]float64, rounds)
	for i := range ratios {
		ratios[i] = timed(n, ours).Seconds() / timed(n, floor).Seconds()
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[rounds/2], "x/floor")
	b.ReportMetric(testing.AllocsPerRun(10, ours)-testing.AllocsPerRun(10, floor), "allocs/floor")
}

func timed(n int, f func()) time.Duration {
	began := time.Now()
	for range n {
		f()
	}
	return time.Since(began)
}
