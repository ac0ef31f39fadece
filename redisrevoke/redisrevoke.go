// Package redisrevoke shares revocations between nodes: processes that keep the same list in Redis
// (6.2 or later, or what speaks as it does; not a cluster of several masters).
//
//	revocations, err := redisrevoke.New(redisrevoke.Options{
//		Dial: func(ctx context.Context) (redis.Conn, error) {
//			return redis.DialContext(ctx, "tcp", "127.0.0.1:6379")
//		},
//	})
//	...
//	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: secret, Revocations: revocations})
//
// Each node holds the whole list in memory and follows what the others add. Before a new token is
// accepted, the node asks Redis whether there is anything that it has not read. By default the
// token is refused if Redis cannot be asked. So a revocation is in force on all nodes when Add
// returns, and their sessions end a few milliseconds later.
//
// When Redis has been restarted, was emptied or is new, the nodes write back what it lacks.
// Meanwhile new tokens are refused: for three seconds (with the default Timeout), so that each node
// in reach has had its turn, and until two seconds after the last entry was written back. Add
// returns an error in these three seconds, because nodes that have yet to come may still ask
// another Redis. The same happens when another Redis takes the place of this one, when a replica is
// promoted, and whenever the replication id of Redis changes: also when its first replica comes,
// and an hour (repl-backlog-ttl) after the last one has left. A replica itself is never asked. All
// nodes need the same master: Dial finds it where it may change, and is called every second to see
// whether it has. docs/redis.md has more about that.
//
// The user that Dial logs in as needs the two keys of [Options.Prefix] and the commands EVAL,
// EXISTS, GET, INFO, SET, TIME, XADD, XDEL and XREAD.
package redisrevoke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
)

// Options configure New. Only Dial is required.
type Options struct {
	// Dial opens a new connection to Redis, with the password, database and TLS that it needs. It
	// is called again, from several goroutines, whenever a connection is lost, and every second to
	// see where it leads. ctx ends after Timeout. The connection must not come from a redis.Pool,
	// because Revocations closes it while it is in use where Redis does not answer. Required.
	Dial func(ctx context.Context) (redis.Conn, error)

	// Prefix begins the names of the keys in Redis, Prefix:revocations and Prefix:epoch. Nodes with
	// the same Prefix share a list. Default: "", which means "socketiojwt".
	Prefix string

	// FailOpen decides about new tokens while Redis cannot be asked. With false they are refused as
	// `server_busy`, which clients may retry. With true the node judges by what it has read and
	// what was added on it. Sessions stay in either case. Default: false.
	FailOpen bool

	// Timeout is how long Redis may take to answer. Set the same on all nodes. Negative values are
	// an error. Default: 0, which means one second.
	Timeout time.Duration

	// Logger is told when Redis comes and goes, when Redis has lost data, and of entries that
	// cannot be read. It gets no token and no password. Default: nil, silent.
	Logger *slog.Logger
}

const (
	defaultPrefix  = "socketiojwt"
	defaultTimeout = time.Second
)

// Revocations is a list of revocations that is shared through Redis. New makes one. Its methods are
// safe for concurrent use.
type Revocations struct {
	opts    Options // normalised
	log     *slog.Logger
	replica *socketiojwt.MemoryRevocations
	stream  string // the key of all revocations
	epochOf string // the key of the epoch, see openScript

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	closing func() error

	mu      sync.Mutex
	epoch   string           // of the stream that replica holds up to last; "" before it holds one
	last    position         // in the stream
	settled time.Time        // when the other nodes have had their turn to write back
	known   map[string]*note // by record.ID: what replica holds, and revocations of sessions
	unsent  map[string]bool  // IDs in known that were added here and that no Redis has taken yet
	lost    map[string]bool  // IDs in known that a Redis has taken and that this one lacks

	writtenBack time.Time // when the last entry was read that a node wrote back

	following string                  // the epoch that follow is connected to; "" while it is not
	leave     context.CancelCauseFunc // ends that connection
	spare     serveConn               // newer than the one that serve uses
	ahead     time.Duration           // how far the clock of Redis is

	clocks, taking, sweeping condition // see condition

	asking sync.Mutex
	next   *round        // the round that has not started yet; nil: none
	wake   chan struct{} // there is a next, or something to send
}

var _ socketiojwt.Revocations = (*Revocations)(nil)

// note is a record that the node knows.
type note struct {
	record
	at     []position // where it was read in the stream
	sentIn string     // the epoch of the connection on which Redis took it
}

// New returns the list that Redis has under opts.Prefix, and starts to read it. It does not wait
// for Redis, which need not be there yet. An error names the field of opts that is wrong. Close
// ends what New starts.
func New(opts Options) (*Revocations, error) {
	switch {
	case opts.Dial == nil:
		return nil, errors.New("redisrevoke: Options.Dial is nil; set it to a function that connects to Redis, such as one that calls redis.DialContext")
	case opts.Timeout < 0:
		return nil, fmt.Errorf("redisrevoke: Options.Timeout is %v; set how long Redis may take to answer, or 0 for %v", opts.Timeout, defaultTimeout)
	}
	if opts.Prefix == "" {
		opts.Prefix = defaultPrefix
	}
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	r := &Revocations{
		opts:    opts,
		log:     opts.Logger,
		replica: socketiojwt.NewMemoryRevocations(),
		stream:  opts.Prefix + ":revocations",
		epochOf: opts.Prefix + ":epoch",
		known:   make(map[string]*note),
		unsent:  make(map[string]bool),
		lost:    make(map[string]bool),
		wake:    make(chan struct{}, 1),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.closing = sync.OnceValue(r.close)
	r.running.Go(r.follow)
	r.running.Go(r.serve)
	r.running.Go(r.lookAround)
	return r, nil
}

// Add revokes. This node refuses the tokens and ends the sessions at once; the other nodes do from
// when Add returns nil. Add blocks until Redis has the revocation, at most for Options.Timeout. An
// error says that Redis does not have it, or that other nodes may still ask another Redis. The node
// goes on trying until it is closed.
func (r *Revocations) Add(ctx context.Context, revocation socketiojwt.Revocation) error {
	revocation, err := revocation.Complete()
	if err != nil {
		return err
	}
	rec := recordOf(rand.Text(), revocation)
	if _, err := rec.encode(); err != nil {
		return fmt.Errorf("redisrevoke: Revocation cannot be stored: %w", err)
	}
	if err := r.replica.Add(ctx, revocation); err != nil {
		return err
	}
	r.mu.Lock()
	r.known[rec.ID] = &note{record: rec}
	r.unsent[rec.ID] = true
	r.mu.Unlock()

	done, err := r.ask(ctx)
	if err == nil {
		err = done.sent
	}
	if err != nil {
		return fmt.Errorf("redisrevoke: in force on this node; the others follow when Redis has it: %w", err)
	}
	return nil
}

// Revoked reports whether the token with these claims is revoked. Unless the node knows that it is,
// Revoked asks Redis for what the node has not read yet, and blocks meanwhile, at most for
// Options.Timeout. It returns an error if Redis cannot be asked, and while nodes write back what
// Redis has lost; with Options.FailOpen it does not.
func (r *Revocations) Revoked(ctx context.Context, claims *jwt.RegisteredClaims) (bool, error) {
	if revoked, err := r.replica.Revoked(ctx, claims); revoked || err != nil {
		return revoked, err
	}
	done, err := r.ask(ctx)
	if err == nil {
		err = done.read
	}
	if err != nil && !r.opts.FailOpen {
		return false, fmt.Errorf("redisrevoke: Redis cannot be asked: %w", err)
	}
	return r.replica.Revoked(ctx, claims)
}

// Watch calls f with every revocation that is added from now on, on any node. After a connection or
// the data of Redis was lost, the call may come later. It never comes more than a minute after
// Until.
func (r *Revocations) Watch(f func(socketiojwt.Revocation)) { r.replica.Watch(f) }

// Close disconnects from Redis, and waits until nothing that New started runs any more, so it
// blocks as long as Options.Dial does. It returns an error if something that was added on this node
// is not in Redis. After Close, Add and Revoked work as if Redis could not be reached. Close may be
// called again, and returns the same.
func (r *Revocations) Close() error { return r.closing() }

func (r *Revocations) close() error {
	r.cancel()
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.unsent) + len(r.lost); n > 0 {
		return fmt.Errorf("redisrevoke: Close: %d revocations of this node are not in Redis; other nodes do not know them", n)
	}
	return nil
}
