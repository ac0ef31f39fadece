package upstream_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/googollee/go-socket.io/engineio/frame"
	"github.com/googollee/go-socket.io/engineio/packet"
	eiotransport "github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// The goroutine that writes for go-socket.io may be late with CONNECT: when the client has left and
// asked again, that answers the life that is over, and not the one whose hook has yet to run.
func TestLateConnect(t *testing.T) {
	u, opts := newServer(t, websocket.Default)
	bridges := make(chan eiotransport.Conn, 1)
	goSocketIO := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, tr := range opts.Transports {
			if tr.Name() == "websocket" {
				conn, err := tr.Accept(w, r)
				if err != nil {
					t.Error(err)
					return
				}
				opts.SessionIDGenerator.NewID()
				bridges <- conn
				conn.(http.Handler).ServeHTTP(w, r)
			}
		}
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { u.Serve(w, r, goSocketIO) }))
	defer server.Close()
	var bridge eiotransport.Conn
	write := func(text string) {
		w, err := bridge.NextWriter(frame.String, packet.MESSAGE)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
	opened := make(chan struct{})
	go func() {
		bridge = <-bridges
		write("0")
		close(opened)
	}()
	c := siotest.MustDial(t, server.URL, siotest.Options{Transport: "websocket"})
	must := c.Must(t)
	<-opened
	read := func(want string) {
		t.Helper()
		_, _, r, err := bridge.NextReader()
		must.OK(err)
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Fatalf("go-socket.io reads %q, %v, want %q", got, err, want)
		}
	}

	must.NextRaw("40")
	must.Send("40/a", "41/a", "40/a", `42["mark"]`)
	read("0/a")
	read("1/a")
	read("0/a")
	write("0/a") // of the first life
	write(`2/a,["news"]` + "\n")
	write(`2["mark"]` + "\n")
	must.NextRaw(`42["mark"]`)
	write("0/a")
	must.NextRaw(`42/a,["news"]`)
	must.NextRaw("40/a")
	c.Close()
	for err := error(nil); err == nil; {
		_, _, _, err = bridge.NextReader()
	}
	must.OK(bridge.Close())
	must.OK(bridge.Close())
}
