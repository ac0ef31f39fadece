package attacks_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// slowToClose is a listener whose connections take their time to be closed. Those of crypto/tls do where the client does
// not read: they write an alert first.
type slowToClose struct {
	net.Listener
	closing chan struct{} // closed when the first is
	once    sync.Once
	release chan struct{}
}

func (l *slowToClose) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return slowConn{conn, l}, err
}

type slowConn struct {
	net.Conn
	l *slowToClose
}

func (c slowConn) Close() error {
	c.l.once.Do(func() { close(c.l.closing) })
	<-c.l.release
	return c.Conn.Close()
}

// Nobody waits while a connection is being closed.
func TestSlowCloseHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		at := harness.Loopback(t)
		l := &slowToClose{Listener: at.Listener, closing: make(chan struct{}), release: make(chan struct{})}
		at.Listener = l
		s := harness.StartAt(t, at, harness.HandshakeMode, func(s *harness.App) {
			s.OnEvent("/", "ask", func(socketio.Conn) {})
		})
		enter := func() siotest.Must {
			o := harness.Bob(t, "websocket")
			o.Version = version
			_, must := s.Dial(t, o)
			if version == 4 {
				must.Join("/")
			}
			must.Connected("/")
			must.Call("/", "ask") // CONNECT goes a moment before broadcasts reach it
			return must
		}
		bad, good := enter(), enter()
		bad.Send("9") // is no packet
		<-l.closing
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			s.BroadcastToNamespace("/", "news")
		}()
		select {
		case <-sent:
			good.Event("/", "news")
		case <-time.After(siotest.DefaultTimeout):
			t.Error("a broadcast waits for a connection that is being closed")
		}
		close(l.release)
	}
}
