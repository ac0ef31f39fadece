package sio

import (
	"net/http/httptest"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// fakeGuest is in go-socket.io's place: its hooks run when the test says.
type fakeGuest struct {
	conn          *Conn
	enters, asked func() // while Enter and Life run
	read          bool   // the root's hook has run
}

func (g *fakeGuest) Enter()                     { g.enters() }
func (g *fakeGuest) Deliver(*Socket, *Packet)   {}
func (g *fakeGuest) AfterEmits(*Socket, func()) {}
func (g *fakeGuest) Gone()                      {}

func (g *fakeGuest) JoinRoot(s *Socket) {
	if g.read {
		s.Connected()
	}
}

func (g *fakeGuest) Life(namespace string) *Socket {
	s := g.conn.Socket(namespace)
	g.asked()
	return s
}

type fakeForeign struct{ *fakeGuest }

func (fakeForeign) Serves(string) bool { return true }

func (f fakeForeign) Guest(c *Conn) Guest {
	f.conn = c
	return f.fakeGuest
}

// The root of a client of protocol 5 is guarded by its hook, whether the client has asked for it
// before the hook runs, while it looks, or after.
func TestGuardOfTheRoot(t *testing.T) {
	nothing := func() {}
	for name, play := range map[string]func(g *fakeGuest, send func(string), hook func()){
		"asked before": func(g *fakeGuest, send func(string), hook func()) {
			g.enters = hook
			send("0")
		},
		"asked meanwhile": func(g *fakeGuest, send func(string), hook func()) {
			send("0/x,")
			g.asked = func() {
				g.asked = nothing
				send("0")
			}
			hook()
		},
		"asked after": func(_ *fakeGuest, send func(string), hook func()) {
			send("0/x,")
			hook()
			send("0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			guest := &fakeGuest{enters: nothing, asked: nothing}
			hub := transport.NewHub(transport.Config{
				PingInterval: testTimeout, PingTimeout: testTimeout, Polling: new(transport.PollingConfig),
				Limits: transport.Limits{Message: 1 << 20, RestrictedMessage: 1 << 20, Outbox: 1 << 20},
			})
			s := NewServer(hub, fakeForeign{guest}, testLimits)
			var c *Conn
			client, err := hub.Accept(httptest.NewRecorder(), httptest.NewRequest("GET", "/?EIO=4&transport=polling", nil),
				func(client *transport.Client) transport.Above {
					c = s.Arrive(client, nil)
					return c
				})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Abort()
			taken := 0
			play(guest, func(packet string) {
				if err := c.Receive([]transport.Message{textMessage(packet)}); err != nil {
					t.Fatal(err)
				}
			}, func() {
				c.Guard(Root, nil, func(*Socket) { taken++ })
				guest.read = true
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
