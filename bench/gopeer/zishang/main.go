// Command zishang is a server of github.com/zishang520/socket.io to be measured, with jwt.Parse in
// its middleware. It runs until it is killed.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/go-socketiojwt/socketiojwt/bench/gopeer/control"
	"github.com/golang-jwt/jwt/v5"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

func main() {
	secret := flag.String("key", "", "an HMAC secret")
	flag.Parse()
	key := func(*jwt.Token) (any, error) { return []byte(*secret), nil }
	var authenticated, rooms atomic.Int64

	halls := make([]socket.Room, 1000)
	for i := range halls {
		halls[i] = socket.Room(fmt.Sprint("hall ", i))
	}

	options := socket.DefaultServerOptions()
	options.SetAllowEIO3(true) // the clients that measure speak it
	options.SetServeClient(false)
	io := socket.NewServer(nil, nil)
	handler := io.ServeHandler(options)
	io.Use(func(s *socket.Socket, next func(*socket.ExtendedError)) {
		var token string
		if values, _ := s.Handshake().Query["token"].([]string); len(values) > 0 {
			token = values[0]
		}
		if _, err := jwt.Parse(token, key, jwt.WithValidMethods([]string{"HS256"})); err != nil {
			next(socket.NewExtendedError(err.Error(), nil))
			return
		}
		authenticated.Add(1)
		next(nil)
	})
	_ = io.On("connection", func(args ...any) {
		s := args[0].(*socket.Socket)
		_ = s.On("echo", func(args ...any) { answer(args, args[0]) })
		_ = s.On("hold", func(args ...any) {
			n := args[0].(float64)
			for range int(n) {
				s.Join(socket.Room(fmt.Sprint("room ", rooms.Add(1))))
			}
			answer(args, n)
		})
		_ = s.On("move", func(args ...any) {
			n := args[0].(float64)
			for i := range int(n) {
				s.Join(halls[i%len(halls)])
				s.Leave(halls[i%len(halls)])
			}
			answer(args, n)
		})
	})

	http.Handle("/socket.io/", handler)
	control.Run(control.Server{
		Clients:       func() int { return int(io.Engine().ClientsCount()) },
		Authenticated: func() int { return int(authenticated.Load()) },
		Broadcast:     func(text string) { io.Emit("news", text) },
	})
}

// answer calls the acknowledgement, which is the last argument of an event that asks for one.
func answer(args []any, value any) {
	if ack, ok := args[len(args)-1].(socket.Ack); ok {
		ack([]any{value}, nil)
	}
}
