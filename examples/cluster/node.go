package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisadapter"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
)

const (
	tokenLife   = 15 * time.Minute
	maxTextSize = 500

	adapterLimit = 2 * time.Second // for Redis and the other nodes to answer
)

//go:embed static
var static embed.FS

// users and their passwords are demo data, see checkPassword.
var users = map[string]string{"red": "red-demo", "blue": "blue-demo"}

// config is what one node is told.
type config struct {
	name      string   // what the page calls this node
	others    []string // URLs of the other nodes' pages
	redis     string   // address
	clientDir string   // folder of the browser's socket.io.min.js
	secret    []byte   // of the tokens: the same for all nodes
}

// node is the whole server: its page, its login and its sockets.
type node struct {
	http.Handler
	config
	sio         *socketiojwt.Server
	revocations *redisrevoke.Revocations
}

type message struct {
	From string `json:"from"`
	Text string `json:"text"`
	Node string `json:"node"` // where From is connected
}

// userRoom is where all sockets of a user are, on all nodes.
func userRoom(user string) string { return "user:" + user }

// logoutRoom is where nodes put the sockets of a user that do not know the revocations, such as
// those of Node.
func logoutRoom(user string) string { return "logout:" + user }

func newNode(c config, log *slog.Logger) (*node, error) {
	dial := func(ctx context.Context) (redis.Conn, error) { return redis.DialContext(ctx, "tcp", c.redis) }
	revocations, err := redisrevoke.New(redisrevoke.Options{
		Dial:   dial,
		Prefix: "cluster-example",
		Logger: log,
	})
	if err != nil {
		return nil, err
	}
	n := &node{config: c, revocations: revocations}
	adapter := redisadapter.New(redisadapter.Options{Dial: dial, Timeout: adapterLimit, Logger: log})
	if err := n.setUp(adapter, log); err != nil {
		return nil, errors.Join(err, revocations.Close())
	}
	return n, nil
}

func (n *node) setUp(adapter socketiojwt.Adapter, log *slog.Logger) error {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:        socketiojwt.StaticSecret(n.secret),
		Handshake:     true,
		ParserOptions: []jwt.ParserOption{jwt.WithExpirationRequired()},
		Revocations:   n.revocations,
		UserRoom:      func(s *socketiojwt.Session) string { return userRoom(s.Subject()) },
		Logger:        log,
	})
	if err != nil {
		return err
	}

	n.sio = auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	n.sio.SetAdapter(adapter)
	n.sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject())
		return nil
	})
	n.sio.OnEvent("/", "chat", func(s socketio.Conn, text string) {
		text = strings.TrimSpace(text)
		if text == "" || len(text) > maxTextSize {
			return
		}
		session, _ := auth.Session(s)
		n.sio.BroadcastToNamespace("/", "chat", message{From: session.Subject(), Text: text, Node: n.name})
	})

	n.sio.ServeClient(os.DirFS(n.clientDir)) // /socket.io/socket.io.min.js

	files, err := fs.Sub(static, "static")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("GET /node", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, map[string]any{"name": n.name, "others": n.others})
	})
	mux.HandleFunc("POST /login", n.login)
	mux.Handle("GET /online", auth.Middleware(http.HandlerFunc(n.online)))
	mux.Handle("POST /logout-everywhere", auth.Middleware(http.HandlerFunc(n.logOutEverywhere)))
	mux.Handle("/socket.io/", n.sio)
	n.Handler = secureHeaders(mux)
	return nil
}

// Shutdown ends the sockets first; there is nobody to be told of a revocation after that.
func (n *node) Shutdown(ctx context.Context) error {
	return errors.Join(n.sio.Shutdown(ctx), n.revocations.Close())
}

// login answers {"user", "password"} with {"token"}.
func (n *node) login(w http.ResponseWriter, r *http.Request) {
	user, ok := checkPassword(w, r, users)
	if !ok {
		return
	}
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		ID:        rand.Text(),
		Subject:   user,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
	}).SignedString(n.secret)
	if err != nil {
		http.Error(w, "cannot sign a token", http.StatusInternalServerError)
		return
	}
	answerJSON(w, map[string]string{"token": token})
}

// online answers how many sockets the user of ?user= has, on all nodes.
func (n *node) online(w http.ResponseWriter, r *http.Request) {
	sockets, err := n.sio.In("/", userRoom(r.FormValue("user"))).CountAll(r.Context())
	if err != nil {
		http.Error(w, "not all nodes answer", http.StatusServiceUnavailable)
		return
	}
	answerJSON(w, map[string]int{"sockets": sockets})
}

// logOutEverywhere ends all sessions of the user, on all nodes, and makes their tokens
// worthless.
func (n *node) logOutEverywhere(w http.ResponseWriter, r *http.Request) {
	session, _ := socketiojwt.SessionFromContext(r.Context())
	err := n.revocations.Add(r.Context(), socketiojwt.Revocation{
		Subject: session.Subject(),
		Until:   time.Now().Add(tokenLife),
		Reason:  &socketiojwt.UnauthorizedError{Code: "logged_out", Message: "logged out everywhere"},
	})
	toldOthers := n.sio.In("/", logoutRoom(session.Subject())).DisconnectSockets(r.Context(), true)
	if errors.Join(err, toldOthers) != nil { // it is in force here, and the node goes on telling the others
		http.Error(w, "not everywhere yet", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// secureHeaders lets a page load its own files and talk to its own server, and
// nothing else.
func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
