package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"io/fs"
	"mime"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

const (
	clientFile  = "socket.io.slim.js"
	tokenLife   = 15 * time.Minute
	maxTextSize = 500
)

//go:embed static
var static embed.FS

// users is demo data. Keep a slow, salted hash of each password instead
// (argon2id, bcrypt).
var users = map[string]string{"red": "red-demo", "blue": "blue-demo"}

// chat is the whole server: its pages, its login and its sockets.
type chat struct {
	http.Handler
	sio    *socketiojwt.Server
	secret []byte
}

type message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

func newChat(secret []byte, clientDir string) (*chat, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:        socketiojwt.StaticSecret(secret),
		Handshake:     true,
		ParserOptions: []jwt.ParserOption{jwt.WithExpirationRequired()},
	})
	if err != nil {
		return nil, err
	}

	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	c := &chat{sio: sio, secret: secret}

	sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject())
		return nil
	})
	sio.OnEvent("/", "chat", func(s socketio.Conn, text string) {
		text = strings.TrimSpace(text)
		if text == "" || len(text) > maxTextSize {
			return
		}
		// Who says so is known from the token, never from the message.
		session, _ := auth.Session(s)
		sio.BroadcastToNamespace("/", "chat", message{From: session.Subject(), Text: text})
	})

	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("GET /"+clientFile, func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(clientDir, clientFile))
	})
	mux.HandleFunc("POST /login", c.login)
	mux.Handle("/socket.io/", sio)
	c.Handler = secureHeaders(mux)
	return c, nil
}

// login answers {"user", "password"} with {"token"}.
func (c *chat) login(w http.ResponseWriter, r *http.Request) {
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
	if !passwordIsRight(form.User, form.Password) {
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
		return
	}

	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject:   form.User,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
	}).SignedString(c.secret)
	if err != nil {
		http.Error(w, "cannot sign a token", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(map[string]string{"token": token})
}

// passwordIsRight takes the same time for a wrong password and for a user who
// does not exist.
func passwordIsRight(user, password string) bool {
	want, known := users[user]
	a, b := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(want))
	same := subtle.ConstantTimeCompare(a[:], b[:]) == 1
	return same && known
}

// secureHeaders lets the page load its own files and talk to its own server,
// and nothing else.
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
