package serve

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// ClientFile is the browser's socket.io client, as its package names it.
const ClientFile = "socket.io.min.js"

// ClientDir finds the folder of ClientFile: dir, or if that is "", where npm
// puts it.
func ClientDir(dir string) (string, error) {
	if dir != "" {
		if !isFile(filepath.Join(dir, ClientFile)) {
			return "", fmt.Errorf("no %s in %q: run `make demo`, or `npm ci` in examples/chat", ClientFile, dir)
		}
		return dir, nil
	}
	path, err := Find("examples/chat/node_modules/socket.io-client/dist/" + ClientFile)
	if err != nil {
		return "", fmt.Errorf("%w: run `make demo`, or `npm ci` in examples/chat", err)
	}
	return filepath.Dir(path), nil
}

// Find finds a file of the repository from where the program was started: the root, examples, or one
// of these.
func Find(name string) (string, error) {
	for _, up := range []string{"", "..", "../.."} {
		if path := filepath.Join(filepath.FromSlash(up), filepath.FromSlash(name)); isFile(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s here", name)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
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
