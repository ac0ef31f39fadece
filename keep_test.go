package socketiojwt_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

// A large token does not take with it what else its request had.
func TestLargeTokenLeavesTheRest(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"polling", "websocket"} {
		t.Run(transport, func(t *testing.T) {
			got := make(chan string, 1)
			s := harness.Start(t, socketiojwt.Options{
				Handshake: true,
				Accept: func(_ context.Context, r *socketiojwt.Request, _ *jwt.Token) (any, error) {
					got <- fmt.Sprintf("%s %s %s %s", r.URL.Path, r.URL.Query().Get("room"), r.Header.Get("X-Tenant"), r.Header.Get("User-Agent"))
					return nil, nil
				},
			}, nil)
			raw := harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "groups": strings.Repeat("g", 5000)})
			if len(raw) > 8<<10 {
				t.Fatal(len(raw))
			}
			_, must := s.Dial(t, siotest.Options{Version: 4, Transport: transport, Query: map[string][]string{"room": {"7"}}, Header: http.Header{
				"Authorization": {"Bearer " + raw}, "X-Tenant": {"acme"}, "User-Agent": {"robot"},
			}})
			must.Join("/")
			must.Connected("/")
			if was := <-got; was != "/socket.io/ 7 acme robot" {
				t.Errorf("Accept saw %q", was)
			}
		})
	}
}

// A cookie counts for `authenticate` in either mode, however much comes with it.
func TestCookieOfLargeHandshake(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 10_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := harness.Start(t, socketiojwt.Options{Handshake: true, Cookie: "jwt"}, nil)
			_, must := s.Dial(t, siotest.Options{Version: 4, Transport: "websocket", Header: http.Header{
				"Cookie": {"jwt=" + harness.TokenOf(t, "bob")}, "X": {strings.Repeat("x", size)},
			}})
			must.Join("/")
			must.Connected("/")
			must.Emit("/", "authenticate")
			must.Event("/", "authenticated")
		})
	}
}
