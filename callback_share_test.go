package socketiojwt_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
)

// One host cannot have all the callbacks that may run: in a handshake of a client 1.x or 2.x anybody makes Secret run,
// with any token.
func TestCallbacksOfOneHost(t *testing.T) {
	const most = 200
	hold := make(chan struct{})
	auth := mustAuthorize(t, socketiojwt.Options{
		Handshake: true, MaxPending: most,
		Secret: socketiojwt.SecretFunc(func(ctx context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
			if sub, _ := token.Claims.GetSubject(); sub == "eve" {
				select {
				case <-hold:
				case <-ctx.Done():
				}
			}
			return []byte(testSecret), nil
		}),
	})
	gate := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") }))
	ask := func(remote, token string) string {
		r, _ := http.NewRequest(http.MethodGet, "http://x/socket.io/?EIO=3&transport=polling&token="+token, http.NoBody)
		r.RemoteAddr = remote
		w := &recorder{header: http.Header{}}
		gate.ServeHTTP(w, r)
		return w.body.String()
	}
	var group sync.WaitGroup
	eve := tokenOf(t, "eve")
	for range 2 * most {
		group.Go(func() { ask("192.0.2.1:1", eve) })
	}
	eventually(t, "eve has what she can have", func() bool { return strings.Contains(ask("192.0.2.1:1", tokenOf(t, "bob")), "server_busy") })
	if got := ask("198.51.100.1:1", tokenOf(t, "bob")); got != "in" {
		t.Errorf("another host got %s", got)
	}
	close(hold)
	group.Wait()
}

type recorder struct {
	header http.Header
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
