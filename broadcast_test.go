package socketiojwt_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// Rooms, and who a broadcast reaches.

// member is a client that is in, and its socket.
type member struct {
	name   string
	client *siotest.Client
	must   siotest.Must
	conn   socketio.Conn
}

// hall is a server whose members are known by name.
type hall struct {
	*harness.App
	t       *testing.T
	members map[string]*member
	sockets sync.Map // by name
}

func openHall(t *testing.T, opts socketiojwt.Options) *hall {
	h := &hall{t: t, members: make(map[string]*member)}
	opts.Handshake = true
	h.App = harness.Start(t, opts, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error {
			url := c.URL()
			h.sockets.Store(url.Query().Get("name"), c)
			return nil
		})
		s.OnEvent("/", "mark", func(socketio.Conn) {})
	})
	return h
}

// enter lets members in; whose name starts with "guest" has no token.
func (h *hall) enter(names ...string) {
	h.t.Helper()
	for i, name := range names {
		o := siotest.Options{Transport: harness.BothTransports[i%2], Query: harness.WithToken(harness.TokenOf(h.t, name))}
		if strings.HasPrefix(name, "guest") {
			o.Query.Del("token")
		}
		o.Query.Set("name", name)
		m := &member{name: name}
		m.client, m.must = h.Dial(h.t, o)
		m.must.Call("/", "mark") // behind OnConnect
		conn, _ := h.sockets.Load(name)
		m.conn = conn.(socketio.Conn)
		h.members[name] = m
	}
}

// hear requires that emit reaches those, each once, and nobody else.
func (h *hall) hear(what string, want string, emit func()) {
	h.t.Helper()
	emit()
	var got []string
	for _, name := range slices.Sorted(maps.Keys(h.members)) {
		m := h.members[name]
		id, err := m.client.EmitAck("/", "mark")
		m.must.OK(err)
		for p := m.must.Next(); p.ID != id || p.Type != siotest.Ack; p = m.must.Next() {
			if p.Raw != `42["news"]` {
				h.t.Errorf("%s: %s got %s", what, name, p.Raw)
			}
			got = append(got, name)
		}
	}
	if got := strings.Join(got, " "); got != want {
		h.t.Errorf("%s reached %q, want %q", what, got, want)
	}
}

func (h *hall) in(names ...string) (list []string) {
	for _, name := range names {
		list = append(list, h.members[name].conn.ID())
	}
	return list
}

func TestRoomsOfASocket(t *testing.T) {
	t.Parallel()
	h := openHall(t, harness.HandshakeMode)
	h.enter("bob", "eve")
	bob, eve := h.members["bob"].conn, h.members["eve"].conn
	check := func(what, bobs, all string) {
		t.Helper()
		rooms := bob.Rooms()
		if len(rooms) == 0 || rooms[0] != bob.ID() || harness.Sorted(rooms[1:]) != bobs {
			t.Errorf("%s: bob is in %q, want %q behind the ID", what, rooms, bobs)
		}
		if got := harness.Sorted(h.Rooms("/")); got != all {
			t.Errorf("%s: the server has %q, want %q", what, got, all)
		}
	}
	bob.Join(bob.ID())
	check("at first", "", "")
	bob.Join("a")
	bob.Join("a")
	bob.Join("")
	bob.Join("ä, b")
	eve.Join("a")
	eve.Join("z")
	check("Join", " a ä, b", " a z ä, b")
	bob.Leave("a")
	bob.Leave("never")
	check("Leave", " ä, b", " a z ä, b")
	bob.LeaveAll()
	check("LeaveAll", "", "a z")
	bob.Leave(bob.ID())
	bob.Join(eve.ID()) // a name as any other, except that its owner counts too
	if got := h.RoomLen("/", eve.ID()); got != 2 {
		t.Errorf("%d are in a room that somebody's ID names", got)
	}
	bob.LeaveAll()
	h.hear("its own room, which nobody leaves", "bob", func() { h.BroadcastToRoom("/", bob.ID(), "news") })

	for name, method := range map[string]func(room string) bool{
		"JoinRoom":      func(room string) bool { return h.JoinRoom("/", room, bob) },
		"LeaveRoom":     func(room string) bool { return h.LeaveRoom("/", room, bob) },
		"LeaveAllRooms": func(string) bool { return h.LeaveAllRooms("/", bob) },
		"ClearRoom":     func(room string) bool { return h.ClearRoom("/", room) },
	} {
		bob.Join("mine")
		bob.Join("other")
		eve.Join("mine")
		if !method("mine") {
			t.Errorf("%s says that there is no root", name)
		}
		want := map[string]string{"JoinRoom": "2 mine other", "LeaveRoom": "1 other", "LeaveAllRooms": "1 ", "ClearRoom": "0 other"}[name]
		if got := fmt.Sprint(h.RoomLen("/", "mine"), " ", harness.Sorted(bob.Rooms()[1:])); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		bob.LeaveAll()
	}
	for _, absent := range []bool{h.JoinRoom("/no", "a", bob), h.LeaveRoom("/no", "a", bob), h.LeaveAllRooms("/no", bob), h.ClearRoom("/no", "a"),
		h.ForEach("/no", "a", nil), h.BroadcastToNamespace("/no", "news"), h.BroadcastToRoom("/no", "a", "news"), h.RoomLen("/no", "a") != -1, h.Rooms("/no") != nil} {
		if absent {
			t.Error("a method knows a namespace that nobody registered")
		}
	}
	if h.In("/no").Count() != 0 || h.In("/no", "a").End(nil) != 0 || h.Count() != 2 {
		t.Errorf("Count is %d", h.Count())
	}
	h.In("/no").Emit("news")
}

func TestAudiences(t *testing.T) {
	t.Parallel()
	h := openHall(t, socketiojwt.Options{Optional: true})
	h.enter("a", "ab", "abc", "guest1", "guest2", "none")
	for name, m := range h.members {
		if name != "none" {
			for _, room := range strings.TrimPrefix(name, "guest") {
				m.conn.Join(string(room))
			}
		}
	}
	id := func(name string) string { return h.members[name].conn.ID() }
	const everybody = "a ab abc guest1 guest2 none"
	for _, test := range []struct {
		rooms, except []string
		want          string
	}{
		{nil, nil, everybody},
		{[]string{"a"}, nil, "a ab abc"},
		{[]string{"a", "b", "c"}, nil, "a ab abc"},
		{[]string{"b", "1"}, nil, "ab abc guest1"},
		{[]string{"c", "c"}, nil, "abc"},
		{[]string{"nobody's"}, nil, ""},
		{[]string{""}, nil, ""},
		{h.in("none"), nil, "none"},
		{h.in("a", "a", "guest2"), nil, "a guest2"},
		{append(h.in("a", "none"), "b"), nil, "a ab abc none"},
		{append(h.in("a"), "a", "1"), nil, "a ab abc guest1"},
		{nil, []string{"a"}, "guest1 guest2 none"},
		{nil, h.in("a", "guest1"), "ab abc guest2 none"},
		{nil, append(h.in("none"), "b", "2"), "a guest1"},
		{[]string{"a"}, []string{"b"}, "a"},
		{[]string{"a", "1"}, append(h.in("ab"), "nobody's"), "a abc guest1"},
		{[]string{"a"}, []string{"a"}, ""},
		{h.in("a"), h.in("a"), ""},
		{h.in("a"), []string{"a"}, ""},
		{h.in("a", "none"), []string{"b", "2"}, "a none"},
	} {
		audience := h.In("/", test.rooms...).Except(test.except...)
		what := fmt.Sprintf("In(%q).Except(%q)", test.rooms, test.except)
		h.hear(what, test.want, func() { audience.Emit("news") })
		var conns []string
		for conn := range audience.Sockets() {
			url := conn.URL()
			conns = append(conns, url.Query().Get("name"))
		}
		if got := harness.Sorted(conns); got != test.want || audience.Count() != len(conns) {
			t.Errorf("%s: the sockets are %q, the count %d, want %q", what, got, audience.Count(), test.want)
		}
	}

	h.hear("Except one by one", "guest1 guest2 none", func() { h.In("/").Except(id("a")).Except("b").Emit("news") })
	base := h.In("/", "a").Except("x")
	first, second := base.Except(id("a")), base.Except(id("ab"))
	h.hear("one Except", "ab abc", func() { first.Emit("news") })
	h.hear("another of the same", "a abc", func() { second.Emit("news") })
	h.hear("the empty name of the root", "a", func() { h.In("", id("a")).Emit("news") })

	h.hear("BroadcastToNamespace", "a ab abc none", func() { h.BroadcastToNamespace("/", "news") })
	h.hear("a room that guests joined", "guest1", func() { h.BroadcastToRoom("/", "1", "news") })
	h.hear("the ID of a guest", "guest1", func() { h.BroadcastToRoom("/", id("guest1"), "news") })
	h.hear("ForEach", "a ab abc", func() { h.ForEach("/", "a", func(c socketio.Conn) { c.Emit("news") }) })
	for range h.In("/").Sockets() {
		break
	}
	h.members["guest1"].must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "guest1")})
	h.members["guest1"].must.NextRaw(`42["authenticated"]`)
	h.hear("a guest that authenticated", "a ab abc guest1 none", func() { h.BroadcastToNamespace("/", "news") })

	for name, ends := range map[string]socketiojwt.Audience{"ab": h.In("/", "b").Except("c"), "guest2": h.In("/", "2", id("guest2"))} {
		if n := ends.End(nil); n != 1 {
			t.Errorf("%d of %s ended", n, name)
		}
		ended(t, h.members[name].must.Rest(), "unauthorized", "unauthorized")
		delete(h.members, name)
	}
	h.hear("the others", "a abc guest1 none", func() { h.In("/").Emit("news") })
	if n := h.In("/", "nobody's").End(nil); n != 0 {
		t.Errorf("%d ended", n)
	}
}

// Broadcasts pass by who is not admitted yet, and who has ended. What an ended socket joins it
// is not in.
func TestBroadcastsPassByWhoIsNotIn(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.BothTransports {
		t.Run(transport, func(t *testing.T) {
			sockets := make(chan socketio.Conn, 1)
			s := harness.Start(t, socketiojwt.Options{CloseGrace: -1}, func(s *harness.App) {
				for _, nsp := range []string{"/", "/a"} {
					s.OnConnect(nsp, func(c socketio.Conn) error {
						c.Join("room")
						if nsp == "/a" {
							sockets <- c
						}
						return nil
					})
					s.OnEvent(nsp, "mark", func(socketio.Conn) {})
				}
			})
			news := func(id string) {
				s.BroadcastToNamespace("/", "news")
				s.BroadcastToRoom("/", id, "news")
				s.BroadcastToNamespace("/a", "news")
				s.BroadcastToRoom("/a", "room", "news")
				s.BroadcastToRoom("/a", id, "news")
				s.In("/a").Emit("news")
				s.In("/a", id, "room").Emit("news")
				for _, count := range []int{s.In("/a").Count(), s.RoomLen("/a", "room"), s.RoomLen("/a", id), len(s.Rooms("/a"))} {
					if count != 0 {
						t.Errorf("%d are counted", count)
					}
				}
			}
			client, must := s.Dial(t, siotest.Options{Transport: transport})
			must.NextRaw("40")
			news(client.SID())
			must.Join("/a")
			must.NextRaw("40/a")
			news(client.SID())
			must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			must.NextRaw(`42["authenticated"]`)
			must.Call("/a", "mark")
			conn := <-sockets
			s.In("/a", "room", client.SID()).Emit("now")
			must.NextRaw(`42/a,["now"]`)

			must.OK(client.Leave("/a"))
			must.Call("/", "mark")
			harness.Eventually(t, "it has left", func() bool { return s.In("/a").Count() == 0 })
			conn.Join("room")
			s.JoinRoom("/a", "room", conn)
			if rooms := conn.Rooms(); len(rooms) != 0 {
				t.Errorf("an ended socket is in %q", rooms)
			}
			conn.Emit("late")
			s.LeaveAllRooms("/", conn)
			s.BroadcastToNamespace("/a", "news")
			s.BroadcastToRoom("/a", client.SID(), "news")
			s.BroadcastToRoom("/a", "room", "news")
			must.Send(`427["mark"]`)
			must.NextRaw("437[]")
			if s.RoomLen("/a", "room") != 0 || len(s.Rooms("/a")) != 0 || s.RoomLen("/", client.SID()) != 1 {
				t.Error("it is in a room")
			}
		})
	}
}

// go-socket.io keeps its own namespaces beside ours, with its rooms and broadcasts, and knows
// nothing of ours. A client may be in both.
func TestPlainNamespacesBesideOurs(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.Transports {
		for _, root := range []string{"ours", "plain"} {
			t.Run(root+" root/"+transport, func(t *testing.T) {
				plain := socketio.NewServer(socketiojwt.Harden(nil))
				auth := harness.Authorize(t, harness.HandshakeMode)
				protected := []string{"/a"}
				if root == "ours" {
					protected = append(protected, "/")
				}
				sio := auth.Protect(plain, protected...)
				for _, nsp := range protected {
					sio.OnConnect(nsp, func(c socketio.Conn) error { c.Join("room"); c.Join("our own"); return nil })
					sio.OnEvent(nsp, "mark", func(socketio.Conn) {})
				}
				register := func(nsp string) {
					plain.OnConnect(nsp, func(c socketio.Conn) error { c.Join("room"); return nil })
					plain.OnEvent(nsp, "echo", func(_ socketio.Conn, text string) string { return text })
					plain.OnEvent(nsp, "mark", func(socketio.Conn) string { return "" })
				}
				register("/p")
				if root == "plain" {
					register("/")
				}
				at := harness.Loopback(t)
				harness.Serve(t, sio, at, sio)
				var clients []siotest.Must
				for range 2 {
					_, must := harness.Dial(t, at, harness.Bob(t, transport))
					must.NextRaw("40")
					for _, nsp := range []string{"/a", "/p"} {
						must.Join(nsp)
						must.Connected(nsp)
						must.Call(nsp, "mark")
					}
					clients = append(clients, must)
				}
				expectAll := func(want ...string) {
					t.Helper()
					for _, must := range clients {
						for _, want := range want {
							must.NextRaw(want)
						}
						must.Call("/a", "mark")
					}
				}
				if got := string(clients[0].Call("/p", "echo", "hi").Data); got != `["hi"]` {
					t.Errorf("/p echoes %s", got)
				}
				if !sio.BroadcastToRoom("/p", "room", "to p", 1) || !plain.BroadcastToNamespace("/p", "all of p") {
					t.Error("/p is not there")
				}
				if got := sio.RoomLen("/p", "room"); got != 2 || plain.RoomLen("/p", "room") != 2 {
					t.Errorf("%d are in /p's room", got)
				}
				for _, must := range clients { // go-socket.io sends a copy for each room (hazard 36)
					got := []string{must.Next().Raw, must.Next().Raw, must.Next().Raw}
					if want := `42/p,["all of p"] 42/p,["all of p"] 42/p,["to p",1]`; harness.Sorted(got) != want {
						t.Errorf("got %q", got)
					}
				}
				sio.BroadcastToRoom("/a", "room", "to a")
				sio.BroadcastToNamespace("/a", "all of a")
				expectAll(`42/a,["to a"]`, `42/a,["all of a"]`)
				if plain.BroadcastToRoom("/a", "room", "plain") || plain.BroadcastToNamespace("/a", "plain") || plain.Rooms("/a") != nil {
					t.Error("go-socket.io has a namespace /a")
				}
				if rooms := plain.Rooms("/"); root == "ours" && (slices.Contains(rooms, "room") || slices.Contains(rooms, "our own")) {
					t.Errorf("go-socket.io's root has the rooms %q", rooms)
				}
				if rooms := plain.Rooms("/p"); slices.Contains(rooms, "our own") {
					t.Errorf("go-socket.io's /p has the rooms %q", rooms)
				}
				if slices.ContainsFunc(sio.Rooms("/a"), func(room string) bool { return room != "room" && room != "our own" }) {
					t.Errorf("/a has %q", sio.Rooms("/a"))
				}
				expectAll()
			})
		}
	}
}

func TestBroadcastsReachAuthenticatedSocketsOnce(t *testing.T) {
	t.Parallel()
	for name, optional := range map[string]bool{"others wait": false, "others are guests": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, socketiojwt.Options{Optional: optional, CloseGrace: -1, Timeout: time.Minute}, func(s *harness.App) {
				s.OnConnect("/", func(c socketio.Conn) error {
					c.Join("a")
					c.Join("b")
					return nil
				})
				s.OnEvent("/", "mark", func(socketio.Conn) string { return "" })
			})
			var authenticated, others []*siotest.Client
			for _, transport := range harness.Transports {
				c, must := s.Dial(t, siotest.Options{Transport: transport})
				must.NextRaw("40")
				must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
				must.NextRaw(`42["authenticated"]`)
				must.Call("/", "mark") // OnConnect is done
				authenticated = append(authenticated, c)
				other, must := s.Dial(t, siotest.Options{Transport: transport})
				must.NextRaw("40")
				others = append(others, other)
			}
			if !s.BroadcastToNamespace("/", "news", "x") {
				t.Error("it says that there is no root")
			}
			for _, c := range authenticated {
				must := c.Must(t)
				must.NextRaw(`42["news","x"]`)
				id, err := c.EmitAck("/", "mark")
				must.OK(err)
				if p := must.Next(); p.ID != id {
					t.Errorf("got %s besides", p.Raw)
				}
			}
			for _, other := range others {
				// What answers a wrong token comes after a broadcast would have come.
				must := other.Must(t)
				must.Emit("/", "authenticate")
				if name, _ := must.Next().Event(); name != "unauthorized" {
					t.Errorf("got %s", name)
				}
			}
		})
	}
}

// Arguments may be changed as soon as a broadcast has returned (hazard 32). What cannot be
// encoded is reported by go-socket.io as ever.
func TestBroadcastArguments(t *testing.T) {
	t.Parallel()
	var done harness.Record
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error { c.Join("room"); c.Emit("hello"); return nil })
		s.OnError("/", func(_ socketio.Conn, err error) { done.Add("%v", err) })
	})
	var clients []siotest.Must
	for _, transport := range harness.Transports {
		_, must := s.Dial(t, harness.Bob(t, transport))
		must.Event("/", "hello")
		clients = append(clients, must)
	}
	data := map[string]any{"text": "<é😀>"}
	for i := range 20 {
		data["n"] = i
		s.BroadcastToNamespace("/", "news", data, nil, []int{1})
		s.BroadcastToRoom("/", "room", "news", data, nil, []int{1})
	}
	for _, must := range clients {
		for i := range 20 {
			for range 2 {
				var got map[string]any
				must.OK(must.Event("/", "news").Decode(&got))
				if got["n"] != float64(i) || got["text"] != "<é😀>" {
					t.Fatalf("got %v, want number %d", got, i)
				}
			}
		}
	}
	s.BroadcastToNamespace("/", "bad", make(chan int))
	harness.Eventually(t, "the errors are reported", func() bool { return strings.Count(done.String(), "unsupported type") == len(harness.Transports) })
}

func TestForEachMayCloseAndSeesAdmittedSocketsOnly(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{}, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error { c.Join("lobby"); c.Emit("hello"); return nil })
	})
	waiting, must := s.Dial(t, siotest.Options{})
	must.NextRaw("40")
	open, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	must.Event("/", "hello")

	var closed int
	for _, sid := range []string{waiting.SID(), open.SID()} {
		if !s.ForEach("/", sid, func(c socketio.Conn) { closed++; _ = c.Close() }) {
			t.Error("it says that there is no root")
		}
	}
	must.Closed()
	// A socket that is closed leaves the rooms that f joins, too.
	must2 := func() siotest.Must {
		_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
		must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.Event("/", "hello")
		return must
	}()
	ended := false
	s.ForEach("/", "lobby", func(c socketio.Conn) {
		ended = true
		_ = c.Close()
		must2.Closed()
		c.Join("too late")
	})
	harness.Eventually(t, "it is in no room", func() bool { return s.RoomLen("/", "too late") == 0 })
	if !ended {
		t.Error("it saw nobody in the room")
	}
	if closed != 1 {
		t.Errorf("it saw %d sockets", closed)
	}
	if s.ForEach("/nosuch", "x", func(socketio.Conn) {}) {
		t.Error("it says that there is a namespace")
	}
}
