//go:build unix

package redisadapter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/redistest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/redisadapter"
	"github.com/gomodule/redigo/redis"
	"github.com/googollee/go-socket.io/parser"
)

// Nodes of this package among themselves.

func twoNodes(t *testing.T, change ...func(*redisadapter.Options)) (s *redistest.Server, a, b *node) {
	t.Helper()
	s = redistest.Start(t)
	a, b = startNode(t, s, change...), startNode(t, s, change...)
	connected(t, a, b)
	return s, a, b
}

func TestBroadcasts(t *testing.T) {
	t.Parallel()
	_, a, b := twoNodes(t)
	near, far, guest := a.enter("near"), b.enter("far"), b.enter("")
	far.Call("/", "join", "room")
	guest.Call("/", "join", "room")
	all := []siotest.Must{near, far}

	a.BroadcastToNamespace("/", "members", "é", 1.5, nil, map[string]any{"b": 1})
	for _, must := range all {
		heard(t, must, `42["members","é",1.5,null,{"b":1}]`)
	}
	a.BroadcastToRoom("/", "room", "room", map[string]any{"data": parser.Buffer{Data: []byte("x")}})
	for _, must := range []siotest.Must{far, guest} {
		if p := must.Next(); !strings.HasPrefix(p.Raw, `451-["room",`) || len(p.Attachments) != 1 || !bytes.Equal(p.Attachments[0], []byte("x")) {
			t.Errorf("got %v with %q", p, p.Attachments)
		}
	}
	a.In("/", "room", "user:near").Except("user:far").Emit("several")
	heard(t, near, `42["several"]`)
	heard(t, guest, `42["several"]`)
	a.In("/").Local().Emit("local")
	heard(t, near, `42["local"]`)
	silent(t, a, near, far, guest)

	far.Join("/side")
	far.Connected("/side")
	far.Call("/side", "mark")
	a.In("/side", "user:far").Emit("aside")
	heard(t, far, `42/side,["aside"]`)
	silent(t, a, near, far, guest)
	if s := b.adapter.Stats(); s.Malformed != 0 || s.Lost != 0 || s.Received == 0 {
		t.Errorf("%+v", s)
	}
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	_, a, b := twoNodes(t)
	ctx := t.Context()
	near, far := a.enter("bob"), b.enter("bob")
	eve := b.enter("eve")
	bob := a.In("/", "user:bob")

	fetched, err := bob.FetchSockets(ctx)
	if err != nil || len(fetched) != 2 {
		t.Fatal(fetched, err)
	}
	for _, s := range fetched {
		if s.Identity != "bob" || !slices.Equal(s.Rooms, []string{s.ID, "user:bob"}) || string(s.Data) != `{"identity":"bob"}` {
			t.Errorf("got %+v", s)
		}
	}
	if err := a.In("/").Except("user:eve").SocketsJoin(ctx, "x", "y"); err != nil {
		t.Error(err)
	}
	// What follows is behind it, on each node.
	a.In("/", "x").Emit("joined")
	heard(t, near, `42["joined"]`)
	heard(t, far, `42["joined"]`)
	for audience, want := range map[string]int{"x": 2, "user:eve": 1, "nobody": 0} {
		if n, err := a.In("/", audience).CountAll(ctx); err != nil || n != want {
			t.Errorf("%s: %d, %v", audience, n, err)
		}
	}
	if n, err := b.In("/").Except("x").CountAll(ctx); err != nil || n != 1 {
		t.Error(n, err)
	}
	rooms, err := b.AllRooms(ctx, "/")
	if slices.Sort(rooms); err != nil || strings.Join(rooms, " ") != "user:bob user:eve x y" {
		t.Error(rooms, err)
	}
	if err := b.In("/", "user:bob").SocketsLeave(ctx, "x"); err != nil {
		t.Error(err)
	}
	if n, err := b.In("/", "x").CountAll(ctx); err != nil || n != 0 {
		t.Error(n, err)
	}
	if err := a.In("/", "user:eve").DisconnectSockets(ctx, false); err != nil {
		t.Error(err)
	}
	if rest := eve.Rest(); rest[len(rest)-1].Raw != "41" {
		t.Error(rest)
	}
	if err := bob.SocketsJoin(ctx); err != nil { // nothing to tell
		t.Error(err)
	}
	if n, err := a.In("/nowhere", "x").CountAll(ctx); err != nil || n != 0 {
		t.Error(n, err)
	}
}

// On idle nodes the number of a user's sockets is right each time.
func TestCountIsRight(t *testing.T) {
	t.Parallel()
	_, a, b := twoNodes(t)
	a.enter("bob")
	b.enter("bob")
	b.enter("bob")
	for i := range 1000 {
		asked := []*node{a, b}[i%2]
		if n, err := asked.In("/", "user:bob").CountAll(t.Context()); n != 3 || err != nil {
			t.Fatalf("%d of 1000: %d, %v", i+1, n, err)
		}
	}
}

// Redis does not count a node whose connection it has just cut. That node does not take others for
// itself.
func TestCountIsRightOrFails(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a := startNode(t, s, quick, func(o *redisadapter.Options) {
		o.Dial = func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", s.Addr(), redis.DialClientName("a"))
		}
	})
	b := startNode(t, s, quick)
	a.enter("bob")
	b.enter("bob")
	for range 20 {
		connected(t, a, b)
		list, err := redis.String(s.Do("CLIENT", "LIST", "TYPE", "pubsub"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(list) {
			if id, _, _ := strings.Cut(line, " "); strings.Contains(line, " name=a ") {
				s.Do("CLIENT", "KILL", "ID", strings.TrimPrefix(id, "id="))
			}
		}
		if n, err := a.In("/", "user:bob").CountAll(t.Context()); err == nil && n != 2 {
			t.Fatal("it says ", n)
		}
		eventually(t, "it has noticed", func() bool {
			n, err := a.In("/", "user:bob").CountAll(t.Context())
			return err == nil && n == 2
		})
	}
}

// A subscriber of the channel that never answers, as a node that hangs or has lost its network.
func TestMissingNode(t *testing.T) {
	t.Parallel()
	s, a, b := twoNodes(t, quick)
	ctx := t.Context()
	b.enter("bob")
	bob := a.In("/", "user:bob")
	dead := subscribe(t, s, "nothing")
	if err := dead.Subscribe("socket.io-request#/#"); err != nil {
		t.Fatal(err)
	}
	dead.ReceiveWithTimeout(patience)

	began := time.Now()
	n, err := bob.CountAll(ctx)
	var missing *socketiojwt.MissingNodesError
	if n != 1 || !errors.As(err, &missing) || missing.Missing != 1 || missing.Nodes != 2 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d, %v", n, err)
	}
	if took := time.Since(began); took < 400*time.Millisecond || took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := bob.FetchSockets(short); !errors.As(err, &missing) {
		t.Error(err)
	}
	if rooms, err := a.AllRooms(ctx, "/"); !errors.As(err, &missing) || !slices.Contains(rooms, "user:bob") {
		t.Error(rooms, err)
	}
	// When Redis knows that it is gone, nobody is missing.
	_ = dead.Close()
	eventually(t, "nobody is missing", func() bool {
		n, err := bob.CountAll(ctx)
		return n == 1 && err == nil
	})
}

// Messages of others that are none are dropped and counted, once told of, and nothing else happens.
func TestMalformed(t *testing.T) {
	t.Parallel()
	s, a, b := twoNodes(t)
	must := b.enter("bob")
	pack := func(text string) string {
		data, err := redisadapter.Pack([]byte(text), [][]byte{{1}})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	broadcasts := []string{
		"", "x", "{", "\xc1", "\xdd\xff\xff\xff\xff", strings.Repeat("\x91", 100000), pack(`[]`), pack(`["u"]`),
		pack(`["u",{"type":2,"data":"e","nsp":"/"},{"rooms":[]}]`), pack(`["u",{"type":2,"data":[1],"nsp":"/"},{"rooms":[]}]`),
		pack(`["u",{"type":2,"data":[],"nsp":"/"},{"rooms":[]}]`), pack(`["u",{"type":0,"data":["e"],"nsp":"/"},{"rooms":[]}]`),
		pack(`["u",{"type":2,"data":["e"],"nsp":"/"},{"rooms":{}}]`),
	}
	requests := []string{
		"", "x", "{", `{"type":2}`, `{"type":99,"opts":{}}`, `{"type":5,"opts":[]}`, `{"type":7,"opts":{}}`, `{"type":"2","opts":{}}`,
		`{"type":2,"opts":{"rooms":[[]]},"rooms":["x"]}`, `{"type":2,"opts":{"rooms":[]},"rooms":[{}]}`, `{"type":7,"opts":{},"packet":{"type":2,"data":7}}`,
		pack(`{"type":7,"opts":{},"packet":{"type":4,"data":["e"]}}`),
	}
	answers := []string{"", "x", `{"sockets":1}`[:5], `{"requestId":1}`}
	want := 0
	for channel, messages := range map[string][]string{
		"socket.io#/#": broadcasts, "socket.io-request#/#": requests, "socket.io-response#/#": answers,
	} {
		for _, m := range messages {
			s.Do("PUBLISH", channel, m)
			want++
		}
	}
	// Answers that nobody asked for, and what is for somebody else, are dropped.
	for channel, m := range map[string]string{
		"socket.io-response#/#":  `{"requestId":"nobody's","sockets":[]}`,
		"socket.io-request#/#":   `{"type":6,"data":["for servers"]}`,
		"socket.io#/#nobody#":    "x",
		"socket.io#/#":           pack(`["u",{"type":2,"data":["e"],"nsp":"/other"},{"rooms":[]}]`),
		"socket.io#/nowhere#":    pack(`["u",{"type":2,"data":["e"],"nsp":"/nowhere"},{"rooms":[]}]`),
		"socket.io-elsewhere#/#": "x",
	} {
		s.Do("PUBLISH", channel, m)
	}
	must.Join("/side")
	must.Connected("/side")
	s.Do("PUBLISH", "socket.io#/#", pack(`["u",{"type":2,"data":["aside"],"nsp":"/side"},{"rooms":[]}]`))
	a.In("/").Emit("still here")
	heard(t, must, `42["still here"]`)
	if got := b.adapter.Stats(); got.Malformed != uint64(want) || !got.Connected {
		t.Errorf("%+v, want %d", got, want)
	}
	if n := b.logged("a message is dropped"); n != 1 {
		t.Errorf("%d log lines:\n%v", n, b.log)
	}
	if rooms := b.Rooms("/"); strings.Join(rooms, " ") != "user:bob" {
		t.Error(rooms)
	}
}

// Answers that a hostile one gives to a question are no crash, and do not count for more than one
// each.
func TestMalformedAnswers(t *testing.T) {
	t.Parallel()
	s, a, _ := twoNodes(t, quick)
	hostile := subscribe(t, s, "socket.io-request#/#")
	if err := hostile.Subscribe("socket.io-request#/#"); err != nil {
		t.Fatal(err)
	}
	hostile.ReceiveWithTimeout(patience)
	go func() {
		conn, err := s.Dial(context.Background())
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			m, ok := hostile.ReceiveWithTimeout(patience).(redis.Message)
			if !ok {
				return
			}
			_, id, _ := strings.Cut(string(m.Data), `"requestId":"`)
			id, _, _ = strings.Cut(id, `"`)
			for _, sockets := range []string{`{}`, `7`, `[7,{"id":7}]`} {
				_, _ = conn.Do("PUBLISH", "socket.io-response#/#", `{"requestId":"`+id+`","sockets":`+sockets+`}`)
			}
		}
	}()
	t.Cleanup(func() { _ = hostile.Close() })
	for range 20 {
		if fetched, err := a.In("/").FetchSockets(t.Context()); err == nil || len(fetched) > 1 {
			t.Fatal(fetched, err)
		}
	}
}

// Prefixes, and names of namespaces and rooms, are no patterns.
func TestNames(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	odd := `we[i]r*d?\`
	a := startNode(t, s, func(o *redisadapter.Options) { o.Prefix = odd })
	b := startNode(t, s, func(o *redisadapter.Options) { o.Prefix = odd })
	other := startNode(t, s)
	connected(t, a, b, other)
	must, outside := b.enter("bob"), other.enter("bob")
	for _, room := range []string{"#", "a#b", "*", "", "é", "user:bob"} {
		if err := a.In("/", "user:bob").SocketsJoin(t.Context(), room); err != nil {
			t.Error(err)
		}
		a.In("/", room).Emit("to", room)
		if room == "" {
			heard(t, must, `42["to",""]`)
		} else {
			heard(t, must, fmt.Sprintf(`42["to",%q]`, room))
		}
	}
	other.In("/").Emit("outside")
	heard(t, outside, `42["outside"]`)
	silent(t, a, must)
}

// The id of a client 1.x or 2.x, a credential, is not published.
func TestCredentialsStay(t *testing.T) {
	t.Parallel()
	s, a, b := twoNodes(t)
	heardAll := subscribe(t, s, "*")
	client := siotest.MustDial(t, a.url, siotest.Options{Transport: "websocket", Query: map[string][]string{"token": {sign(t, "old")}}})
	old := client.Must(t)
	old.NextRaw("40")
	old.Call("/", "mark")
	ctx := t.Context()

	a.In("/", client.SID()).Emit("you")
	a.In("/").Except(client.SID()).Emit("not you")
	for _, ask := range []func() error{
		func() error { _, err := a.In("/", client.SID()).CountAll(ctx); return err },
		func() error { _, err := b.In("/").CountAll(ctx); return err },
		func() error { return a.In("/", client.SID()).SocketsJoin(ctx, "x") },
		func() error { _, err := b.AllRooms(ctx, "/"); return err },
	} {
		if err := ask(); err != nil {
			t.Error(err)
		}
	}
	fetched, err := b.In("/", "user:old").FetchSockets(ctx)
	if err != nil || len(fetched) != 1 || fetched[0].ID == client.SID() {
		t.Fatal(fetched, err)
	}
	b.In("/", fetched[0].ID).Emit("by its other name")
	heard(t, old, `42["you"]`, `42["by its other name"]`)
	s.Do("PUBLISH", "end", "")
	seen := 0
	for {
		m, ok := heardAll.ReceiveWithTimeout(patience).(redis.Message)
		if !ok {
			t.Fatal("the connection is lost")
		}
		if m.Channel == "end" {
			break
		}
		seen++
		if strings.Contains(m.Channel+string(m.Data), client.SID()) || strings.Contains(string(m.Data), "token") {
			t.Errorf("%s %q has a credential", m.Channel, m.Data)
		}
	}
	if seen < 10 {
		t.Errorf("only %d messages were seen", seen)
	}
}

// A log that is slow, or asks the Adapter something, keeps nobody waiting.
func TestSlowLog(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var a *node
	release := make(chan struct{})
	a = startNode(t, s, quick, func(o *redisadapter.Options) {
		o.Logger = slog.New(slog.NewTextHandler(writer(func() {
			<-release
		}), nil))
	})
	near := a.enter("near")
	a.In("/").Emit("hi")
	heard(t, near, `42["hi"]`)
	if stats := a.adapter.Stats(); stats.Lost+stats.Sent > 1 {
		t.Errorf("%+v", stats)
	}
	close(release)
	connected(t, a)
}

type writer func()

func (w writer) Write(line []byte) (int, error) {
	w()
	return len(line), nil
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	dial := func(context.Context) (redis.Conn, error) { return nil, nil }
	for want, opts := range map[string]redisadapter.Options{
		"Options.Dial":       {},
		"Options.Timeout":    {Dial: dial, Timeout: -1},
		"Options.QueueBytes": {Dial: dial, QueueBytes: -1},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("%s: %s", want, got)
				}
			}()
			redisadapter.New(opts)
		}()
	}
	unused := redisadapter.New(redisadapter.Options{Dial: dial})
	for range 2 {
		if err := unused.Close(); err != nil {
			t.Error(err)
		}
	}
	// A Dial that returns nothing is an error like others.
	n := startNode(t, redistest.New(t), func(o *redisadapter.Options) { o.Dial = dial })
	eventually(t, "it says so", func() bool { return n.logged("returned neither") == 1 })
}
