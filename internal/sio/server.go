package sio

import (
	"crypto/rand"
	"net"
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// Server is Socket.IO for the connections of one hub. Its methods are safe for concurrent use.
type Server struct {
	hub      *transport.Hub
	upstream Upstream
	limits   Limits

	mu         sync.RWMutex
	doorkeeper Doorkeeper
	namespaces map[string]*Namespace

	idsMu sync.RWMutex
	ids   map[string]*Conn // by Conn.ID and Conn.alias
}

// NewServer makes a Server without namespaces. The namespaces that it does not have are upstream's.
func NewServer(hub *transport.Hub, upstream Upstream, limits Limits) *Server {
	return &Server{hub: hub, upstream: upstream, limits: limits,
		namespaces: make(map[string]*Namespace), ids: make(map[string]*Conn)}
}

// Hub returns the server's transport.
func (s *Server) Hub() *transport.Hub { return s.hub }

// SetDoorkeeper sets the doorkeeper. Without one there are foreign namespaces only.
func (s *Server) SetDoorkeeper(d Doorkeeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doorkeeper = d
}

// Add makes a namespace, or returns the one that there is.
func (s *Server) Add(name string) *Namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	ns := s.namespaces[name]
	if ns == nil {
		ns = &Namespace{
			server:   s,
			name:     name,
			handlers: make(map[string]*handler),
			rooms:    make(map[string]room),
		}
		s.namespaces[name] = ns
	}
	return ns
}

// Remove removes a namespace for clients that join from now on.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.namespaces, name)
}

// Namespace returns a namespace, nil if it is not ours.
func (s *Server) Namespace(name string) *Namespace {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.namespaces[name]
}

// serves reports whether a namespace that is not ours may be joined.
func (s *Server) serves(name string) bool {
	s.mu.RLock()
	door := s.doorkeeper
	s.mu.RUnlock()
	return (door == nil || door.AllowsForeign(name)) && s.upstream.Serves(name)
}

// Open makes the Conn of a new connection. enter, unless it is nil, is called first. It returns the
// bridge of a connection that go-socket.io makes, nil for any other.
func (s *Server) Open(client *transport.Client, enter func(*Conn) Bridge) *Conn {
	c := &Conn{server: s, client: client, protocol: protocolOf(client), id: client.ID()}
	c.wait.since = time.Now()
	if c.IsProtocol5() {
		c.id = rand.Text()
	}
	if enter != nil {
		c.bridge = enter(c)
	}
	if a, ok := client.Handshake().Context.Value(OpenHookKey{}).(OpenHook); ok {
		a.Opened(c) // after enter, which runs code of the application
	}
	s.mu.RLock()
	door := s.doorkeeper
	s.mu.RUnlock()
	if door != nil {
		c.visitor = door.Opened(c)
		if c.entered() == nil {
			c.client.LimitOutbox(strangersOutbox)
		}
	}
	s.idsMu.Lock()
	s.ids[c.id] = c // after all that may panic
	s.idsMu.Unlock()
	switch {
	case c.protocol.joinsRoot():
		c.join(&Packet{Header: Header{Namespace: Root}})
	case c.wait.most == 0: // nobody called Wait
		c.Wait(defaultWait)
	}
	return c
}

// strangersOutbox is how much may wait for a client that is in no namespace. What such a client is
// told is short, and it has asked for all of it.
const strangersOutbox = 64 << 10

func (s *Server) forget(c *Conn) {
	s.idsMu.Lock()
	defer s.idsMu.Unlock()
	delete(s.ids, c.id)
	delete(s.ids, c.alias) // "" is in no map
}

// Alias returns the name of a connection for other nodes. In protocol 5 that is the ID. In protocol
// 4 the ID is a credential, so the alias is another random name. Text that is no ID is returned as
// it is.
func (s *Server) Alias(id string) string {
	c := s.find(id)
	if c == nil || c.IsProtocol5() || c.id != id {
		return id
	}
	s.idsMu.Lock()
	defer s.idsMu.Unlock()
	if c.alias == "" {
		c.alias = rand.Text()
		if s.ids[c.id] == c { // else the connection is closed
			s.ids[c.alias] = c
		}
	}
	return c.alias
}

// find returns the connection with an id or an alias, or nil.
func (s *Server) find(id string) *Conn {
	s.idsMu.RLock()
	defer s.idsMu.RUnlock()
	return s.ids[id]
}

// OpenHookKey is the key of an OpenHook in the context of a handshake request.
type OpenHookKey struct{}

// OpenHook is told that its request has become a connection.
type OpenHook interface{ Opened(*Conn) }

// Addr is the remote address of a connection. It also leads from a socketio.Conn to its Conn: from
// one of go-socket.io's, and through what wraps one.
type Addr struct{ conn *Conn }

// Network returns "tcp".
func (a Addr) Network() string { return "tcp" }

// String returns the remote address of the handshake request.
func (a Addr) String() string { return a.conn.client.Handshake().RemoteAddr }

// FromConn finds the connection that a socketio.Conn belongs to. conn may be nil, as in
// go-socket.io's OnError (hazard 4).
func FromConn(conn interface{ RemoteAddr() net.Addr }) (*Conn, bool) {
	if conn == nil {
		return nil, false
	}
	a, ok := conn.RemoteAddr().(Addr)
	return a.conn, ok
}

// AddrOf returns the address that leads to c.
func AddrOf(c *Conn) Addr { return Addr{c} }
