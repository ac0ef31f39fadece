package socketiojwt_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
)

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
	auth := mustAuthorize(b, socketiojwt.Options{Handshake: true, Revocations: list, MaxPending: 2 * n})
	exp := time.Now().Add(time.Hour).Unix()
	token := func(i int) string {
		return signHS256(b, jwt.MapClaims{"sub": fmt.Sprint("user ", i/2), "jti": fmt.Sprint(i), "exp": exp})
	}

	parsed := make([]*jwt.Token, n)
	empty := heap()
	for i := range parsed {
		t, err := jwt.Parse(token(i), func(*jwt.Token) (any, error) { return []byte(testSecret), nil })
		if err != nil {
			b.Fatal(err)
		}
		parsed[i] = t
	}
	tokenBytes := (heap() - empty) / n
	runtime.KeepAlive(parsed)
	parsed = nil

	conns := fakeConns(b, hardened(), n, token)
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
