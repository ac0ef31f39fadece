// Command client serves one page with a browser's client in both modes, each
// with a server of its own: how it sends the token, what it hears when it is
// refused, how it stays with a newer token, and how it comes back when one has
// expired:
//
//	npm ci
//	go run .
//
// The code to take away is static/socketiojwt.js, which is the package in client/ of the repository,
// and sign below.
package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// clientFile is the browser's socket.io client, as its package names it.
const clientFile = "socket.io.min.js"

//go:embed static
var static embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	client := flag.String("client", "node_modules/socket.io-client/dist", "folder of the browser's socket.io.min.js")
	tokenLife := flag.Duration("token-life", 20*time.Second, "how long a token is good")
	flag.Parse()

	if _, err := os.Stat(filepath.Join(*client, clientFile)); err != nil {
		log.Fatalf("%v: run `npm ci` in the folder of this example", err)
	}
	handler, sockets, err := newPage(*tokenLife, *client)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(*addr, handler, sockets.Shutdown); err != nil {
		log.Fatal(err)
	}
}

func newPage(tokenLife time.Duration, clientDir string) (http.Handler, servers, error) {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails; a restart makes every token worthless

	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("GET /"+clientFile, func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(clientDir, clientFile))
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
	return secureHeaders(mux), sockets, nil
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

// run answers HTTP until SIGINT or SIGTERM. Then shutdown sends the clients away; they come back by
// themselves when there is a server again.
func run(addr string, handler http.Handler, shutdown func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	fmt.Printf("Listening on http://%s (Ctrl-C stops it)\n", listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop() // a second signal ends the process at once

	// 20 seconds or so in production: the clients are sent away one after another.
	grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	// Before HTTP: polling clients fetch their last packets with new requests.
	err = shutdown(grace)
	if web.Shutdown(grace) != nil {
		_ = web.Close() // a browser has opened a connection ahead, and not used it
	}
	return err
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
