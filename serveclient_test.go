package socketiojwt_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-socketiojwt/socketiojwt"
)

func TestServeClient(t *testing.T) {
	s := start(t, socketiojwt.Options{Handshake: true}, nil)
	ask := func(method, path string, header ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.at.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(body)
	}
	if r, body := ask("GET", "/socket.io/socket.io.js"); r.StatusCode != 404 || !strings.Contains(body, "ServeClient") {
		t.Errorf("without ServeClient: %s %q", r.Status, body)
	}

	s.ServeClient(fstest.MapFS{
		"socket.io.js":     {Data: []byte("// the client")},
		"socket.io.js.map": {Data: []byte(`{"version":3}`)},
		"secret.js":        {Data: []byte("// not for you")},
	})
	r, body := ask("GET", "/socket.io/socket.io.js")
	if r.StatusCode != 200 || body != "// the client" || r.Header.Get("Content-Type") != "application/javascript; charset=utf-8" ||
		r.Header.Get("Cache-Control") != "public, max-age=0" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %v %q", r.Status, r.Header, body)
	}
	if again, body := ask("GET", "/socket.io/socket.io.js", "If-None-Match", r.Header.Get("ETag")); again.StatusCode != 304 || body != "" {
		t.Errorf("with its ETag: %s %q", again.Status, body)
	}
	if r, body := ask("GET", "/socket.io/socket.io.js.map"); r.StatusCode != 200 || body != `{"version":3}` ||
		r.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("the map: %s %v %q", r.Status, r.Header, body)
	}
	if r, body := ask("HEAD", "/socket.io/socket.io.js"); r.StatusCode != 200 || body != "" {
		t.Errorf("HEAD: %s %q", r.Status, body)
	}
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/socket.io/socket.io.js", 405},
		{"GET", "/socket.io/socket.io.min.js", 404},
		{"GET", "/socket.io/socket.io.js?EIO=3&transport=polling", 200}, // refused, but a handshake
		{"GET", "/socket.io/secret.js", 400},
		{"GET", "/socket.io/socket.io..%2fsecret.js", 400},
	} {
		if r, body := ask(test.method, test.path); r.StatusCode != test.status || strings.Contains(body, "not for you") {
			t.Errorf("%s %s: %s %q, want %d", test.method, test.path, r.Status, body, test.status)
		}
	}
}
