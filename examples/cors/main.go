// Command cors is a server for pages of other origins, which send the token in a header or a
// cookie:
//
//	JWT_SECRET='at least 32 random bytes' go run . -origins https://app.example.com,http://localhost:3000
//
// A page of such an origin (socket.io-client 2.x to 4.x; 3.x and 4.x may send { auth: { token } } instead):
//
//	const socket = io('http://127.0.0.1:8080', {
//		transportOptions: { polling: { extraHeaders: { Authorization: 'Bearer ' + token } } }
//	});
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
	"github.com/rs/cors"
)

// newServer returns a server for pages of these origins and of its own host, and no others.
func newServer(secret string, origins []string) (*socketiojwt.Server, http.Handler, error) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:         socketiojwt.StaticSecret(secret),
		Handshake:      true,
		Cookie:         "token",
		AllowedOrigins: origins,
	})
	if err != nil {
		return nil, nil, err
	}

	front := cors.New(cors.Options{
		AllowedOrigins:   origins, // never "*" together with AllowCredentials
		AllowedMethods:   []string{http.MethodGet, http.MethodPost},
		AllowedHeaders:   []string{"Authorization", "Content-Type"},
		AllowCredentials: true, // browsers add `withCredentials` to all polls of socket.io-client
		MaxAge:           600,  // else there is a preflight before every poll
	})

	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(&engineio.Options{
		Transports: []transport.Transport{
			&polling.Transport{}, // without CheckOrigin, which would send CORS headers of its own
			// CORS does not apply to WebSockets: any page may open one, and the server has to look
			// at the origin itself.
			&websocket.Transport{CheckOrigin: func(r *http.Request) bool {
				return front.OriginAllowed(r) || isOwn(r)
			}},
		},
	})))
	sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject())
		return nil
	})

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", sio)
	mux.Handle("GET /self", auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := socketiojwt.SessionFromContext(r.Context())
		io.WriteString(w, session.Subject())
	})))
	return sio, front.Handler(mux), nil
}

// isOwn is for pages of the server's own host, and for clients that are no browsers.
func isOwn(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	_, host, isPage := strings.Cut(origin, "://")
	return origin == "" || (isPage && strings.EqualFold(host, r.Host))
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	origins := flag.String("origins", "http://localhost:3000", "origins whose pages may connect, with commas between them")
	flag.Parse()

	sio, handler, err := newServer(os.Getenv("JWT_SECRET"), strings.Split(*origins, ","))
	if err != nil {
		log.Fatal(err)
	}
	go sio.Serve()
	if err := run(*addr, handler, sio.Shutdown); err != nil {
		log.Fatal(err)
	}
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
