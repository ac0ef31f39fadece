package socketiojwt

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
)

// doorkeeper decides for one go-socket.io server who comes in, and is what the server's Servers
// know of each other. It is attached to the hub.
type doorkeeper struct {
	upstream *upstream.Server
	relay    relay

	mu      sync.Mutex
	servers []*Server

	preparing sync.Mutex
	prepared  atomic.Bool
	standIn   atomic.Bool // prepare made the root, because nobody registered one
	warned    atomic.Bool // see warnUnregistered
}

type doorkeeperKey struct{}

func makeDoorkeeper(u *upstream.Server) *doorkeeper {
	return u.Hub().Attach(doorkeeperKey{}, func() any {
		d := &doorkeeper{upstream: u}
		u.Sio().SetDoorkeeper(d)
		return d
	}).(*doorkeeper)
}

// doorkeeperOf returns nil where nothing is protected by Protect.
func doorkeeperOf(hub *transport.Hub) *doorkeeper {
	if hub == nil {
		return nil
	}
	s, _ := hub.Attach(doorkeeperKey{}, nil).(*doorkeeper)
	return s
}

func (d *doorkeeper) add(s *Server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, other := range d.servers {
		if s.protected == nil && other.protected == nil {
			panic("socketiojwt: Protect: every namespace of this server is protected already; name those that this Authorizer should protect, and call Harden for each server")
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
	d.servers = append(d.servers, s)
	d.prepared.Store(false)
}

func (s *Server) registered() map[string]*namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.namespaces)
}

// guard returns the Server that protects a namespace, by name or with all others, or nil.
func (d *doorkeeper) guard(name string) *Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all *Server
	for _, s := range d.servers {
		if slices.Contains(s.protected, name) {
			return s
		}
		if s.protected == nil {
			all = s
		}
	}
	return all
}

func (d *doorkeeper) rootGuard() *Authorizer {
	if s := d.guard(root); s != nil {
		return s.auth
	}
	return nil
}

// rootIsNotOf reports whether a protects something here, and it is not the root.
func (d *doorkeeper) rootIsNotOf(a *Authorizer) bool {
	if s := d.guard(root); s != nil {
		return s.auth != a
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.servers, func(s *Server) bool { return s.auth == a })
}

// names returns the registered namespaces besides the root.
func (d *doorkeeper) names() []string {
	if d == nil {
		return nil
	}
	var names []string
	d.each(func(s *Server) {
		s.mu.Lock()
		defer s.mu.Unlock()
		names = slices.AppendSeq(names, maps.Keys(s.namespaces))
	})
	names = slices.DeleteFunc(names, func(name string) bool { return name == root })
	slices.Sort(names)
	return names
}

func (d *doorkeeper) first() *Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.servers[0]
}

// each calls f for all Servers of the go-socket.io server.
func (d *doorkeeper) each(f func(*Server)) {
	d.mu.Lock()
	servers := slices.Clone(d.servers)
	d.mu.Unlock()
	for _, s := range servers {
		f(s)
	}
}

// prepare makes the namespaces that are protected by name. It makes the root where all are
// protected, and where there is none, so that forgetting to register a handler leaves nothing open.
func (d *doorkeeper) prepare() {
	if d.prepared.Load() {
		return
	}
	d.preparing.Lock()
	defer d.preparing.Unlock()
	d.each(func(s *Server) {
		for _, name := range s.protected {
			s.find(name)
		}
		if s.protected == nil {
			s.find(root)
		}
	})
	if d.upstream.Sio().Namespace(root) == nil && !d.upstream.HasPlain(root) {
		d.standIn.Store(true)
		d.first().find(root)
	}
	d.prepared.Store(true)
}

// giveWay takes the root of prepare away when the application has registered one on the plain
// server since.
func (d *doorkeeper) giveWay() {
	if !d.standIn.Load() || !d.upstream.HasPlain(root) || !d.standIn.CompareAndSwap(true, false) {
		return
	}
	d.upstream.Sio().Remove(root)
	keeper := d.first()
	keeper.mu.Lock()
	defer keeper.mu.Unlock()
	delete(keeper.namespaces, root)
}

// Opened makes the doorkeeper's half of a connection.
func (d *doorkeeper) Opened(c *sio.Conn) sio.Visitor {
	d.prepare()
	c.Client().Restrict(true)
	d.each(func(s *Server) { c.Wait(s.auth.opts.Timeout + graceTime) })
	return visitor{d, c}
}

// AllowsForeign keeps clients out of protected namespaces that nobody registered through a Server.
func (d *doorkeeper) AllowsForeign(name string) bool {
	guard := d.guard(name)
	if guard != nil && d.upstream.Serves(name) {
		guard.auth.warnUnregistered(name)
	}
	return guard == nil
}

// visitor is the doorkeeper's half of a connection: it finds the Authorizer of each socket.
type visitor struct {
	doorkeeper *doorkeeper
	conn       *sio.Conn
}

func (v visitor) NewSocket(s *sio.Socket) {
	ns := v.doorkeeper.find(s.Namespace())
	ns.server.auth.connectionFor(v.conn).newSocket(s, ns)
}

// Join decides about a socket, in a goroutine of its own where a callback of the application is
// asked.
func (v visitor) Join(s *sio.Socket) {
	sock := socketBehind(s)
	ns, auth := sock.ns, sock.conn.auth
	if ns.protected && !v.doorkeeper.warned.Load() && v.doorkeeper.upstream.HasPlain(s.Namespace()) {
		v.doorkeeper.warned.Store(true)
		auth.warnUnregistered(s.Namespace())
	}
	if ns.protected && auth.waits && (auth.opts.Handshake || s.Auth() != nil) {
		sock.decideInTurn()
	} else {
		sock.decide()
	}
}

// Intercept takes the `authenticate` of protected namespaces.
func (v visitor) Intercept(s *sio.Socket, event string, args json.RawMessage) bool {
	sock := socketBehind(s)
	if event != eventAuthenticate || !sock.ns.protected {
		return false
	}
	sock.intercept(args)
	return true
}

func (v visitor) Dropped(s *sio.Socket) { socketBehind(s).Dropped() }
func (v visitor) Left(s *sio.Socket)    { sock := socketBehind(s); sock.conn.left(sock) }

func (v visitor) OnConnect(s *sio.Socket)                   { socketBehind(s).onConnect() }
func (v visitor) OnDisconnect(s *sio.Socket, reason string) { socketBehind(s).onDisconnect(reason) }
func (v visitor) OnError(s *sio.Socket, err error)          { socketBehind(s).onError(err) }

func (v visitor) Panicked(s *sio.Socket, callback string, recovered any) {
	socketBehind(s).panicked(callback, recovered)
}

// socketBehind returns what newSocket made of s.
func socketBehind(s *sio.Socket) *socket { return s.Attached.(*socket) }

// find returns a namespace that is registered through a Server, or nil.
func (d *doorkeeper) find(name string) (found *namespace) {
	d.each(func(s *Server) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ns := s.namespaces[name]; ns != nil {
			found = ns
		}
	})
	return found
}
