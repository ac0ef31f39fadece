package socketiojwt_test

import (
	"fmt"
	"net/http"
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

// A gate that is given the server itself knows its namespaces: one that is not there is refused alone,
// and there is a root, without which go-socket.io keeps sessions for ever. Behind another handler an
// unknown namespace ends the connection.
func TestHandlerKnowsTheNamespacesOfItsServer(t *testing.T) {
	for _, version := range []int{3, 4} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("EIO=%d/known %t", version, known), func(t *testing.T) {
				t.Parallel()
				auth := mustAuthorize(t, socketiojwt.Options{})
				plain := socketio.NewServer(hardened())
				next := http.Handler(plain)
				if !known {
					next = http.HandlerFunc(plain.ServeHTTP)
					plain.OnConnect("/", func(socketio.Conn) error { return nil })
				}
				plain.OnConnect("/admin", auth.OnConnect)
				plain.OnEvent("/admin", "authenticate", auth.OnAuthenticate)
				plain.OnDisconnect("/admin", auth.OnDisconnect)
				at := loopback(t)
				serve(t, plain, at, auth.Handler(next)) // and requires that no session is left
				_, must := dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
				must.Join("/admin")
				must.Connected("/admin")
				must.Join("/none")
				if !known {
					must.Closed()
					return
				}
				must.Refused("/none")
				must.Emit("/admin", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
				must.Event("/admin", "authenticated")
			})
		}
	}
}
