// Package redisadapter connects the nodes of one application through Redis, in the protocol of
// Node's @socket.io/redis-adapter 8. A cluster may have nodes of this package and of Node, and a
// program that emits through Redis, such as one with @socket.io/redis-emitter, reaches the clients
// of both.
//
//	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
//	sio.SetAdapter(redisadapter.New(redisadapter.Options{
//		Dial: func(ctx context.Context) (redis.Conn, error) {
//			return redis.DialContext(ctx, "tcp", "127.0.0.1:6379")
//		},
//	}))
//
// A broadcast reaches the clients of its own node at once, whether Redis is there or not. It
// reaches those of another node if both nodes are connected to Redis at that moment, because Redis
// keeps nothing for later. A message that a node could not send is counted as lost, see [Stats].
// Nobody counts the messages that a node missed while it was not connected. A message that arrives
// arrives once, and in the order in which its node sent it.
//
// Who can publish in this Redis can broadcast to everybody, put sockets into rooms and end them.
// Who can subscribe hears it all. Give the nodes a Redis user of their own, and use TLS where the
// network is not private.
//
// All nodes need the same Redis, or the same master where it has replicas; Dial finds it where it
// may change. The package is not for Redis Cluster. The user that Dial logs in as needs the
// commands PING, PUBLISH, PUBSUB, SUBSCRIBE and PSUBSCRIBE, and the channels that docs/cluster.md
// lists.
package redisadapter

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/gomodule/redigo/redis"
)

// Options configure New. Only Dial is required.
type Options struct {
	// Dial opens a new connection to Redis, with the user, password and TLS that it needs. It is
	// called again whenever a connection is lost. ctx ends after Timeout. The connection must not
	// come from a redis.Pool, because the Adapter closes it while it is in use where Redis does not
	// answer. Required.
	Dial func(ctx context.Context) (redis.Conn, error)

	// Prefix begins the names of the channels, such as Prefix#/#. Nodes with the same Prefix hear
	// each other; in Node it is the option `key`. Default: "", which means "socket.io".
	Prefix string

	// Timeout is how long Redis may take to answer, and how long other nodes may when they are
	// asked. Negative values are an error. Default: 0, which means 5 seconds, as in Node.
	Timeout time.Duration

	// QueueBytes is how many bytes may wait for Redis; more is lost. Negative values are an error.
	// Default: 0, which means 16 MiB.
	QueueBytes int

	// Logger is told at level Info when Redis comes, and at Warn when it goes, when messages are
	// lost, and of a message that cannot be read: a line for each change. It gets no message.
	// Default: nil, silent.
	Logger *slog.Logger
}

const (
	defaultPrefix     = "socket.io"
	defaultTimeout    = 5 * time.Second
	defaultQueueBytes = 16 << 20
)

// Stats are counts since New.
type Stats struct {
	Connected bool   // now: this node hears others, and others hear it
	Sent      uint64 // messages that Redis took
	Lost      uint64 // messages that Redis did not take, or may not have taken
	Received  uint64 // messages of other nodes
	Malformed uint64 // received messages that cannot be read, and were dropped
}

// Adapter is the socketiojwt.Adapter that New makes. Its methods are safe for concurrent use.
type Adapter struct {
	opts Options // normalised
	log  *slog.Logger
	uid  string // names this node
	own  []byte // how its broadcasts begin

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	closing func() error
	done    chan struct{}     // closed when run has returned
	node    *socketiojwt.Node // of Attach
	wake    chan struct{}     // something is in the queue, or the Adapter is closed
	joined  chan struct{}     // there is a new namespace

	mu         sync.Mutex
	closed     bool
	connected  bool
	warned     bool // it was logged that it is not connected
	queue      []*message
	queued     int    // bytes of queue, and of messages on their way
	trouble    string // why messages were lost, as it was logged last
	namespaces map[string]*namespace
	routes     map[string]route // by channel, and by pattern
	questions  map[string]*question
	stats      Stats
}

var _ socketiojwt.Adapter = (*Adapter)(nil)

// New returns an Adapter for one Server. It connects when SetAdapter is given it, and does not wait
// for Redis, which need not be there yet. New panics if a field of opts is wrong, which is a
// mistake in the program. Close of the Adapter or of the Server ends it.
func New(opts Options) *Adapter {
	switch {
	case opts.Dial == nil:
		panic("redisadapter: Options.Dial is nil; set it to a function that connects to Redis, such as one that calls redis.DialContext")
	case opts.Timeout < 0:
		panic(fmt.Sprintf("redisadapter: Options.Timeout is %v; set how long Redis may take to answer, or 0 for %v", opts.Timeout, defaultTimeout))
	case opts.QueueBytes < 0:
		panic(fmt.Sprintf("redisadapter: Options.QueueBytes is %d; set how much may wait for Redis, or 0 for %d", opts.QueueBytes, defaultQueueBytes))
	}
	if opts.Prefix == "" {
		opts.Prefix = defaultPrefix
	}
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.QueueBytes == 0 {
		opts.QueueBytes = defaultQueueBytes
	}
	a := &Adapter{
		opts:       opts,
		log:        opts.Logger,
		uid:        rand.Text(),
		done:       make(chan struct{}),
		wake:       make(chan struct{}, 1),
		joined:     make(chan struct{}, 1),
		namespaces: make(map[string]*namespace),
		routes:     make(map[string]route),
		questions:  make(map[string]*question),
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.own = beginBroadcast(a.uid)
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.closing = sync.OnceValue(a.close)
	return a
}

// Attach starts the Adapter. Server.SetAdapter calls it. It panics when it is called again.
func (a *Adapter) Attach(node *socketiojwt.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.node != nil {
		panic("redisadapter: Attach: the Adapter has a Server already; make one for each")
	}
	a.node = node
	if a.closed {
		return
	}
	go a.run()
}

// AddNamespace makes the node hear what others send to a namespace.
func (a *Adapter) AddNamespace(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.namespaces[name] == nil {
		a.addNamespace(name)
		signal(a.joined)
	}
}

// Stats returns what was counted. It does not block.
func (a *Adapter) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.stats
	now.Connected = a.connected
	return now
}

// Close sends what waits, for which it blocks up to Timeout, and disconnects from Redis. It returns
// when nothing of the Adapter runs any more, so it blocks as long as Options.Dial does. What is
// broadcast after Close is lost. The error is nil. Close may be called again.
func (a *Adapter) Close() error { return a.closing() }

func (a *Adapter) close() error {
	defer a.cancel()
	a.mu.Lock()
	a.closed = true
	attached := a.node != nil
	a.mu.Unlock()
	if !attached {
		return nil
	}
	signal(a.wake)
	patience := time.NewTimer(a.opts.Timeout)
	defer patience.Stop()
	select {
	case <-a.done:
	case <-patience.C:
		a.cancel()
		<-a.done
	}
	return nil
}

// signal wakes who waits for c, which has room for one signal.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// count changes the counts.
func (a *Adapter) count(change func(*Stats)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.stats)
}
