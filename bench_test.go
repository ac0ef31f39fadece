package socketiojwt_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

// BenchmarkVerify is one verification, by the type of the claims, and of claims that are as
// long as they may be.
func BenchmarkVerify(b *testing.B) {
	long, nested := benchmarkClaims(), benchmarkClaims()
	long["x"] = strings.Repeat("x", 5000)
	nested["x"] = strings.Split(strings.Repeat("member,", 600), ",")
	for name, claims := range map[string]jwt.MapClaims{"": benchmarkClaims(), ", long": long, ", many values": nested} {
		raw := signHS256(b, claims)
		for kind, newClaims := range map[string]func() jwt.Claims{
			"MapClaims":        nil,
			"RegisteredClaims": func() jwt.Claims { return new(jwt.RegisteredClaims) },
		} {
			a := mustAuthorize(b, socketiojwt.Options{NewClaims: newClaims})
			b.Run(kind+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := a.Verify(b.Context(), testRequest, raw); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

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
