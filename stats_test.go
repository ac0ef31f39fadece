package socketiojwt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// What an operator who sees only Stats can tell apart.
func TestStatsExplain(t *testing.T) {
	t.Parallel()
	type refusal = socketiojwt.Refusal
	handshakeOf := func(t *testing.T, s *harness.App, raw string) {
		t.Helper()
		_, must := s.Dial(t, siotest.Options{Transport: "websocket", Query: harness.WithToken(raw)})
		must.Rest()
	}
	wait := func(t *testing.T, s *harness.App, what string, holds func(socketiojwt.Stats) bool) {
		t.Helper()
		harness.Eventually(t, what, func() bool { return holds(s.Auth.Stats()) })
	}
	refused := func(by refusal) func(socketiojwt.Stats) bool {
		return func(stats socketiojwt.Stats) bool { return len(stats.Refusals) == 1 && stats.Refusals[by] > 0 }
	}
	busy := func(by string) refusal { return refusal{"server_busy", "server busy", by} }

	t.Run("a wrong key was deployed", func(t *testing.T) {
		t.Parallel()
		s := harness.Start(t, socketiojwt.Options{Handshake: true, Secret: socketiojwt.StaticSecret("another secret, of 32 bytes or more")}, nil)
		handshakeOf(t, s, harness.TokenOf(t, "bob"))
		wait(t, s, "signatures are wrong", refused(refusal{"invalid_token", "invalid signature", ""}))
	})
	t.Run("Redis is down", func(t *testing.T) {
		t.Parallel()
		s := harness.Start(t, socketiojwt.Options{Handshake: true, Revocations: lameRevocations{
			socketiojwt.NewMemoryRevocations(), func() (bool, error) { return false, errors.New("no connection") },
		}}, nil)
		handshakeOf(t, s, harness.TokenOf(t, "bob"))
		wait(t, s, "it is due to Revocations", refused(busy("Revocations")))
	})
	t.Run("the callbacks fail", func(t *testing.T) {
		t.Parallel()
		s := harness.Start(t, socketiojwt.Options{Handshake: true, Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			return nil, errors.New("no database")
		}}, nil)
		handshakeOf(t, s, harness.TokenOf(t, "bob"))
		wait(t, s, "it is due to Accept", refused(refusal{"unauthorized", "unauthorized", "Accept"}))
	})
	for _, hosts := range []int{1, 20} {
		t.Run(fmt.Sprintf("MaxPending is reached by %d hosts", hosts), func(t *testing.T) {
			t.Parallel()
			auth := harness.Authorize(t, socketiojwt.Options{MaxPending: 20})
			s := &harness.App{Server: auth.Protect(socketio.NewServer(socketiojwt.Harden(nil))), Auth: auth, At: harness.Loopback(t)}
			var n atomic.Int64
			harness.Serve(t, s.Server, s.At, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", n.Add(1)%int64(hosts))
				s.ServeHTTP(w, r)
			}))
			for range 21 {
				_, _ = siotest.Dial(context.Background(), s.At.URL, siotest.Options{Transport: "websocket"})
			}
			wait(t, s, "who has the places", func(stats socketiojwt.Stats) bool {
				full := stats.Refusals[busy("MaxPending")] > 0
				if hosts == 1 {
					return full && stats.Pending < 20 && stats.PendingOfOneHost == stats.Pending
				}
				return full && stats.Pending == 20 && stats.PendingOfOneHost == 1
			})
		})
	}
	t.Run("clients of another version, or without sticky sessions", func(t *testing.T) {
		t.Parallel()
		s := harness.Start(t, socketiojwt.Options{}, nil)
		for _, query := range []string{"EIO=5&transport=polling", "EIO=4&transport=polling&sid=unknown"} {
			resp, err := http.Get(s.At.URL + "/socket.io/?" + query)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		wait(t, s, "both are counted", func(stats socketiojwt.Stats) bool {
			return stats.UnknownVersions == 1 && stats.UnknownSessions == 1
		})
	})
}

// Messages that a callback makes for each client do not make the Stats grow without end.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	n := 0
	auth := harness.Authorize(t, socketiojwt.Options{Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		n++
		return nil, &socketiojwt.UnauthorizedError{Code: "mine", Message: fmt.Sprint(n)}
	}})
	handler := auth.Middleware(http.NotFoundHandler())
	for range 700 {
		r, _ := http.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+harness.TokenOf(t, "bob"))
		handler.ServeHTTP(&discard{}, r)
	}
	stats := auth.Stats()
	if got := len(stats.Refusals); got != 501 || stats.Refusals[socketiojwt.Refusal{}] != 200 {
		t.Errorf("%d reasons are told apart", got)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (*discard) Write(p []byte) (int, error) { return len(p), nil }
func (*discard) WriteHeader(int)             {}

// Connections are counted by how they talk, and what waits for them, until they are gone.
func TestStatsOfConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: true}, func(s *harness.App) {
			s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
		})
		var clients []*siotest.Client
		for _, version := range []int{3, 4} {
			for _, transport := range harness.Transports {
				c, must := s.Dial(t, siotest.Options{Version: version, Transport: transport, Query: harness.WithToken(harness.TokenOf(t, "bob"))})
				if version == 4 {
					must.Join("/")
				}
				must.Connected("/")
				must.Call("/", "echo", "x")
				clients = append(clients, c)
			}
		}
		synctest.Wait()
		want := "map[EIO=3 polling:1 EIO=3 websocket:2 EIO=4 polling:1 EIO=4 websocket:2]"
		if stats := s.Auth.Stats(); fmt.Sprint(stats.Connections) != want || stats.OutboxBytes != 0 {
			t.Errorf("connections %v, %d bytes wait", stats.Connections, stats.OutboxBytes)
		}
		slow, _ := s.Dial(t, siotest.Options{ManualPoll: true, Query: harness.WithToken(harness.TokenOf(t, "bob"))})
		synctest.Wait()
		before := s.Auth.Stats().OutboxBytes
		s.BroadcastToNamespace("/", "news", strings.Repeat("x", 10_000))
		synctest.Wait()
		if waits := s.Auth.Stats().OutboxBytes - before; waits < 10_000 || waits > 11_000 {
			t.Errorf("%d bytes wait for the client that does not fetch", waits)
		}
		for _, c := range append(clients, slow) {
			c.Close()
		}
		time.Sleep(time.Minute)
		if stats := s.Auth.Stats(); len(stats.Connections) != 0 || stats.OutboxBytes != 0 {
			t.Errorf("connections %v, %d bytes wait", stats.Connections, stats.OutboxBytes)
		}
	})
}

func TestStats(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{CloseGrace: -1}, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error { c.Emit("hello"); return nil })
	})
	_, waiting := s.Dial(t, siotest.Options{})
	waiting.NextRaw("40")
	waiting.Emit("/", "too early")
	waiting.Emit("/", "authenticate", map[string]string{"token": "x"})
	waiting.Event("/", "unauthorized")
	c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	for range 2 {
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.Event("/", "authenticated")
	}
	want := "{Active:1 Pending:1 PendingOfOneHost:1 Authenticated:1 Refreshed:1 Expired:0 Revoked:0 Replaced:0 Disconnected:0 Refused:map[invalid_token:1] Refusals:map[invalid_token: jwt malformed:1] UnknownVersions:0 UnknownSessions:0 RefusedOrigins:0 EarlyEvents:1 PacketsRefused:map[] Connections:map[EIO=3 polling:1 EIO=3 websocket:1] OutboxBytes:0}"
	harness.Eventually(t, "the counts are "+want, func() bool { return fmt.Sprintf("%+v", s.Auth.Stats()) == want })
	text, err := json.Marshal(s.Auth.Stats())
	if err != nil || !strings.Contains(string(text), `"Refusals":{"invalid_token: jwt malformed":1}`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}
	c.Close()
	harness.Eventually(t, "nobody is active", func() bool { return s.Auth.Stats().Active == 0 })
}
