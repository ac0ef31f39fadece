package socketiojwt_test

import (
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// In a public namespace a socket has no identity, whatever session its connection has elsewhere.
func TestFetchSocketsOfAPublicNamespace(t *testing.T) {
	t.Parallel()
	s := start(t, handshakeMode, func(s *testServer) {
		s.OnEvent("/", "x", func(socketio.Conn) {})
		s.OnEvent("/public", "x", func(socketio.Conn) {})
	}, "/")
	for _, version := range []int{3, 4} {
		c, must := s.dial(t, siotest.Options{Version: version, Transport: "websocket", Query: withToken(tokenOf(t, "bob"))})
		if version == 4 {
			must.Join("/")
		}
		must.Connected("/")
		must.Join("/public")
		must.Connected("/public")
		for nsp, want := range map[string][2]string{"/": {"bob", `{"identity":"bob"}`}, "/public": {"", `{}`}} {
			fetched, err := s.In(nsp).FetchSockets(t.Context())
			if err != nil || len(fetched) != 1 || fetched[0].Identity != want[0] || string(fetched[0].Data) != want[1] {
				t.Errorf("EIO=%d, %s: %+v, %v", version, nsp, fetched, err)
			}
		}
		c.Close()
		eventually(t, "it is gone", func() bool { return s.In("/public").Count() == 0 })
	}
}
