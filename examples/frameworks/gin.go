package main

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-socketiojwt/socketiojwt"
)

func withGin(auth *socketiojwt.Authorizer, sio *socketiojwt.Server) http.Handler {
	router := gin.New() // gin.Default logs queries
	router.Use(gin.Recovery())
	router.Any("/socket.io/*any", gin.WrapH(sio)) // not "/socket.io/", which is that path alone

	protected := router.Group("", authenticated(auth))
	protected.GET("/self", func(c *gin.Context) {
		session, _ := socketiojwt.SessionFromContext(c.Request.Context())
		c.String(http.StatusOK, session.Subject())
	})
	return router
}

// authenticated is auth.Middleware for gin, which has no wrapper for middleware.
func authenticated(auth *socketiojwt.Authorizer) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		auth.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}
