package socketiojwt

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// ServeClient answers requests for /socket.io/socket.io.js and the like with files: the `dist`
// folder of npm's socket.io-client, as an os.DirFS, or as an embed.FS with fs.Sub, because the
// names in an embed.FS begin with the folder.
//
// The names are those of socket.io-client 1.x to 4.x: socket.io.js, socket.io.min.js,
// socket.io.esm.min.js, socket.io.msgpack.min.js and so on, each with its .map. Other files are not
// read. A request needs no token, because a page loads the client before it has one.
//
// ServeClient reads the files before it returns and keeps them in memory, plain and compressed,
// which is 1.5 MB for 4.8. A file that changes later is served as it was until ServeClient is
// called again. A folder without any of the names is logged. The last call counts, for all Servers
// of one go-socket.io server; nil takes the files away. ServeClient is safe for concurrent use.
//
// Default: no files; the answer is a 404 that names ServeClient.
//
// Content-Type, Cache-Control and gzip are those of Node's socket.io 4.8, which has its own copy of
// the files (Server.serve in its lib/index.ts). The ETag is a hash of the file, because an embed.FS
// has no times; Node's is the version of the client.
func (s *Server) ServeClient(files fs.FS) {
	if files == nil {
		s.clientFiles().Store(nil)
		return
	}
	found := make(clientFiles)
	var failed error
	for name := range clientFileNames {
		data, err := fs.ReadFile(files, name)
		switch {
		case err == nil:
			found[name] = newClientFile(name, data)
		case !errors.Is(err, fs.ErrNotExist):
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		s.auth.alarm("socketiojwt: ServeClient cannot read its files", "error", failed)
	} else if len(found) == 0 {
		s.auth.alarm("socketiojwt: ServeClient found no socket.io.js in its folder, nor another file of the client; use fs.Sub for a folder inside")
	}
	s.clientFiles().Store(&found)
}

// clientFileNames are the files in `dist` of socket.io-client 1.7, 2.5, 3.1 and 4.8.
var clientFileNames = func() map[string]bool {
	names := make(map[string]bool)
	for _, build := range []string{
		"",                  // all
		".min",              // 1.x, 3.x, 4.x
		".slim",             // 1.x, 2.x
		".slim.min",         // 1.x
		".dev", ".slim.dev", // 2.x
		".msgpack.min", // 3.x, 4.x
		".esm.min",     // 4.x
	} {
		names["socket.io"+build+".js"] = true
		names["socket.io"+build+".js.map"] = true
	}
	return names
}()

// clientFiles are the files of the client by name.
type clientFiles map[string]*clientFile

// clientFile is a file of the client, ready to be sent.
type clientFile struct {
	contentType string
	etag        string // without quotes
	plain, gzip []byte
}

func newClientFile(name string, data []byte) *clientFile {
	f := &clientFile{contentType: "application/javascript; charset=utf-8", plain: data}
	if strings.HasSuffix(name, ".map") {
		f.contentType = "application/json; charset=utf-8"
	}
	hash := sha256.Sum256(data)
	f.etag = hex.EncodeToString(hash[:16])
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, _ = w.Write(data) // a bytes.Buffer takes everything
	_ = w.Close()
	f.gzip = compressed.Bytes()
	return f
}

// clientFileTimeout is how long a client may take to read a file.
const clientFileTimeout = 30 * time.Second

type clientFilesKey struct{}

func (s *Server) clientFiles() *atomic.Pointer[clientFiles] {
	return clientFilesOf(s.doorkeeper.upstream.Hub())
}

// clientFilesOf returns where all Servers of one go-socket.io server, and the gates in front of
// them, find the files.
func clientFilesOf(hub *transport.Hub) *atomic.Pointer[clientFiles] {
	return hub.Attach(clientFilesKey{}, func() any {
		return new(atomic.Pointer[clientFiles])
	}).(*atomic.Pointer[clientFiles])
}

// serveClientFile answers a request for a file of the client, and reports whether it was one. The
// last element of the path decides, because a gate does not know where it is mounted. Where nothing
// is protected there is no Server, and no file.
//
// A request with another method, or with a body, is not answered here: the gate refuses it and does
// not wait for the body.
func (g *gate) serveClientFile(w http.ResponseWriter, r *http.Request) bool {
	_, name := path.Split(r.URL.Path)
	if !clientFileNames[name] || transport.QueryOf(r).Has("transport") ||
		(r.Method != http.MethodGet && r.Method != http.MethodHead) || r.ContentLength != 0 || doorkeeperOf(g.hub) == nil {
		return false
	}
	defer transport.Within(w, clientFileTimeout)()
	files := clientFilesOf(g.hub).Load()
	if files == nil {
		http.Error(w, "socketiojwt: "+name+" is not served, because the program does not call Server.ServeClient", http.StatusNotFound)
		return true
	}
	f := (*files)[name]
	if f == nil {
		http.Error(w, "socketiojwt: "+name+" is not in the folder of Server.ServeClient", http.StatusNotFound)
		return true
	}
	f.send(w, r)
	return true
}

func (f *clientFile) send(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "public, max-age=0")
	header.Set("Content-Type", f.contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Add("Vary", "Accept-Encoding")
	body, etag := f.plain, f.etag
	if acceptsGzip(r.Header) {
		body, etag = f.gzip, f.etag+"-gzip"
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("ETag", fmt.Sprintf("%q", etag))
	// Of the request only the precondition counts. Node's server knows no ranges either, and
	// net/http needs a second to answer as many ranges as one header can hold.
	asked := &http.Request{Method: r.Method, Header: http.Header{"If-None-Match": r.Header["If-None-Match"]}}
	http.ServeContent(w, asked, "", time.Time{}, bytes.NewReader(body))
}

// acceptsGzip reads Accept-Encoding as far as the choice between gzip and nothing needs it
// (RFC 9110 §12.5.3).
func acceptsGzip(header http.Header) bool {
	for _, value := range header["Accept-Encoding"] {
		for part := range strings.SplitSeq(value, ",") {
			coding, weight, weighted := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			_, weight, _ = strings.Cut(weight, "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
			return !weighted || (err == nil && q > 0)
		}
	}
	return false
}
