package transport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/gorilla/websocket"
)

// TestRefuseForNow: who is refused for now hears for how long, and nothing of it is kept.
func TestRefuseForNow(t *testing.T) {
	w := httptest.NewRecorder()
	transport.RefuseForNow(w, httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil), nil, []byte(`{}`))
	for name, want := range map[string]string{
		"Retry-After": "1", "Cache-Control": "no-store", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != `{}` {
		t.Errorf("got %d, %s", w.Code, w.Body)
	}
}

// TestSeveralOrigins: a request that says two origins is of neither, where CheckOrigin is the default.
func TestSeveralOrigins(t *testing.T) {
	s := newServer(t, config{webSocket: new(websocket.Upgrader)})
	const own = "http://test" // which is what webSocketText asks for
	for _, test := range []struct {
		origins []string
		status  int
	}{
		{nil, 101}, {[]string{""}, 101}, {[]string{own}, 101}, {[]string{"https://evil.example"}, 403},
		{[]string{own, "https://evil.example"}, 403}, {[]string{"https://evil.example", own}, 403}, {[]string{own, own}, 403}, {[]string{"", own}, 403},
	} {
		lines := webSocketText("")
		lines = lines[:len(lines)-2]
		for _, origin := range test.origins {
			lines += "Origin: " + origin + "\r\n"
		}
		conn := s.raw(t, lines+"\r\n")
		var status [12]byte
		if _, err := conn.Read(status[:]); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint("HTTP/1.1 ", test.status); string(status[:]) != want {
			t.Errorf("%q: got %s, want %s", test.origins, status, want)
		}
		conn.Close()
	}
}
