package main

import (
	"crypto/rand"
	"embed"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

const (
	loginLife   = 12 * time.Hour // how long a token can be renewed before the password is asked again
	maxTextSize = 500
)

//go:embed static
var static embed.FS

// users and their passwords are demo data, see checkPassword.
var users = map[string]string{"red": "red-demo", "blue": "blue-demo"}

// chat is the whole server: its pages, its login and its sockets.
type chat struct {
	http.Handler
	sio         *socketiojwt.Server
	revocations socketiojwt.Revocations
	secret      []byte
	tokenLife   time.Duration
}

// claims are what a token says: who, until when, of which login, and since when. The names are those
// of OpenID Connect.
type claims struct {
	jwt.RegisteredClaims
	SID        string           `json:"sid"`
	LoggedInAt *jwt.NumericDate `json:"auth_time"`
}

type message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

func newChat(secret []byte, tokenLife time.Duration, clientDir string) (*chat, error) {
	revocations := socketiojwt.NewMemoryRevocations() // redisrevoke has one for several servers
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:        socketiojwt.StaticSecret(secret),
		Handshake:     true,
		ParserOptions: []jwt.ParserOption{jwt.WithExpirationRequired()},
		NewClaims:     func() jwt.Claims { return &claims{} },
		Revocations:   revocations,
		ExpiryWarning: time.Minute, // the page renews its token then
	})
	if err != nil {
		return nil, err
	}

	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	c := &chat{sio: sio, revocations: revocations, secret: secret, tokenLife: tokenLife}

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

	sio.ServeClient(os.DirFS(clientDir)) // /socket.io/socket.io.min.js

	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("POST /login", c.login)
	mux.Handle("POST /refresh", auth.Middleware(http.HandlerFunc(c.refresh)))
	mux.Handle("POST /logout", auth.Middleware(http.HandlerFunc(c.logout)))
	mux.Handle("/socket.io/", sio)
	c.Handler = secureHeaders(mux)
	return c, nil
}

// login answers {"user", "password"} with {"token", "expiresIn"}, in
// seconds.
func (c *chat) login(w http.ResponseWriter, r *http.Request) {
	if user, ok := checkPassword(w, r, users); ok {
		c.sendToken(w, user, rand.Text(), time.Now())
	}
}

// refresh answers a good token in the Authorization header with a newer one.
// Who steals a token could do the same, so this ends some time after the login.
func (c *chat) refresh(w http.ResponseWriter, r *http.Request) {
	session, _ := socketiojwt.SessionFromContext(r.Context())
	old, _ := socketiojwt.ClaimsOf[*claims](session)
	if old == nil || old.LoggedInAt == nil || time.Since(old.LoggedInAt.Time) > loginLife {
		http.Error(w, "log in again", http.StatusUnauthorized)
		return
	}
	c.sendToken(w, session.Subject(), old.SID, old.LoggedInAt.Time)
}

// logout revokes all tokens of the login that the token in the Authorization header comes from. Its
// sockets end, and other logins of the user stay.
func (c *chat) logout(w http.ResponseWriter, r *http.Request) {
	session, _ := socketiojwt.SessionFromContext(r.Context())
	old, _ := socketiojwt.ClaimsOf[*claims](session)
	if old == nil || old.SID == "" {
		http.Error(w, "a token without `sid`", http.StatusBadRequest)
		return
	}
	err := c.revocations.Add(r.Context(), socketiojwt.Revocation{
		SID:    old.SID,
		Until:  time.Now().Add(c.tokenLife + time.Minute), // a refresh may be under way
		Reason: &socketiojwt.UnauthorizedError{Code: "logged_out", Message: "you have logged out"},
	})
	if err != nil {
		http.Error(w, "cannot log out now", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *chat) sendToken(w http.ResponseWriter, user, sid string, loggedInAt time.Time) {
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		jwt.RegisteredClaims{
			Subject:   user,
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(c.tokenLife)),
		},
		sid,
		jwt.NewNumericDate(loggedInAt),
	}).SignedString(c.secret)
	if err != nil {
		http.Error(w, "cannot sign a token", http.StatusInternalServerError)
		return
	}
	answerJSON(w, map[string]any{"token": token, "expiresIn": c.tokenLife.Seconds()})
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
