package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// audience is a server with clients of both versions on all transports.
type audience struct {
	*testServer
	clients []*siotest.Client
	left    atomic.Int32 // whose OnDisconnect has run

	mu   sync.Mutex
	gone []time.Duration // since when leave was called, in order
}

// seat starts a server and connects times clients of each kind.
func seat(t *testing.T, times int, onDisconnect func()) *audience {
	t.Helper()
	a := new(audience)
	a.testServer = startAt(t, inMemory(t), handshakeMode, func(s *testServer) {
		s.OnEvent("/", "echo", func(_ socketio.Conn, v int) int { return v })
		s.OnDisconnect("/", func(socketio.Conn, string) {
			if onDisconnect != nil {
				onDisconnect()
			}
			a.left.Add(1)
		})
	})
	for range times {
		for _, version := range []int{3, 4} {
			for _, transport := range transports {
				o := bob(t, transport)
				o.Version = version
				c, must := a.dial(t, o)
				if version == 4 {
					must.Join("/")
				}
				must.Connected("/")
				must.Call("/", "echo", 1) // CONNECT goes a moment before broadcasts reach it
				a.clients = append(a.clients, c)
			}
		}
	}
	return a
}

// leave notes when each client is gone, and requires the words of its last moment and nothing behind them.
func (a *audience) leave(t *testing.T, words ...string) (all func() []time.Duration) {
	t.Helper()
	began := time.Now()
	var group sync.WaitGroup
	for _, c := range a.clients {
		group.Go(func() {
			packets, err := c.Rest(t.Context())
			if err != nil {
				t.Errorf("%v (%s, %v)", err, c.CloseReason(), c.Err())
			}
			if got := rawOf(packets); !slices.Equal(got, words) {
				t.Errorf("got %q, want %q", got, words)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.gone = append(a.gone, time.Since(began))
		})
	}
	return func() []time.Duration {
		group.Wait()
		return a.gone
	}
}

func rawOf(packets []siotest.Packet) (raw []string) {
	for _, p := range packets {
		raw = append(raw, p.Raw)
	}
	return raw
}

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// The clients go at even distances over the time there is, with the last words that were for them, and come back.
func TestShutdownSpreads(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ time, over time.Duration }{
		"a short time": {8 * time.Second, 6 * time.Second},
		"a long time":  {time.Minute, 50 * time.Second},
		"no deadline":  {0, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := seat(t, 4, nil)
				ctx := context.Background()
				if test.time > 0 {
					var cancel context.CancelFunc
					ctx, cancel = within(test.time)
					defer cancel()
				}
				all := a.leave(t, `42["news","we are moving"]`)
				a.BroadcastToNamespace("/", "news", "we are moving")
				if err := a.Shutdown(ctx); err != nil {
					t.Fatal(err)
				}
				if left := int(a.left.Load()); left != len(a.clients) {
					t.Errorf("OnDisconnect has run for %d of %d", left, len(a.clients))
				}
				each := test.over / time.Duration(len(a.clients))
				for i, gone := range all() {
					if due := each * time.Duration(i); gone < due || gone > due+time.Millisecond {
						t.Errorf("number %d was sent away after %v, want %v", i, gone, due)
					}
				}
			})
		})
	}
}

// From the start nobody new gets in, and those who wait for their turn are served as ever.
func TestShutdownLetsNobodyIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := seat(t, 1, nil)
		ctx, cancel := within(time.Minute)
		defer cancel()
		done := make(chan error)
		go func() { done <- a.Shutdown(ctx) }()
		synctest.Wait() // the first is gone
		for _, version := range []int{3, 4} {
			for _, transport := range onePacket {
				o := bob(t, transport)
				o.Version, o.HTTP = version, a.at.client
				var status *siotest.StatusError
				if _, err := siotest.Dial(t.Context(), a.at.url, o); !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable {
					t.Errorf("EIO=%d, %s: got %v", version, transport, err)
				} else if status.Header.Get("Retry-After") == "" {
					t.Errorf("EIO=%d, %s: no Retry-After", version, transport)
				}
			}
		}
		served := 0
		for _, c := range a.clients {
			if id, err := c.EmitAck("/", "echo", 1); err == nil {
				c.Must(t).Ack("/", id)
				served++
			}
		}
		if served != len(a.clients)-1 {
			t.Errorf("%d of %d are served", served, len(a.clients))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// endings of a Shutdown that has a minute, in the middle of it.
func TestShutdownIsCutShort(t *testing.T) {
	t.Parallel()
	const middle = 20 * time.Second
	for name, test := range map[string]struct {
		cut  func(a *audience, cancel func()) error
		want error
	}{
		"by Close": {func(a *audience, _ func()) error { return a.Close() }, nil},
		"by another Shutdown": {func(a *audience, _ func()) error {
			ctx, cancel := within(0)
			defer cancel()
			_ = a.Shutdown(ctx)
			return nil
		}, nil},
		"by its context": {func(_ *audience, cancel func()) error { cancel(); return nil }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := seat(t, 2, nil)
				ctx, cancel := within(time.Minute)
				defer cancel()
				done := make(chan error)
				go func() { done <- a.Shutdown(ctx) }()
				all := a.leave(t)
				time.Sleep(middle)
				if n := int(a.left.Load()); n == 0 || n == len(a.clients) {
					t.Errorf("%d of %d are gone before", n, len(a.clients))
				}
				if err := test.cut(a, cancel); err != nil {
					t.Error(err)
				}
				if err := <-done; !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if gone := all(); slices.Max(gone) > middle+time.Millisecond {
					t.Errorf("the last has gone after %v", slices.Max(gone))
				}
				for range 2 {
					if err := errors.Join(a.Close(), a.Shutdown(context.Background())); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// Who is told to hurry still says what was to be said.
func TestShutdownWithoutTime(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func() (context.Context, context.CancelFunc){
		"a deadline that has passed": func() (context.Context, context.CancelFunc) { return within(-time.Second) },
		"hardly any time":            func() (context.Context, context.CancelFunc) { return within(time.Nanosecond) },
		"cancelled": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := seat(t, 2, nil)
				ctx, cancel := end()
				defer cancel()
				all := a.leave(t, `42["news","now"]`)
				a.BroadcastToNamespace("/", "news", "now")
				_ = a.Shutdown(ctx) // an error, unless all were faster
				if err := a.Close(); err != nil {
					t.Error(err)
				}
				all()
			})
		})
	}
}

// OnDisconnect that takes longer than there is time is told of, and can still be waited for.
func TestShutdownWaitsForOnDisconnect(t *testing.T) {
	t.Parallel()
	for _, takes := range []time.Duration{time.Second, 10 * time.Second} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := seat(t, 1, func() { time.Sleep(takes) })
				ctx, cancel := within(8 * time.Second)
				defer cancel()
				a.leave(t)
				err := a.Shutdown(ctx)
				if late := takes > 2*time.Second; late != errors.Is(err, context.DeadlineExceeded) || !late && err != nil {
					t.Errorf("got %v", err)
				}
				if err := a.Close(); err != nil {
					t.Error(err)
				}
				if left := int(a.left.Load()); left != len(a.clients) {
					t.Errorf("OnDisconnect has run for %d of %d", left, len(a.clients))
				}
			})
		})
	}
}

// A client that does not fetch what it is told holds nobody up.
func TestShutdownOfClientsThatDoNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := seat(t, 1, nil)
		for range 10 { // one of them is the last
			for _, transport := range onePacket {
				o := bob(t, transport)
				o.ManualPoll, o.ManualRead = true, true
				a.dial(t, o)
			}
		}
		ctx, cancel := within(4 * time.Second)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}

// http.Server.Shutdown waits for polls, and lets no client ask for more. Whoever comes first, both end. Where the sockets
// end first, no client loses what is on its way.
func TestShutdownBesideThatOfHTTP(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*audience) error{
		"Close": func(a *audience) error { return a.Close() },
		"Shutdown": func(a *audience) error {
			ctx, cancel := within(20 * time.Second)
			defer cancel()
			return a.Shutdown(ctx)
		},
	}
	orders := map[string]func(sockets, web func()){
		"sockets first": func(sockets, web func()) { sockets(); web() },
		"HTTP first":    func(sockets, web func()) { web(); sockets() },
		"together": func(sockets, web func()) {
			var group sync.WaitGroup
			group.Go(sockets)
			group.Go(web)
			group.Wait()
		},
	}
	for method, end := range ends {
		for order, inOrder := range orders {
			t.Run(method+"/"+order, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := seat(t, 2, nil)
					heard := make(chan bool, len(a.clients))
					for _, c := range a.clients {
						go func() {
							packets, err := c.Rest(t.Context())
							heard <- err == nil && slices.Equal(rawOf(packets), []string{`42["news","bye"]`})
						}()
					}
					sockets := func() {
						a.BroadcastToNamespace("/", "news", "bye")
						if err := end(a); err != nil {
							t.Error(err)
						}
					}
					web := func() {
						ctx, cancel := within(2 * time.Minute) // polls end when their clients count as silent
						defer cancel()
						if err := a.web.Shutdown(ctx); err != nil {
							t.Error(err)
						}
					}
					inOrder(sockets, web)
					if left := int(a.left.Load()); left != len(a.clients) || a.Count() != 0 {
						t.Errorf("OnDisconnect has run for %d of %d, %d sessions are left", left, len(a.clients), a.Count())
					}
					all := 0
					for range a.clients {
						if <-heard {
							all++
						}
					}
					if want := len(a.clients); order == "sockets first" && all != want {
						t.Errorf("%d of %d have heard all", all, want)
					} else if all < want*2/3 { // those with a WebSocket
						t.Errorf("%d of %d have heard all", all, want)
					}
				})
			})
		}
	}
}

// Where nobody is connected, nothing takes time, whatever the context.
func TestShutdownOfNobody(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, ctx := range []context.Context{ended, context.Background()} {
		s := start(t, handshakeMode, nil)
		for range 10 {
			if err := s.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// slowly is a value that takes its time to be encoded. go-socket.io does that after Emit has returned.
type slowly int

func (s slowly) MarshalJSON() ([]byte, error) {
	time.Sleep(time.Millisecond)
	return []byte(strconv.Itoa(int(s))), nil
}

func TestLastWordsOfThePlainServer(t *testing.T) {
	t.Parallel()
	const words = 20
	var want []string
	for i := range words {
		want = append(want, fmt.Sprintf(`42/open,["word",%d]`, i))
	}
	for name, end := range map[string]func(*testServer) error{
		"Close":    func(s *testServer) error { return s.Close() },
		"Shutdown": func(s *testServer) error { return s.Shutdown(context.Background()) },
	} {
		for _, transport := range transports {
			t.Run(name+"/"+transport, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					plain := socketio.NewServer(hardened())
					plain.OnConnect("/open", func(socketio.Conn) error { return nil })
					s := &testServer{auth: mustAuthorize(t, handshakeMode), at: inMemory(t)}
					s.Server = s.auth.Protect(plain, "/")
					spoken := make(chan struct{})
					plain.OnEvent("/open", "go", func(c socketio.Conn) {
						for i := range words {
							c.Emit("word", slowly(i))
						}
						close(spoken)
					})
					serve(t, s.Server, s.at, s.Server)
					_, must := s.dial(t, bob(t, transport))
					must.NextRaw("40")
					must.Join("/open")
					must.Connected("/open")
					must.Emit("/open", "go")
					<-spoken
					ended := make(chan error)
					go func() { ended <- end(s) }()
					if got := rawOf(must.Rest()); !slices.Equal(got, want) {
						t.Errorf("got %q", got)
					}
					if err := <-ended; err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}
