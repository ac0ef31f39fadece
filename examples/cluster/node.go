package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
)

const (
	clientFile  = "socket.io.min.js"
	tokenLife   = 15 * time.Minute
	maxTextSize = 500
)

//go:embed static
var static embed.FS

// users and their passwords are demo data, see serve.Login.
var users = map[string]string{"red": "red-demo", "blue": "blue-demo"}

// node is the whole server: its page, its login and its sockets.
type node struct {
	http.Handler
	sio         *socketiojwt.Server
	revocations *redisrevoke.Revocations
	adapter     *adapter
	secret      []byte
}

type message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

func userRoom(user string) string { return "user:" + user }

func newNode(secret []byte, redisAddr, clientDir string, log *slog.Logger) (*node, error) {
	revocations, err := redisrevoke.New(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", redisAddr)
		},
		Prefix: "cluster-example",
		Logger: log,
	})
	if err != nil {
		return nil, err
	}
	n := &node{revocations: revocations, secret: secret}
	if err := n.setUp(redisAddr, clientDir, log); err != nil {
		return nil, errors.Join(err, revocations.Close())
	}
	return n, nil
}

func (n *node) setUp(redisAddr, clientDir string, log *slog.Logger) error {
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
		said := message{From: session.Subject(), Text: text}
		if err := n.adapter.broadcast("/", "", "chat", said); err != nil {
			log.Error("cluster: only this node heard it", "error", err)
		}
	})

	files, err := fs.Sub(static, "static")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("GET /"+clientFile, func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(clientDir, clientFile))
	})
	mux.HandleFunc("POST /login", n.login)
	mux.Handle("GET /online", auth.Middleware(http.HandlerFunc(n.online)))
	mux.Handle("POST /logout-everywhere", auth.Middleware(http.HandlerFunc(n.logOutEverywhere)))
	mux.Handle("/socket.io/", n.sio)
	n.Handler = mux
	n.adapter = newAdapter(n.sio, redisAddr, log)
	return nil
}

// Close ends the sockets first; there is nobody to be told of a revocation after that.
func (n *node) Close() error {
	return errors.Join(n.sio.Close(), n.adapter.Close(), n.revocations.Close())
}

// login answers {"user", "password"} with {"token"}.
func (n *node) login(w http.ResponseWriter, r *http.Request) {
	user, ok := serve.Login(w, r, users)
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
	serve.Answer(w, map[string]string{"token": token})
}

// online answers on how many nodes the user of ?user= is online.
func (n *node) online(w http.ResponseWriter, r *http.Request) {
	nodes, err := n.adapter.nodesWith(r.Context(), "/", userRoom(r.FormValue("user")))
	if err != nil {
		http.Error(w, "the nodes cannot be asked", http.StatusServiceUnavailable)
		return
	}
	serve.Answer(w, map[string]int{"nodes": nodes})
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
	if err != nil { // it is in force here, and the node goes on telling the others
		http.Error(w, "not everywhere yet", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
