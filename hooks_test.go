package socketiojwt_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// In a namespace with the hooks the acknowledgement of `unauthorized` disconnects at once, though
// go-socket.io has acknowledgements of its own there, which stay apart.
func TestAcknowledgedRefusalOfHooks(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		synctest.Test(t, func(t *testing.T) {
			auth := harness.Authorize(t, socketiojwt.Options{CloseGrace: time.Minute, Timeout: time.Hour})
			plain := socketio.NewServer(socketiojwt.Harden(nil))
			plain.OnConnect("/", func(socketio.Conn) error { return nil })
			harness.RegisterHooks(plain, auth, "/admin")
			at := harness.InMemory(t)
			harness.Serve(t, plain, at, auth.Handler(plain))
			c, must := harness.Dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
			must.Join("/admin")
			must.Connected("/admin")
			must.Emit("/admin", "authenticate", map[string]string{"token": "bad"})
			refused := must.Event("/admin", "unauthorized")
			began := time.Now()
			must.OK(c.Ack("/admin", refused.ID))
			must.Type("/admin", siotest.Disconnect)
			if took := time.Since(began); took > time.Second {
				t.Errorf("EIO=%d: it took %v", version, took)
			}
			c.Close()
		})
	}
}
