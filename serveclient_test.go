package socketiojwt_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	socketio "github.com/googollee/go-socket.io"
)

const clientSource = "/* the client, \u00fc */ io('');\n"

// clientDist is a folder of the client, with something in it that is nobody's business.
func clientDist() fstest.MapFS {
	return fstest.MapFS{
		"socket.io.js":             {Data: []byte(clientSource)},
		"socket.io.js.map":         {Data: []byte(`{"version":3}`)},
		"socket.io.esm.min.js":     {Data: []byte("export {};")},
		"socket.io.esm.min.js.map": {Data: []byte(`{"version":3,"names":[]}`)},
		"wrapper.mjs":              {Data: []byte("SECRET")},
		"sub/socket.io.js":         {Data: []byte("SECRET")},
	}
}

// loggedServer returns a server that nobody connects to, and its log.
func loggedServer(t *testing.T) (*socketiojwt.Server, *harness.Record) {
	t.Helper()
	var log harness.Record
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: true, Logger: harness.LogTo(&log)})
	return auth.Protect(socketio.NewServer(socketiojwt.Harden(nil))), &log
}

// serveRequest asks handler without a network; header is name, value and so on.
func serveRequest(handler http.Handler, method, target string, body io.Reader, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func askForFile(handler http.Handler, name string, header ...string) *httptest.ResponseRecorder {
	return serveRequest(handler, http.MethodGet, "/socket.io/"+name, nil, header...)
}

func TestServeClient(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Handshake: true}, nil)
	s.ServeClient(clientDist())
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	etags := make(map[string]string)
	for _, name := range []string{"socket.io.js", "socket.io.js.map", "socket.io.esm.min.js", "socket.io.esm.min.js.map"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r, err := http.NewRequest(method, s.At.URL+"/socket.io/"+name+"?v=4", nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()

			want := string(clientDist()[name].Data)
			if answer.StatusCode != http.StatusOK || answer.ContentLength != int64(len(want)) {
				t.Errorf("%s %s: status %d, %d bytes", method, name, answer.StatusCode, answer.ContentLength)
			}
			if method == http.MethodHead {
				want = ""
			}
			if string(body) != want {
				t.Errorf("%s %s: %q", method, name, body)
			}
			contentType := "application/javascript; charset=utf-8"
			if strings.HasSuffix(name, ".map") {
				contentType = "application/json; charset=utf-8"
			}
			for header, want := range map[string]string{
				"Content-Type":           contentType,
				"Cache-Control":          "public, max-age=0",
				"X-Content-Type-Options": "nosniff",
				"Vary":                   "Accept-Encoding",
				"Content-Encoding":       "",
				"Last-Modified":          "",
			} {
				if got := answer.Header.Get(header); got != want {
					t.Errorf("%s %s: %s is %q, want %q", method, name, header, got, want)
				}
			}
			etag := answer.Header.Get("ETag")
			if before, known := etags[etag]; etag == "" || (known && before != name) {
				t.Errorf("%s has the ETag %s of %q", name, etag, before)
			}
			etags[etag] = name
		}
	}
	if len(etags) != 4 {
		t.Errorf("GET and HEAD differ: %v", etags)
	}
}

func TestServeClientNotModified(t *testing.T) {
	t.Parallel()
	s, _ := loggedServer(t)
	s.ServeClient(clientDist())
	plain := askForFile(s, "socket.io.js").Header().Get("ETag")
	zipped := askForFile(s, "socket.io.js", "Accept-Encoding", "gzip").Header().Get("ETag")
	if plain == zipped {
		t.Errorf("both are %s", plain)
	}
	for _, c := range []struct {
		asked string
		gzip  bool
		want  int
	}{
		{plain, false, http.StatusNotModified},
		{"W/" + plain, false, http.StatusNotModified}, // of a proxy that compresses
		{`"4.8.4", ` + plain, false, http.StatusNotModified},
		{zipped, true, http.StatusNotModified},
		{zipped, false, http.StatusOK},
		{plain, true, http.StatusOK},
		{`"4.8.4"`, false, http.StatusOK},
		{"nonsense", false, http.StatusOK},
	} {
		header := []string{"If-None-Match", c.asked}
		if c.gzip {
			header = append(header, "Accept-Encoding", "gzip")
		}
		w := askForFile(s, "socket.io.js", header...)
		if w.Code != c.want {
			t.Errorf("%s, gzip %v: status %d", c.asked, c.gzip, w.Code)
		}
		if w.Code == http.StatusNotModified && (w.Body.Len() != 0 || w.Header().Get("ETag") == "" || w.Header().Get("Cache-Control") == "") {
			t.Errorf("%s: %q %v", c.asked, w.Body, w.Header())
		}
	}

	// Another file of the same name is another version.
	files := clientDist()
	files["socket.io.js"].Data = []byte("newer")
	s.ServeClient(files)
	if w := askForFile(s, "socket.io.js", "If-None-Match", plain); w.Code != http.StatusOK || w.Body.String() != "newer" {
		t.Errorf("status %d, %q", w.Code, w.Body)
	}
}

func TestServeClientCompresses(t *testing.T) {
	t.Parallel()
	s, _ := loggedServer(t)
	s.ServeClient(clientDist())
	for accepted, want := range map[string]string{
		"":                        "",
		"gzip, deflate, br, zstd": "gzip",
		"br;q=1.0, GZIP;q=0.5":    "gzip",
		"deflate , gzip ; q=1":    "gzip",
		"gzip;q=0":                "",
		"gzip; q=0.000, br":       "",
		"gzip;q=nonsense":         "",
		"br":                      "",
		"x-gzipped":               "",
	} {
		w := askForFile(s, "socket.io.js", "Accept-Encoding", accepted)
		got := w.Header().Get("Content-Encoding")
		if got != want {
			t.Errorf("%q: %q", accepted, got)
		}
		var body io.Reader = w.Body
		if got == "gzip" {
			var err error
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		if data, err := io.ReadAll(body); err != nil || string(data) != clientSource {
			t.Errorf("%q: %q, %v", accepted, data, err)
		}
	}
}

func TestServeClientWithoutFiles(t *testing.T) {
	t.Parallel()
	s, log := loggedServer(t)
	refused := func(name, why string) {
		t.Helper()
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := serveRequest(s, method, "/socket.io/"+name, nil)
			if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), why) || !strings.Contains(w.Body.String(), "ServeClient") {
				t.Errorf("%s %s: status %d, %q", method, name, w.Code, w.Body)
			}
			if got := w.Header(); got.Get("X-Content-Type-Options") != "nosniff" || got.Get("ETag") != "" || got.Get("Cache-Control") != "" {
				t.Error(got)
			}
		}
	}
	refused("socket.io.js", "does not call")
	s.ServeClient(clientDist())
	refused("socket.io.msgpack.min.js", "is not in the folder")
	if log.String() != "" {
		t.Error(log)
	}
	s.ServeClient(nil)
	refused("socket.io.js", "does not call")

	s.ServeClient(fstest.MapFS{"dist/socket.io.js": {Data: []byte(clientSource)}})
	refused("socket.io.js", "is not in the folder")
	harness.SaidOnce(t, log, "ServeClient found no socket.io.js", "level=ERROR", "fs.Sub")

	s.ServeClient(fstest.MapFS{"socket.io.js": {Mode: fs.ModeDir}, "socket.io.js.map": {Data: []byte("{}")}})
	refused("socket.io.js", "is not in the folder")
	harness.SaidOnce(t, log, "ServeClient cannot read its files", "level=ERROR", "read socket.io.js:")
	if w := askForFile(s, "socket.io.js.map"); w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}

// What is no request for a file of the client goes to the gate, which answers as Node does.
func TestServeClientServesNothingElse(t *testing.T) {
	t.Parallel()
	s, _ := loggedServer(t)
	s.ServeClient(clientDist())
	for _, target := range []string{
		"/socket.io/",
		"/socket.io/wrapper.mjs",
		"/socket.io/SOCKET.IO.JS",
		"/socket.io/socket.io.js/",
		"/socket.io/socket.io.js%00",
		"/socket.io/socket.io.js/../wrapper.mjs",
		"/socket.io/..%2fwrapper.mjs",
		"/socket.io/%2e%2e/wrapper.mjs",
		"/socket.io/..\\socket.io.js",
		"/socket.io/socket.io.js?transport=nonsense",
	} {
		w := serveRequest(s, http.MethodGet, target, nil)
		if w.Code != http.StatusBadRequest || w.Body.String() != `{"code":0,"message":"Transport unknown"}` {
			t.Errorf("%s: status %d, %q", target, w.Code, w.Body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		if w := serveRequest(s, method, "/socket.io/socket.io.js", nil); w.Code == http.StatusOK {
			t.Errorf("%s: status %d, %q", method, w.Code, w.Body)
		}
	}
	if w := serveRequest(s, http.MethodGet, "/socket.io/socket.io.js", strings.NewReader("body")); w.Code != http.StatusBadRequest {
		t.Errorf("with a body: status %d", w.Code)
	}
	// A folder further down names the same file, never one of the same folder in the FS.
	for _, target := range []string{"/socket.io/sub/socket.io.js", "/socket.io/%2e%2e/socket.io.js", "/socket.io.js"} {
		if w := serveRequest(s, http.MethodGet, target, nil); w.Body.String() != clientSource {
			t.Errorf("%s: status %d, %q", target, w.Code, w.Body)
		}
	}
}

// However many ranges a stranger asks for, the answer is the file.
func TestServeClientIgnoresRanges(t *testing.T) {
	t.Parallel()
	s, _ := loggedServer(t)
	s.ServeClient(clientDist())
	for _, ranges := range []string{"bytes=0-3", "bytes=0-0" + strings.Repeat(",0-0", 20), "bytes=9999-"} {
		w := askForFile(s, "socket.io.js", "Range", ranges)
		if w.Code != http.StatusOK || w.Body.String() != clientSource {
			t.Errorf("%s: status %d, %q", ranges, w.Code, w.Body)
		}
	}
}

// countedFS counts how often each file is opened.
type countedFS struct {
	fs.FS
	mu     sync.Mutex
	opened map[string]int
}

func (c *countedFS) Open(name string) (fs.File, error) {
	c.mu.Lock()
	c.opened[name]++
	c.mu.Unlock()
	return c.FS.Open(name)
}

func TestServeClientReadsOnce(t *testing.T) {
	t.Parallel()
	s, _ := loggedServer(t)
	files := &countedFS{FS: clientDist(), opened: make(map[string]int)}
	s.ServeClient(files)
	for range 3 {
		askForFile(s, "socket.io.js")
		askForFile(s, "socket.io.min.js")
		askForFile(s, "wrapper.mjs")
	}
	for name, n := range files.opened {
		if n != 1 || !strings.HasPrefix(name, "socket.io.") {
			t.Errorf("%s was opened %d times", name, n)
		}
	}
	if files.opened["socket.io.js"] != 1 {
		t.Error(files.opened)
	}
}

func TestServeClientIsOfOneGoSocketIOServer(t *testing.T) {
	t.Parallel()
	server := socketio.NewServer(socketiojwt.Harden(nil))
	one := harness.Authorize(t, socketiojwt.Options{}).Protect(server, "/one")
	two := harness.Authorize(t, socketiojwt.Options{}).Protect(server, "/two")
	other, _ := loggedServer(t)
	two.ServeClient(clientDist())
	if w := askForFile(one, "socket.io.js"); w.Body.String() != clientSource {
		t.Errorf("status %d, %q", w.Code, w.Body)
	}
	if w := askForFile(other, "socket.io.js"); w.Code != http.StatusNotFound {
		t.Errorf("status %d, %q", w.Code, w.Body)
	}
}

// A gate in front of a Server, or of the go-socket.io server itself, hides no file.
func TestServeClientBehindAnotherGate(t *testing.T) {
	t.Parallel()
	server := socketio.NewServer(socketiojwt.Harden(nil))
	defer server.Close()
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: true})
	bare := serveRequest(auth.Handler(server), http.MethodGet, "/socket.io/socket.io.js", nil)
	if bare.Code != http.StatusBadRequest {
		t.Errorf("without Protect: status %d, %q", bare.Code, bare.Body)
	}
	s := auth.Protect(server)
	admin := harness.Authorize(t, socketiojwt.Options{})
	for name, handler := range map[string]http.Handler{
		"its own":      auth.Handler(s),
		"another's":    admin.Handler(s),
		"two":          admin.Handler(auth.Handler(s)),
		"of the plain": auth.Handler(server),
	} {
		s.ServeClient(nil)
		w := askForFile(handler, "socket.io.js")
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "does not call Server.ServeClient") {
			t.Errorf("%s: status %d, %q", name, w.Code, w.Body)
		}
		s.ServeClient(clientDist())
		if w = askForFile(handler, "socket.io.js"); w.Code != http.StatusOK || w.Body.String() != clientSource {
			t.Errorf("%s: status %d, %q", name, w.Code, w.Body)
		}
		if w = askForFile(handler, "wrapper.mjs"); w.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d, %q", name, w.Code, w.Body)
		}
	}
}

func TestServeClientWhileItServes(t *testing.T) {
	t.Parallel()
	s, _ := loggedServer(t)
	s.ServeClient(clientDist())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				if i == 0 {
					files := clientDist()
					files["socket.io.js"].Data = fmt.Appendf(nil, "%s%d", clientSource, j)
					s.ServeClient(files)
				}
				w := askForFile(s, "socket.io.js")
				if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), clientSource) {
					t.Errorf("status %d, %q", w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
}

func ExampleServer_ServeClient() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret: socketiojwt.StaticSecret("0123456789abcdef0123456789abcdef"),
	})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))

	// A program would have an embed.FS with `//go:embed dist` here, or an os.DirFS.
	embedded := fstest.MapFS{"dist/socket.io.js": {Data: []byte("/* Socket.IO */")}}
	dist, err := fs.Sub(embedded, "dist")
	if err != nil {
		log.Fatal(err)
	}
	sio.ServeClient(dist)

	w := httptest.NewRecorder()
	sio.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/socket.io/socket.io.js", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"), w.Body)
	// Output: 200 application/javascript; charset=utf-8 /* Socket.IO */
}
