package socketiojwt

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	socketio "github.com/googollee/go-socket.io"
)

// Server is a go-socket.io server whose namespaces are authenticated. It is used where
// the server was used: to register handlers, to broadcast, and as the http.Handler.
// Protect makes one.
//
// What is registered through it for a protected namespace sees authenticated sockets
// only (and guests, with Optional); for other namespaces it is registered as well, and
// is safe in the same way: handlers run outside of go-socket.io's locks, so they may
// Emit, Join, Broadcast and Close. Handlers that are registered on the embedded server
// directly are not protected.
//
// Its methods are safe for concurrent use.
type Server struct {
	*socketio.Server

	auth       *Authorizer
	hub        *transport.Hub
	site       *site
	protected  []string // nil: every namespace
	gate       *gate
	mu         sync.Mutex
	namespaces map[string]*namespace
}

// Protect returns server with its namespaces authenticated: the named ones (the root is
// "/"), or without names all, of which then only those exist that are registered through
// the result. Several Authorizers may protect different namespaces of one server; any of the results
// serves HTTP for all, and registers handlers for all.
//
// Use the result wherever server was used, from before the first handler is registered:
// where the hooks of a protected namespace are replaced on server itself, its events are
// dropped. Namespaces that are registered on server and not protected stay as they are.
//
// Protect panics when server was not made with Harden's options, when a name does not start
// with a slash, when another Authorizer protects one of the namespaces, and when one was
// registered through an earlier result: these are mistakes in the program, as a wrong
// pattern is for http.Handle.
func (a *Authorizer) Protect(server *socketio.Server, namespaces ...string) *Server {
	hub := transport.Probe(server)
	if hub == nil {
		panic("socketiojwt: Protect needs the transports of Harden; make the server with " + hardenedServer)
	}
	s := &Server{
		Server:     server,
		auth:       a,
		hub:        hub,
		site:       makeSite(hub),
		namespaces: make(map[string]*namespace),
	}
	for _, name := range namespaces {
		name = normalise(name)
		if !strings.HasPrefix(name, root) {
			panic(fmt.Sprintf("socketiojwt: Protect: namespace %q can never be joined; write %q", name, root+name))
		}
		s.protected = append(s.protected, name)
	}
	s.gate = &gate{server, hub, a, s.site.rootGuards}
	s.site.add(s)
	hub.SetGuard(s.site.lets)
	a.observe(hub)
	return s
}

const hardenedServer = "socketio.NewServer(socketiojwt.Harden(nil))"

// site is what the Servers of one go-socket.io server know of each other. It hangs on
// the hub.
type site struct {
	mu      sync.Mutex
	servers []*Server

	preparing sync.Mutex
	prepared  atomic.Bool
}

type siteKey struct{}

func makeSite(hub *transport.Hub) *site {
	return hub.Attach(siteKey{}, func() any { return new(site) }).(*site)
}

// siteOf returns nil where nothing is protected.
func siteOf(hub *transport.Hub) *site {
	if hub == nil {
		return nil
	}
	s, _ := hub.Attach(siteKey{}, nil).(*site)
	return s
}

func (st *site) add(s *Server) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, other := range st.servers {
		if s.protected == nil && other.protected == nil {
			panic("socketiojwt: Protect: every namespace of this server is protected already; name those that this Authorizer should protect")
		}
		for _, name := range s.protected {
			if slices.Contains(other.protected, name) {
				panic(fmt.Sprintf("socketiojwt: Protect: namespace %q of this server is protected already", name))
			}
		}
		for name, ns := range other.registered() {
			if slices.Contains(s.protected, name) || (s.protected == nil && !ns.protected) {
				panic(fmt.Sprintf("socketiojwt: Protect: namespace %q was registered before; call Protect for it first", name))
			}
		}
	}
	st.servers = append(st.servers, s)
	st.prepared.Store(false)
}

func (s *Server) registered() map[string]*namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.namespaces)
}

// lets is asked about every packet before go-socket.io gets it. It stops what would go
// around the hooks because they are missing.
func (st *site) lets(client *transport.Client, h transport.Header) bool {
	guard := st.guard(h.Namespace)
	switch {
	case h.Type == transport.Connect && h.Namespace != root:
		if st.exists(h.Namespace, guard) {
			// go-socket.io puts a socket into a room before it calls the hook (hazard 13).
			if guard != nil && !guard.auth.knows(client, h.Namespace) {
				client.Mute(h.Namespace, true)
			}
			return true
		}
		client.Send(invalidNamespacePacket(h.Namespace)) // go-socket.io would close (hazard 26)
		return false
	case h.Type == transport.Connect, h.Type == transport.Disconnect, guard == nil:
		return true
	}
	if guard.auth.knows(client, h.Namespace) {
		return true
	}
	if h.Namespace == root { // which every connection has joined
		guard.auth.warnBypassed()
		client.Abort()
	}
	return false
}

func (st *site) exists(name string, guard *Server) bool {
	st.prepare()
	if guard != nil && guard.registered()[name] != nil {
		return true
	}
	known := st.first().Server.ForEach(name, "", func(socketio.Conn) {})
	if known && guard != nil {
		guard.auth.warnUnregistered(name)
		return false
	}
	return known
}

// guard returns the Server that protects a namespace, by name or with all others, or nil.
func (st *site) guard(name string) *Server {
	st.mu.Lock()
	defer st.mu.Unlock()
	var all *Server
	for _, s := range st.servers {
		if slices.Contains(s.protected, name) {
			return s
		}
		if s.protected == nil {
			all = s
		}
	}
	return all
}

func (st *site) rootGuards() []*Authorizer {
	if s := st.guard(root); s != nil {
		return []*Authorizer{s.auth}
	}
	return nil
}

// rootIsNotOf reports whether a protects something here, and it is not the root.
func (st *site) rootIsNotOf(a *Authorizer) bool {
	if s := st.guard(root); s != nil {
		return s.auth != a
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.ContainsFunc(st.servers, func(s *Server) bool { return s.auth == a })
}

// names returns the registered namespaces besides the root.
func (st *site) names() []string {
	if st == nil {
		return nil
	}
	var names []string
	st.each(func(s *Server) {
		s.mu.Lock()
		defer s.mu.Unlock()
		names = slices.AppendSeq(names, maps.Keys(s.namespaces))
	})
	names = slices.DeleteFunc(names, func(name string) bool { return name == root })
	slices.Sort(names)
	return names
}

// each calls f for all Servers of the site.
func (st *site) each(f func(*Server)) {
	st.mu.Lock()
	servers := slices.Clone(st.servers)
	st.mu.Unlock()
	for _, s := range servers {
		f(s)
	}
}

// namespace returns the namespace and the Server that keeps it, and hooks it up the first
// time. That is as late as possible: go-socket.io takes its Redis adapter for namespaces
// made after Adapter was called.
func (s *Server) namespace(name string) *namespace {
	name = normalise(name)
	guard := s.site.guard(name)
	if guard != nil && guard != s {
		return guard.namespace(name)
	}
	keeper := s
	if guard == nil {
		keeper = s.site.first() // one keeper for public namespaces, whoever asks
	}
	return keeper.keep(name, guard != nil)
}

func (st *site) first() *Server {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.servers[0]
}

func (s *Server) keep(name string, protected bool) *namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	ns := s.namespaces[name]
	if ns != nil {
		return ns
	}
	ns = &namespace{protected: protected, server: s}
	s.namespaces[name] = ns
	if !protected {
		s.auth.log.Info("socketiojwt: a namespace is public", "namespace", name)
	}
	s.Server.OnConnect(name, func(c socketio.Conn) error {
		s.auth.join(c, ns)
		return nil
	})
	s.Server.OnDisconnect(name, s.auth.OnDisconnect)
	s.Server.OnError(name, func(c socketio.Conn, err error) { s.auth.failed(c, err) })
	if protected {
		s.Server.OnEvent(name, eventAuthenticate, s.auth.OnAuthenticate)
	}
	return ns
}

// prepare hooks up the namespaces that are protected by name, and the root where all are
// or where there is none, so that forgetting to register a handler leaves nothing open.
func (st *site) prepare() {
	if st.prepared.Load() {
		return
	}
	st.preparing.Lock()
	defer st.preparing.Unlock()
	st.each(func(s *Server) {
		for _, name := range s.protected {
			s.namespace(name)
		}
		// go-socket.io keeps the sessions of clients for ever that find no root (hazard 4).
		if s.protected == nil || !s.Server.ForEach(root, "", func(socketio.Conn) {}) {
			s.namespace(root)
		}
	})
	st.prepared.Store(true)
}

// OnConnect sets the function that runs once a socket of the namespace is authenticated.
// It runs in a goroutine of its own and may block, Emit and Join; events of the socket
// wait until it returns. An error refuses the socket in this namespace: the client is told
// `unauthorized`, or what an *UnauthorizedError says, and the other namespaces of the
// connection live on, except when it is the root. What was emitted before may not arrive
// then. A panic is an error.
func (s *Server) OnConnect(nsp string, f func(socketio.Conn) error) {
	s.namespace(nsp).set(func(ns *namespace) { ns.onConnect = f })
}

// OnDisconnect sets the function that runs once after a socket whose OnConnect succeeded
// is gone, in a goroutine of its own.
func (s *Server) OnDisconnect(nsp string, f func(socketio.Conn, string)) {
	s.namespace(nsp).set(func(ns *namespace) { ns.onDisconnect = f })
}

// OnError sets the function that is told of errors of sockets whose OnConnect succeeded,
// in a goroutine of its own. go-socket.io reports the end of a connection as an error, too.
func (s *Server) OnError(nsp string, f func(socketio.Conn, error)) {
	s.namespace(nsp).set(func(ns *namespace) { ns.onError = f })
}

// OnEvent sets the handler of an event, for admitted sockets only. f is what go-socket.io
// takes: func(socketio.Conn, arguments...) with or without results, which acknowledge the
// event. The event `authenticate` of a protected namespace belongs to the Authorizer:
// OnEvent panics.
func (s *Server) OnEvent(nsp, event string, f any) {
	ns := s.namespace(nsp)
	if ns.protected && event == eventAuthenticate {
		panic("socketiojwt: OnEvent: `authenticate` is handled by the Authorizer; use Options.OnAuthenticated or OnConnect")
	}
	s.Server.OnEvent(nsp, event, ns.server.auth.Guard(f))
}

// Serve runs the server until Close. It returns an error then, as go-socket.io's does.
func (s *Server) Serve() error {
	s.site.prepare()
	return s.Server.Serve()
}

// ServeHTTP serves Engine.IO requests, behind the gate that Authorizer.Handler describes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !transport.IsProbe(r) {
		s.site.prepare()
	}
	s.gate.ServeHTTP(w, r)
}

// broadcastRoom is the room that sockets join when they are authenticated. Its name is the
// same on every node, for go-socket.io's Redis adapter.
const broadcastRoom = "socketiojwt:authenticated"

// BroadcastToNamespace sends an event to every authenticated socket of the namespace, once.
// Guests do not get it: let them join a room, and use BroadcastToRoom. Nor does a socket
// that called LeaveAll, as that leaves the room of these broadcasts, too. It reports
// whether the namespace exists.
func (s *Server) BroadcastToNamespace(nsp, event string, args ...any) bool {
	if !s.keeps(nsp) {
		return s.Server.BroadcastToNamespace(nsp, event, args...)
	}
	return s.BroadcastToRoom(nsp, broadcastRoom, event, args...)
}

// BroadcastToRoom sends an event to every socket in the room. The arguments are encoded
// before it returns, so they may be changed after, unless there is a parser.Buffer in them:
// go-socket.io writes to that once for every socket, in several goroutines. It reports
// whether the namespace exists.
func (s *Server) BroadcastToRoom(nsp, room, event string, args ...any) bool {
	return s.Server.BroadcastToRoom(nsp, room, event, encodeOnce(args)...)
}

// ForEach calls f for every admitted socket in the room. f runs outside of go-socket.io's
// locks and may do anything; Close waits until what was emitted is fetched, so `go c.Close()`
// holds up nobody else. ForEach reports whether the namespace exists.
func (s *Server) ForEach(nsp, room string, f socketio.EachFunc) bool {
	var conns []socketio.Conn
	exists := s.Server.ForEach(nsp, room, func(c socketio.Conn) { conns = append(conns, c) })
	var auth *Authorizer
	if s.keeps(nsp) {
		auth = s.namespace(nsp).server.auth
	}
	for _, c := range conns {
		if auth == nil {
			f(c)
		} else if sock := auth.enterHandler(c); sock != nil {
			sock.handle(func() { f(c) })
		}
	}
	return exists
}

// keeps reports whether the namespace was registered through a Server.
func (s *Server) keeps(name string) bool {
	name = normalise(name)
	found := false
	s.site.each(func(s *Server) {
		s.mu.Lock()
		defer s.mu.Unlock()
		found = found || s.namespaces[name] != nil
	})
	return found
}

// closeTimeout bounds Close.
const closeTimeout = 15 * time.Second

// Close shuts the server down: new clients get HTTP status 503, the connections are closed
// (clients will try to come back, as after a restart), and when all are gone and their
// OnDisconnect has run, go-socket.io's server is closed. It blocks while this goes on, at
// most 15 seconds, and returns an error if something was still open then; go-socket.io's
// server is left running in that case, because closing it would crash the process. Called
// in OnConnect or OnDisconnect it would wait for its own caller: use a goroutine there.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.hub.Drain(ctx); err != nil {
		return fmt.Errorf("socketiojwt: Close: connections are still open: %w", err)
	}
	var err error
	s.site.each(func(s *Server) {
		if waitErr := s.auth.sockets.wait(ctx); waitErr != nil {
			err = fmt.Errorf("socketiojwt: Close: OnDisconnect still runs: %w", waitErr)
		}
	})
	if closeErr := s.Server.Close(); err == nil {
		err = closeErr
	}
	return err
}
