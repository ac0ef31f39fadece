package socketiojwt_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// Something between the gate and the server may say who the client is: the place that is given back is the one that
// was taken.
func TestPlacesOfClientsWithAnotherAddress(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, socketiojwt.Options{MaxPending: 40, Timeout: time.Hour})
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	plain.OnConnect("/", auth.OnConnect)
	plain.OnEvent("/", "authenticate", auth.OnAuthenticate)
	plain.OnDisconnect("/", auth.OnDisconnect)
	rewritten := func(next http.Handler, name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			other := r.Clone(r.Context())
			other.RemoteAddr = r.Header.Get(name)
			next.ServeHTTP(w, other)
		})
	}
	at := harness.Loopback(t)
	harness.Serve(t, plain, at, rewritten(auth.Handler(rewritten(plain, "X-Inner")), "X-Outer"))
	enter := func(outer, inner string) siotest.Packet {
		return siotest.MustDial(t, at.URL, siotest.Options{Transport: "websocket", Header: http.Header{
			"X-Outer": {outer}, "X-Inner": {inner},
		}}).Must(t).Next()
	}
	for i := range 20 { // and nobody of them waits any more
		c := siotest.MustDial(t, at.URL, siotest.Options{Transport: "websocket", Header: http.Header{
			"X-Outer": {"192.0.2.1:1"}, "X-Inner": {fmt.Sprintf("198.51.100.%d:1", i)},
		}})
		must := c.Must(t)
		must.NextRaw("40")
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.Event("/", "authenticated")
	}
	harness.Eventually(t, "nobody is pending", func() bool { return auth.Stats().Pending == 0 })
	for i := range 21 { // half of the places are taken then, each by another
		enter(fmt.Sprintf("203.0.113.%d:1", i), "198.51.100.1:1")
	}
	if p := enter("192.0.2.1:1", "198.51.100.1:1"); p.Raw != "40" {
		t.Errorf("a client of a host that holds no place got %s", p.Raw)
	}
}
