package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

const (
	tokenLife    = 15 * time.Minute
	maxTextBytes = 500
)

// user is what a client gets to see of one.
type user struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// users and passwords stand for tables of your database. Keep a slow, salted hash of each
// password instead (argon2id, bcrypt).
var (
	users = map[string]*user{
		"red":  {"red", "red@example.com"},
		"blue": {"blue", "blue@example.com"},
	}
	passwords = map[string]string{"red": "red-demo", "blue": "blue-demo"}
)

type message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

// api is the whole server. Its routes and its sockets take the same tokens and see the same users,
// because one Authorizer looks after both.
type api struct {
	http.Handler
	sio    *socketiojwt.Server
	secret []byte
}

func newAPI(secret []byte) (*api, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:        socketiojwt.StaticSecret(secret),
		Handshake:     true,
		ParserOptions: []jwt.ParserOption{jwt.WithExpirationRequired()},
		Accept:        loadUser,
		UserRoom:      func(s *socketiojwt.Session) string { return roomOf(s.Subject()) },
	})
	if err != nil {
		return nil, err
	}

	a := &api{secret: secret, sio: auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))}
	a.sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Emit("welcome", session.User())
		return nil
	})

	protected := func(f http.HandlerFunc) http.Handler { return auth.Middleware(f) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", a.login)
	mux.Handle("GET /self", protected(a.self))
	mux.Handle("GET /users/{name}", protected(a.isConnected))
	mux.Handle("POST /users/{name}/messages", protected(a.send))
	mux.Handle("/socket.io/", a.sio)
	a.Handler = mux
	return a, nil
}

// roomOf names the room that all connections of a user are in.
func roomOf(name string) string { return "user:" + name }

// loadUser finds the user of a good token; one who was deleted since gets no further.
func loadUser(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
	name, err := token.Claims.GetSubject()
	if err != nil {
		return nil, err
	}
	u, found := users[name]
	if !found {
		return nil, &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeUnauthorized, Message: "no such user"}
	}
	return u, nil
}

// login answers {"user", "password"} with {"token"}.
func (a *api) login(w http.ResponseWriter, r *http.Request) {
	name, ok := checkPassword(w, r, passwords)
	if !ok {
		return
	}
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject:   name,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
	}).SignedString(a.secret)
	if err != nil {
		http.Error(w, "cannot sign a token", http.StatusInternalServerError)
		return
	}
	answerJSON(w, map[string]string{"token": token})
}

// self tells who is asking.
func (a *api) self(w http.ResponseWriter, r *http.Request) {
	answerJSON(w, userOf(r))
}

// isConnected tells how many connections a user has.
func (a *api) isConnected(w http.ResponseWriter, r *http.Request) {
	n := a.sio.RoomLen("/", roomOf(r.PathValue("name")))
	answerJSON(w, map[string]any{"connected": n > 0, "connections": n})
}

// send sends a text to all connections of a user.
func (a *api) send(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if users[name] == nil {
		http.Error(w, "no such user", http.StatusNotFound)
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTextBytes))
	if err != nil {
		http.Error(w, "the text is too long", http.StatusRequestEntityTooLarge)
		return
	}
	// Who says so is known from the token, never from the message.
	a.sio.BroadcastToRoom("/", roomOf(name), "message", message{From: userOf(r).Name, Text: string(text)})
	w.WriteHeader(http.StatusAccepted)
}

// userOf returns what loadUser found for the token of a protected request.
func userOf(r *http.Request) *user {
	session, _ := socketiojwt.SessionFromContext(r.Context())
	return session.User().(*user)
}
