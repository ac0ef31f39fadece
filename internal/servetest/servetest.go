// Package servetest runs the server of an example for the length of a test.
package servetest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
)

// Start serves handler, runs sio, and returns the URL. Both end with the test.
func Start(tb testing.TB, sio *socketiojwt.Server, handler http.Handler) string {
	tb.Helper()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = sio.Serve()
	}()
	server := httptest.NewServer(handler)
	tb.Cleanup(func() {
		if err := sio.Close(); err != nil {
			tb.Error(err)
		}
		server.Close()
		<-served
	})
	return server.URL
}
