package socketiojwt_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// A client whose session has ended is one that is not authenticated.
func TestLimitsAfterASession(t *testing.T) {
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO=%d", version), func(t *testing.T) {
			s := start(t, socketiojwt.Options{}, func(s *testServer) {
				for _, name := range []string{"/", "/admin"} {
					s.OnEvent(name, "size", func(_ socketio.Conn, text string) int { return len(text) })
				}
			}, "/admin")
			c := siotest.MustDial(t, s.at.url, siotest.Options{Version: version, Transport: "websocket"})
			must := c.Must(t)
			if version == 4 {
				must.Join("/")
			}
			must.Connected("/")
			must.Join("/admin")
			must.Connected("/admin")
			must.Emit("/admin", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
			must.Event("/admin", "authenticated")
			must.Call("/", "size", strings.Repeat("x", 100_000))
			s.auth.DisconnectSubject("bob", nil)
			must.Event("/admin", "unauthorized")
			must.Type("/admin", 1)
			_ = c.Emit("/", "size", strings.Repeat("x", 100_000)) // may find it closed
			must.Closed()
		})
	}
}

// One message may be as large as it may be, with what a frame adds to it.
func TestLargestMessageAtALowRate(t *testing.T) {
	for _, transport := range []string{"polling", "websocket"} {
		t.Run(transport, func(t *testing.T) {
			auth := mustAuthorize(t, socketiojwt.Options{})
			s := auth.Protect(socketio.NewServer(hardened(socketiojwt.Limits{UnauthenticatedMessageBytes: 4 << 10, UnauthenticatedBytes: 1000})), "/admin")
			s.OnEvent("/", "size", func(_ socketio.Conn, text string) int { return len(text) })
			at := loopback(t)
			serve(t, s, at, s)
			_, must := dial(t, at, siotest.Options{Transport: transport, NoPing: true})
			must.NextRaw("40")
			const head, tail = `420["size","`, `"]`
			size := 4<<10 - len(head+tail)
			if transport == "polling" {
				size -= len("4096:")
			}
			must.Send(head + strings.Repeat("x", size) + tail)
			must.Ack("/", 0)
		})
	}
}
