package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
)

// adapter is go-socket.io's Redis adapter, used so that it works.
//
// On its own it does not (v1.7.0, redis_broadcast.go): whoever broadcasts or asks for RoomLen or
// Rooms sends commands over one connection, the adapter's goroutine answers other nodes over the
// same, and nothing keeps them apart. A RoomLen is answered by the node that asks, too, so each
// may be the one that mixes up two replies; then the adapter hangs for good. Two at once may
// end the process, as they write to a map without a lock, and so may a RoomLen that another
// node asks for while a socket joins a room here.
//
// So nobody here calls these: what is to be sent goes over connections of our own, in the
// adapter's format, and the adapters of all nodes, this one among them, receive it. What they are
// asked for is Rooms, the one request that they answer under their lock.
//
// What stays: the adapter does not connect again. After Redis was restarted, restart the nodes,
// or they do not hear of one another's messages. (Revocations do: they have connections of
// their own.) And who can write to Redis can end the nodes by a message that the adapter does
// not expect.
type adapter struct {
	uid  string // tells our messages from those that the adapter of this node sends
	pool *redis.Pool
}

const (
	adapterPrefix = "cluster-example"
	adapterLimit  = 2 * time.Second
)

// newAdapter sets the adapter of server, before its first handler is registered: namespaces
// that exist already would stay on this node.
func newAdapter(server *socketio.Server, redisAddr string) (*adapter, error) {
	if _, err := server.Adapter(&socketio.RedisAdapterOptions{Addr: redisAddr, Prefix: adapterPrefix}); err != nil {
		return nil, fmt.Errorf("go-socket.io's adapter needs Redis at start: %w", err)
	}
	return &adapter{
		uid: rand.Text(),
		pool: &redis.Pool{
			MaxIdle: 4,
			DialContext: func(ctx context.Context) (redis.Conn, error) {
				return redis.DialContext(ctx, "tcp", redisAddr, redis.DialConnectTimeout(adapterLimit),
					redis.DialReadTimeout(adapterLimit), redis.DialWriteTimeout(adapterLimit))
			},
		},
	}, nil
}

// inside is what go-socket.io calls a namespace inside.
func inside(nsp string) string {
	if nsp == "/" {
		return ""
	}
	return nsp
}

func (a *adapter) Close() error { return a.pool.Close() }

// broadcast sends an event to the room's sockets on all nodes. It blocks while Redis is told.
func (a *adapter) broadcast(nsp, room, event string, args ...any) error {
	data, err := json.Marshal(map[string][]any{"opts": {room, event}, "args": args})
	if err != nil {
		return err
	}
	conn := a.pool.Get()
	defer conn.Close()
	_, err = conn.Do("PUBLISH", adapterPrefix+"#"+inside(nsp)+"#"+a.uid, data)
	return err
}

// nodesWith returns how many nodes have a socket in the room. Each answers with all its rooms,
// so this is nothing to ask often where there are many.
func (a *adapter) nodesWith(nsp, room string) (int, error) {
	type message struct {
		RequestType, RequestID string
		Rooms                  []string `json:",omitempty"`
	}
	request := message{RequestType: "2", RequestID: rand.Text()}
	data, err := json.Marshal(request)
	if err != nil {
		return 0, err
	}

	listening := redis.PubSubConn{Conn: a.pool.Get()}
	defer listening.Close()
	if err := listening.Subscribe(adapterPrefix + "-response#" + inside(nsp)); err != nil {
		return 0, err
	}
	if err, failed := listening.Receive().(error); failed { // it is the confirmation
		return 0, err
	}
	conn := a.pool.Get()
	defer conn.Close()
	missing, err := redis.Int(conn.Do("PUBLISH", adapterPrefix+"-request#"+inside(nsp), data)) // how many got it
	if err != nil {
		return 0, err
	}

	nodes := 0
	for end := time.Now().Add(adapterLimit); missing > 0; {
		switch got := listening.ReceiveWithTimeout(time.Until(end)).(type) {
		case error:
			return 0, fmt.Errorf("%d nodes do not answer: %w", missing, got)
		case redis.Message:
			var answer message
			if json.Unmarshal(got.Data, &answer) != nil || answer.RequestID != request.RequestID {
				continue // somebody else's
			}
			missing--
			if slices.Contains(answer.Rooms, room) {
				nodes++
			}
		}
		if time.Now().After(end) {
			return 0, errors.New("the nodes do not answer in time")
		}
	}
	return nodes, nil
}
