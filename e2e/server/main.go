// Command server is what the tests in this folder talk to. Its one argument is
// a JSON config; it prints {"url": ...} once it listens, and stops on SIGTERM.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
	"github.com/googollee/go-socket.io/parser"
)

// config describes a server: one Authorizer for each entry of Auth, and the
// namespaces that none of them protects.
type config struct {
	Auth   []authConfig
	Public []string
	Pages  []string // other origins that CheckOrigin lets in, "*" for any; default: CheckOrigin is nil
	Hooks  bool     // no Protect, but the hooks of the first Authorizer on the root
	Gate   bool     // with Hooks: its Handler in front
	Echoes []string // more events, see echoes
	Auth0  bool     // the events of socketio-jwt's own tests

	Addr         string // to listen on; default: a free port
	ShutdownTime int    // in milliseconds: SIGTERM is Shutdown, and not Close
}

// authConfig has the fields of socketiojwt.Options, durations in milliseconds.
type authConfig struct {
	Namespaces []string // what Protect gets

	Secret        string // a shared secret or a PEM public key
	Callback      bool   // hand it out by a SecretFunc, see secretFunc
	FailedLookups int    // with Callback: how many fail before one works
	Handshake     bool
	Timeout       int
	Optional      bool

	HeaderRequired bool
	QueryParam     string
	Cookie         string
	AllowedOrigins []string

	Methods            []string
	Audience           string
	Issuer             string
	Subject            string
	Leeway             int
	ExpirationRequired bool
	RegisteredClaims   bool // NewClaims: jwt.RegisteredClaims
	Accept             bool // see accept

	CloseGrace    int
	KeepExpired   bool
	ExpiryWarning int
	Revocations   bool   // those of POST /revoke
	Redis         string // address of a Redis with revocations
	UserRoom      bool   // "user:" and the subject
	SingleSession bool
	MaxTokenBytes int
	MaxAttempts   int
	MaxPending    int
}

// stats is what GET /stats tells.
type stats struct {
	Requests      int      `json:"requests"`   // all to /socket.io/
	Handshakes    int      `json:"handshakes"` // those without a sid
	Preflights    int      `json:"preflights"` // those with the method OPTIONS
	Cookies       int      `json:"cookies"`    // those with a cookie
	Sockets       int      `json:"sockets"`    // engine sessions now
	Lookups       int      `json:"lookups"`
	Connected     []string `json:"connected"`    // namespaces whose OnConnect ran
	Disconnected  []string `json:"disconnected"` // namespaces whose OnDisconnect ran
	Authenticated []string `json:"authenticated"`
	Unauthorized  []string `json:"unauthorized"`
	Accepted      []string `json:"accepted"` // what Session.User() held in OnAuthenticated
	Errors        []string `json:"errors"`   // what OnError was told
	Early         uint64   `json:"early"`    // events that were dropped before authentication

	// How many words of `last words` were emitted before the token expired, by subject.
	Words map[string]int `json:"words"`
}

type server struct {
	hooks *socketiojwt.Authorizer // used one by one, and to be drained; nil: Protect is used

	mu    sync.Mutex
	stats stats

	config      config
	auths       []*socketiojwt.Authorizer
	revocations *socketiojwt.MemoryRevocations
}

func (s *server) note(f func(*stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: server CONFIG")
	}
	var c config
	decoder := json.NewDecoder(bytes.NewReader([]byte(os.Args[1])))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		log.Fatal("config: ", err)
	}
	if err := run(c); err != nil {
		log.Fatal(err)
	}
}

func run(c config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	s := &server{
		config: c,
		stats: stats{
			Connected: []string{}, Disconnected: []string{}, Authenticated: []string{}, Unauthorized: []string{}, Accepted: []string{},
			Errors: []string{}, Words: map[string]int{},
		},
		revocations: socketiojwt.NewMemoryRevocations(),
	}
	server := socketio.NewServer(socketiojwt.Harden(engineOptions(c.Pages)))
	sio, entry, err := s.wire(c, server)
	if err != nil {
		return err
	}
	go sio.Serve()

	mux := http.NewServeMux()
	mux.HandleFunc("/socket.io/", func(w http.ResponseWriter, r *http.Request) {
		s.note(func(st *stats) {
			st.Requests++
			if r.URL.Query().Get("sid") == "" {
				st.Handshakes++
			}
			if r.Method == http.MethodOptions {
				st.Preflights++
			}
			if r.Header.Get("Cookie") != "" {
				st.Cookies++
			}
		})
		entry.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		s.note(func(st *stats) {
			st.Sockets = server.Count()
			st.Early = 0
			for _, auth := range s.auths {
				st.Early += auth.Stats().EarlyEvents
			}
			json.NewEncoder(w).Encode(st)
		})
	})
	// POST /broadcast?namespace=/&room=lobby&event=news sends the body, a text.
	mux.HandleFunc("POST /broadcast", func(w http.ResponseWriter, r *http.Request) {
		var text string
		if err := json.NewDecoder(r.Body).Decode(&text); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		q := r.URL.Query()
		if room := q.Get("room"); room != "" {
			sio.BroadcastToRoom(q.Get("namespace"), room, q.Get("event"), text)
		} else {
			sio.BroadcastToNamespace(q.Get("namespace"), q.Get("event"), text)
		}
	})

	// POST /disconnect?subject=red&code=kicked answers with how many.
	mux.HandleFunc("POST /disconnect", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		var reason *socketiojwt.UnauthorizedError
		if code := q.Get("code"); code != "" {
			reason = &socketiojwt.UnauthorizedError{Code: code, Message: q.Get("message")}
		}
		n := 0
		for _, auth := range s.auths {
			n += auth.DisconnectSubject(q.Get("subject"), reason)
		}
		json.NewEncoder(w).Encode(n)
	})
	// POST /revoke?id=…, or ?subject=red
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		revocation := socketiojwt.Revocation{TokenID: q.Get("id"), Subject: q.Get("subject"), Until: time.Now().Add(time.Hour)}
		if err := s.revocations.Add(r.Context(), revocation); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})

	// POST /stop?words=200 sends that many numbers to each client of the root, then stops.
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, r *http.Request) {
		words, err := strconv.Atoi(r.URL.Query().Get("words"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for i := range words {
			sio.BroadcastToNamespace("/", "number", i)
		}
		stop()
	})

	// GET /ready asks whether new clients are welcome, as a load balancer does.
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() != nil {
			http.NotFound(w, r)
		}
	})

	listener, err := net.Listen("tcp", cmp.Or(c.Addr, "127.0.0.1:0"))
	if err != nil {
		return err
	}
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go web.Serve(listener)
	fmt.Printf("{\"url\":\"http://%s\"}\n", listener.Addr())

	<-ctx.Done()
	if c.ShutdownTime > 0 {
		grace, cancel := context.WithTimeout(context.Background(), time.Duration(c.ShutdownTime)*time.Millisecond)
		defer cancel()
		return errors.Join(sio.(*socketiojwt.Server).Shutdown(grace), web.Shutdown(grace))
	}
	if s.hooks != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = s.hooks.Drain(ctx)
	}
	if err == nil {
		err = sio.Close()
	}
	return errors.Join(err, web.Close())
}

// engineOptions lets pages of these origins in, and those of the own host.
func engineOptions(pages []string) *engineio.Options {
	if len(pages) == 0 {
		return nil
	}
	check := func(r *http.Request) bool {
		origin := r.Header.Get("Origin")
		return slices.Contains(pages, "*") || slices.Contains(pages, origin) || origin == "http://"+r.Host
	}
	return &engineio.Options{Transports: []transport.Transport{
		&polling.Transport{CheckOrigin: check},
		&websocket.Transport{CheckOrigin: check},
	}}
}

// socketServer is what *socketio.Server and *socketiojwt.Server have in common.
type socketServer interface {
	http.Handler
	Serve() error
	Close() error
	OnConnect(namespace string, f func(socketio.Conn) error)
	OnDisconnect(namespace string, f func(socketio.Conn, string))
	OnError(namespace string, f func(socketio.Conn, error))
	OnEvent(namespace, event string, f any)
	BroadcastToNamespace(namespace, event string, args ...any) bool
	BroadcastToRoom(namespace, room, event string, args ...any) bool
}

// wire puts the Authorizers of c in front of server. HTTP goes to entry.
func (s *server) wire(c config, server *socketio.Server) (sio socketServer, entry http.Handler, err error) {
	for i, ac := range c.Auth {
		auth, err := s.authorizer(ac)
		if err != nil {
			return nil, nil, err
		}
		if c.Hooks {
			entry = s.hook(server, auth, c.Gate)
			return server, entry, nil
		}
		protected := auth.Protect(server, ac.Namespaces...)
		namespaces := ac.Namespaces
		if i == 0 { // each of them serves HTTP for all
			sio = protected
			namespaces = append(namespaces, c.Public...)
		}
		for _, namespace := range namespaces {
			s.register(protected, auth, namespace)
		}
	}
	return sio, sio, nil
}

// hook uses the hooks of auth one by one.
func (s *server) hook(server *socketio.Server, auth *socketiojwt.Authorizer, gate bool) http.Handler {
	s.hooks = auth
	server.OnConnect("/", auth.OnConnect)
	server.OnEvent("/", "authenticate", auth.OnAuthenticate)
	server.OnDisconnect("/", auth.OnDisconnect)
	server.OnError("/", func(socketio.Conn, error) {})
	server.OnEvent("/", "whoami", auth.Guard(func(conn socketio.Conn) map[string]any { return identity(auth, conn) }))
	server.OnEvent("/", "last words", auth.Guard(func(conn socketio.Conn, end string, n int) { s.lastWords(auth, conn, end, n) }))
	if gate {
		return auth.Handler(server)
	}
	return server
}

func (s *server) authorizer(c authConfig) (*socketiojwt.Authorizer, error) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	opts := socketiojwt.Options{
		Secret:         socketiojwt.StaticSecret(c.Secret),
		Handshake:      c.Handshake,
		Timeout:        ms(c.Timeout),
		Optional:       c.Optional,
		HeaderRequired: c.HeaderRequired,
		QueryParam:     c.QueryParam,
		Cookie:         c.Cookie,
		AllowedOrigins: c.AllowedOrigins,
		Methods:        c.Methods,
		CloseGrace:     ms(c.CloseGrace),
		KeepExpired:    c.KeepExpired,
		ExpiryWarning:  ms(c.ExpiryWarning),
		MaxTokenBytes:  c.MaxTokenBytes,
		MaxAttempts:    c.MaxAttempts,
		MaxPending:     c.MaxPending,
		OnAuthenticated: func(conn socketio.Conn, session *socketiojwt.Session) {
			s.note(func(st *stats) {
				st.Authenticated = append(st.Authenticated, conn.Namespace()+" "+session.Subject())
				if user, ok := session.User().(string); ok {
					st.Accepted = append(st.Accepted, user)
				}
			})
		},
		OnUnauthorized: func(r *socketiojwt.Request, err *socketiojwt.UnauthorizedError) {
			s.note(func(st *stats) { st.Unauthorized = append(st.Unauthorized, r.Namespace+" "+err.Code) })
		},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	for _, option := range []struct {
		set    bool
		option func() jwt.ParserOption
	}{
		{c.Audience != "", func() jwt.ParserOption { return jwt.WithAudience(c.Audience) }},
		{c.Issuer != "", func() jwt.ParserOption { return jwt.WithIssuer(c.Issuer) }},
		{c.Subject != "", func() jwt.ParserOption { return jwt.WithSubject(c.Subject) }},
		{c.Leeway != 0, func() jwt.ParserOption { return jwt.WithLeeway(ms(c.Leeway)) }},
		{c.ExpirationRequired, jwt.WithExpirationRequired},
	} {
		if option.set {
			opts.ParserOptions = append(opts.ParserOptions, option.option())
		}
	}
	if c.Callback {
		opts.Secret = s.secretFunc(c.Secret, c.FailedLookups)
	}
	if c.RegisteredClaims {
		opts.NewClaims = func() jwt.Claims { return &jwt.RegisteredClaims{} }
	}
	if c.Accept {
		opts.Accept = accept
	}
	if c.Revocations {
		opts.Revocations = s.revocations
	}
	if c.Redis != "" {
		shared, err := redisrevoke.New(redisrevoke.Options{Dial: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", c.Redis)
		}})
		if err != nil {
			return nil, err
		}
		opts.Revocations = shared
	}
	opts.SingleSession = c.SingleSession
	if c.UserRoom {
		opts.UserRoom = func(session *socketiojwt.Session) string { return "user:" + session.Subject() }
	}
	auth, err := socketiojwt.Authorize(opts)
	s.auths = append(s.auths, auth)
	return auth, err
}

// secretFunc does what the token's `kid` asks for, so that a test chooses by
// the token it signs.
func (s *server) secretFunc(secret string, failures int) socketiojwt.SecretFunc {
	return func(ctx context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
		var lookup int
		s.note(func(st *stats) {
			st.Lookups++
			lookup = st.Lookups
		})
		if lookup <= failures {
			return nil, errors.New("internal: no connection to the store of secrets")
		}
		if claims, ok := token.Claims.(jwt.MapClaims); ok && claims["id"] == 555.0 { // socketio-jwt's tests
			return []byte("other"), nil
		}
		switch token.Header["kid"] {
		case "unknown":
			return nil, nil
		case "fails":
			return nil, errors.New("internal: the store of secrets said no")
		case "panics":
			panic("internal: a bug in the callback")
		case "slow":
			<-ctx.Done()
			return nil, ctx.Err()
		case "told":
			return nil, &socketiojwt.UnauthorizedError{Code: "tenant_closed", Message: "this tenant is closed"}
		case "rotated":
			return jwt.VerificationKeySet{Keys: []jwt.VerificationKey{[]byte("the secret of last month"), []byte(secret)}}, nil
		}
		return []byte(secret), nil
	}
}

// accept does what the token's claim `accept` asks for.
func accept(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
	claims, _ := token.Claims.(jwt.MapClaims)
	switch claims["accept"] {
	case "fails":
		return nil, errors.New("internal: the user table is gone")
	case "panics":
		panic("internal: a bug in the callback")
	case "told":
		return nil, &socketiojwt.UnauthorizedError{Code: "banned", Message: "you are banned"}
	}
	return fmt.Sprint("user ", claims["sub"]), nil
}

// register gives a namespace the events the tests use.
func (s *server) register(sio socketServer, auth *socketiojwt.Authorizer, namespace string) {
	sio.OnConnect(namespace, func(conn socketio.Conn) error {
		s.note(func(st *stats) { st.Connected = append(st.Connected, namespace) })
		session, _ := auth.Session(conn)
		if claims, _ := socketiojwt.ClaimsOf[jwt.MapClaims](session); claims["refuse"] == namespace {
			words, _ := claims["words"].(float64)
			for i := range int(words) {
				conn.Emit("number", i)
			}
			return errors.New("internal: not in this namespace")
		}
		conn.Join("lobby")
		conn.Emit("welcome", identity(auth, conn))
		if s.config.Auth0 {
			conn.Emit("hi")
			conn.Emit("hi admin")
		}
		return nil
	})
	sio.OnDisconnect(namespace, func(socketio.Conn, string) {
		s.note(func(st *stats) { st.Disconnected = append(st.Disconnected, namespace) })
	})
	sio.OnError(namespace, func(_ socketio.Conn, err error) {
		s.note(func(st *stats) { st.Errors = append(st.Errors, err.Error()) })
	})
	sio.OnEvent(namespace, "whoami", func(conn socketio.Conn) map[string]any { return identity(auth, conn) })
	sio.OnEvent(namespace, "echo", func(_ socketio.Conn, v any) any { return v })
	sio.OnEvent(namespace, "number", func(conn socketio.Conn, n int) { conn.Emit("number", n) })
	sio.OnEvent(namespace, "binary", func(conn socketio.Conn, n int, b *parser.Buffer) {
		conn.Emit("binary", n, &parser.Buffer{Data: b.Data})
	})
	sio.OnEvent(namespace, "ask me", func(conn socketio.Conn, question string) {
		conn.Emit("question", question, func(answer string) { conn.Emit("answered", answer) })
	})
	sio.OnEvent(namespace, "close me", func(conn socketio.Conn) { conn.Close() })
	sio.OnEvent(namespace, "last words", func(conn socketio.Conn, end string, n int) { s.lastWords(auth, conn, end, n) })
	sio.OnEvent(namespace, "panic", func(socketio.Conn) { panic("internal: a bug in a handler") })
	sio.OnEvent(namespace, "nothing", func(socketio.Conn, string) {})
	sio.OnEvent(namespace, "several", func(_ socketio.Conn, text string, n int) (int, []string, *parser.Buffer) {
		return n + 1, []string{text, text}, &parser.Buffer{Data: []byte(text)}
	})
	sio.OnEvent(namespace, "ask for bytes", func(conn socketio.Conn, n int, b *parser.Buffer) {
		conn.Emit("question", n, &parser.Buffer{Data: b.Data}, func(n int, b *parser.Buffer) {
			conn.Emit("answered", n, &parser.Buffer{Data: b.Data})
		})
	})
	s.echoes(sio, namespace)
	if s.config.Auth0 {
		sio.OnEvent(namespace, "echo", func(conn socketio.Conn, v any) { conn.Emit("echo-response", v) })
	}
}

// echoes registers the events of config.Echoes, which acknowledge what they get, and emit it
// under their own name.
func (s *server) echoes(sio socketServer, namespace string) {
	for _, event := range s.config.Echoes {
		sio.OnEvent(namespace, event, func(conn socketio.Conn, v any) any {
			conn.Emit(event, v)
			return v
		})
	}
}

// lastWords emits n numbers and bytes, and then brings the end about; for expiry numbers only, around the time of it.
func (s *server) lastWords(auth *socketiojwt.Authorizer, conn socketio.Conn, end string, n int) {
	session, _ := auth.Session(conn)
	expires := session.ExpiresAt()
	if end == "expiry" {
		time.Sleep(time.Until(expires) - 10*time.Millisecond)
	}
	inTime := 0
	for i := range n {
		conn.Emit("number", i)
		if time.Now().Before(expires) {
			inTime++
		}
	}
	if end != "expiry" {
		conn.Emit("binary", n, &parser.Buffer{Data: []byte("last")})
	}
	switch end {
	case "Close":
		conn.Close()
	case "go Close":
		go conn.Close()
	case "Disconnect":
		auth.Disconnect(func(other *socketiojwt.Session) bool { return other == session }, nil)
	case "DisconnectSubject":
		auth.DisconnectSubject(session.Subject(), nil)
	case "revocation":
		revocation := socketiojwt.Revocation{Subject: session.Subject(), Until: time.Now().Add(time.Hour)}
		if err := s.revocations.Add(context.Background(), revocation); err != nil {
			log.Print("revocation: ", err)
		}
	case "expiry":
		s.note(func(st *stats) { st.Words[session.Subject()] = inTime })
	default:
		log.Print("last words: no such end: ", end)
	}
}

func identity(auth *socketiojwt.Authorizer, conn socketio.Conn) map[string]any {
	who := map[string]any{"namespace": conn.Namespace(), "subject": nil}
	if session, ok := auth.Session(conn); ok {
		who["subject"] = session.Subject()
	}
	return who
}
