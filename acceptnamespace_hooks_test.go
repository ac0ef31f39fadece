package socketiojwt_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
)

// With the hooks one by one AcceptNamespace decides as with Protect.
func TestAcceptNamespaceWithHooks(t *testing.T) {
	for _, version := range []int{3, 4} {
		for _, handshake := range []bool{true, false} {
			t.Run(fmt.Sprintf("EIO=%d/handshake=%t", version, handshake), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { acceptNamespaceWithHooks(t, version, handshake) })
			})
		}
	}
}

func acceptNamespaceWithHooks(t *testing.T, version int, handshake bool) {
	asked, answer := make(chan string, 10), make(chan error)
	auth := mustAuthorize(t, socketiojwt.Options{Handshake: handshake,
		AcceptNamespace: func(_ context.Context, s *socketiojwt.Session, namespace string) error {
			if namespace == "/" {
				return nil
			}
			asked <- namespace
			return <-answer
		}})
	plain := socketio.NewServer(hardened())
	ran := make(chan string, 10)
	for _, name := range []string{"/", "/admin", "/b"} {
		plain.OnConnect(name, auth.OnConnect)
		plain.OnEvent(name, "authenticate", auth.OnAuthenticate)
		plain.OnDisconnect(name, auth.OnDisconnect)
		plain.OnEvent(name, "echo", func(_ socketio.Conn, text string) string { ran <- name; return text })
	}
	at := inMemory(t)
	serve(t, plain, at, auth.Handler(plain))
	must := enterAs(t, &testServer{at: at, auth: auth}, version, "websocket", handshake)
	if !handshake {
		must.Event("/", "authenticated")
	}
	must.Call("/", "echo", "x")
	<-ran
	for _, name := range []string{"/admin", "/b"} {
		must.Join(name)
		must.Send("42" + name + `,9["echo","early"]`)
		if got := <-asked; got != name {
			t.Errorf("asked about %s", got)
		}
		synctest.Wait()
		if len(ran) > 0 {
			t.Errorf("it ran in %s", <-ran)
		}
		if name == "/admin" {
			answer <- nil
			must.Ack(name, 9)
			<-ran
		} else {
			answer <- &socketiojwt.UnauthorizedError{Code: "no", Message: "no"}
			must.Type(name, 4)
		}
	}
	must.Call("/", "echo", "x")
	if got := <-ran; got != "/" {
		t.Errorf("it ran in %s", got)
	}
}
