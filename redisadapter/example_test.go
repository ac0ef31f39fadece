package redisadapter_test

import (
	"context"
	"log"
	"log/slog"
	"os"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisadapter"
	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
)

// It needs a Redis, so it is only compiled here.
func ExampleNew() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.StaticSecret(os.Getenv("JWT_SECRET")),
		Handshake: true,
		UserRoom:  func(s *socketiojwt.Session) string { return "user:" + s.Subject() },
	})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.SetAdapter(redisadapter.New(redisadapter.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) { // a new connection, not one of a redis.Pool
			return redis.DialContext(ctx, "tcp", "127.0.0.1:6379", redis.DialPassword(os.Getenv("REDIS_PASSWORD")))
		},
		Logger: slog.Default(), // tells when Redis comes and goes
	}))
	sio.OnEvent("/", "is online", func(_ socketio.Conn, user string) string {
		n, err := sio.In("/", "user:"+user).CountAll(context.Background())
		switch {
		case n > 0:
			return "yes"
		case err != nil:
			return "perhaps" // on one of the nodes that did not answer
		}
		return "no"
	})
	go sio.Serve()
	defer sio.Close() // and with it the adapter
}
