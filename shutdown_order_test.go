package socketiojwt_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// brokenLine is an Adapter that does not close well, once.
type brokenLine struct{ *line }

func (b brokenLine) Close() error {
	_ = b.line.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed > 1 {
		return nil
	}
	return errors.New("it does not close")
}

// Where a connection is still open, nothing is closed behind it; and what went wrong first is what the
// error says.
func TestShutdownThatFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		namespace, want string
		closed          int
	}{
		{"/plain", "context deadline exceeded", 0},
		{"/", "OnDisconnect still runs", 1},
		{"", "it does not close", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			hold := make(chan struct{})
			adapter := new(bus).add()
			s := harness.StartAt(t, harness.InMemory(t), harness.HandshakeMode, func(s *harness.App) {
				s.SetAdapter(brokenLine{adapter})
				s.OnEvent("/", "x", func(socketio.Conn) {})
				s.OnDisconnect("/", func(socketio.Conn, string) {
					if test.namespace == "/" {
						<-hold
					}
				})
				s.Plain.OnConnect("/plain", func(socketio.Conn) error { return nil })
				s.Plain.OnDisconnect("/plain", func(socketio.Conn, string) { <-hold })
			}, "/")
			if test.namespace != "" {
				_, must := s.Dial(t, harness.Bob(t, "websocket"))
				must.NextRaw("40")
				if test.namespace != "/" {
					must.Join(test.namespace)
					must.Connected(test.namespace)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := s.Shutdown(ctx)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q: got %v, want %s", test.namespace, err, test.want)
			}
			adapter.mu.Lock()
			if adapter.closed != test.closed {
				t.Errorf("%q: the adapter was closed %d times", test.namespace, adapter.closed)
			}
			adapter.mu.Unlock()
			close(hold)
			_ = s.Close() // as its Adapter may still have to
		})
	}
}

// One Authorizer drains all servers that it looks after, and says so if one of them is not empty.
func TestDrainOfSeveralServers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		auth := harness.Authorize(t, socketiojwt.Options{})
		hold := make(chan struct{})
		var servers []*socketio.Server
		for n := range 2 {
			plain := socketio.NewServer(socketiojwt.Harden(nil))
			plain.OnConnect("/", func(socketio.Conn) error { return nil })
			plain.OnDisconnect("/", func(socketio.Conn, string) {
				if n == 1 {
					<-hold
				}
			})
			at := harness.InMemory(t)
			harness.Serve(t, plain, at, auth.Handler(plain))
			_, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
			must.NextRaw("40")
			servers = append(servers, plain)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := auth.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one is still left: %v", err)
		}
		close(hold)
		if err := auth.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		for n, server := range servers {
			if left := server.Count(); left != 0 {
				t.Errorf("server %d has %d sessions", n, left)
			}
		}
	})
}
