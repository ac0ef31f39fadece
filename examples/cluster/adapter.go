package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/gomodule/redigo/redis"
)

// adapter tells the other nodes what is broadcast here, and asks them who is there, by Redis's
// PUBLISH and SUBSCRIBE. go-socket.io's own adapter would not do: it reaches go-socket.io's
// rooms, and a socketiojwt.Server has rooms of its own.
//
// A broadcast reaches the sockets of this node at once, whether Redis is there or not. Another
// node hears of it only if it is connected to Redis at that moment: nothing is kept for later.
// Whoever can write to Redis can broadcast.
type adapter struct {
	sio    *socketiojwt.Server
	log    *slog.Logger
	node   string // names this node, and the channel that answers to it go to
	pool   *redis.Pool
	stop   context.CancelFunc
	listen sync.WaitGroup

	mu        sync.Mutex
	questions map[string]question
}

// signal is what nodes send each other.
type signal struct {
	Kind      kind              `json:"kind"`
	Node      string            `json:"node"` // the sender
	Question  string            `json:"question,omitempty"`
	Here      bool              `json:"here,omitempty"`
	Namespace string            `json:"nsp,omitempty"`
	Room      string            `json:"room,omitempty"` // of a broadcast: "" is everybody
	Event     string            `json:"event,omitempty"`
	Args      []json.RawMessage `json:"args,omitempty"`
}

type kind string

const (
	broadcast kind = "broadcast" // Event and Args, for Room
	ask       kind = "ask"       // Question: is somebody in Room?
	answer    kind = "answer"    // to Question: Here
)

// question waits for answers until done is closed.
type question struct {
	answers chan bool
	done    <-chan struct{}
}

const (
	channel      = "cluster-example"
	adapterLimit = 2 * time.Second // for whatever Redis or the nodes are asked
	pingInterval = 10 * time.Second
	minPause     = 50 * time.Millisecond // before it connects again
	maxPause     = 2 * time.Second
)

// newAdapter starts to listen. It does not wait for Redis, which need not be there yet.
func newAdapter(sio *socketiojwt.Server, redisAddr string, log *slog.Logger) *adapter {
	ctx, stop := context.WithCancel(context.Background())
	a := &adapter{
		sio:  sio,
		log:  log,
		node: rand.Text(),
		pool: &redis.Pool{
			MaxIdle:     4,
			IdleTimeout: time.Minute,
			DialContext: func(ctx context.Context) (redis.Conn, error) {
				return redis.DialContext(ctx, "tcp", redisAddr, redis.DialConnectTimeout(adapterLimit),
					redis.DialReadTimeout(adapterLimit), redis.DialWriteTimeout(adapterLimit))
			},
		},
		stop:      stop,
		questions: make(map[string]question),
	}
	a.listen.Go(func() { a.keepListening(ctx) })
	return a
}

// Close returns when nobody listens any more.
func (a *adapter) Close() error {
	a.stop()
	a.listen.Wait()
	return a.pool.Close()
}

// broadcast sends an event to the sockets of the room on all nodes, or of the namespace where
// room is "". An error says that the other nodes were not told. It blocks while Redis is.
func (a *adapter) broadcast(nsp, room, event string, args ...any) error {
	s := signal{Kind: broadcast, Namespace: nsp, Room: room, Event: event}
	for _, arg := range args {
		text, err := json.Marshal(arg)
		if err != nil {
			return err
		}
		s.Args = append(s.Args, text)
	}
	a.deliver(s)
	_, err := a.publish(channel, s)
	return err
}

func (a *adapter) deliver(s signal) {
	args := make([]any, len(s.Args))
	for i, text := range s.Args {
		args[i] = text
	}
	if s.Room == "" {
		a.sio.BroadcastToNamespace(s.Namespace, s.Event, args...)
	} else {
		a.sio.BroadcastToRoom(s.Namespace, s.Room, s.Event, args...)
	}
}

// nodesWith returns how many nodes have a socket in the room. All of them are asked, this one
// too; if one does not answer in time, that is an error.
func (a *adapter) nodesWith(ctx context.Context, nsp, room string) (nodes int, err error) {
	ctx, cancel := context.WithTimeout(ctx, adapterLimit)
	defer cancel()
	id, q := rand.Text(), question{make(chan bool), ctx.Done()}
	a.mu.Lock()
	a.questions[id] = q
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.questions, id)
	}()

	missing, err := a.publish(channel, signal{Kind: ask, Question: id, Namespace: nsp, Room: room})
	if err != nil {
		return 0, err
	}
	if missing == 0 {
		return 0, errors.New("no node is connected to Redis")
	}
	for ; missing > 0; missing-- {
		select {
		case here := <-q.answers:
			if here {
				nodes++
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("%d nodes do not answer: %w", missing, ctx.Err())
		}
	}
	return nodes, nil
}

// publish returns how many nodes it was delivered to.
func (a *adapter) publish(to string, s signal) (int, error) {
	s.Node = a.node
	data, err := json.Marshal(s)
	if err != nil {
		return 0, err
	}
	conn := a.pool.Get()
	defer conn.Close()
	return redis.Int(conn.Do("PUBLISH", to, data))
}

func (a *adapter) receive(data []byte) {
	var s signal
	if err := json.Unmarshal(data, &s); err != nil {
		a.log.Warn("cluster: not a message of a node", "error", err)
		return
	}
	switch s.Kind {
	case broadcast:
		if s.Node != a.node { // else it was delivered when it was sent
			a.deliver(s)
		}
	case ask:
		here := a.sio.RoomLen(s.Namespace, s.Room) > 0
		if _, err := a.publish(channel+":"+s.Node, signal{Kind: answer, Question: s.Question, Here: here}); err != nil {
			a.log.Warn("cluster: a node waits for an answer", "error", err)
		}
	case answer:
		a.mu.Lock()
		q, ok := a.questions[s.Question]
		a.mu.Unlock()
		if ok {
			select {
			case q.answers <- s.Here:
			case <-q.done:
			}
		}
	}
}

// keepListening subscribes again whenever the connection is lost, after a pause that grows as
// long as Redis is away.
func (a *adapter) keepListening(ctx context.Context) {
	pause := minPause
	for {
		subscribed, err := a.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if subscribed {
			pause = minPause
		}
		a.log.Warn("cluster: the other nodes are out of reach", "error", err, "again in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// listenOnce receives what nodes send until the connection is lost, or silent: each PING is
// answered by a PONG.
func (a *adapter) listenOnce(ctx context.Context) (subscribed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := a.pool.DialContext(ctx)
	if err != nil {
		return false, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	nodes := redis.PubSubConn{Conn: conn}
	if err := nodes.Subscribe(channel, channel+":"+a.node); err != nil {
		return false, err
	}
	go func() {
		for nodes.Ping("") == nil {
			select {
			case <-time.After(pingInterval):
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		switch got := nodes.ReceiveWithTimeout(pingInterval + adapterLimit).(type) {
		case error:
			return subscribed, got
		case redis.Subscription:
			subscribed = true
		case redis.Message:
			a.receive(got.Data)
		}
	}
}
