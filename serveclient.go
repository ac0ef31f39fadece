package socketiojwt

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// ServeClient answers requests for the browser's client, such as /socket.io/socket.io.js and its
// map, from files, as Node's server does from its own (socket.io, "serveClient"): those whose names
// begin with "socket.io." and end in ".js" or ".js.map". files is a folder or an embed.FS that
// holds npm's socket.io-client/dist:
//
//	sio.ServeClient(os.DirFS("node_modules/socket.io-client/dist"))
//
// A file is read once, when it is asked for first. Without ServeClient, or where files has no such
// file, the answer is status 404 with a text that says so. It holds for all Servers of one go-socket.io
// server. It does not block and is safe for concurrent use.
func (s *Server) ServeClient(files fs.FS) {
	s.site.client.Store(&clientFiles{files: files, read: make(map[string]*clientFile)})
}

// clientFiles are the files of a ServeClient that were asked for.
type clientFiles struct {
	files fs.FS

	mu   sync.Mutex
	read map[string]*clientFile
}

type clientFile struct {
	content []byte
	etag    string
}

// isClientFile reports whether a name is one of socket.io-client's dist: no more than those are
// looked for, whatever is asked.
func isClientFile(name string) bool {
	return strings.HasPrefix(name, "socket.io.") && fs.ValidPath(name) && len(name) < 64 &&
		(strings.HasSuffix(name, ".js") || strings.HasSuffix(name, ".js.map"))
}

// serveClientFile answers a request for a file of the browser's client, and reports whether it is
// one.
func (s *Server) serveClientFile(w http.ResponseWriter, r *http.Request) bool {
	name := path.Base(r.URL.Path)
	if !isClientFile(name) || transport.QueryOf(r).Has("transport") {
		return false
	}
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return true
	}
	file := s.site.client.Load().find(name)
	if file == nil {
		http.Error(w, "no "+name+" here: the server has to name its folder with ServeClient", http.StatusNotFound)
		return true
	}
	header.Set("Content-Type", "application/javascript; charset=utf-8")
	if strings.HasSuffix(name, ".map") {
		header.Set("Content-Type", "application/json; charset=utf-8")
	}
	header.Set("Cache-Control", "public, max-age=0")
	header.Set("ETag", file.etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file.content))
	return true
}

// find returns nil for a file that there is not.
func (c *clientFiles) find(name string) *clientFile {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	file, known := c.read[name]
	c.mu.Unlock()
	if known {
		return file
	}
	content, err := fs.ReadFile(c.files, name)
	if err != nil {
		return nil // it may come
	}
	sum := sha256.Sum256(content)
	file = &clientFile{content, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read[name] = file
	return file
}
