//go:build unix

package redisrevoke_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/redistest"
	"github.com/gomodule/redigo/redis"
)

// How a Redis keeps its data.
var (
	keeps   = []string{"--appendonly", "yes", "--appendfsync", "always"}
	forgets = []string{"--appendonly", "no", "--save", ""}
)

// server is a redis-server, on a port that stays the same when it is started again.
type server struct {
	*redistest.Server
	tb testing.TB
}

func startRedis(tb testing.TB, args []string) *server {
	tb.Helper()
	s := newRedis(tb, args)
	s.Start()
	// As if there had been nodes for long, which have settled.
	epoch := s.info("server", "run_id") + " 1 x " + s.info("replication", "master_replid")
	s.Do("SET", "socketiojwt:epoch", epoch)
	s.Do("XADD", "socketiojwt:revocations", "*", "epoch", epoch)
	return s
}

// newRedis is startRedis for a Redis that is started later.
func newRedis(tb testing.TB, args []string) *server {
	tb.Helper()
	return &server{redistest.New(tb, args...), tb}
}

// info returns one line of a section of INFO.
func (s *server) info(section, name string) string {
	s.tb.Helper()
	text, err := redis.String(s.Do("INFO", section), nil)
	_, rest, ok := strings.Cut(text, "\n"+name+":")
	if err != nil || !ok {
		s.tb.Fatalf("INFO has no %s: %v", name, err)
	}
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// cannot forbids commands to those who are connected, and allows them again.
func (s *server) cannot(command string) (again func()) {
	s.tb.Helper()
	s.Do("ACL", "SETUSER", "default", "-"+command)
	return func() { s.Do("ACL", "SETUSER", "default", "+"+command) }
}

// hangUp closes all connections of nodes.
func (s *server) hangUp() { s.tb.Helper(); s.Do("CLIENT", "KILL", "TYPE", "normal") }

// patience bounds what is waited for.
const patience = 20 * time.Second

// eventually waits until something that happens in another goroutine, or process, has.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("it never came true that ", what)
		}
	}
}
