package main

import (
	"io"
	"net/http"

	"github.com/go-socketiojwt/socketiojwt"
)

func withNetHTTP(auth *socketiojwt.Authorizer, sio *socketiojwt.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", sio)
	mux.Handle("GET /self", auth.Middleware(http.HandlerFunc(self)))
	return mux
}

// self tells whose token came with the request.
func self(w http.ResponseWriter, r *http.Request) {
	session, _ := socketiojwt.SessionFromContext(r.Context())
	io.WriteString(w, session.Subject())
}
