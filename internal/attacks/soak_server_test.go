//go:build soak && unix

package attacks_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/parser"
)

// The server of the soak: one in either mode, and a look inside.

const (
	soakServerEnv   = "SOCKETIOJWT_SOAK_SERVER"
	soakPingTimeout = 10 * time.Second
	soakTimeout     = 2 * time.Second // to authenticate
	soakNews        = 200 * time.Millisecond
)

// soakStats is how the server's process is.
type soakStats struct {
	Goroutines     int
	Heap           uint64 // bytes
	CPU            time.Duration
	Servers        map[string]soakServerStats
	News           map[string]int // how many were sent, by namespace
	WorstBroadcast time.Duration
	Faults         map[string]int // what must not happen
}

type soakServerStats struct {
	Sessions, Members, Active, Pending int
	Refused, PacketsRefused            map[string]uint64
}

func (s soakStats) sum(f func(soakServerStats) int) (n int) {
	for _, server := range s.Servers {
		n += f(server)
	}
	return n
}

func (s soakStats) sessions() int {
	return s.sum(func(s soakServerStats) int { return s.Sessions })
}

func (s soakStats) members() int { return s.sum(func(s soakServerStats) int { return s.Members }) }

func (s soakStats) active() int { return s.sum(func(s soakServerStats) int { return s.Active }) }

func (s soakStats) pending() int {
	return s.sum(func(s soakServerStats) int { return s.Pending })
}

// anonymous is how many sessions are of nobody, or are over for one side and not for the other.
func (s soakStats) anonymous() int {
	return s.sum(func(s soakServerStats) int {
		return max(s.Sessions-s.Active, s.Active-s.Sessions, s.Pending)
	})
}

// soaked is what the two servers share.
type soaked struct {
	mu     sync.Mutex
	faults map[string]int
	next   map[string]int // the next echo or chat of a connection
	news   map[string]int
	worst  time.Duration
}

func (k *soaked) fault(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if what := fmt.Sprintf(format, args...); len(k.faults) < 100 {
		k.faults[what]++
	}
}

// Write takes the logs of net/http and of the library, which tell of panics. One handler panics because
// it is told to.
func (k *soaked) Write(line []byte) (int, error) {
	text := string(line)
	told := strings.Contains(text, "a callback panicked callback=OnEvent")
	if strings.Contains(text, "panic") && !told || strings.Contains(text, "superfluous") {
		k.fault("logged: %.2000s", text)
	}
	return len(line), nil
}

// soakServer serves until its standard input ends. TestMain then looks for goroutines.
func soakServer(t *testing.T) {
	k := &soaked{faults: make(map[string]int), next: make(map[string]int), news: make(map[string]int)}
	log.SetOutput(k)
	servers := make(map[string]*harness.App)
	var addresses []string
	for _, mode := range []string{"round trip", "handshake"} {
		s := k.serve(t, mode == "handshake")
		servers[mode] = s
		addresses = append(addresses, s.At.URL)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("gc") != "" {
			runtime.GC() // twice, as sync.Pool keeps things for one
			runtime.GC()
		}
		_ = json.NewEncoder(w).Encode(k.stats(servers))
	})
	mux.HandleFunc("/goroutines", func(w http.ResponseWriter, _ *http.Request) {
		_ = pprof.Lookup("goroutine").WriteTo(w, 1)
	})
	at := harness.Loopback(t)
	control := harness.ServeHTTP(at, mux)
	addresses = append(addresses, at.URL)

	stop, broadcasts := make(chan struct{}), sync.WaitGroup{}
	broadcasts.Go(func() { k.broadcast(servers, stop) })
	if err := json.NewEncoder(os.Stdout).Encode(addresses); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(stop)
	broadcasts.Wait()
	_ = control.Close()
}

func (k *soaked) stats(servers map[string]*harness.App) soakStats {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	now := soakStats{
		Goroutines: runtime.NumGoroutine(),
		Heap:       memory.HeapAlloc,
		CPU:        soakCPU(),
		Servers:    make(map[string]soakServerStats),
		News:       make(map[string]int),
		Faults:     make(map[string]int),
	}
	for mode, s := range servers {
		auth := s.Auth.Stats()
		stats := soakServerStats{
			Sessions: s.Count(), Active: auth.Active, Pending: auth.Pending,
			Refused: auth.Refused, PacketsRefused: auth.PacketsRefused,
		}
		for _, nsp := range namespaces {
			for _, room := range s.Rooms(nsp) {
				stats.Members += s.RoomLen(nsp, room)
			}
		}
		now.Servers[mode] = stats
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for nsp, n := range k.news {
		now.News[nsp] = n
	}
	for what, n := range k.faults {
		now.Faults[what] = n
	}
	now.WorstBroadcast = k.worst
	return now
}

// broadcast sends numbered news to who is authenticated, and what go-socket.io's own broadcasts
// would give to everybody.
func (k *soaked) broadcast(servers map[string]*harness.App, stop chan struct{}) {
	for n := 1; ; n++ {
		select {
		case <-time.After(soakNews):
		case <-stop:
			return
		}
		for _, s := range servers {
			for _, nsp := range namespaces {
				began := time.Now()
				s.BroadcastToNamespace(nsp, "news", n)
				if n%5 == 0 {
					s.Plain.BroadcastToNamespace(nsp, "noise", n)
				}
				k.mu.Lock()
				k.worst = max(k.worst, time.Since(began))
				k.mu.Unlock()
			}
		}
		k.mu.Lock()
		for _, nsp := range namespaces {
			k.news[nsp] = n
		}
		k.mu.Unlock()
	}
}

func (k *soaked) serve(t *testing.T, handshake bool) *harness.App {
	opts := socketiojwt.Options{Handshake: handshake, Timeout: soakTimeout}
	s := harness.New(t, harness.Loopback(t), opts, socketiojwt.Harden(&engineio.Options{
		PingTimeout: soakPingTimeout, PingInterval: soakPingTimeout / 4,
	}))
	flood := strings.Repeat("x", 1<<20)
	for _, nsp := range namespaces {
		s.OnConnect(nsp, func(c socketio.Conn) error {
			k.subject(s, c, "OnConnect")
			return nil
		})
		s.OnDisconnect(nsp, func(c socketio.Conn, _ string) {
			k.subject(s, c, "OnDisconnect")
			k.mu.Lock()
			defer k.mu.Unlock()
			delete(k.next, c.ID()+"echo"+nsp)
			delete(k.next, c.ID()+"chat"+nsp)
		})
		s.OnError(nsp, func(c socketio.Conn, _ error) { k.subject(s, c, "OnError"); _ = c.Close() })
		s.OnEvent(nsp, "echo", func(c socketio.Conn, n int) int {
			k.numbered(k.subject(s, c, "echo"), c.ID()+"echo"+nsp, n)
			return n
		})
		s.OnEvent(nsp, "chat", func(c socketio.Conn, n int) {
			from := k.subject(s, c, "chat")
			k.numbered(from, c.ID()+"chat"+nsp, n)
			s.BroadcastToNamespace(nsp, "chat", from, n)
		})
		// The following are for hostile clients.
		s.OnEvent(nsp, "say", func(c socketio.Conn, text string) {
			k.subject(s, c, "say")
			if text != "a" {
				k.fault("an event was smuggled: say %.100q", text)
			}
		})
		s.OnEvent(nsp, "forbidden", func(socketio.Conn) { k.fault("forbidden") }) // nobody sends it as it should be
		s.OnEvent(nsp, "who", func(c socketio.Conn) string { return k.subject(s, c, "who") })
		s.OnEvent(nsp, "bin", func(c socketio.Conn, _ *parser.Buffer) { k.subject(s, c, "bin") })
		s.OnEvent(nsp, "closeme", func(c socketio.Conn) {
			k.subject(s, c, "closeme")
			c.Join("lobby")
			_ = c.Close()
			c.Join("cellar")
		})
		s.OnEvent(nsp, "panic", func(c socketio.Conn) {
			k.subject(s, c, "panic")
			panic("as it was told to")
		})
		s.OnEvent(nsp, "flood", func(c socketio.Conn) {
			k.subject(s, c, "flood")
			for range 6 { // more than sockets buffer
				c.Emit("flood", flood)
			}
		})
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve()
	}()
	httpServer := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second, // which is the application's to set
		ErrorLog:          log.New(k, "", 0),
	}
	go func() { _ = httpServer.Serve(s.At.Listener) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
		_ = httpServer.Close()
	})
	return s
}

// subject is whom a handler runs for, which must be somebody.
func (k *soaked) subject(s *harness.App, c socketio.Conn, what string) string {
	session, ok := s.Auth.Session(c)
	if !ok {
		k.fault("%s ran for somebody anonymous", what)
		return ""
	}
	return session.Subject()
}

// numbered requires that the honest clients' messages come once and in order.
func (k *soaked) numbered(from, key string, n int) {
	k.mu.Lock()
	k.next[key]++
	want := k.next[key]
	k.mu.Unlock()
	if n != want && from != "mallory" {
		k.fault("message %d came where %d was due", n, want)
	}
}
