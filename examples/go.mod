module github.com/go-socketiojwt/socketiojwt/examples

go 1.25.0

replace github.com/go-socketiojwt/socketiojwt => ../

require (
	github.com/MicahParks/jwkset v0.11.4
	github.com/MicahParks/keyfunc/v3 v3.9.1
	github.com/go-socketiojwt/socketiojwt v0.0.0-00010101000000-000000000000
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/googollee/go-socket.io v1.7.0
	github.com/rs/cors v1.11.1
	golang.org/x/time v0.15.0
)

require (
	github.com/gofrs/uuid v4.0.0+incompatible // indirect
	github.com/gomodule/redigo v1.8.4 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/stretchr/testify v1.11.1 // indirect
)
