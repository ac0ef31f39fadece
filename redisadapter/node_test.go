//go:build unix

package redisadapter_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/redistest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/redisadapter"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
)

const secret = "a secret for tests, of 32 bytes or more"

// node is one of several servers on one Redis. Who connects is in the room user: and the subject.
type node struct {
	*socketiojwt.Server
	tb      testing.TB
	adapter *redisadapter.Adapter
	log     *siotest.Log
	url     string
	conns   sync.Map // by subject
}

func startNode(tb testing.TB, s *redistest.Server, change ...func(*redisadapter.Options)) *node {
	tb.Helper()
	n := &node{tb: tb, log: new(siotest.Log)}
	logger := slog.New(slog.NewTextHandler(n.log, nil))
	opts := redisadapter.Options{Dial: s.Dial, Logger: logger}
	for _, f := range change {
		f(&opts)
	}
	n.adapter = redisadapter.New(opts)
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.StaticSecret(secret),
		Handshake: true,
		Optional:  true,
		UserRoom:  func(s *socketiojwt.Session) string { return "user:" + s.Subject() },
		Logger:    logger,
	})
	if err != nil {
		tb.Fatal(err)
	}
	n.Server = auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	n.SetAdapter(n.adapter)
	for _, nsp := range []string{"/", "/side"} {
		n.OnConnect(nsp, func(c socketio.Conn) error {
			if session, ok := auth.Session(c); ok {
				n.conns.Store(nsp+session.Subject(), c)
			}
			return nil
		})
		n.OnEvent(nsp, "join", func(c socketio.Conn, room string) { c.Join(room) })
		n.OnEvent(nsp, "mark", func(socketio.Conn) {})
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = n.Serve()
	}()
	listener := httptest.NewServer(n.Server)
	n.url = listener.URL
	tb.Cleanup(func() {
		if err := n.Close(); err != nil {
			tb.Error(err)
		}
		<-served
		listener.Close()
	})
	return n
}

func quick(o *redisadapter.Options) { o.Timeout = 500 * time.Millisecond }

// connected waits until the nodes hear each other.
func connected(tb testing.TB, nodes ...*node) {
	tb.Helper()
	for _, n := range nodes {
		eventually(tb, "the node is connected", func() bool { return n.adapter.Stats().Connected })
	}
}

func sign(tb testing.TB, sub string) string {
	tb.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": sub}).SignedString([]byte(secret))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// enter lets a client 4.x in, a guest where sub is "".
func (n *node) enter(sub string) siotest.Must {
	n.tb.Helper()
	query := url.Values{}
	if sub != "" {
		query.Set("token", sign(n.tb, sub))
	}
	return enter(n.tb, n.url, query)
}

func enter(tb testing.TB, address string, query url.Values) siotest.Must {
	tb.Helper()
	must := siotest.MustDial(tb, address, siotest.Options{Version: 4, Transport: "websocket", Query: query}).Must(tb)
	must.Join("/")
	must.Connected("/")
	must.Call("/", "mark") // behind OnConnect
	return must
}

// heard requires that the next packets of a client are these.
func heard(tb testing.TB, must siotest.Must, want ...string) {
	tb.Helper()
	for _, raw := range want {
		must.NextRaw(raw)
	}
}

// silent requires that nothing has come since, up to what is broadcast now.
func silent(tb testing.TB, n *node, others ...siotest.Must) {
	tb.Helper()
	n.In("/").Emit("silence")
	for _, must := range others {
		heard(tb, must, `42["silence"]`)
	}
}

// subscribe hears what is published on a channel.
func subscribe(tb testing.TB, s *redistest.Server, pattern string) *redis.PubSubConn {
	tb.Helper()
	conn, err := s.Dial(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	pubsub := &redis.PubSubConn{Conn: conn}
	if err := pubsub.PSubscribe(pattern); err != nil {
		tb.Fatal(err)
	}
	if _, ok := pubsub.ReceiveWithTimeout(patience).(redis.Subscription); !ok {
		tb.Fatal("not subscribed")
	}
	return pubsub
}

// patience bounds what is waited for.
const patience = 20 * time.Second

// eventually waits until something that happens in another goroutine, or process, has.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("it never came true that ", what)
		}
	}
}

func (n *node) logged(part string) int { return strings.Count(n.log.String(), part) }
