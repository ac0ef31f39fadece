//go:build unix

package redisadapter_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/redistest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/googollee/go-socket.io/parser"
)

// A node of Node's socket.io 4 in the same cluster.

// peer is a process of peer/peer.js.
type peer struct {
	tb  testing.TB
	url string
	in  io.Writer
	out *bufio.Reader
	mu  sync.Mutex
	cmd *exec.Cmd
}

func startPeer(tb testing.TB, s *redistest.Server) *peer {
	tb.Helper()
	if _, err := os.Stat("peer/node_modules/socket.io"); err != nil {
		tb.Fatal("the modules of redisadapter/peer are missing; `make test-redisadapter` installs them, or `npm ci` in that folder")
	}
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("node", "peer/peer.js", port, "socket.io")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil && !strings.Contains(err.Error(), "killed") {
			tb.Error("Node ended badly: ", err)
		}
	})
	p := &peer{tb: tb, in: stdin, out: bufio.NewReader(stdout), cmd: cmd}
	p.url = "http://127.0.0.1:" + p.line()
	return p
}

func (p *peer) line() string {
	p.tb.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.tb.Fatal("Node: ", err)
	}
	return strings.TrimSpace(line)
}

// op is a line for peer.js.
type op map[string]any

// try has the peer do something, and returns what it says.
func (p *peer) try(o op) (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(p.in, "%s\n", text); err != nil {
		return nil, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var answer struct {
		OK    json.RawMessage
		Error string
	}
	if err := json.Unmarshal(line, &answer); err != nil || answer.Error != "" {
		return nil, fmt.Errorf("node: %s %v", answer.Error, err)
	}
	return answer.OK, nil
}

func (p *peer) do(o op) string {
	p.tb.Helper()
	answer, err := p.try(o)
	if err != nil {
		p.tb.Fatal(err)
	}
	return string(answer)
}

func (p *peer) enter(name string) siotest.Must {
	p.tb.Helper()
	return enter(p.tb, p.url, url.Values{"name": {name}})
}

// mixed is two nodes of this package and one of Node, which know of each other.
func mixed(t *testing.T) (s *redistest.Server, a, b *node, p *peer) {
	t.Helper()
	s = redistest.Start(t)
	a, b, p = startNode(t, s), startNode(t, s), startPeer(t, s)
	connected(t, a, b)
	eventually(t, "Node knows of three", func() bool { return p.do(op{"op": "servers"}) == "3" })
	return s, a, b, p
}

func TestNodeBroadcasts(t *testing.T) {
	t.Parallel()
	_, a, b, p := mixed(t)
	ours, guest, theirs := b.enter("ours"), b.enter(""), p.enter("theirs")
	for _, must := range []siotest.Must{ours, guest, theirs} {
		must.Call("/", "join", "room")
	}

	// From Node, and from its emitter: all kinds of arguments.
	args := []any{"é", 1.5, -7, 1e15, nil, true, map[string]any{"a": []any{1, "x"}}, map[string]any{"$date": 1577836800750}}
	const want = `["e","é",1.5,-7,1000000000000000,null,true,{"a":[1,"x"]},"2020-01-01T00:00:00.750Z"]`
	for _, emitter := range []bool{false, true} {
		p.do(op{"op": "emit", "event": "e", "args": args, "emitter": emitter})
		for _, must := range []siotest.Must{ours, theirs} {
			heard(t, must, "42"+want)
		}
		// Binary, to a room: guests that are in it hear it.
		binary := []any{map[string]any{"$bytes": "one"}, map[string]any{"x": map[string]any{"$bytes": "two"}}}
		p.do(op{"op": "emit", "event": "b", "args": binary, "rooms": []string{"room"}, "emitter": emitter})
		for _, must := range []siotest.Must{ours, guest, theirs} {
			heardBinary(t, must)
		}
		p.do(op{"op": "emit", "event": "not you", "rooms": []string{"room", "user:ours"}, "except": []string{"user:ours"}, "flags": []string{"volatile"}, "emitter": emitter})
		eventuallyHeard(t, p, theirs, emitter)
		heard(t, guest, `42["not you"]`)
		p.do(op{"op": "emit", "event": "aside", "nsp": "/side", "emitter": emitter})
	}
	p.do(op{"op": "emit", "event": "local", "flags": []string{"local"}})
	heard(t, theirs, `42["local"]`)

	// To Node.
	a.BroadcastToNamespace("/", "e", "é", 1.5, -7, int64(1e15), nil, true, map[string]any{"a": []any{1, "x"}}, "2020-01-01T00:00:00.750Z")
	for _, must := range []siotest.Must{ours, theirs} {
		heard(t, must, "42"+want)
	}
	a.In("/", "room").Emit("b", parser.Buffer{Data: []byte("one")}, map[string]any{"x": parser.Buffer{Data: []byte("two")}})
	for _, must := range []siotest.Must{ours, guest, theirs} {
		heardBinary(t, must)
	}
	a.In("/", "room", "user:theirs").Except("user:ours").Emit("not you")
	heard(t, theirs, `42["not you"]`)
	heard(t, guest, `42["not you"]`)
	a.In("/").Emit("all")
	for _, must := range []siotest.Must{ours, guest, theirs} {
		heard(t, must, `42["all"]`)
	}
	for _, n := range []*node{a, b} {
		if stats := n.adapter.Stats(); stats.Malformed+stats.Lost != 0 {
			t.Errorf("%+v", stats)
		}
	}
}

// eventuallyHeard takes a volatile event, which Node may leave out for a client of its own that is
// being written to.
func eventuallyHeard(t *testing.T, p *peer, must siotest.Must, emitter bool) {
	t.Helper()
	p.do(op{"op": "emit", "event": "after", "rooms": []string{"user:theirs"}, "emitter": emitter})
	for _, raw := range []string{`42["not you"]`, `42["after"]`} {
		got := must.Next().Raw
		if got == `42["after"]` {
			return
		}
		if got != raw {
			t.Fatalf("got %s, want %s", got, raw)
		}
	}
}

func heardBinary(t *testing.T, must siotest.Must) {
	t.Helper()
	p := must.Next()
	const want = `452-["b",{"_placeholder":true,"num":0},{"x":{"_placeholder":true,"num":1}}]`
	if p.Raw != want || len(p.Attachments) != 2 || string(p.Attachments[0]) != "one" || string(p.Attachments[1]) != "two" {
		t.Fatalf("got %v with %q", p, p.Attachments)
	}
}

func TestNodeQuestions(t *testing.T) {
	t.Parallel()
	_, a, b, p := mixed(t)
	ctx := t.Context()
	ours, theirs := b.enter("bob"), p.enter("bob")
	a.enter("eve")

	// Asked by a node of this package.
	fetched, err := a.In("/", "user:bob").FetchSockets(ctx)
	if err != nil || len(fetched) != 2 {
		t.Fatal(fetched, err)
	}
	for _, s := range fetched {
		slices.Sort(s.Rooms)
		want := []string{s.ID, "user:bob"}
		slices.Sort(want)
		if s.Identity != "bob" || !slices.Equal(s.Rooms, want) {
			t.Errorf("got %+v", s)
		}
	}
	for except, want := range map[string]int{"": 2, "nobody": 2, "user:bob": 0} {
		audience := a.In("/", "user:bob")
		if except != "" {
			audience = audience.Except(except)
		}
		if n, err := audience.CountAll(ctx); n != want || err != nil {
			t.Errorf("except %q: %d, %v", except, n, err)
		}
	}
	if err := a.In("/", "user:bob").SocketsJoin(ctx, "x"); err != nil {
		t.Error(err)
	}
	a.In("/", "x").Emit("joined")
	heard(t, ours, `42["joined"]`)
	heard(t, theirs, `42["joined"]`)
	rooms, err := a.AllRooms(ctx, "/")
	for _, want := range []string{"user:bob", "user:eve", "x"} {
		if !slices.Contains(rooms, want) || err != nil {
			t.Error(rooms, err)
		}
	}
	if err := a.In("/").SocketsLeave(ctx, "x"); err != nil {
		t.Error(err)
	}
	if n, err := a.In("/", "x").CountAll(ctx); n != 0 || err != nil {
		t.Error(n, err)
	}

	// Asked by Node.
	var seen []struct {
		ID        string
		Rooms     []string
		Data      struct{ Identity string }
		Handshake []string
	}
	if err := json.Unmarshal([]byte(p.do(op{"op": "fetch", "rooms": []string{"user:bob", "user:eve"}})), &seen); err != nil || len(seen) != 3 {
		t.Fatal(seen, err)
	}
	for _, s := range seen {
		if !slices.Contains(s.Rooms, "user:"+s.Data.Identity) || s.Data.Identity == "" || !slices.Contains(s.Handshake, "headers") {
			t.Errorf("got %+v", s)
		}
	}
	if rooms := p.do(op{"op": "rooms"}); !strings.Contains(rooms, `"user:eve"`) {
		t.Error(rooms)
	}
	p.do(op{"op": "join", "rooms": []string{"user:bob"}, "except": []string{"user:eve"}, "join": []string{"y", "z"}})
	p.do(op{"op": "leave", "leave": "z", "emitter": true})
	p.do(op{"op": "emit", "event": "in y", "rooms": []string{"y"}})
	p.do(op{"op": "emit", "event": "in z", "rooms": []string{"z"}})
	p.do(op{"op": "emit", "event": "end", "rooms": []string{"user:bob"}})
	heard(t, ours, `42["in y"]`, `42["end"]`) // Node itself joins and leaves when it hears itself, later than that
	for theirs.Next().Raw != `42["end"]` {
		continue
	}

	// A broadcast that is to be acknowledged arrives, and does not make Node wait for clients of
	// others.
	theirs.Call("/", "mark")
	if got := p.do(op{"op": "acknowledged", "event": "ack?", "timeout": 5000, "rooms": []string{"user:eve"}}); got != `[]` {
		t.Error(got)
	}
	p.do(op{"op": "disconnect", "rooms": []string{"user:bob"}, "close": false})
	for _, must := range []siotest.Must{ours, theirs} {
		if p := must.Next(); !strings.HasPrefix(p.Raw, "41") {
			t.Error(p)
		}
	}
}

// A process that hangs is missing in what the others know, after its time. One that was killed is
// not waited for.
func TestNodeIsKilled(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, p := startNode(t, s, quick), startPeer(t, s)
	connected(t, a)
	eventually(t, "Node knows of both", func() bool { return p.do(op{"op": "servers"}) == "2" })
	a.enter("bob")
	p.enter("bob")
	bob := a.In("/", "user:bob")
	if n, err := bob.CountAll(t.Context()); n != 2 || err != nil {
		t.Error(n, err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // one that is stopped does not end by itself
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var missing *socketiojwt.MissingNodesError
		if n, err := bob.CountAll(t.Context()); n != 1 || !errors.As(err, &missing) || missing.Nodes != 1 || missing.Missing != 1 {
			t.Error(n, err)
		}
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody is missing", func() bool {
		n, err := bob.CountAll(t.Context())
		return n == 1 && err == nil
	})
}

// Each of three nodes sends 10,000 broadcasts to the clients of all, 5,000 before Redis is
// restarted and 5,000 after: each client gets each once, and those of one node in their order.
func TestMixedCluster(t *testing.T) {
	t.Parallel()
	s, a, b, p := mixed(t)
	clients := map[string]siotest.Must{"a1": a.enter("a1"), "a2": a.enter("a2"), "b": b.enter("b"), "p1": p.enter("p1"), "p2": p.enter("p2")}
	const half = 5000
	send := func(first int) {
		var group sync.WaitGroup
		for name, n := range map[string]*node{"a": a, "b": b} {
			group.Go(func() {
				for i := range half {
					n.BroadcastToNamespace("/", "n", name, first+i)
				}
			})
		}
		group.Go(func() {
			if _, err := p.try(op{"op": "emit", "event": "n", "args": []any{"p"}, "from": first, "count": half}); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
	}
	receive := func(first int) {
		t.Helper()
		for name, must := range clients {
			next := map[string]int{"a": first, "b": first, "p": first}
			for range 3 * half {
				raw := must.Next().Raw
				var sender string
				var n int
				if _, err := fmt.Sscanf(raw, `42["n","%1s",%d]`, &sender, &n); err != nil {
					t.Fatalf("%s got %s: %v", name, raw, err)
				}
				if n != next[sender] {
					t.Fatalf("%s got %s, want %d", name, raw, next[sender])
				}
				next[sender]++
			}
		}
	}
	send(0)
	receive(0)
	s.Restart()
	connected(t, a, b)
	eventually(t, "Node is connected again", func() bool { return p.do(op{"op": "ready"}) == "true" && p.do(op{"op": "servers"}) == "3" })
	for _, n := range []*node{a, b} { // which have noticed
		eventually(t, "all nodes answer", func() bool {
			count, err := n.In("/").CountAll(t.Context())
			return count == len(clients) && err == nil
		})
	}
	send(half)
	receive(half)
	// And nothing else.
	a.BroadcastToNamespace("/", "end")
	for _, must := range clients {
		heard(t, must, `42["end"]`)
	}
	for _, n := range []*node{a, b} {
		if stats := n.adapter.Stats(); stats.Lost+stats.Malformed != 0 {
			t.Errorf("%+v", stats)
		}
	}
}
