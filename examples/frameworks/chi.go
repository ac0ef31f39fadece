package main

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-socketiojwt/socketiojwt"
)

func withChi(auth *socketiojwt.Authorizer, sio *socketiojwt.Server) http.Handler {
	router := chi.NewRouter()
	router.Use(middleware.Recoverer)
	router.Handle("/socket.io/*", sio)
	router.Group(func(protected chi.Router) {
		protected.Use(auth.Middleware) // it is what chi takes
		protected.Get("/self", self)
	})
	return router
}
