package serve

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// ClientFile is the browser's socket.io client, as its package names it.
const ClientFile = "socket.io.slim.js"

// ClientDir finds the folder of ClientFile: dir, or if that is "", where npm
// puts it.
func ClientDir(dir string) (string, error) {
	const dist = "chat/node_modules/socket.io-client/dist"
	candidates := []string{dir}
	if dir == "" {
		// Started in one of the examples, in examples, or in the root of the repository.
		candidates = []string{"../" + dist, dist, "examples/" + dist}
	}
	for _, candidate := range candidates {
		path := filepath.FromSlash(candidate)
		if info, err := os.Stat(filepath.Join(path, ClientFile)); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s in %q: run `make demo`, or `npm ci` in examples/chat", ClientFile, candidates)
}

// SecureHeaders lets a page load its own files and talk to its own server, and
// nothing else.
func SecureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
