//go:build unix

// Package redistest starts a redis-server for tests, and harms it.
package redistest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Server is a redis-server that keeps its port when it is started again. Its methods end the test if
// they fail, and are for the test's own goroutine.
type Server struct {
	tb   testing.TB
	addr string
	args []string
	cmd  *exec.Cmd // nil while it does not run
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
	port := freePort(tb)
	s := &Server{tb: tb, addr: net.JoinHostPort("127.0.0.1", port)}
	s.args = append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", tb.TempDir(),
		"--loglevel", "warning", "--appendonly", "no", "--save", ""}, args...)
	tb.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
	})
	return s
}

// freePort returns one below those that systems give to connections, so that none takes it while Redis is
// away.
func freePort(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.N(10000))
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	tb.Fatal("no port is free")
	return ""
}

// Addr returns its host and port.
func (s *Server) Addr() string { return s.addr }

// Start starts it, and waits until it answers.
func (s *Server) Start() {
	s.tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.tb.Fatal("redis-server is missing; on Debian and Ubuntu `apt-get install redis-server` installs it, elsewhere `brew install redis` or see redis.io")
	}
	s.cmd = exec.Command(path, s.args...)
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !s.answers(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.tb.Fatal("Redis does not answer")
		}
	}
}

func (s *Server) answers() bool {
	conn, err := s.Dial(context.Background())
	if err != nil {
		return false
	}
	defer conn.Close()
	_, err = conn.Do("PING")
	return err == nil
}

// Kill ends it as kill -9 does.
func (s *Server) Kill() {
	s.tb.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.tb.Error(err)
	}
	_ = s.cmd.Wait() // says that it was killed
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

// Dial connects to it. It may be called from any goroutine.
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
