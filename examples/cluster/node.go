package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
)

const (
	clientFile  = "socket.io.slim.js"
	tokenLife   = 15 * time.Minute
	maxTextSize = 500
)

//go:embed static
var static embed.FS

// users is demo data. Keep a slow, salted hash of each password instead (argon2id, bcrypt).
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

// everybody is the room of all who are in. BroadcastToNamespace would use go-socket.io's
// adapter in the way that breaks it.
const everybody = "everybody"

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

	server := socketio.NewServer(socketiojwt.Harden(nil))
	if n.adapter, err = newAdapter(server, redisAddr); err != nil {
		return err
	}
	n.sio = auth.Protect(server)

	n.sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Join(everybody)
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
		if err := n.adapter.broadcast("/", everybody, "chat", said); err != nil {
			log.Error("cluster: chat", "error", err)
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
	return nil
}

// Close ends the sockets first; there is nobody to be told of a revocation after that.
func (n *node) Close() error {
	return errors.Join(n.sio.Close(), n.adapter.Close(), n.revocations.Close())
}

// login answers {"user", "password"} with {"token"}.
func (n *node) login(w http.ResponseWriter, r *http.Request) {
	// A form on another site cannot send this type without being asked first.
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		http.Error(w, "send JSON", http.StatusUnsupportedMediaType)
		return
	}
	var form struct{ User, Password string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&form); err != nil {
		http.Error(w, "not a login", http.StatusBadRequest)
		return
	}
	// The same time for a wrong password and for a user who does not exist.
	want, known := users[form.User]
	a, b := sha256.Sum256([]byte(form.Password)), sha256.Sum256([]byte(want))
	if same := subtle.ConstantTimeCompare(a[:], b[:]) == 1; !same || !known {
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
		return
	}
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		ID:        rand.Text(),
		Subject:   form.User,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
	}).SignedString(n.secret)
	if err != nil {
		http.Error(w, "cannot sign a token", http.StatusInternalServerError)
		return
	}
	answer(w, map[string]string{"token": token})
}

// online answers on how many nodes the user of ?user= is online.
func (n *node) online(w http.ResponseWriter, r *http.Request) {
	nodes, err := n.adapter.nodesWith("/", userRoom(r.FormValue("user")))
	if err != nil {
		http.Error(w, "the nodes cannot be asked", http.StatusServiceUnavailable)
		return
	}
	answer(w, map[string]int{"nodes": nodes})
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

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v)
}
