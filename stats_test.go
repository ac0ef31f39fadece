package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// What an operator who sees only Stats can tell apart.
func TestStatsExplain(t *testing.T) {
	t.Parallel()
	type refusal = socketiojwt.Refusal
	handshakeOf := func(t *testing.T, s *testServer, raw string) {
		t.Helper()
		_, must := s.dial(t, siotest.Options{Transport: "websocket", Query: withToken(raw)})
		must.Rest()
	}
	wait := func(t *testing.T, s *testServer, what string, holds func(socketiojwt.Stats) bool) {
		t.Helper()
		eventually(t, what, func() bool { return holds(s.auth.Stats()) })
	}
	refused := func(by refusal) func(socketiojwt.Stats) bool {
		return func(stats socketiojwt.Stats) bool { return len(stats.Refusals) == 1 && stats.Refusals[by] > 0 }
	}
	busy := func(by string) refusal { return refusal{"server_busy", "server busy", by} }

	t.Run("a wrong key was deployed", func(t *testing.T) {
		t.Parallel()
		s := start(t, socketiojwt.Options{Handshake: true, Secret: socketiojwt.StaticSecret("another secret, of 32 bytes or more")}, nil)
		handshakeOf(t, s, tokenOf(t, "bob"))
		wait(t, s, "signatures are wrong", refused(refusal{"invalid_token", "invalid signature", ""}))
	})
	t.Run("Redis is down", func(t *testing.T) {
		t.Parallel()
		s := start(t, socketiojwt.Options{Handshake: true, Revocations: lameRevocations{
			socketiojwt.NewMemoryRevocations(), func() (bool, error) { return false, errors.New("no connection") },
		}}, nil)
		handshakeOf(t, s, tokenOf(t, "bob"))
		wait(t, s, "it is due to Revocations", refused(busy("Revocations")))
	})
	t.Run("the callbacks fail", func(t *testing.T) {
		t.Parallel()
		s := start(t, socketiojwt.Options{Handshake: true, Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			return nil, errors.New("no database")
		}}, nil)
		handshakeOf(t, s, tokenOf(t, "bob"))
		wait(t, s, "it is due to Accept", refused(refusal{"unauthorized", "unauthorized", "Accept"}))
	})
	for _, hosts := range []int{1, 20} {
		t.Run(fmt.Sprintf("MaxPending is reached by %d hosts", hosts), func(t *testing.T) {
			t.Parallel()
			auth := mustAuthorize(t, socketiojwt.Options{MaxPending: 20})
			s := &testServer{Server: auth.Protect(socketio.NewServer(hardened())), auth: auth, at: loopback(t)}
			var n atomic.Int64
			serve(t, s.Server, s.at, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", n.Add(1)%int64(hosts))
				s.ServeHTTP(w, r)
			}))
			for range 21 {
				_, _ = siotest.Dial(context.Background(), s.at.url, siotest.Options{Transport: "websocket"})
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
		s := start(t, socketiojwt.Options{}, nil)
		for _, query := range []string{"EIO=5&transport=polling", "EIO=4&transport=polling&sid=unknown"} {
			resp, err := http.Get(s.at.url + "/socket.io/?" + query)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		if stats := s.auth.Stats(); stats.UnknownVersions != 1 || stats.UnknownSessions != 1 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// Messages that a callback makes for each client do not make the Stats grow without end.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	n := 0
	auth := mustAuthorize(t, socketiojwt.Options{Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		n++
		return nil, &socketiojwt.UnauthorizedError{Code: "mine", Message: fmt.Sprint(n)}
	}})
	handler := auth.Middleware(http.NotFoundHandler())
	for range 700 {
		r, _ := http.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+tokenOf(t, "bob"))
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
		s := startAt(t, inMemory(t), socketiojwt.Options{Handshake: true}, func(s *testServer) {
			s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
		})
		var clients []*siotest.Client
		for _, version := range []int{3, 4} {
			for _, transport := range transports {
				c, must := s.dial(t, siotest.Options{Version: version, Transport: transport, Query: withToken(tokenOf(t, "bob"))})
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
		if stats := s.auth.Stats(); fmt.Sprint(stats.Connections) != want || stats.OutboxBytes != 0 {
			t.Errorf("connections %v, %d bytes wait", stats.Connections, stats.OutboxBytes)
		}
		slow, _ := s.dial(t, siotest.Options{ManualPoll: true, Query: withToken(tokenOf(t, "bob"))})
		synctest.Wait()
		before := s.auth.Stats().OutboxBytes
		s.BroadcastToNamespace("/", "news", strings.Repeat("x", 10_000))
		synctest.Wait()
		if waits := s.auth.Stats().OutboxBytes - before; waits < 10_000 || waits > 11_000 {
			t.Errorf("%d bytes wait for the client that does not fetch", waits)
		}
		for _, c := range append(clients, slow) {
			c.Close()
		}
		time.Sleep(time.Minute)
		if stats := s.auth.Stats(); len(stats.Connections) != 0 || stats.OutboxBytes != 0 {
			t.Errorf("connections %v, %d bytes wait", stats.Connections, stats.OutboxBytes)
		}
	})
}
