package sio

import (
	"net/http/httptest"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// fakeBridge is in go-socket.io's place: its hooks run when the test says.
type fakeBridge struct {
	conn          *Conn
	enters, asked func() // while Enter and Serving run
	read          bool   // the root's hook has run
}

func (g *fakeBridge) Enter()                         { g.enters() }
func (g *fakeBridge) Deliver(*Socket, *Packet)       {}
func (g *fakeBridge) AfterEmits(_ *Socket, f func()) { f() }
func (g *fakeBridge) Closed()                        {}

func (g *fakeBridge) JoinRoot(s *Socket) {
	if g.read {
		s.Connected()
	}
}

func (g *fakeBridge) Serving(namespace string) *Socket {
	s := g.conn.Socket(namespace)
	g.asked()
	return s
}

type fakeUpstream struct{ *fakeBridge }

func (fakeUpstream) Serves(string) bool { return true }

func (f fakeUpstream) NewBridge(c *Conn) Bridge {
	f.conn = c
	return f.fakeBridge
}

// The root of a client of protocol 5 is guarded by its hook, whether the client has asked for it
// before the hook runs, while it looks, or after.
func TestGuardOfTheRoot(t *testing.T) {
	nothing := func() {}
	for name, play := range map[string]func(g *fakeBridge, send func(string), hook func()){
		"asked before": func(g *fakeBridge, send func(string), hook func()) {
			g.enters = hook
			send("0")
		},
		"asked meanwhile": func(g *fakeBridge, send func(string), hook func()) {
			send("0/x,")
			g.asked = func() {
				g.asked = nothing
				send("0")
			}
			hook()
		},
		"asked after": func(_ *fakeBridge, send func(string), hook func()) {
			send("0/x,")
			hook()
			send("0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bridge := &fakeBridge{enters: nothing, asked: nothing}
			hub := transport.NewHub(transport.Config{
				PingInterval: testTimeout, PingTimeout: testTimeout, Polling: new(transport.PollingConfig),
				Limits: transport.Limits{Message: 1 << 20, RestrictedMessage: 1 << 20, Outbox: 1 << 20},
			})
			s := NewServer(hub, fakeUpstream{bridge}, testLimits)
			var c *Conn
			client, err := hub.Accept(httptest.NewRecorder(), httptest.NewRequest("GET", "/?EIO=4&transport=polling", nil),
				func(client *transport.Client) transport.Above {
					c = s.Open(client, nil)
					return c
				})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Abort()
			taken := 0
			play(bridge, func(packet string) {
				if err := c.Receive([]transport.Message{textMessage(packet)}); err != nil {
					t.Fatal(err)
				}
			}, func() {
				c.Guard(Root, nil, func(*Socket) { taken++ })
				bridge.read = true
				if root := c.Socket(Root); root != nil {
					root.Connected()
				}
			})
			root := c.Socket(Root)
			if taken != 1 || !root.IsGuarded() || root.isAdmitted() || root.answered {
				t.Errorf("taken %d times, guarded %v, admitted %v, answered %v", taken, root.IsGuarded(), root.isAdmitted(), root.answered)
			}
		})
	}
}
