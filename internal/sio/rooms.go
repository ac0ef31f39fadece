package sio

import "slices"

// A room is a list of its sockets, and each socket knows its place in the lists of its rooms. So
// joining and leaving take the same time in a namespace of 100,000 rooms as in one of two. A
// broadcast copies the list and sends without the lock.
//
// The room whose name is a socket's ID is not kept: who names it means the socket.

// room is an unordered list of sockets.
type room []*Socket

// Join puts a socket into a room. One that has ended stays out.
func (ns *Namespace) Join(s *Socket, name string) {
	if name == s.ID() {
		return // the socket is in it
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if s.out {
		return
	}
	if _, in := s.rooms[name]; in {
		return
	}
	if s.rooms == nil {
		s.rooms = make(map[string]int, 1)
	}
	s.rooms[name] = len(ns.rooms[name])
	ns.rooms[name] = append(ns.rooms[name], s)
}

// Leave takes a socket out of a room.
func (ns *Namespace) Leave(s *Socket, name string) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.leave(s, name)
}

func (ns *Namespace) leave(s *Socket, name string) {
	i, in := s.rooms[name]
	if !in {
		return
	}
	delete(s.rooms, name)
	r := ns.rooms[name]
	last := len(r) - 1
	if i != last {
		r[i] = r[last]
		r[i].rooms[name] = i
	}
	r[last] = nil
	if last == 0 {
		delete(ns.rooms, name)
		return
	}
	ns.rooms[name] = r[:last]
}

// LeaveAll takes a socket out of all its rooms.
func (ns *Namespace) LeaveAll(s *Socket) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.leaveAll(s)
}

func (ns *Namespace) leaveAll(s *Socket) {
	for name := range s.rooms {
		ns.leave(s, name)
	}
}

// add adds an admitted socket to the sockets of the namespace.
func (ns *Namespace) add(s *Socket) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	s.listed, s.place = true, len(ns.all)
	ns.all = append(ns.all, s)
}

// remove takes a socket that ended out of the namespace and all rooms, for good.
func (ns *Namespace) remove(s *Socket) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	s.out = true
	ns.leaveAll(s)
	if !s.listed {
		return
	}
	s.listed = false
	last := len(ns.all) - 1
	ns.all[s.place] = ns.all[last]
	ns.all[s.place].place = s.place
	ns.all[last] = nil
	ns.all = ns.all[:last]
}

// Clear empties a room.
func (ns *Namespace) Clear(name string) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for _, s := range ns.rooms[name] {
		delete(s.rooms, name)
	}
	delete(ns.rooms, name)
}

// Has reports whether a socket is in a room, which may be the socket's own.
func (ns *Namespace) Has(name string) bool {
	ns.mu.RLock()
	_, kept := ns.rooms[name]
	ns.mu.RUnlock()
	return kept || ns.own(name) != nil
}

// Rooms returns the names of the rooms that have sockets, in no order.
func (ns *Namespace) Rooms() []string {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	names := make([]string, 0, len(ns.rooms))
	for name := range ns.rooms {
		names = append(names, name)
	}
	return names
}

// roomsOf returns the names of a socket's rooms, its own first.
func (ns *Namespace) roomsOf(s *Socket) []string {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	if s.out {
		return nil
	}
	names := make([]string, 0, len(s.rooms)+1)
	names = append(names, s.ID())
	for name := range s.rooms {
		names = append(names, name)
	}
	return names
}

// Audience is the sockets of some rooms, each once. Without Rooms it is all sockets of the
// namespace. Sockets in one of Except are left out.
type Audience struct {
	Namespace *Namespace
	Rooms     []string
	Except    []string
	Members   bool // leave guests out, see Socket.SetMember
	Volatile  bool // Emit and Send leave out sockets whose clients cannot take an event at once
}

// Sockets returns the sockets in the audience now, in no order.
func (a Audience) Sockets() []*Socket {
	sockets := a.candidates()
	return slices.DeleteFunc(sockets, func(s *Socket) bool { return !s.hears(a.Members) })
}

// candidates returns the sockets that are in the audience if they are admitted.
func (a Audience) candidates() []*Socket {
	ns := a.Namespace
	var sockets []*Socket
	ns.mu.RLock()
	switch len(a.Rooms) {
	case 0:
		sockets = slices.Clone(ns.all)
	case 1:
		sockets = slices.Clone(ns.rooms[a.Rooms[0]])
	default:
		seen := make(map[*Socket]bool)
		for _, name := range a.Rooms {
			for _, s := range ns.rooms[name] {
				if !seen[s] {
					seen[s] = true
					sockets = append(sockets, s)
				}
			}
		}
	}
	ns.mu.RUnlock()
	for _, name := range a.Rooms {
		if s := ns.own(name); s != nil && !slices.Contains(sockets, s) {
			sockets = append(sockets, s)
		}
	}
	if len(a.Except) == 0 {
		return sockets
	}
	var named []*Conn
	for _, name := range a.Except {
		if c := ns.server.find(name); c != nil {
			named = append(named, c)
		}
	}
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	return slices.DeleteFunc(sockets, func(s *Socket) bool {
		return slices.Contains(named, s.conn) || slices.ContainsFunc(a.Except, func(name string) bool {
			_, in := s.rooms[name]
			return in
		})
	})
}

// own returns the socket whose ID or alias is a room's name, or nil.
func (ns *Namespace) own(name string) *Socket {
	c := ns.server.find(name)
	if c == nil {
		return nil
	}
	if s := c.Socket(ns.name); s != nil && s.ns == ns {
		return s
	}
	return nil
}

// Emit sends an event to the audience. It is encoded once. An error says that it cannot be encoded,
// or that some clients would not take it; the others got it. elsewhere, unless it is nil, gets the
// encoded event.
func (a Audience) Emit(event string, args []any, elsewhere func(Encoded)) error {
	sockets := a.candidates()
	if len(sockets) == 0 && elsewhere == nil {
		return nil
	}
	p, err := encode(append([]any{event}, args...))
	if err != nil {
		return err
	}
	e := Encoded{event, p}
	err = a.send(e, sockets)
	if elsewhere != nil {
		elsewhere(e)
	}
	return err
}

// Send is Emit of an event that was encoded elsewhere.
func (a Audience) Send(e Encoded) error { return a.send(e, a.candidates()) }

func (a Audience) send(e Encoded, sockets []*Socket) (err error) {
	if len(sockets) == 0 {
		return nil
	}
	frames := e.frames(Event, a.Namespace.name, 0, false)
	for _, s := range sockets {
		if unfit := s.conn.protocol.fits(e.name, len(e.attachments)); unfit != nil {
			err = unfit
			continue
		}
		s.deliver(frames, a.Members, a.Volatile)
	}
	return err
}
