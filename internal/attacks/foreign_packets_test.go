package attacks_test

import (
	"fmt"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"
)

// What go-socket.io would misread in a namespace of the plain server does not reach it: it ends the
// connection and runs no handler (hazards 7 and 14).
func TestPacketsThatThePlainServerMisreads(t *testing.T) {
	t.Parallel()
	var ran harness.Record
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	for _, name := range []string{"/", "/open"} {
		plain.OnConnect(name, func(socketio.Conn) error { return nil })
		plain.OnEvent(name, "bin", func(socketio.Conn, *parser.Buffer) { ran.Add("bin") })
		plain.OnEvent(name, "chat", func(_ socketio.Conn, text string) { ran.Add("chat %s", text) })
		plain.OnEvent(name, "ask", func(c socketio.Conn) {
			c.Emit("question", func(*parser.Buffer) { ran.Add("acknowledgement") })
		})
		plain.OnEvent(name, "mark", func(socketio.Conn) string { return "" })
	}
	at := harness.Loopback(t)
	harness.Serve(t, plain, at, harness.Authorize(t, socketiojwt.Options{}).Handler(plain))
	enter := func(version int, nsp string) (*siotest.Client, siotest.Must) {
		c, must := harness.Dial(t, at, siotest.Options{Version: version, Transport: "websocket"})
		if version == 3 {
			must.NextRaw("40")
		}
		if nsp != "/" || version == 4 {
			must.Join(nsp)
			must.Connected(nsp)
		}
		return c, must
	}
	for _, version := range []int{3, 4} {
		for _, nsp := range []string{"/", "/open"} {
			for _, body := range []string{
				`["bin",{"_placeholder":true,"num":0}]`,
				`["bin",{"_Placeholder":true,"num":0}]`,
				`["bin",{"\u005fplaceholder":true,"num":0}]`,
				`["\u0063hat","a"]`,
				`["chat\"","a"]`,
				`["chat]","a"]`,
				`["cha,t","a"]`,
				`[ "chat","a"]`,
				`["chat" ,"a"]`,
				`["","a"]`,
			} {
				c, must := enter(version, nsp)
				must.Send(packetIn("2", nsp, body))
				must.Closed()
				c.Close()
			}
			c, must := enter(version, nsp)
			must.Emit(nsp, "ask")
			id := must.Event(nsp, "question").ID
			must.Send(packetIn("3", nsp, fmt.Sprint(id)+`[{"_placeholder":true,"num":0}]`))
			must.Closed()
			c.Close()
		}
	}
	_, must := enter(4, "/open")
	must.Emit("/open", "chat", "good")
	must.Call("/open", "mark")
	ran.Eventually(t, "chat good")
}

// packetIn returns a message of a namespace, without attachments.
func packetIn(typ, nsp, rest string) string {
	if nsp == "/" {
		return "4" + typ + rest
	}
	return "4" + typ + nsp + "," + rest
}
