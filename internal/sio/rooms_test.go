package sio

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// ids are the IDs of sockets, sorted.
func ids(sockets []*Socket) (all []string) {
	for _, s := range sockets {
		all = append(all, s.ID())
	}
	slices.Sort(all)
	return all
}

func sorted(names []string) []string { slices.Sort(names); return names }

// checkRooms holds a namespace to what its sockets are known to be in.
func checkRooms(t *testing.T, ns *Namespace, want map[*Socket]map[string]bool) {
	t.Helper()
	ns.mu.Lock()
	defer ns.mu.Unlock()
	entries := 0
	for name, r := range ns.rooms {
		if len(r) == 0 {
			t.Fatalf("room %q is empty and there", name)
		}
		for i, s := range r {
			if !want[s][name] {
				t.Fatalf("room %q holds a socket that is not in it", name)
			}
			if at, in := s.rooms[name]; !in || at != i {
				t.Fatalf("a socket at %d of %q takes itself to be at %d, %v", i, name, at, in)
			}
			entries++
		}
		if spare := r[:cap(r)][len(r):]; slices.ContainsFunc(spare, func(s *Socket) bool { return s != nil }) {
			t.Fatalf("room %q keeps a socket that left", name)
		}
	}
	known := 0
	for s, rooms := range want {
		known += len(rooms)
		if len(s.rooms) != len(rooms) {
			t.Fatalf("a socket knows %d rooms, it is in %d", len(s.rooms), len(rooms))
		}
	}
	if entries != known {
		t.Fatalf("%d entries in rooms, want %d", entries, known)
	}
	for i, s := range ns.all {
		if !s.listed || s.place != i {
			t.Fatalf("a socket at %d takes itself to be at %d, %v", i, s.place, s.listed)
		}
	}
}

// TestRooms joins and leaves at random, and looks at everything after each step.
func TestRooms(t *testing.T) {
	s := newServer(t, transport.Limits{})
	ns := s.Namespace(Root)
	r := rand.New(rand.NewPCG(1, 2))
	want := make(map[*Socket]map[string]bool)
	var sockets []*Socket
	add := func() {
		socket := s.arrive().Socket(Root)
		sockets = append(sockets, socket)
		want[socket] = make(map[string]bool)
	}
	for range 12 {
		add()
	}
	for range 3000 {
		socket, name := sockets[r.IntN(len(sockets))], fmt.Sprint("room", r.IntN(6))
		switch n := r.IntN(100); {
		case n < 50:
			socket.Join(name)
			want[socket][name] = true
		case n < 85:
			socket.Leave(name)
			delete(want[socket], name)
		case n < 92:
			socket.LeaveAll()
			clear(want[socket])
		case n < 97:
			ns.Clear(name)
			for _, rooms := range want {
				delete(rooms, name)
			}
		default:
			socket.conn.End(false, LastWord{Socket: socket})
			socket.Join(name) // it stays out
			delete(want, socket)
			sockets = slices.DeleteFunc(sockets, func(s *Socket) bool { return s == socket })
			add()
		}
		checkRooms(t, ns, want)
		var members []string
		for socket, rooms := range want {
			if rooms[name] {
				members = append(members, socket.ID())
			}
		}
		if got := ids(Audience{Namespace: ns, Rooms: []string{name}}.Sockets()); !slices.Equal(got, sorted(members)) {
			t.Fatalf("%d sockets in %s, want %d", len(got), name, len(members))
		}
	}
	if got := ids(Audience{Namespace: ns}.Sockets()); len(got) != len(sockets) {
		t.Errorf("%d sockets, want %d", len(got), len(sockets))
	}
}

func TestAudience(t *testing.T) {
	s := newServer(t, transport.Limits{})
	ns, other := s.Namespace(Root), s.Add("/other")
	var a [4]*Socket
	for i := range a {
		a[i] = s.arrive("/other").Socket(Root)
	}
	a[0].Join("x")
	a[1].Join("x")
	a[1].Join("y")
	a[2].Join("y")
	a[0].conn.Socket("/other").Join("x")
	guest := s.arrive().Socket(Root)
	guest.member = false
	guest.Join("x")

	tests := []struct {
		name     string
		audience Audience
		want     []*Socket
	}{
		{"all", Audience{}, []*Socket{a[0], a[1], a[2], a[3], guest}},
		{"members", Audience{Members: true}, a[:]},
		{"a room", Audience{Rooms: []string{"x"}}, []*Socket{a[0], a[1], guest}},
		{"members of a room", Audience{Rooms: []string{"x"}, Members: true}, a[:2]},
		{"two rooms", Audience{Rooms: []string{"x", "y"}, Members: true}, a[:3]},
		{"a room twice", Audience{Rooms: []string{"y", "y"}}, a[1:3]},
		{"no such room", Audience{Rooms: []string{"z"}}, nil},
		{"a room and none", Audience{Rooms: []string{"z", "y"}}, a[1:3]},
		{"all but a room", Audience{Except: []string{"x"}}, a[2:]},
		{"all but two rooms", Audience{Except: []string{"x", "y"}}, a[3:]},
		{"a room but another", Audience{Rooms: []string{"y"}, Except: []string{"x"}}, a[2:3]},
		{"a room but itself", Audience{Rooms: []string{"x"}, Except: []string{"x"}}, nil},
		{"no such exception", Audience{Rooms: []string{"y"}, Except: []string{"z"}}, a[1:3]},
		{"own room", Audience{Rooms: []string{a[3].ID()}}, a[3:]},
		{"own room and a room it is in", Audience{Rooms: []string{"y", a[1].ID()}}, a[1:3]},
		{"own room and a room it is not in", Audience{Rooms: []string{a[3].ID(), "y"}}, a[1:]},
		{"two own rooms", Audience{Rooms: []string{a[0].ID(), a[1].ID()}}, a[:2]},
		{"all but one's own room", Audience{Except: []string{a[0].ID()}, Members: true}, a[1:]},
		{"own room but itself", Audience{Rooms: []string{a[0].ID()}, Except: []string{a[0].ID()}}, nil},
		{"own room of a guest", Audience{Rooms: []string{guest.ID()}, Members: true}, nil},
		{"another namespace", Audience{Namespace: other, Rooms: []string{"x"}}, []*Socket{a[0].conn.Socket("/other")}},
		{"own room there", Audience{Namespace: other, Rooms: []string{a[2].ID()}}, []*Socket{a[2].conn.Socket("/other")}},
		{"own room of one who is not there", Audience{Namespace: other, Rooms: []string{guest.ID()}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.audience.Namespace == nil {
				test.audience.Namespace = ns
			}
			got := test.audience.Sockets()
			if !slices.Equal(ids(got), ids(test.want)) {
				t.Errorf("%d sockets, want %d", len(got), len(test.want))
			}
			for _, socket := range got {
				if socket.ns != test.audience.Namespace {
					t.Error("a socket of another namespace")
				}
			}
		})
	}
}

// TestAudienceEmit: each hears it once, in order with everything else that is sent.
func TestAudienceEmit(t *testing.T) {
	s := newServer(t, transport.Limits{})
	ns := s.Add("/other")
	a, b := s.arrive("/other").Socket("/other"), s.arrive("/other").Socket("/other")
	a.Join("x")
	a.Join("y")
	b.Join("y")
	a.Emit("before")
	for _, audience := range []Audience{{Rooms: []string{"x", "y", a.ID()}}, {Rooms: []string{"y"}, Except: []string{"x"}}, {}, {Rooms: []string{"z"}}} {
		audience.Namespace = ns
		if err := audience.Emit("news", []any{1, "é"}, nil); err != nil {
			t.Error(err)
		}
	}
	b.conn.End(false, LastWord{Socket: b})
	_ = Audience{Namespace: ns}.Emit("late", nil, nil)
	const news = `42/other,["news",1,"é"]`
	if got, want := s.sent(a.conn), []string{"40", "40/other", `42/other,["before"]`, news, news, `42/other,["late"]`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := s.sent(b.conn), []string{"40", "40/other", news, news, news, "41/other"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := (Audience{Namespace: ns}).Emit("bad", []any{func() {}}, nil); err == nil {
		t.Error("a function was encoded")
	}
}

// TestOwnRoom is not one that can be joined, left or cleared, and only its socket lists it.
func TestOwnRoom(t *testing.T) {
	s := newServer(t, transport.Limits{})
	ns := s.Namespace(Root)
	a, b := s.arrive().Socket(Root), s.arrive().Socket(Root)
	a.Join(a.ID())
	a.Leave(a.ID())
	ns.Clear(a.ID())
	a.LeaveAll()
	if rooms, all := a.Rooms(), ns.Rooms(); !slices.Equal(rooms, []string{a.ID()}) || len(all) != 0 {
		t.Errorf("rooms %q and %q", rooms, all)
	}
	own := Audience{Namespace: ns, Rooms: []string{a.ID()}}
	if got := own.Sockets(); !slices.Equal(got, []*Socket{a}) {
		t.Errorf("%d sockets", len(got))
	}
	b.Join(a.ID()) // one may join that of another
	if got := own.Sockets(); !slices.Equal(ids(got), ids([]*Socket{a, b})) {
		t.Errorf("%d sockets", len(got))
	}
	a.conn.End(false, LastWord{Socket: a})
	if got := own.Sockets(); !slices.Equal(got, []*Socket{b}) {
		t.Errorf("%d sockets after its end", len(got))
	}
}

// TestEndedSocketStaysOut: it is in no room and no list, whatever is called afterwards. When the
// client joins the namespace anew, it begins with nothing.
func TestEndedSocketStaysOut(t *testing.T) {
	ends := map[string]func(*Socket){
		"left": func(s *Socket) { _ = s.conn.Receive([]transport.Message{textMessage("1/other")}) },
		"End":  func(s *Socket) { s.conn.End(false, LastWord{Socket: s}) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, transport.Limits{})
			ns := s.Add("/other")
			c := s.arrive("/other")
			socket := c.Socket("/other")
			socket.Join("x")
			socket.Join("y")
			if got := socket.Rooms(); got[0] != socket.ID() || !slices.Equal(sorted(got[1:]), []string{"x", "y"}) {
				t.Errorf("rooms %q", got)
			}
			end(socket)
			socket.Join("x")
			socket.Leave("y")
			socket.LeaveAll()
			if len(socket.Rooms()) != 0 || len(ns.Rooms()) != 0 || len((Audience{Namespace: ns}).Sockets()) != 0 {
				t.Errorf("rooms %q and %q", socket.Rooms(), ns.Rooms())
			}
			if err := c.Receive([]transport.Message{textMessage("0/other")}); err != nil {
				t.Fatal(err)
			}
			through := make(chan struct{}) // it waits until the user's code is through with the old one
			c.Do(func() { close(through) })
			<-through
			again := c.Socket("/other")
			if again == socket || len(again.Rooms()) != 1 {
				t.Error("the old socket came back")
			}
			if got := (Audience{Namespace: ns}).Sockets(); !slices.Equal(got, []*Socket{again}) {
				t.Errorf("%d sockets", len(got))
			}
			checkRooms(t, ns, map[*Socket]map[string]bool{again: {}})
		})
	}
}

// TestRoomsInParallel is for the race detector.
func TestRoomsInParallel(t *testing.T) {
	s := newServer(t, transport.Limits{})
	ns := s.Namespace(Root)
	var group sync.WaitGroup
	for i := range 8 {
		socket := s.arrive().Socket(Root)
		group.Go(func() {
			for n := range 200 {
				room := fmt.Sprint((i + n) % 3)
				socket.Join(room)
				_ = Audience{Namespace: ns, Rooms: []string{room, socket.ID()}, Except: []string{"1"}}.Emit("e", []any{n}, nil)
				_ = socket.Rooms()
				socket.Leave(room)
				if n%50 == 0 {
					ns.Clear("2")
					socket.LeaveAll()
				}
			}
			if i%2 == 0 {
				socket.conn.Client().Abort()
			}
		})
	}
	group.Wait()
}
