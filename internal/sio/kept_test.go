package sio

import (
	"fmt"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// What is kept while a verdict is due.

// TestKeptEventsStayInOrder: what comes when a verdict has fallen does not overtake what was kept for it.
func TestKeptEventsStayInOrder(t *testing.T) {
	for range 50 {
		s := newServer(t, transport.Limits{})
		var got []string
		s.Namespace(Root).OnEvent("x", func(_ socketio.Conn, text string) {
			got = append(got, text)
		})
		c := s.arrive()
		root := c.Socket(Root)
		root.Hold()
		take(t, c, `2["x","1"]`, `2["x","2"]`)
		root.Release()
		take(t, c, `2["x","3"]`)
		for kept(root) > 0 {
			runtime.Gosched()
		}
		lane := make(chan struct{})
		c.lane.run(func() { close(lane) })
		<-lane
		if !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Fatalf("handled %q", got)
		}
	}
}

// kept returns how much waits for a verdict about s.
func kept(s *Socket) int {
	s.conn.receiving.Lock() // by which it is replayed
	defer s.conn.receiving.Unlock()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return len(s.kept)
}

// TestAcknowledgementsPassWhatIsKept: a handler may wait for one while a verdict is due, and though the
// client has left and joined again behind it.
func TestAcknowledgementsPassWhatIsKept(t *testing.T) {
	for _, packets := range [][]string{{`2/a,["x"]`}, {`2/a,["x"]`, "1/a", "0/a"}} {
		s := newServer(t, transport.Limits{})
		s.Add("/a").OnEvent("x", func(socketio.Conn) {})
		c := s.arrive("/a")
		a := c.Socket("/a")
		answered := make(chan struct{})
		a.Emit("question", func() { close(answered) })
		a.Hold()
		take(t, c, packets...)
		take(t, c, "3/a,0[]")
		select {
		case <-answered:
		case <-time.After(testTimeout):
			t.Errorf("behind %q it does not pass", packets)
		}
		a.Release()
	}
}

// TestKeptPacketsAreConsumed: what is kept for a socket that ends gives its room back.
func TestKeptPacketsAreConsumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQuietServer(t, transport.Limits{Message: 16 << 10})
		s.Add("/a")
		c := s.arrive("/a")
		defer c.Client().Abort()
		posted := 0
		post := func(packet string) {
			body := strings.NewReader(fmt.Sprintf("%d:%s", len(packet), packet))
			c.Client().Serve(httptest.NewRecorder(), httptest.NewRequest("POST", "/socket.io/?EIO=3&transport=polling&sid="+c.Client().ID(), body))
			posted++
		}
		for range 5 {
			a := c.Socket("/a")
			a.Hold()
			go func() {
				for range 10 {
					post(`42/a,["x","` + strings.Repeat("x", 1000) + `"]`)
				}
			}()
			synctest.Wait()
			c.End(false, LastWord{Socket: a})
			go post("40/a")
			synctest.Wait()
		}
		if posted != 55 {
			t.Errorf("%d of 55 messages were read", posted)
		}
	})
}

// TestConnectsAreConsumed: what a client says when it joins gives its room back, however often it
// leaves and joins again.
func TestConnectsAreConsumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQuietServer(t, transport.Limits{Message: 16 << 10})
		s.Add("/a")
		c := s.arrive5()
		defer c.Client().Abort()
		posted := 0
		go func() {
			for range 50 {
				for _, packet := range []string{`40/a,"` + strings.Repeat("x", 1000) + `"`, "41/a,"} {
					r := httptest.NewRequest("POST", "/socket.io/?EIO=4&transport=polling&sid="+c.Client().ID(), strings.NewReader(packet))
					c.Client().Serve(httptest.NewRecorder(), r)
					posted++
				}
			}
		}()
		synctest.Wait()
		if posted != 100 {
			t.Errorf("%d of 100 messages were read", posted)
		}
	})
}

// TestDetachOfSlicesThatShare: where a slice has no attachment a longer one, of the same array, may have one.
func TestDetachOfSlicesThatShare(t *testing.T) {
	all := []any{1, parser.Buffer{Data: []byte("x")}}
	if p, err := encode([]any{all[:1], all}); err != nil || string(p.body) != `[[1],[1,`+ph0+`]]` || len(p.attachments) != 1 {
		t.Errorf("got %s, %q, %v", p.body, p.attachments, err)
	}
}
