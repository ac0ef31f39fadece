package socketiojwt_test

import (
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
)

// BenchmarkGuard is what Guard adds to the call of an event handler that does nothing, by
// the handler's signature. go-socket.io itself calls handlers through reflection, which is
// not counted here.
func BenchmarkGuard(b *testing.B) {
	auth := mustAuthorize(b, socketiojwt.Options{Handshake: true})
	conn := fakeConns(b, hardened(), 1, func(int) string { return tokenOf(b, "bob") })[0]
	b.Cleanup(conn.client().Abort)
	if err := auth.OnConnect(conn); err != nil {
		b.Fatal(err)
	}
	var s socketio.Conn = conn
	eventually(b, "the socket is open", func() bool {
		ran := false
		auth.Guard(func(socketio.Conn) { ran = true }).(func(socketio.Conn))(s)
		return ran
	})

	type data struct{ Text string }
	var argument any = "x"
	plain := auth.Guard(func(socketio.Conn) {}).(func(socketio.Conn))
	text := auth.Guard(func(socketio.Conn, string) {}).(func(socketio.Conn, string))
	answer := auth.Guard(func(_ socketio.Conn, text string) string { return text }).(func(socketio.Conn, string) string)
	anything := auth.Guard(func(socketio.Conn, any) {}).(func(socketio.Conn, any))
	object := auth.Guard(func(socketio.Conn, data) {}).(func(socketio.Conn, data))
	many := auth.Guard(func(_ socketio.Conn, n int, _ data, _ []string) (int, error) { return n, nil }).(func(socketio.Conn, int, data, []string) (int, error))
	for _, c := range []struct {
		name string
		call func()
	}{
		{"func(Conn)", func() { plain(s) }},
		{"func(Conn,string)", func() { text(s, "x") }},
		{"func(Conn,string)string", func() { answer(s, "x") }},
		{"func(Conn,any)", func() { anything(s, argument) }},
		{"func(Conn,struct)", func() { object(s, data{"x"}) }},
		{"func(Conn,int,struct,slice)(int,error)", func() { _, _ = many(s, 1, data{"x"}, nil) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.call()
			}
		})
	}
}
