module github.com/go-socketiojwt/socketiojwt/redisadapter

go 1.25.0

replace github.com/go-socketiojwt/socketiojwt => ../

require (
	github.com/go-socketiojwt/socketiojwt v0.0.0-00010101000000-000000000000
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/gomodule/redigo v1.8.4
	github.com/googollee/go-socket.io v1.7.0
	github.com/vmihailenco/msgpack/v5 v5.4.1
	go.uber.org/goleak v1.3.0
)

require (
	github.com/gofrs/uuid v4.0.0+incompatible // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
)
