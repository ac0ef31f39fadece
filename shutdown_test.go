package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// audience is a server with clients of both versions on all transports.
type audience struct {
	*harness.App
	clients []*siotest.Client
	left    atomic.Int32 // whose OnDisconnect has run

	mu   sync.Mutex
	gone []time.Duration // since when leave was called, in order
}

// seat starts a server and connects times clients of each kind.
func seat(t *testing.T, times int, onDisconnect func()) *audience {
	t.Helper()
	a := new(audience)
	a.App = harness.StartAt(t, harness.InMemory(t), harness.HandshakeMode, func(s *harness.App) {
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
			for _, transport := range harness.Transports {
				o := harness.Bob(t, transport)
				o.Version = version
				c, must := a.Dial(t, o)
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
			for _, transport := range harness.BothTransports {
				o := harness.Bob(t, transport)
				o.Version, o.HTTP = version, a.At.Client
				var status *siotest.StatusError
				if _, err := siotest.Dial(t.Context(), a.At.URL, o); !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable {
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
			for _, transport := range harness.BothTransports {
				o := harness.Bob(t, transport)
				o.ManualPoll, o.ManualRead = true, true
				a.Dial(t, o)
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
						if err := a.Web.Shutdown(ctx); err != nil {
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
		s := harness.Start(t, harness.HandshakeMode, nil)
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
	for name, end := range map[string]func(*harness.App) error{
		"Close":    func(s *harness.App) error { return s.Close() },
		"Shutdown": func(s *harness.App) error { return s.Shutdown(context.Background()) },
	} {
		for _, transport := range harness.Transports {
			t.Run(name+"/"+transport, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					plain := socketio.NewServer(socketiojwt.Harden(nil))
					plain.OnConnect("/open", func(socketio.Conn) error { return nil })
					s := &harness.App{Auth: harness.Authorize(t, harness.HandshakeMode), At: harness.InMemory(t)}
					s.Server = s.Auth.Protect(plain, "/")
					spoken := make(chan struct{})
					plain.OnEvent("/open", "go", func(c socketio.Conn) {
						for i := range words {
							c.Emit("word", slowly(i))
						}
						close(spoken)
					})
					harness.Serve(t, s.Server, s.At, s.Server)
					_, must := s.Dial(t, harness.Bob(t, transport))
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

func TestCloseDrains(t *testing.T) {
	var left atomic.Int32
	auth := harness.Authorize(t, harness.HandshakeMode)
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnConnect("/", func(c socketio.Conn) error { c.Emit("hello"); return nil })
	sio.OnDisconnect("/", func(socketio.Conn, string) { left.Add(1) })
	at := harness.Loopback(t)
	harness.Serve(t, sio, at, sio)
	var clients []*siotest.Client
	for range 10 {
		for _, transport := range harness.Transports {
			c, must := harness.Dial(t, at, harness.Bob(t, transport))
			must.Event("/", "hello")
			clients = append(clients, c)
		}
	}
	stop := make(chan struct{})
	var knocking sync.WaitGroup
	for range 4 { // clients that connect while the server closes crash go-socket.io (hazard 23)
		knocking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if c, err := siotest.Dial(t.Context(), at.URL, harness.Bob(t, "polling")); err == nil {
					c.Close()
				}
			}
		})
	}
	if err := sio.Close(); err != nil {
		t.Fatal(err)
	}
	if n := int(left.Load()); n < len(clients) {
		t.Errorf("OnDisconnect ran %d times for %d clients", n, len(clients))
	}
	close(stop)
	knocking.Wait()
	for _, c := range clients {
		c.Must(t).Closed()
	}
	if response, _ := harness.Get(t, at.URL+"/socket.io/?EIO=3&transport=polling"); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new client gets %s", response.Status)
	}
}

// brokenLine is an Adapter that does not close well, once.
type brokenLine struct{ *line }

func (b brokenLine) Close() error {
	_ = b.line.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed > 1 {
		return nil
	}
	return errors.New("it does not close")
}

// Where a connection is still open, nothing is closed behind it; and what went wrong first is what the
// error says.
func TestShutdownThatFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		namespace, want string
		closed          int
	}{
		{"/plain", "context deadline exceeded", 0},
		{"/", "OnDisconnect still runs", 1},
		{"", "it does not close", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			hold := make(chan struct{})
			adapter := new(bus).add()
			s := harness.StartAt(t, harness.InMemory(t), harness.HandshakeMode, func(s *harness.App) {
				s.SetAdapter(brokenLine{adapter})
				s.OnEvent("/", "x", func(socketio.Conn) {})
				s.OnDisconnect("/", func(socketio.Conn, string) {
					if test.namespace == "/" {
						<-hold
					}
				})
				s.Plain.OnConnect("/plain", func(socketio.Conn) error { return nil })
				s.Plain.OnDisconnect("/plain", func(socketio.Conn, string) { <-hold })
			}, "/")
			if test.namespace != "" {
				_, must := s.Dial(t, harness.Bob(t, "websocket"))
				must.NextRaw("40")
				if test.namespace != "/" {
					must.Join(test.namespace)
					must.Connected(test.namespace)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := s.Shutdown(ctx)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q: got %v, want %s", test.namespace, err, test.want)
			}
			adapter.mu.Lock()
			if adapter.closed != test.closed {
				t.Errorf("%q: the adapter was closed %d times", test.namespace, adapter.closed)
			}
			adapter.mu.Unlock()
			close(hold)
			_ = s.Close() // as its Adapter may still have to
		})
	}
}

// One Authorizer drains all servers that it looks after, and says so if one of them is not empty.
func TestDrainOfSeveralServers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		auth := harness.Authorize(t, socketiojwt.Options{})
		hold := make(chan struct{})
		var servers []*socketio.Server
		for n := range 2 {
			plain := socketio.NewServer(socketiojwt.Harden(nil))
			plain.OnConnect("/", func(socketio.Conn) error { return nil })
			plain.OnDisconnect("/", func(socketio.Conn, string) {
				if n == 1 {
					<-hold
				}
			})
			at := harness.InMemory(t)
			harness.Serve(t, plain, at, auth.Handler(plain))
			_, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
			must.NextRaw("40")
			servers = append(servers, plain)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := auth.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one is still left: %v", err)
		}
		close(hold)
		if err := auth.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		for n, server := range servers {
			if left := server.Count(); left != 0 {
				t.Errorf("server %d has %d sessions", n, left)
			}
		}
	})
}
