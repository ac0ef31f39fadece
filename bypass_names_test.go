package socketiojwt_test

import (
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// In protocol 5 a question mark is part of a namespace's name, and go-socket.io takes it for the end of one: a client
// that asks for /admin?x must not be in /admin, nor in a root that it has not asked for.
func TestQuestionMarkInTheNameOfAForeignNamespace(t *testing.T) {
	for _, name := range []string{"/admin", "/"} {
		for _, handshake := range []bool{true, false} {
			auth := mustAuthorize(t, socketiojwt.Options{Handshake: handshake})
			plain := socketio.NewServer(hardened())
			ran := make(chan string, 10)
			for _, namespace := range []string{"/", "/admin"} {
				plain.OnConnect(namespace, auth.OnConnect)
				plain.OnEvent(namespace, "authenticate", auth.OnAuthenticate)
				plain.OnDisconnect(namespace, auth.OnDisconnect)
				plain.OnEvent(namespace, "secret", func(c socketio.Conn) string { ran <- c.Namespace(); return "secret" })
			}
			at := loopback(t)
			serve(t, plain, at, auth.Handler(plain))
			c := siotest.MustDial(t, at.url, siotest.Options{Version: 4, Transport: "websocket"})
			must := c.Must(t)
			must.Send("40"+name+"?x,", "42"+name+`?x,1["secret"]`)
			must.NextRaw("44" + name + `?x,{"message":"Invalid namespace"}`)
			c.Abort()
			eventually(t, "it is gone", func() bool { return plain.Count() == 0 })
			if len(ran) > 0 {
				t.Errorf("%s, handshake %t: an event reached namespace %q of a client without a token", name, handshake, <-ran)
			}
		}
	}
}
