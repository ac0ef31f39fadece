package attacks_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// The hooks mute a stranger before go-socket.io puts it into a room: no broadcast of the plain server
// reaches it, however it joins, leaves and joins again meanwhile.
func TestPlainBroadcastsDoNotReachStrangersOfHooks(t *testing.T) {
	ways := map[int][]string{
		3: {"40/admin", "40/admin 41/admin 40/admin 41/admin 40/admin", "41 40/admin 40/admin"},
		4: {"40/admin,", "40/admin, 40", "40 40/admin, 41 40", "40 41 40 41 40", "40/admin, 41/admin, 40/admin, 41/admin, 40/admin,"},
	}
	for _, handshake := range []bool{false, true} {
		for version, all := range ways {
			for _, packets := range all {
				t.Run(fmt.Sprintf("EIO=%d/handshake=%t/%s", version, handshake, packets), func(t *testing.T) {
					strangersHearNothing(t, version, handshake, strings.Fields(packets))
				})
			}
		}
	}
}

// hookedServer is a plain server whose namespaces /admin and, for clients of version 4, / are authenticated by
// the hooks.
type hookedServer struct {
	*socketio.Server
	at      harness.Place
	version int
	names   []string
}

func hooked(t *testing.T, version int, handshake bool, hook func(name string, next func(socketio.Conn) error) func(socketio.Conn) error) *hookedServer {
	t.Helper()
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: handshake, MaxPending: 10_000})
	s := &hookedServer{socketio.NewServer(socketiojwt.Harden(nil)), harness.Loopback(t), version, []string{"/admin"}}
	handler := http.Handler(s.Server)
	if version == 4 {
		s.names = append(s.names, "/")
		handler = auth.Handler(s.Server)
	} else {
		s.OnConnect("/", func(socketio.Conn) error { return nil })
	}
	for _, name := range s.names {
		s.OnConnect(name, hook(name, auth.OnConnect))
		s.OnEvent(name, "authenticate", auth.OnAuthenticate)
		s.OnDisconnect(name, auth.OnDisconnect)
	}
	s.OnConnect("/open", func(socketio.Conn) error { return nil })
	s.OnEvent("/open", "end", func(c socketio.Conn) { c.Emit("end") })
	harness.Serve(t, s.Server, s.at, handler)
	return s
}

func (s *hookedServer) broadcast() {
	for _, name := range s.names {
		s.BroadcastToNamespace(name, "news", "secret")
	}
}

// stranger connects a client without a token to the public namespace.
func (s *hookedServer) stranger(t *testing.T) (*siotest.Client, siotest.Must) {
	t.Helper()
	c := siotest.MustDial(t, s.at.URL, siotest.Options{Version: s.version, Transport: "websocket"})
	must := c.Must(t)
	must.Join("/open")
	return c, must
}

// heardNothing ends the test if a stranger has heard a broadcast so far.
func heardNothing(t *testing.T, must siotest.Must) {
	t.Helper()
	must.Emit("/open", "end") // what was broadcast comes before its answer
	for {
		p := must.Next()
		if name, _ := p.Event(); name == "end" {
			return
		}
		if strings.Contains(p.Raw, "secret") {
			t.Fatal("it got ", p.Raw)
		}
	}
}

func strangersHearNothing(t *testing.T, version int, handshake bool, packets []string) {
	t.Parallel()
	const strangers, atOnce, broadcasts = 48, 12, 5
	s := hooked(t, version, handshake, func(_ string, next func(socketio.Conn) error) func(socketio.Conn) error { return next })
	rounds := make(chan struct{}) // those who wait receive
	defer harness.Meanwhile(1, func() {
		s.broadcast()
		for waiting := true; waiting; {
			select {
			case rounds <- struct{}{}:
			default:
				waiting = false
			}
		}
	})()
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for range strangers / atOnce {
				c, must := s.stranger(t)
				must.Connected("/open")
				must.Send(packets...)
				for range broadcasts {
					<-rounds
				}
				heardNothing(t, must)
				c.Abort()
			}
		})
	}
	group.Wait()
}

// A client that leaves, or leaves and asks again, while the hook runs is not taken for one that no
// hook looks after.
func TestPlainBroadcastsDoNotReachWhoLeavesWhileTheHookRuns(t *testing.T) {
	for _, test := range []struct {
		version          int
		name, meanwhile  string
		broadcasts, next bool // while the hook runs; for another life
	}{
		{3, "/admin", "41/admin", true, false},
		{3, "/admin", "41/admin 40/admin", true, true},
		{4, "/admin", "41/admin,", true, false},
		{4, "/admin", "41/admin, 40/admin,", true, true},
		{4, "/", "40 41 40", false, true},
	} {
		for _, handshake := range []bool{false, true} {
			t.Run(fmt.Sprintf("EIO=%d/handshake=%t/%s %s", test.version, handshake, test.name, test.meanwhile), func(t *testing.T) {
				t.Parallel()
				entered, proceed := make(chan struct{}), make(chan struct{})
				s := hooked(t, test.version, handshake, func(name string, next func(socketio.Conn) error) func(socketio.Conn) error {
					if name != test.name {
						return next
					}
					return func(c socketio.Conn) error {
						entered <- struct{}{}
						<-proceed
						return next(c)
					}
				})
				c, must := s.stranger(t)
				if test.name != "/" { // which go-socket.io connects first
					must.Connected("/open")
					must.Join(test.name)
				}
				<-entered
				if test.broadcasts {
					s.broadcast()
					s.broadcast() // the first was written
				}
				must.Send(strings.Fields(test.meanwhile)...)
				harness.WaitUntilRead(t, c, test.version)
				proceed <- struct{}{}
				if test.next {
					<-entered
					s.broadcast()
					s.broadcast()
					proceed <- struct{}{}
				}
				heardNothing(t, must)
			})
		}
	}
}
