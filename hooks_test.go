package socketiojwt_test

import (
	"fmt"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// What docs/hooks.md promises of the hooks one by one, and what it says does not hold.

// A server's own hooks run once for each client, with the gate and without.
func TestPlainHooksRunOnce(t *testing.T) {
	for _, test := range []struct {
		gated   bool
		version int
	}{{false, 3}, {true, 3}, {true, 4}} {
		for _, transport := range transports {
			t.Run(fmt.Sprintf("gate %t/EIO=%d/%s", test.gated, test.version, transport), func(t *testing.T) {
				t.Parallel()
				auth := mustAuthorize(t, socketiojwt.Options{})
				plain := socketio.NewServer(hardened())
				var ran record
				for _, name := range []string{"/", "/a"} {
					plain.OnConnect(name, func(socketio.Conn) error { ran.add("+%s", name); return nil })
					plain.OnDisconnect(name, func(socketio.Conn, string) { ran.add("-%s", name) })
					plain.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { return text })
				}
				at := loopback(t)
				if test.gated {
					serve(t, plain, at, auth.Handler(plain))
				} else {
					serve(t, plain, at, plain)
				}
				c, must := dial(t, at, siotest.Options{Version: test.version, Transport: transport})
				if test.version == 4 {
					must.Join("/")
				}
				must.Call("/", "echo", "x")
				must.Join("/a")
				must.Call("/a", "echo", "x")
				must.OK(c.Leave("/a"))
				must.Call("/", "echo", "x")
				c.Close()
				ran.eventually(t, "+/, +/a, -/a, -/")
			})
		}
	}
}
