package attacks_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// crowd is everything at once. Its counters say that the parts of it happened.
type crowd struct {
	*harness.App
	connects, disconnects, events, acks, rejoined atomic.Int64
}

var crowdNamespaces = []string{"/", "/a", "/b"}

func startCrowd(t *testing.T) *crowd {
	k := &crowd{}
	room := func(n int) string { return fmt.Sprint("room ", n%7) }
	k.App = harness.Start(t, socketiojwt.Options{
		Handshake: true, ExpiryWarning: 100 * time.Millisecond,
		UserRoom: func(s *socketiojwt.Session) string { return s.Subject() },
	}, func(s *harness.App) {
		for _, nsp := range crowdNamespaces {
			s.OnConnect(nsp, func(c socketio.Conn) error {
				k.connects.Add(1)
				c.Join(fmt.Sprint("own ", k.connects.Load()))
				c.SetContext(make([]byte, 1<<10))
				c.Emit("ask", func(string) { k.acks.Add(1) })
				return nil
			})
			s.OnDisconnect(nsp, func(c socketio.Conn, _ string) {
				k.disconnects.Add(1)
				c.Join("after the end")
				c.Emit("after the end")
			})
			s.OnError(nsp, func(c socketio.Conn, err error) { _ = c.Context() })
			s.OnEvent(nsp, "join", func(c socketio.Conn, n int) int { k.events.Add(1); c.Join(room(n)); return len(c.Rooms()) })
			s.OnEvent(nsp, "leave", func(c socketio.Conn, n int) {
				if c.Leave(room(n)); n%5 == 0 {
					c.LeaveAll()
				}
			})
			s.OnEvent(nsp, "all", func(_ socketio.Conn, n int) { s.BroadcastToRoom(nsp, room(n), "news", n, harness.Buffer("x")) })
			s.OnEvent(nsp, "ask", func(c socketio.Conn, n int) {
				go c.Emit("ask", n, func(string) { k.acks.Add(1) })
				c.Emit("ask", n, func(string) { k.acks.Add(1) })
			})
			s.OnEvent(nsp, "wrong", func(socketio.Conn, []int) {})
			s.OnEvent(nsp, "close", func(c socketio.Conn, _ int) { go c.Emit("late"); _ = c.Close() })
		}
	})
	return k
}

// visitor is one client's life. Whatever it does may fail: others end it meanwhile.
func (k *crowd) visitor(t *testing.T, n int, random *rand.Rand) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	subject := fmt.Sprint("user ", n%5)
	fresh := func() string {
		return harness.TokenFor(t, subject, time.Second+time.Duration(random.IntN(1000))*time.Millisecond)
	}
	client, err := siotest.Dial(ctx, k.At.URL, siotest.Options{Transport: harness.Transports[n%3], Query: harness.WithToken(fresh())})
	if err != nil {
		return // its token has just expired, or it was ended
	}
	end := client.Close
	if n%3 == 1 && random.IntN(2) == 0 {
		end = client.Abort // one that polls would be waited for
	}
	defer end()
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		for {
			p, err := client.Next(ctx)
			if err != nil {
				return
			}
			if name, _ := p.Event(); name == "ask" {
				_ = client.Ack(p.Namespace, p.ID, "yes")
			}
		}
	}()
	for range 10 + random.IntN(20) {
		nsp := crowdNamespaces[random.IntN(3)]
		switch random.IntN(10) {
		case 0, 1:
			_ = client.Join(nsp)
		case 2:
			if nsp != "/" {
				_ = client.SendFrames(siotest.Text("41"+nsp), siotest.Text("40"+nsp))
				k.rejoined.Add(1)
			}
		case 3:
			_ = client.Emit(nsp, "authenticate", map[string]string{"token": fresh()})
		case 4:
			if random.IntN(20) == 0 {
				_ = client.Emit(nsp, "close", 0)
			}
		default:
			_, _ = client.EmitAck(nsp, []string{"join", "leave", "all", "ask", "wrong"}[random.IntN(5)], random.IntN(50))
		}
	}
	if random.IntN(3) == 0 { // it waits for its token to expire
		<-listening
	}
	defer func() { <-listening }()
	defer end()
}

// meddle is what the application does to them.
func (k *crowd) meddle(random *rand.Rand) {
	nsp, room := crowdNamespaces[random.IntN(3)], fmt.Sprint("room ", random.IntN(7))
	user, rarely := fmt.Sprint("user ", random.IntN(5)), random.IntN(60) == 0
	switch random.IntN(12) {
	case 0:
		k.BroadcastToNamespace(nsp, "news", map[string]any{"room": room})
	case 1:
		k.In(nsp, room, user).Except("room 1", user).Emit("news", harness.Buffer("b"))
	case 2:
		k.ForEach(nsp, room, func(c socketio.Conn) { c.Leave(room); c.Join("from outside"); c.Emit("news") })
	case 3:
		k.ClearRoom(nsp, room)
	case 4:
		for c := range k.In(nsp, room).Sockets() {
			k.JoinRoom(nsp, "from outside", c)
			k.LeaveAllRooms(nsp, c)
			go c.Emit("ask", func(string) { k.acks.Add(1) })
			break
		}
	case 5:
		_, _ = k.Rooms(nsp), k.RoomLen(nsp, room)
	case 6:
		for c := range k.In(nsp).Sockets() {
			if rarely {
				go c.Close()
			}
			break
		}
	case 7:
		if rarely {
			k.Auth.DisconnectSubject(user, nil)
		}
	case 8:
		k.Auth.Disconnect(func(*socketiojwt.Session) bool { one := rarely; rarely = false; return one }, nil)
	case 9:
		if rarely {
			k.In(nsp, room).Except(user).End(nil)
		}
	default:
		time.Sleep(time.Millisecond)
	}
}

// Everything that can happen to sockets happens at once, and afterwards nothing is left.
func TestStress(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the stress takes some seconds")
	}
	k := startCrowd(t)
	before := runtime.NumGoroutine()
	var seed atomic.Uint64
	random := func() *rand.Rand { return rand.New(rand.NewPCG(1, seed.Add(1))) }
	deadline := time.Now().Add(2 * time.Second)
	few := func() (few map[string]int64) {
		stats := k.Auth.Stats()
		few = map[string]int64{"events": k.events.Load(), "acknowledgements": k.acks.Load(), "joined again": k.rejoined.Load(),
			"expired": int64(stats.Expired), "refreshed": int64(stats.Refreshed), "disconnected": int64(stats.Disconnected)}
		maps.DeleteFunc(few, func(_ string, n int64) bool { return n >= 5 })
		return few
	}
	// On a busy machine it takes longer until everything has happened.
	goesOn := func() bool {
		return time.Now().Before(deadline) || len(few()) > 0 && time.Now().Before(deadline.Add(time.Minute))
	}
	stop := harness.Meanwhile(1, func() { k.meddle(random()) })
	var group sync.WaitGroup
	for first := range 24 {
		group.Go(func() {
			for n := first; goesOn(); n += 25 {
				k.visitor(t, n, random())
			}
		})
	}
	group.Wait()
	stop()
	for what, n := range few() {
		t.Errorf("%d %s", n, what)
	}
	harness.Eventually(t, "nobody is left", func() bool {
		stats := k.Auth.Stats()
		left := k.Count() + int(stats.Active) + int(stats.Pending)
		for _, nsp := range crowdNamespaces {
			left += len(k.Rooms(nsp)) + k.In(nsp).Count()
		}
		return left == 0 && k.connects.Load() == k.disconnects.Load()
	})
	harness.Eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}

// 10,000 sockets come and go, and leave nothing behind.
func TestNothingIsLeftOfManySockets(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the stress takes some seconds")
	}
	const sockets, each, atOnce = 10_000, 20, 25 // each connection is in the root once, ten times in /a and nine times in /b
	k := startCrowd(t)
	o := siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, "bob")), NoPing: true}
	packets := []string{"40/a"}
	for range 9 {
		packets = append(packets, "40/b", "41/a", "40/a", "41/b")
	}
	packets[len(packets)-1] = `42/a,9["join",1]`
	packets = append(packets, `42/b,9["join",2]`)
	visit := func() {
		ctx, cancel := context.WithTimeout(t.Context(), siotest.DefaultTimeout)
		defer cancel()
		client, err := siotest.Dial(ctx, k.At.URL, o)
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		for _, packet := range packets {
			if err := client.SendPacket(packet); err != nil {
				t.Error(err)
			}
		}
		for _, nsp := range []string{"/a", "/b"} {
			if _, err := client.WaitAck(ctx, nsp, 9); err != nil {
				t.Error(err)
			}
		}
	}
	run := func(connections int) {
		var group sync.WaitGroup
		for range atOnce {
			group.Go(func() {
				for range connections / atOnce {
					visit()
				}
			})
		}
		group.Wait()
		harness.Eventually(t, "all are gone", func() bool { return k.Count() == 0 && k.connects.Load() == k.disconnects.Load() })
	}
	run(sockets / each / 4) // pools and caches fill
	heapBefore, before, connects := heapInUse(), runtime.NumGoroutine(), k.connects.Load()
	run(sockets / each)
	if n := k.connects.Load() - connects; n != sockets {
		t.Fatalf("there were %d sockets", n)
	}
	harness.Eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
	if grown := int64(heapInUse()) - int64(heapBefore); grown >= 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	for _, nsp := range crowdNamespaces {
		if rooms := k.Rooms(nsp); len(rooms) != 0 {
			t.Errorf("%s has the rooms %q", nsp, rooms)
		}
	}
}

func heapInUse() uint64 {
	for range 3 {
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
