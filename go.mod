module github.com/go-socketiojwt/socketiojwt

go 1.25.0

require (
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/gomodule/redigo v1.8.4
	github.com/googollee/go-socket.io v1.7.0
	github.com/gorilla/websocket v1.5.3
	go.uber.org/goleak v1.3.0
)

require github.com/gofrs/uuid v4.0.0+incompatible // indirect
