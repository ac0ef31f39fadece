package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

// A server that cannot decide for now: its Revocations are out of reach.

// outage is Revocations that can be asked, or not.
type outage struct {
	*socketiojwt.MemoryRevocations
	down atomic.Bool
}

func newOutage() *outage { return &outage{MemoryRevocations: socketiojwt.NewMemoryRevocations()} }

func (o *outage) Revoked(ctx context.Context, claims *jwt.RegisteredClaims) (bool, error) {
	if o.down.Load() {
		return false, errors.New("redis is away")
	}
	return o.MemoryRevocations.Revoked(ctx, claims)
}

// stays requires that nothing tells the client to stay away, and returns how long it was connected.
func stays(t *testing.T, must siotest.Must) time.Duration {
	t.Helper()
	began := time.Now()
	for _, p := range must.Rest() {
		if p.Type == siotest.Disconnect || p.Type == siotest.ConnectError {
			t.Errorf("the client is told %s, and does not come back", p.Raw)
		}
	}
	return time.Since(began)
}

// Whoever authenticates meanwhile is told so, may try again, and is disconnected when its time is up, which
// clients take for a lost connection: they come back.
func TestBusyInTheRoundTrip(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3", "4"} {
		for _, transport := range harness.Transports {
			for name, opts := range map[string]socketiojwt.Options{
				"at once":     {},
				"CloseGrace":  {CloseGrace: time.Second},
				"for Timeout": {CloseGrace: -1},
				"guests":      {Optional: true},
				"one attempt": {MaxAttempts: 1},
			} {
				t.Run(strings.Join([]string{"EIO", version, transport, name}, " "), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						list := newOutage()
						opts.Revocations = list
						s := harness.StartAt(t, harness.InMemory(t), opts, harness.Chat)
						dial := func() siotest.Must {
							if version == "3" {
								_, m := s.Dial(t, siotest.Options{Transport: transport})
								m.Connected("/")
								return m
							}
							m := harness.Dial4(t, s, transport)
							m.Join("/")
							m.Connected("/")
							return m
						}
						authenticate := func(m siotest.Must) {
							m.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
						}
						list.down.Store(true)
						m := dial()
						if opts.Optional {
							m.Event("/", "welcome")
						}
						for i := range 2 {
							authenticate(m)
							m.Event("/", "unauthorized")
							if i == 0 && name == "one attempt" {
								break
							}
						}
						if took := stays(t, m); took < 4*time.Second || took > 6*time.Second {
							t.Errorf("it was connected for %v, want the Timeout of 5s", took)
						}

						m = dial()
						if opts.Optional {
							m.Event("/", "welcome")
						}
						authenticate(m)
						m.Event("/", "unauthorized")
						list.down.Store(false)
						if name != "one attempt" {
							authenticate(m)
							m.Event("/", "authenticated")
							time.Sleep(10 * time.Second) // its time is up no more
							m.Call("/", "echo", "still here")
						} else {
							authenticate(m)
							stays(t, m)
						}
					})
				})
			}
		}
	}
}

// The client calls back, as socketio-jwt's do after every refusal: that ends the connection, and is no
// reason to stay away.
func TestBusyAndTheCallback(t *testing.T) {
	t.Parallel()
	list := newOutage()
	s := harness.Start(t, socketiojwt.Options{Revocations: list, Timeout: time.Minute}, nil)
	list.down.Store(true)
	_, m := s.Dial(t, siotest.Options{Transport: "websocket"})
	m.Connected("/")
	m.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	p := m.Event("/", "unauthorized")
	m.Send(fmt.Sprintf("43%d[]", p.ID))
	stays(t, m)
}

// AcceptNamespace that cannot say for now does not send away either.
func TestBusyNamespace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
			AcceptNamespace: func(ctx context.Context, _ *socketiojwt.Session, namespace string) error {
				<-ctx.Done()
				return ctx.Err()
			},
		}, harness.Chat)
		_, m := s.Dial(t, siotest.Options{Transport: "websocket"})
		m.Connected("/")
		m.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		m.Event("/", "unauthorized")
		stays(t, m)
	})
}

// However many clients are refused, two lines say that Revocations could not be asked, and for how many.
func TestLogOfAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log harness.Record
		list := newOutage()
		auth, err := socketiojwt.Authorize(socketiojwt.Options{
			Secret: socketiojwt.StaticSecret(harness.Secret), Revocations: list, Logger: harness.LogTo(&log),
		})
		if err != nil {
			t.Fatal(err)
		}
		protected := auth.Middleware(http.NotFoundHandler())
		ask := func(ctx context.Context, want int) {
			t.Helper()
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer "+harness.TokenOf(t, "bob"))
			w := httptest.NewRecorder()
			protected.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("status %d, want %d", w.Code, want)
			}
		}
		expectLog := func(want ...string) {
			t.Helper()
			var got []string
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "Revocations") {
					got = append(got, strings.TrimSpace(line))
				}
			}
			if !slices.EqualFunc(got, want, strings.Contains) {
				t.Errorf("logged %q, want %q", got, want)
			}
		}
		begins := `level=WARN msg="socketiojwt: Revocations cannot be asked, so that clients are refused for now" error="redis is away"`
		over := `level=INFO msg="socketiojwt: Revocations can be asked again" refused=300 after=2s`

		ask(t.Context(), http.StatusNotFound)
		list.down.Store(true)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		ask(gone, http.StatusServiceUnavailable)
		expectLog()
		for range 3 {
			for range 100 {
				ask(t.Context(), http.StatusServiceUnavailable)
			}
			time.Sleep(time.Second)
		}
		expectLog(begins)
		list.down.Store(false)
		ask(t.Context(), http.StatusNotFound) // which may be luck
		expectLog(begins)
		time.Sleep(10 * time.Second)
		for range 3 {
			ask(t.Context(), http.StatusNotFound)
		}
		expectLog(begins, over)
		list.down.Store(true)
		ask(t.Context(), http.StatusServiceUnavailable)
		expectLog(begins, over, begins)
	})
}
