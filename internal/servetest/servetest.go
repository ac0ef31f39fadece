// Package servetest runs the server of an example for the length of a test.
package servetest

import (
	"net/http"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
)

// Start serves handler, runs sio, and returns the URL. Both end with the test.
func Start(tb testing.TB, sio *socketiojwt.Server, handler http.Handler) string {
	tb.Helper()
	at := harness.Loopback(tb)
	harness.Serve(tb, sio, at, handler)
	return at.URL
}
