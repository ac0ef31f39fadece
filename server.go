package socketiojwt

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
	socketio "github.com/googollee/go-socket.io"
)

// Server is a go-socket.io server whose namespaces are authenticated. It is used where the
// go-socket.io server was used: to register handlers, to broadcast, and as the http.Handler.
// Protect makes one.
//
// Handlers that are registered through a Server for a protected namespace see authenticated sockets
// only (and guests, with Optional). Other namespaces may be registered through it as well. The
// sockets and rooms of all these namespaces are this package's: handlers and hooks may Emit, Join,
// Broadcast and Close, from any goroutine. Handlers that are registered on the go-socket.io server
// itself are not protected, and stay go-socket.io's.
//
// The methods of Server are safe for concurrent use.
type Server struct {
	plain      *socketio.Server
	auth       *Authorizer
	upstream   *upstream.Server
	doorkeeper *doorkeeper
	protected  []string // nil: every namespace
	gate       *gate
	mu         sync.Mutex
	namespaces map[string]*namespace
}

// Protect returns server with its namespaces authenticated. namespaces are the protected ones; the
// root is "/". Without namespaces all are protected, and only those exist that are registered
// through the result. Several Authorizers may protect different namespaces of one server. Any of
// the results serves HTTP for all of them, and registers handlers for all of them.
//
// Use the result wherever server was used, from before the first handler is registered. Where the
// hooks of a protected namespace are registered on server itself, they are never called. Namespaces
// that are registered on server and not protected stay as they are.
//
// Protect panics when server was not made with Harden's options, when a name does not start with a
// slash, when another Authorizer protects one of the namespaces, and when a namespace was
// registered through an earlier result. These are mistakes in the program, as a wrong pattern is
// for http.Handle.
func (a *Authorizer) Protect(server *socketio.Server, namespaces ...string) *Server {
	found := upstream.Probe(server)
	if found == nil {
		panic("socketiojwt: Protect needs the transports of Harden; make the server with " + hardenedServer)
	}
	found.SetPlain(server)
	s := &Server{
		plain:      server,
		auth:       a,
		upstream:   found,
		doorkeeper: makeDoorkeeper(found),
		namespaces: make(map[string]*namespace),
	}
	for _, name := range namespaces {
		name = normalise(name)
		if !strings.HasPrefix(name, root) {
			panic(fmt.Sprintf("socketiojwt: Protect: namespace %q can never be joined; write %q", name, root+name))
		}
		s.protected = append(s.protected, name)
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { found.Serve(w, r, server) })
	s.gate = &gate{next, found.Hub(), a, s.doorkeeper.rootGuard}
	s.doorkeeper.add(s)
	a.observe(found.Hub())
	return s
}

const hardenedServer = "socketio.NewServer(socketiojwt.Harden(nil))"

// namespace returns a namespace, and makes it the first time.
func (s *Server) namespace(name string) *namespace {
	name = normalise(name)
	if name == root {
		s.doorkeeper.standIn.Store(false)
	}
	return s.find(name)
}

func (s *Server) find(name string) *namespace {
	guard := s.doorkeeper.guard(name)
	if guard != nil && guard != s {
		return guard.find(name)
	}
	keeper := s
	if guard == nil {
		keeper = s.doorkeeper.first() // one keeper for public namespaces, whoever asks
	}
	return keeper.keep(name, guard != nil)
}

func (s *Server) keep(name string, protected bool) *namespace {
	s.mu.Lock()
	ns := s.namespaces[name]
	known := ns != nil
	if !known {
		ns = &namespace{protected: protected, server: s, sio: s.upstream.Sio().Add(name)}
		s.namespaces[name] = ns
	}
	s.mu.Unlock()
	if adapter := s.doorkeeper.adapter(); !known && adapter != nil {
		adapter.AddNamespace(name)
	}
	if !known && !strings.HasPrefix(name, root) {
		s.auth.warnNoSlash(name)
	}
	if !known && !protected {
		s.auth.log.Info("socketiojwt: a namespace is public", "namespace", name)
	}
	return ns
}

// OnConnect sets the function that runs when a socket of the namespace was admitted: when its
// client is authenticated, or a guest. f runs in a goroutine of its own and may block, Emit and
// Join; events of the socket wait until it returns. An error refuses the socket in this namespace:
// after what was emitted, the client is told `unauthorized`, or what an *UnauthorizedError says.
// The other namespaces of the connection stay, unless this is the root. A panic counts as an error.
func (s *Server) OnConnect(nsp string, f func(socketio.Conn) error) {
	s.namespace(nsp).set(func(ns *namespace) { ns.onConnect = f })
}

// OnDisconnect sets the function that runs once when a socket has ended whose OnConnect succeeded,
// in a goroutine of its own.
func (s *Server) OnDisconnect(nsp string, f func(socketio.Conn, string)) {
	s.namespace(nsp).set(func(ns *namespace) { ns.onDisconnect = f })
}

// OnError sets the function that is told of errors of sockets whose OnConnect succeeded: arguments
// of an event that do not fit its handler, and values that cannot be encoded. The event is dropped.
// f runs where handlers do. Without f, such errors are logged.
func (s *Server) OnError(nsp string, f func(socketio.Conn, error)) {
	s.namespace(nsp).set(func(ns *namespace) { ns.onError = f })
}

// OnEvent sets the handler of an event, for admitted sockets only. f is what go-socket.io takes:
// func(socketio.Conn, arguments...) with or without results, which acknowledge the event. The event
// `authenticate` of a protected namespace belongs to the Authorizer: OnEvent panics.
func (s *Server) OnEvent(nsp, event string, f any) {
	ns := s.namespace(nsp)
	if ns.protected && event == eventAuthenticate {
		panic("socketiojwt: OnEvent: `authenticate` is handled by the Authorizer; use Options.OnAuthenticated or OnConnect")
	}
	ns.sio.OnEvent(event, f)
}

// Serve runs the server until Close. It then returns an error, as go-socket.io's Serve does.
func (s *Server) Serve() error {
	s.doorkeeper.prepare()
	s.doorkeeper.serve()
	return s.plain.Serve()
}

// ServeHTTP serves Engine.IO requests and the files of ServeClient, behind the gate that
// Authorizer.Handler describes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if upstream.IsProbe(r) {
		s.plain.ServeHTTP(w, r)
		return
	}
	s.doorkeeper.prepare()
	s.doorkeeper.giveWay()
	s.gate.ServeHTTP(w, r)
}

// Adapter always returns an error: go-socket.io's Redis adapter does not know the rooms of this
// Server. See SetAdapter.
func (s *Server) Adapter(*socketio.RedisAdapterOptions) (bool, error) {
	return false, errors.New("socketiojwt: Adapter: go-socket.io's Redis adapter does not reach the rooms of this Server; use SetAdapter with redisadapter.New")
}
