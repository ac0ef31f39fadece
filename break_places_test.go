package socketiojwt_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// Something between the gate and the server may say who the client is: the place that is given back is the one that
// was taken.
func TestPlacesOfClientsWithAnotherAddress(t *testing.T) {
	auth := mustAuthorize(t, socketiojwt.Options{MaxPending: 40, Timeout: time.Hour})
	plain := socketio.NewServer(hardened())
	plain.OnConnect("/", auth.OnConnect)
	plain.OnEvent("/", "authenticate", auth.OnAuthenticate)
	plain.OnDisconnect("/", auth.OnDisconnect)
	var n atomic.Int64
	realIP := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r2 := r.Clone(r.Context())
		r2.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", n.Add(1)%250)
		plain.ServeHTTP(w, r2)
	})
	at := loopback(t)
	serve(t, plain, at, auth.Handler(realIP))
	enter := func() siotest.Must {
		must := siotest.MustDial(t, at.url, siotest.Options{Transport: "websocket"}).Must(t)
		must.NextRaw("40")
		return must
	}
	for range 20 { // and nobody of them waits any more
		must := enter()
		must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
		must.Event("/", "authenticated")
	}
	if pending := auth.Stats().Pending; pending != 0 {
		t.Errorf("%d are pending", pending)
	}
	for range 21 { // half of the places are taken then, each by another
		enter()
	}
	must := siotest.MustDial(t, at.url, siotest.Options{Transport: "websocket"}).Must(t)
	if p := must.Next(); p.Raw != "40" {
		t.Errorf("the next client got %s", p.Raw)
	}
}
