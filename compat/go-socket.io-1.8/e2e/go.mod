module github.com/go-socketiojwt/socketiojwt/e2e

go 1.25.0

replace github.com/go-socketiojwt/socketiojwt => ../

require (
	github.com/go-socketiojwt/socketiojwt v0.0.0-00010101000000-000000000000
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/googollee/go-socket.io v1.8.0-rc.1
)

require (
	github.com/gofrs/uuid v4.4.0+incompatible // indirect
	github.com/gomodule/redigo v1.8.9 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	golang.org/x/exp v0.0.0-20230713183714-613f0c0eb8a1 // indirect
)
