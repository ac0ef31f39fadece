package contract_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// slowExit is a server whose OnDisconnect of /admin waits until it is set free.
type slowExit struct {
	*harness.App
	held  chan struct{}
	free  func() // lets OnDisconnect go on
	calls harness.Record
}

func startSlowExit(t *testing.T, onDisconnect func(c socketio.Conn)) *slowExit {
	t.Helper()
	s := &slowExit{held: make(chan struct{})}
	s.free = sync.OnceFunc(func() { close(s.held) })
	s.App = harness.StartAt(t, harness.InMemory(t), harness.HandshakeMode, func(server *harness.App) {
		server.OnConnect("/", func(socketio.Conn) error { return nil })
		server.OnEvent("/", "mark", func(socketio.Conn) {})
		server.OnConnect("/admin", func(socketio.Conn) error { s.calls.Add("connect"); return nil })
		server.OnDisconnect("/admin", func(c socketio.Conn, _ string) {
			if onDisconnect != nil {
				onDisconnect(c)
			}
			<-s.held
			s.calls.Add("disconnect")
		})
		server.Plain.OnConnect("/plain", func(socketio.Conn) error { return nil })
	}, "/", "/admin")
	t.Cleanup(s.free) // before the server is closed, also when the test has failed
	return s
}

func (s *slowExit) enter(t *testing.T) (*siotest.Client, siotest.Must) {
	t.Helper()
	c, must := s.Dial(t, harness.Bob(t, "websocket"))
	must.NextRaw("40")
	must.Join("/admin")
	must.Connected("/admin")
	return c, must
}

// A client that joins again waits for its own OnDisconnect, and what it sends behind the CONNECT
// waits with it.
func TestJoiningAgainWaitsForOnDisconnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startSlowExit(t, nil)
		_, must := s.enter(t)
		must.Send("41/admin", "40/admin", "41/admin", "40/admin", `421["mark"]`)
		synctest.Wait()
		s.calls.Eventually(t, "connect")
		if n := s.In("/admin").Count(); n != 0 {
			t.Errorf("%d sockets before the last one's OnDisconnect has returned", n)
		}
		s.free()
		must.NextRaw("40/admin")
		must.NextRaw("40/admin")
		must.NextRaw("431[]")
		s.calls.Eventually(t, "connect, disconnect, connect, disconnect, connect")
	})
}

// OnDisconnect may wait for an acknowledgement in another namespace, though the client has joined
// again meanwhile.
func TestOnDisconnectMayWaitForAnAcknowledgement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rooted socketio.Conn
		asked := false
		s := startSlowExit(t, func(socketio.Conn) {
			if asked {
				return
			}
			asked = true
			answered := make(chan struct{})
			rooted.Emit("question", func() { close(answered) })
			<-answered
		})
		s.OnConnect("/", func(c socketio.Conn) error { rooted = c; return nil })
		s.free()
		c, must := s.enter(t)
		must.Send("41/admin", "40/admin")
		must.OK(c.Ack("/", must.Event("/", "question").ID))
		must.NextRaw("40/admin")
	})
}

// What a client sends while it waits for its own OnDisconnect is checked like everything else.
func TestViolationBehindALifeThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startSlowExit(t, nil)
		_, must := s.enter(t)
		must.Join("/plain")
		must.Connected("/plain")
		must.Send("41/admin", "40/admin", `42/plain,["\u0063hat"]`) // which go-socket.io would misread
		synctest.Wait()
		s.free()
		must.Closed()
	})
}

// Who vanishes while it waits for its own OnDisconnect does not come in again.
func TestNobodyJoinsWhoIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startSlowExit(t, nil)
		c, must := s.enter(t)
		must.Send("41/admin", "40/admin")
		synctest.Wait()
		c.Abort()
		time.Sleep(time.Minute)
		s.free()
		synctest.Wait()
		s.calls.Eventually(t, "connect, disconnect")
		if n := s.In("/admin").Count(); n != 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
}
