package sio

import (
	"sync"
)

// Namespace is a namespace of ours: its handlers, its sockets and its rooms. Its methods are
// safe for concurrent use.
type Namespace struct {
	server *Server
	name   string

	// mu guards what follows, and Socket.rooms, out, listed and place. Nothing is called
	// under it.
	mu       sync.RWMutex
	handlers map[string]*handler
	rooms    map[string]room
	all      []*Socket // admitted, unordered
}

// Name returns its name, "/" for the root.
func (ns *Namespace) Name() string { return ns.name }

// OnEvent sets the handler of an event. It panics when f is no handler.
func (ns *Namespace) OnEvent(event string, f any) {
	h := newHandler(f)
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.handlers[event] = h
}

func (ns *Namespace) handler(event string) *handler {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	return ns.handlers[event]
}
