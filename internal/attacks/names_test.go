package attacks_test

import (
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// Where no gate says which namespaces the plain server has, it is asked for all but those whose names it
// would cut short: a stranger that asks for /admin[x must not be in /admin.
func TestNamesThatThePlainServerCutsShort(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: true})
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	var ran harness.Record
	plain.OnConnect("/", func(socketio.Conn) error { return nil })
	plain.OnEvent("/", "mark", func(socketio.Conn) string { return "" })
	harness.RegisterHooks(plain, auth, "/admin")
	plain.OnEvent("/admin", "secret", func(socketio.Conn) { ran.Add("secret") })
	at := harness.Loopback(t)
	harness.Serve(t, plain, at, plain)
	for _, name := range []string{"/admin[x", "/admin]", `/admin"`, "/admin{", "/admin}x", `/admin\`} {
		c, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
		must.NextRaw("40")
		must.Send("40"+name, "42"+name+`,["secret"]`)
		must.NextRaw("44" + name + `,"Invalid namespace"`)
		must.Call("/", "mark")
		c.Close()
	}
	if got := ran.String(); got != "" {
		t.Errorf("these ran: %s", got)
	}
}
