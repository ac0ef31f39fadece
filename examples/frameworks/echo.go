package main

import (
	"net/http"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

func withEcho(auth *socketiojwt.Authorizer, sio *socketiojwt.Server) http.Handler {
	router := echo.New()
	router.Use(middleware.Recover())
	router.Any("/socket.io/*", echo.WrapHandler(sio)) // not "/socket.io/", which is that path alone

	protected := router.Group("", echo.WrapMiddleware(auth.Middleware))
	protected.GET("/self", func(c echo.Context) error {
		session, _ := socketiojwt.SessionFromContext(c.Request().Context())
		return c.String(http.StatusOK, session.Subject())
	})
	return router
}
