package socketiojwt_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
)

// Nothing that holds a token prints it, however it is printed.
func TestNothingPrintsATokenOrAHeader(t *testing.T) {
	token := tokenOf(t, "bob")
	request := &socketiojwt.Request{
		Namespace: "/", SessionID: "the-session-id", RemoteAddr: "192.0.2.1:1",
		URL:    &url.URL{Path: "/socket.io/", RawQuery: "token=" + token},
		Header: http.Header{"Authorization": {"Bearer " + token}, "Cookie": {"jwt=" + token}},
		Auth:   []byte(`{"token":"` + token + `"}`),
	}
	data := new(socketiojwt.AuthenticateData)
	_ = data.UnmarshalJSON([]byte(`{"token":"` + token + `"}`))
	sessions := make(chan *socketiojwt.Session, 1)
	s := start(t, handshakeMode, func(s *testServer) {
		s.OnConnect("/", func(c socketio.Conn) error {
			session, _ := s.auth.Session(c)
			sessions <- session
			return nil
		})
	})
	s.dial(t, bob(t, "websocket"))
	session := <-sessions
	for name, value := range map[string]any{
		"*Request": request, "Request": *request, "*AuthenticateData": data, "AuthenticateData": *data,
		"*Session": session, "[]*Request": []*socketiojwt.Request{request}, "in a struct": struct{ R *socketiojwt.Request }{request},
	} {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&b, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", slog.Any("value", value))
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", slog.Any("value", value))
		got := b.String()
		for _, secret := range []string{token, fmt.Sprintf("%x", token), token[:20], "Bearer", "Authorization", "the-session-id"} {
			if strings.Contains(got, secret) {
				t.Errorf("%s prints %.20s: %s", name, secret, got)
				break
			}
		}
	}
}
