package redisrevoke_test

import (
	"context"
	"log"
	"log/slog"
	"os"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
)

// It needs a Redis, so it is only compiled here.
func ExampleNew() {
	revocations, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) { // a new connection, not one of a redis.Pool
			return redis.DialContext(ctx, "tcp", "127.0.0.1:6379", redis.DialPassword(os.Getenv("REDIS_PASSWORD")))
		},
		Logger: slog.Default(), // tells when Redis comes and goes
	})
	if err != nil {
		log.Fatal(err)
	}
	defer revocations.Close()

	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:      socketiojwt.StaticSecret(os.Getenv("JWT_SECRET")),
		Handshake:   true,
		Revocations: revocations,
	})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	go sio.Serve()
	defer sio.Close()
}
