package socketiojwt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// Broadcasts to 100 authenticated clients, with and without 1,000 anonymous ones that
// opened a connection and never polled again (hazard 1). Compare the two.
func BenchmarkBroadcastBesideAnonymousClients(b *testing.B) {
	for _, anonymous := range []int{0, 1000} {
		b.Run(fmt.Sprint(anonymous), func(b *testing.B) {
			s := start(b, socketiojwt.Options{Timeout: time.Minute}, chat)
			for range anonymous {
				_, must := s.dial(b, siotest.Options{ManualPoll: true, NoPing: true})
				must.NextRaw("40")
			}
			for range 100 {
				c, must := s.dial(b, siotest.Options{Transport: "websocket"})
				must.NextRaw("40")
				must.Emit("/", "authenticate", map[string]string{"token": tokenOf(b, "bob")})
				must.Event("/", "welcome")
				go func() { // reads, so that the queues stay short
					for {
						if _, err := c.NextEngine(b.Context()); err != nil {
							return
						}
					}
				}()
			}
			for b.Loop() {
				s.BroadcastToNamespace("/", "news", "x")
			}
		})
	}
}
