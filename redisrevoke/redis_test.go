//go:build unix

package redisrevoke_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// How a Redis keeps its data.
var (
	keeps   = []string{"--appendonly", "yes", "--appendfsync", "always"}
	forgets = []string{"--appendonly", "no", "--save", ""}
)

// server is a redis-server, on a port that stays the same when it is started again.
type server struct {
	tb   testing.TB
	addr string
	args []string
	cmd  *exec.Cmd // nil while it does not run
}

func startRedis(tb testing.TB, args []string) *server {
	tb.Helper()
	s := newRedis(tb, args)
	s.start()
	// As if there had been nodes for long, which have settled.
	epoch := s.info("server", "run_id") + " 1 x " + s.info("replication", "master_replid")
	s.do("SET", "socketiojwt:epoch", epoch)
	s.do("XADD", "socketiojwt:revocations", "*", "epoch", epoch)
	return s
}

// newRedis is startRedis for a Redis that is started later.
func newRedis(tb testing.TB, args []string) *server {
	tb.Helper()
	port := freePort(tb)
	s := &server{tb: tb, addr: net.JoinHostPort("127.0.0.1", port)}
	s.args = append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", tb.TempDir(), "--loglevel", "warning"}, args...)
	tb.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
	})
	return s
}

// freePort is below those that systems give to who asks for any: with such a one, somebody's
// connection might take it while Redis is away, and even one to it that connects to itself.
func freePort(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.N(10000))
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			l.Close()
			return port
		}
	}
	tb.Fatal("no port is free")
	return ""
}

func (s *server) start() {
	s.tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.tb.Fatal("redis-server is missing; on Debian and Ubuntu `apt-get install redis-server` installs it, elsewhere `brew install redis` or see redis.io")
	}
	s.cmd = exec.Command(path, s.args...)
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	eventually(s.tb, "Redis answers", func() bool {
		conn, err := s.dial(context.Background())
		if err != nil {
			return false
		}
		defer conn.Close()
		_, err = conn.Do("PING")
		return err == nil
	})
}

// kill ends it as kill -9 does.
func (s *server) kill() {
	s.tb.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.tb.Error(err)
	}
	_ = s.cmd.Wait() // says that it was killed
	s.cmd = nil
}

func (s *server) restart() {
	s.tb.Helper()
	s.kill()
	s.start()
}

func (s *server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *server) pause()  { s.tb.Helper(); s.signal(syscall.SIGSTOP) }
func (s *server) resume() { s.tb.Helper(); s.signal(syscall.SIGCONT) }

func (s *server) dial(ctx context.Context) (redis.Conn, error) {
	return redis.DialContext(ctx, "tcp", s.addr)
}

// do runs a command over a connection of its own.
func (s *server) do(name string, args ...any) any {
	s.tb.Helper()
	conn, err := s.dial(context.Background())
	if err != nil {
		s.tb.Fatal(err)
	}
	defer conn.Close()
	reply, err := conn.Do(name, args...)
	if err != nil && !errors.Is(err, redis.ErrNil) {
		s.tb.Fatalf("%s: %v", name, err)
	}
	return reply
}

// info returns one line of a section of INFO.
func (s *server) info(section, name string) string {
	s.tb.Helper()
	text, err := redis.String(s.do("INFO", section), nil)
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
	s.do("ACL", "SETUSER", "default", "-"+command)
	return func() { s.do("ACL", "SETUSER", "default", "+"+command) }
}

// hangUp closes all connections of nodes.
func (s *server) hangUp() { s.tb.Helper(); s.do("CLIENT", "KILL", "TYPE", "normal") }

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
