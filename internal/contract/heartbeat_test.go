package contract_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
)

// pongs counts the answers to PING for a while, and fails on anything else that comes.
func pongs(t *testing.T, client *siotest.Client, while time.Duration) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), while)
	defer cancel()
	for {
		switch p, err := client.NextEngine(ctx); {
		case errors.Is(err, context.DeadlineExceeded):
			return n
		case err != nil:
			t.Fatalf("after %d PONGs: %v (%s, %v)", n, err, client.CloseReason(), client.Err())
		case p.Type == siotest.EnginePong:
			n++
		case p.Type != siotest.EngineNoop:
			t.Fatalf("got %s", p)
		}
	}
}

// The transport answers PINGs, whatever the application does meanwhile.
func TestHeartbeatsDoNotWaitForHandlers(t *testing.T) {
	t.Parallel()
	const takes = 90 * time.Second
	sleeps := func() { time.Sleep(takes + time.Millisecond) }
	for _, busy := range []string{"OnConnect", "OnConnect of a namespace", "an event", "an acknowledgement", "OnError"} {
		for _, transport := range harness.BothTransports {
			t.Run(busy+"/"+transport, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := harness.StartAt(t, harness.InMemory(t), harness.HandshakeMode, func(s *harness.App) {
						s.OnConnect("/", func(socketio.Conn) error {
							if busy == "OnConnect" {
								sleeps()
							}
							return nil
						})
						s.OnConnect("/a", func(socketio.Conn) error { sleeps(); return nil })
						s.OnEvent("/", "work", func(socketio.Conn, int) { sleeps() })
						s.OnEvent("/", "ask", func(c socketio.Conn) { c.Emit("ask", sleeps) })
						s.OnError("/", func(socketio.Conn, error) { sleeps() })
						s.OnEvent("/", "done", func(c socketio.Conn) { c.Emit("done") })
					})
					client, must := s.Dial(t, harness.Bob(t, transport))
					must.NextRaw("40")
					switch busy {
					case "OnConnect of a namespace":
						must.Join("/a")
						must.Connected("/a")
					case "an event":
						must.Emit("/", "work", 1)
					case "OnError":
						must.Emit("/", "work", "no number")
					case "an acknowledgement":
						must.Emit("/", "ask")
						must.OK(client.Ack("/", must.Event("/", "ask").ID))
					}
					if busy != "an acknowledgement" { // which holds up no events
						must.Emit("/", "done")
					}
					if n, want := pongs(t, client, takes), int(takes/(20*time.Second)); n != want {
						t.Errorf("%d PONGs came in %v, want %d", n, takes, want)
					}
					if busy == "an acknowledgement" {
						must.Emit("/", "done")
					}
					must.NextRaw(`42["done"]`)
					time.Sleep(time.Second) // the acknowledgement's callback returns
				})
			})
		}
	}
}

// Hazard 44: a PING is due every PingInterval, and may take PingTimeout. An idle client that
// says nothing else stays, one that does not even say that goes.
func TestHazard44_PingIntervalAbovePingTimeout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ interval, timeout time.Duration }{
		{25 * time.Second, 20 * time.Second}, // Node's
		{25 * time.Second, 5 * time.Second},
		{time.Minute, time.Second},
		{5 * time.Second, time.Minute},
	} {
		for _, transport := range harness.Transports {
			t.Run(test.interval.String()+" "+test.timeout.String()+"/"+transport, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					auth := harness.Authorize(t, harness.HandshakeMode)
					sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(&engineio.Options{PingInterval: test.interval, PingTimeout: test.timeout})))
					at := harness.InMemory(t)
					harness.Serve(t, sio, at, sio)
					began := time.Now()
					idle, must := harness.Dial(t, at, harness.Bob(t, transport))
					must.NextRaw("40")
					o := harness.Bob(t, transport)
					o.NoPing = true
					dead, _ := harness.Dial(t, at, o)
					died := make(chan time.Duration, 1)
					go func() {
						<-dead.Done()
						died <- time.Since(began)
					}()
					if n := pongs(t, idle, 10*test.interval+test.interval/2); n != 10 {
						t.Errorf("%d PONGs", n)
					}
					time.Sleep(test.timeout)
					if took, want := <-died, test.interval+test.timeout; took.Round(time.Second) != want {
						t.Errorf("a dead client is gone after %v, want %v", took, want)
					}
				})
			})
		}
	}
}
