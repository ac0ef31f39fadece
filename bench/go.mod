module github.com/go-socketiojwt/socketiojwt/bench

go 1.25.0

replace (
	github.com/go-socketiojwt/socketiojwt => ../
	github.com/go-socketiojwt/socketiojwt/redisadapter => ../redisadapter
)

require (
	github.com/go-socketiojwt/socketiojwt v0.0.0-00010101000000-000000000000
	github.com/go-socketiojwt/socketiojwt/redisadapter v0.0.0-00010101000000-000000000000
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/gomodule/redigo v1.8.4
	github.com/googollee/go-socket.io v1.7.0
	github.com/gorilla/websocket v1.5.3
	golang.org/x/sys v0.35.0
)

require (
	github.com/gofrs/uuid v4.0.0+incompatible // indirect
	github.com/vmihailenco/msgpack/v5 v5.4.1 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
)
