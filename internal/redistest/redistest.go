//go:build unix

// Package redistest starts a redis-server for tests, and harms it.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Server is a redis-server that keeps its port when it is started again. Its methods end the test
// if they fail, and are for the test's own goroutine.
type Server struct {
	tb      testing.TB
	addr    string
	args    []string
	cmd     *exec.Cmd // nil while it does not run
	exited  chan struct{}
	started bool // once
}

// Start starts one that keeps nothing on disk. It ends with the test.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := New(tb, args...)
	s.Start()
	return s
}

// New is Start of one that does not run yet.
func New(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := &Server{tb: tb}
	s.args = append([]string{"--bind", "127.0.0.1", "--dir", tb.TempDir(),
		"--loglevel", "warning", "--appendonly", "no", "--save", ""}, args...)
	s.addr = net.JoinHostPort("127.0.0.1", FreePort(tb))
	tb.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
	})
	return s
}

// ConfigureBy has it start with a file, and with args before its own. It is called before Start.
func (s *Server) ConfigureBy(file string, args ...string) {
	s.args = slices.Concat([]string{file}, args, s.args)
}

var given sync.Map // the ports that FreePort has returned

// FreePort returns one below those that systems give to connections, so that none takes it while
// Redis is away. It returns none twice: the nodes of another test, and its sentinels, may look for
// a Redis of theirs that they have lost.
func FreePort(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.N(10000))
		if _, again := given.LoadOrStore(port, true); again {
			continue
		}
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	tb.Fatal("no port is free")
	return ""
}

// Addr returns its host and port, which are fixed once it has started.
func (s *Server) Addr() string { return s.addr }

// Start starts the Redis, and waits until it answers.
func (s *Server) Start() {
	s.tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.tb.Fatal("redis-server is missing; on Debian and Ubuntu `apt-get install redis-server` installs it, elsewhere `brew install redis` or see redis.io")
	}
	for !s.try(path) {
		if s.started {
			s.tb.Fatal("Redis does not start; somebody else may have taken its port, ", s.addr)
		}
		s.addr = net.JoinHostPort("127.0.0.1", FreePort(s.tb))
	}
	s.started = true
}

// try returns false where it has ended instead.
func (s *Server) try(path string) bool {
	s.tb.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	cmd, exited := exec.Command(path, append(s.args, "--port", port)...), make(chan struct{})
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	go func() {
		defer close(exited)
		_ = cmd.Wait() // says that it was killed
	}()
	s.cmd, s.exited = cmd, exited
	for end := time.Now().Add(20 * time.Second); !s.answers(); {
		select {
		case <-exited:
			return false
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(end) {
			s.tb.Fatal("Redis does not answer")
		}
	}
	return true
}

// answers reports whether it is this one that answers, not somebody else's on the same port.
func (s *Server) answers() bool {
	conn, err := s.Dial(context.Background())
	if err != nil {
		return false
	}
	defer conn.Close()
	info, err := redis.String(conn.Do("INFO", "server"))
	return err == nil && strings.Contains(info, fmt.Sprintf("\nprocess_id:%d\r", s.cmd.Process.Pid))
}

// Kill ends the Redis as kill -9 does.
func (s *Server) Kill() {
	s.tb.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.tb.Error(err)
	}
	<-s.exited
	s.cmd = nil
}

// Restart is Kill and Start.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Kill()
	s.Start()
}

// Pause has it do nothing, with its connections open, until Resume.
func (s *Server) Pause() { s.tb.Helper(); s.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() { s.tb.Helper(); s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatal(err)
	}
}

// Dial connects to the Redis. It may be called from any goroutine.
func (s *Server) Dial(ctx context.Context) (redis.Conn, error) {
	return redis.DialContext(ctx, "tcp", s.addr)
}

// Do runs a command over a connection of its own.
func (s *Server) Do(name string, args ...any) any {
	s.tb.Helper()
	conn, err := s.Dial(context.Background())
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
