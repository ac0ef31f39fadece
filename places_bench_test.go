package socketiojwt_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
)

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
				s := mustAuthorize(b, opts).Protect(socketio.NewServer(socketiojwt.Harden(&engineio.Options{PingInterval: time.Hour, PingTimeout: time.Hour})))
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
				token := tokenOf(b, "bob")
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
		raw := signHS256(b, claims)
		payload := strings.Split(raw, ".")[1]
		auth := mustAuthorize(b, socketiojwt.Options{})
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
