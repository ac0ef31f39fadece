package redisrevoke_test

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"os"
	"time"

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

// With Redis Sentinel, Dial asks a sentinel which master there is. A replica, which an outdated answer
// may lead to, is not taken.
func ExampleNew_sentinel() {
	sentinels := []string{"10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"}
	revocations, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) {
			return dialMaster(ctx, sentinels, "mymaster", redis.DialPassword(os.Getenv("REDIS_PASSWORD")))
		},
		Logger: slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer revocations.Close()
}

// dialMaster connects to the master that the first sentinel names which answers.
func dialMaster(ctx context.Context, sentinels []string, name string, options ...redis.DialOption) (redis.Conn, error) {
	errs := []error{errors.New("no sentinel knows the master")}
	for _, addr := range sentinels {
		master, err := askSentinel(ctx, addr, name)
		if err == nil {
			return redis.DialContext(ctx, "tcp", master, options...)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func askSentinel(ctx context.Context, addr, name string) (master string, err error) {
	const patience = 200 * time.Millisecond // another one may answer
	conn, err := redis.DialContext(ctx, "tcp", addr,
		redis.DialConnectTimeout(patience), redis.DialReadTimeout(patience), redis.DialWriteTimeout(patience))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	found, err := redis.Strings(conn.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name))
	if err != nil {
		return "", err
	}
	if len(found) != 2 {
		return "", errors.New("the sentinel answered with something else")
	}
	return net.JoinHostPort(found[0], found[1]), nil
}
