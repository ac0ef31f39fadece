module github.com/go-socketiojwt/socketiojwt/e2e

go 1.25.0

replace github.com/go-socketiojwt/socketiojwt => ../

require (
	github.com/go-socketiojwt/socketiojwt v0.0.0-00010101000000-000000000000
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/gomodule/redigo v1.8.4
	github.com/googollee/go-socket.io v1.7.0
)

require (
	github.com/gofrs/uuid v4.0.0+incompatible // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
)
