// Command server is a go-socket.io server to be measured: with or without authentication, which
// -variant says. It prints {"url": ...} once it listens, and runs until it is killed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisadapter"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
)

func main() {
	variant := flag.String("variant", "handshake", "floor, byhand, handshake, mixed, hook, roundtrip or beset")
	key := flag.String("key", "", "an HMAC secret, or a PEM public key")
	redisAddr := flag.String("redis", "", "address of the Redis of a cluster, with -variant handshake; none: a single node")
	prefix := flag.String("prefix", "", "of that cluster's channels")
	flag.Parse()
	fatal := log.New(os.Stderr, "server: ", 0)
	log.SetOutput(io.Discard) // go-socket.io logs clients that leave early

	s, err := newServer(*variant, *key)
	if err != nil {
		fatal.Fatal(err)
	}
	if *redisAddr != "" {
		s.handler.(*socketiojwt.Server).SetAdapter(redisadapter.New(redisadapter.Options{
			Dial:   func(ctx context.Context) (redis.Conn, error) { return redis.DialContext(ctx, "tcp", *redisAddr) },
			Prefix: *prefix,
		}))
		http.HandleFunc("GET /nodes", func(w http.ResponseWriter, r *http.Request) { nodes(w, r, *redisAddr, *prefix) })
	}
	go func() { fatal.Fatal(s.Serve()) }()
	http.Handle("/socket.io/", s.handler)
	http.HandleFunc("POST /gc", collect)
	http.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]int{"clients": s.Count(), "authenticated": s.authenticated()})
	})
	http.HandleFunc("POST /broadcast", func(_ http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		for range n {
			s.BroadcastToNamespace("/", "news", r.FormValue("text"))
		}
	})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fatal.Fatal(err)
	}
	fmt.Printf("{\"url\": \"http://%s\"}\n", listener.Addr())
	fatal.Fatal(http.Serve(listener, nil))
}

// nodes tells how many nodes the cluster has.
func nodes(w http.ResponseWriter, r *http.Request, addr, prefix string) {
	conn, err := redis.DialContext(r.Context(), "tcp", addr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer conn.Close()
	counted, err := redis.IntMap(conn.Do("PUBSUB", "NUMSUB", prefix+"-request#/#"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]int{"nodes": counted[prefix+"-request#/#"]})
}

// collect frees what can be freed and tells what is left.
func collect(w http.ResponseWriter, _ *http.Request) {
	runtime.GC() // twice: what has a finalizer, or is in a sync.Pool
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_ = json.NewEncoder(w).Encode(map[string]uint64{"heap": m.HeapAlloc + m.StackInuse})
}

type server struct {
	handlers
	handler       http.Handler
	authenticated func() int
}

// handlers is a *socketio.Server, or a protected one.
type handlers interface {
	OnConnect(nsp string, f func(socketio.Conn) error)
	OnEvent(nsp, event string, f any)
	OnDisconnect(nsp string, f func(socketio.Conn, string))
	BroadcastToNamespace(nsp, event string, args ...any) bool
	Count() int
	Serve() error
}

func newServer(variant, key string) (*server, error) {
	switch variant {
	case "floor":
		s := socketio.NewServer(nil)
		register(s, func(socketio.Conn) error { return nil }, bare)
		return &server{s, s, func() int { return 0 }}, nil
	case "byhand":
		verifies, err := keyOf(key)
		if err != nil {
			return nil, err
		}
		var n atomic.Int64
		s := socketio.NewServer(nil)
		register(s, func(c socketio.Conn) error {
			u := c.URL()
			if _, err := jwt.Parse(u.Query().Get("token"), func(*jwt.Token) (any, error) { return verifies, nil }); err != nil {
				return err
			}
			n.Add(1)
			return nil
		}, bare)
		return &server{s, s, func() int { return int(n.Load()) }}, nil
	}

	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:     socketiojwt.StaticSecret(key),
		Handshake:  variant != "roundtrip" && variant != "beset",
		Timeout:    timeout(variant),
		MaxPending: maxPending,
	})
	if err != nil {
		return nil, err
	}
	authenticated := func() int { return int(auth.Stats().Authenticated) }
	s := socketio.NewServer(socketiojwt.Harden(&engineio.Options{PingTimeout: pingTimeout(variant)}))
	switch variant {
	case "handshake", "roundtrip", "beset", "mixed":
		sio := auth.Protect(s)
		register(sio, func(socketio.Conn) error { return nil }, bare)
		if variant == "mixed" { // nobody joins it, but from now on go-socket.io has to be told of everybody
			s.OnConnect("/plain", func(socketio.Conn) error { return nil })
			s.OnEvent("/plain", "echo", func(_ socketio.Conn, text string) string { return text })
		}
		return &server{sio, sio, authenticated}, nil
	case "hook":
		register(s, auth.OnConnect, auth.Guard)
		s.OnEvent("/", "authenticate", auth.OnAuthenticate)
		s.OnDisconnect("/", auth.OnDisconnect)
		return &server{s, s, authenticated}, nil
	}
	return nil, errors.New("no such variant: " + variant)
}

// register sets what clients of every variant can do.
func register(s handlers, connected func(socketio.Conn) error, guard func(any) any) {
	var rooms atomic.Int64
	halls := make([]string, 1000)
	for i := range halls {
		halls[i] = fmt.Sprint("hall ", i)
	}
	s.OnConnect("/", connected)
	s.OnEvent("/", "echo", guard(func(_ socketio.Conn, text string) string { return text }))
	s.OnEvent("/", "hold", guard(func(c socketio.Conn, n int) int {
		for range n {
			c.Join(fmt.Sprint("room ", rooms.Add(1)))
		}
		return n
	}))
	s.OnEvent("/", "move", guard(func(c socketio.Conn, n int) int {
		for i := range n {
			c.Join(halls[i%len(halls)])
			c.Leave(halls[i%len(halls)])
		}
		return n
	}))
}

func bare(handler any) any { return handler }

// pingTimeout is that of go-socket.io, but for round trips, where clients that never poll stay
// as long.
// maxPending has room for the strangers of "beset", and newcomers.
const maxPending = 20_000

// timeout is such that stalled clients stay for all of a measurement, and those of "beset" do not.
func timeout(variant string) time.Duration {
	if variant == "beset" {
		return 2 * time.Second
	}
	return 10 * time.Minute
}

func pingTimeout(variant string) time.Duration {
	if variant == "roundtrip" {
		return 10 * time.Minute
	}
	return 0
}

func keyOf(text string) (any, error) {
	if !strings.Contains(text, "BEGIN PUBLIC KEY") {
		return []byte(text), nil
	}
	if key, err := jwt.ParseRSAPublicKeyFromPEM([]byte(text)); err == nil {
		return key, nil
	}
	if key, err := jwt.ParseECPublicKeyFromPEM([]byte(text)); err == nil {
		return key, nil
	}
	return jwt.ParseEdPublicKeyFromPEM([]byte(text))
}
