package harness

import (
	"net/http"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
)

// HandshakeMode are the options of a server that wants a token in the handshake.
var HandshakeMode = socketiojwt.Options{Handshake: true}

// Authorize is socketiojwt.Authorize with Secret, unless the options have another.
func Authorize(tb testing.TB, opts socketiojwt.Options) *socketiojwt.Authorizer {
	tb.Helper()
	if opts.Secret == nil {
		opts.Secret = socketiojwt.StaticSecret(Secret)
	}
	a, err := socketiojwt.Authorize(opts)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// App is a protected server that listens, for as long as its test runs.
type App struct {
	*socketiojwt.Server
	Plain *socketio.Server // which Server protects
	Auth  *socketiojwt.Authorizer
	At    Place
	Web   *http.Server
}

// New makes an App that does not listen yet.
func New(tb testing.TB, at Place, opts socketiojwt.Options, engine *engineio.Options, namespaces ...string) *App {
	tb.Helper()
	s := &App{Plain: socketio.NewServer(engine), Auth: Authorize(tb, opts), At: at}
	s.Server = s.Auth.Protect(s.Plain, namespaces...)
	return s
}

// Start starts a server whose namespaces, all or the named ones, are protected. setup
// registers its handlers.
func Start(tb testing.TB, opts socketiojwt.Options, setup func(*App), namespaces ...string) *App {
	tb.Helper()
	return StartAt(tb, Loopback(tb), opts, setup, namespaces...)
}

// StartAt is Start at another place than the loopback interface.
func StartAt(tb testing.TB, at Place, opts socketiojwt.Options, setup func(*App), namespaces ...string) *App {
	tb.Helper()
	s := New(tb, at, opts, socketiojwt.Harden(nil), namespaces...)
	if setup != nil {
		setup(s)
	}
	s.Web = Serve(tb, s.Server, at, s.Server)
	return s
}

// Server is a socketio.Server or one that is protected.
type Server interface {
	Serve() error
	Close() error
	Count() int
}

// Serve serves handler and runs server, and after the test requires that no session is
// left.
func Serve(tb testing.TB, server Server, at Place, handler http.Handler) *http.Server {
	tb.Helper()
	web := &http.Server{Handler: handler}
	ServeWith(tb, server, at, web)
	return web
}

// ServeWith is Serve with settings of net/http's.
func ServeWith(tb testing.TB, server Server, at Place, web *http.Server) {
	tb.Helper()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve()
	}()
	go func() { _ = web.Serve(at.Listener) }()
	tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			tb.Error(err)
		}
		<-served
		_ = web.Close()
		Eventually(tb, "sessions are gone", func() bool { return server.Count() == 0 })
	})
}

// ServeHTTP serves handler. Who calls it closes the server.
func ServeHTTP(at Place, handler http.Handler) *http.Server {
	s := &http.Server{Handler: handler}
	go func() { _ = s.Serve(at.Listener) }()
	return s
}

// RegisterHooks registers an Authorizer's hooks for some namespaces.
func RegisterHooks(server *socketio.Server, auth *socketiojwt.Authorizer, namespaces ...string) {
	for _, name := range namespaces {
		server.OnConnect(name, auth.OnConnect)
		server.OnEvent(name, "authenticate", auth.OnAuthenticate)
		server.OnDisconnect(name, auth.OnDisconnect)
	}
}

// Chat registers what many tests use: a welcome, an echo, a broadcast.
func Chat(s *App) {
	s.OnConnect("/", func(c socketio.Conn) error {
		subject := "a guest"
		if session, ok := s.Auth.Session(c); ok {
			subject = session.Subject()
		}
		c.Emit("welcome", subject)
		return nil
	})
	s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	s.OnEvent("/", "all", func(_ socketio.Conn, text string) { s.BroadcastToNamespace("/", "all", text) })
}
