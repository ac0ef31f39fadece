// Command client serves one page with a browser's client in both modes, each
// with a server of its own: how it sends the token, what it hears when it is
// refused, how it stays with a newer token, and how it comes back when one has
// expired. From this folder, after `npm ci` in examples/chat:
//
//	go run .
//
// The code to take away is the package in ../../client, and sign below.
package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"log"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/examples/internal/serve"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

//go:embed static
var static embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	client := flag.String("client", "", "folder of the browser's socket.io.js (default: where npm ci puts it in examples/chat)")
	tokenLife := flag.Duration("token-life", 20*time.Second, "how long a token is good")
	flag.Parse()

	dir, err := serve.ClientDir(*client)
	if err != nil {
		log.Fatal(err)
	}
	packageFile, err := serve.Find("client/browser.js")
	if err != nil {
		log.Fatal(err)
	}
	handler, sockets, err := newPage(*tokenLife, dir, packageFile)
	if err != nil {
		log.Fatal(err)
	}
	if err := serve.Run(*addr, handler, sockets); err != nil {
		log.Fatal(err)
	}
}

func newPage(tokenLife time.Duration, clientDir, packageFile string) (http.Handler, serve.Sockets, error) {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails; a restart makes every token worthless

	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("GET /"+serve.ClientFile, func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(clientDir, serve.ClientFile))
	})
	mux.HandleFunc("GET /socketiojwt.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, packageFile)
	})
	mux.Handle("POST /token", tokens(secret, tokenLife))

	var sockets servers
	for path, handshake := range map[string]bool{"/handshake/": true, "/roundtrip/": false} {
		sio, err := newServer(secret, handshake)
		if err != nil {
			return nil, nil, err
		}
		go sio.Serve()
		sockets = append(sockets, sio)
		mux.Handle(path, sio)
	}
	return serve.SecureHeaders(mux), sockets, nil
}

func newServer(secret []byte, handshake bool) (*socketiojwt.Server, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:        socketiojwt.StaticSecret(secret),
		Handshake:     handshake,
		ParserOptions: []jwt.ParserOption{jwt.WithExpirationRequired()},
		ExpiryWarning: 5 * time.Second, // a minute or so where tokens live for minutes
	})
	if err != nil {
		return nil, err
	}
	whoami := func(s socketio.Conn) string {
		session, _ := auth.Session(s)
		return session.Subject()
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnConnect("/", func(s socketio.Conn) error {
		s.Emit("welcome", whoami(s))
		return nil
	})
	sio.OnEvent("/", "whoami", whoami)
	return sio, nil
}

// tokens answers with {"token"}, and gives one to everybody who asks. Yours
// asks for a password before, or for whatever shows that somebody is logged in.
func tokens(secret []byte, life time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key, life := secret, life
		switch r.URL.Query().Get("kind") { // what the page wants to show
		case "none":
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		case "expired":
			life = -time.Minute
		case "forged":
			key = []byte("another secret, also of 32 bytes")
		}
		token, err := sign("a visitor", life, key)
		if err != nil {
			http.Error(w, "cannot sign a token", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		json.NewEncoder(w).Encode(map[string]string{"token": token})
	}
}

func sign(user string, life time.Duration, secret []byte) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		ID:        rand.Text(), // the `jti`, to revoke this token alone
		Subject:   user,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(life)),
	}).SignedString(secret)
}

// servers are shut down together.
type servers []*socketiojwt.Server

func (all servers) Shutdown(ctx context.Context) error {
	errs := make([]error, len(all))
	var group sync.WaitGroup
	for i, sio := range all {
		group.Go(func() { errs[i] = sio.Shutdown(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}
