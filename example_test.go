package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
)

func Example() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    socketiojwt.StaticSecret("your secret of 32 bytes, or public key"),
		Handshake: true, // false: wait for an `authenticate` event
	})
	if err != nil {
		log.Fatal(err)
	}

	server := socketio.NewServer(socketiojwt.Harden(nil)) // was: socketio.NewServer(nil)
	sio := auth.Protect(server)                           // the drop-in: use sio where server was used

	sio.OnConnect("/", func(s socketio.Conn) error { // runs once the socket is authenticated
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject())
		return nil
	})
	sio.OnEvent("/", "chat", func(s socketio.Conn, msg string) { // never runs before that
		sio.BroadcastToNamespace("/", "chat", msg)
	})

	go sio.Serve()
	defer sio.Close()

	http.Handle("/socket.io/", sio) // bad tokens stop here, before a session exists
	fmt.Println("listen with http.ListenAndServe")
	// Output: listen with http.ListenAndServe
}

// What the examples below share: a secret, and a server and a client in this process. ---------

var exampleSecret = socketiojwt.StaticSecret("a secret of thirty-two bytes, or so")

func exampleToken(claims jwt.MapClaims) string {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("a secret of thirty-two bytes, or so"))
	if err != nil {
		log.Fatal(err)
	}
	return token
}

// listen serves until stop is called.
func listen(sio harness.Server, handler http.Handler) (address string, stop func()) {
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = sio.Serve()
	}()
	web := httptest.NewServer(handler)
	return web.URL, func() {
		_ = sio.Close()
		<-served
		web.Close()
	}
}

// exampleClient prints what a client sees.
type exampleClient struct{ *siotest.Client }

func connect(address, token string) exampleClient {
	o := siotest.Options{Transport: "websocket"}
	if token != "" {
		o.Query = harness.WithToken(token)
	}
	c, err := siotest.Dial(context.Background(), address, o)
	if err != nil {
		log.Fatal(err)
	}
	return exampleClient{c}
}

// sees prints the next packets, with their data.
func (c exampleClient) sees(n int) {
	for range n {
		p, err := c.Next(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		what := []string{"connect", "disconnect", "event", "ack", "error"}[p.Type]
		fmt.Println(strings.TrimSpace("client: " + what + " " + string(p.Data)))
	}
}

// ---------------------------------------------------------------------------------------------

func ExampleAuthorize() {
	_, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:         socketiojwt.StaticSecret("a secret of thirty-two bytes, or so"),
		HeaderRequired: true,
	})
	fmt.Println(err)
	// Output: socketiojwt: HeaderRequired: needs Handshake: the round trip takes the token from an event; set Handshake, or remove HeaderRequired
}

// The handshake: the token comes with the request that opens the connection.
func ExampleAuthorizer_Protect() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: exampleSecret, Handshake: true})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		s.Emit("welcome", session.Subject())
		return nil
	})
	address, stop := listen(sio, sio)
	defer stop()

	connect(address, exampleToken(jwt.MapClaims{"sub": "bob"})).sees(2)
	connect(address, exampleToken(jwt.MapClaims{"sub": "bob", "exp": 1})).sees(2)
	// Output:
	// client: connect
	// client: event ["welcome","bob"]
	// client: error {"message":"jwt expired","code":"invalid_token","type":"UnauthorizedError"}
	// client: disconnect
}

// The round trip: the client connects, then sends the token.
func ExampleAuthorizer_Protect_roundTrip() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: exampleSecret})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnEvent("/", "whoami", func(s socketio.Conn) string {
		session, _ := auth.Session(s)
		return session.Subject()
	})
	address, stop := listen(sio, sio)
	defer stop()

	client := connect(address, "")
	client.sees(1)
	client.Emit("/", "authenticate", map[string]string{"token": exampleToken(jwt.MapClaims{"sub": "bob"})})
	client.sees(1)
	client.EmitAck("/", "whoami")
	client.sees(1)

	stranger := connect(address, "")
	stranger.EmitAck("/", "whoami") // is dropped: nobody listens yet
	stranger.Emit("/", "authenticate", map[string]string{"token": "nonsense"})
	stranger.sees(3)
	// Output:
	// client: connect
	// client: event ["authenticated"]
	// client: ack ["bob"]
	// client: connect
	// client: event ["unauthorized",{"message":"jwt malformed","data":{"message":"jwt malformed","code":"invalid_token","type":"UnauthorizedError"}}]
	// client: disconnect
}

// The root is public, and only /admin is protected.
func ExampleAuthorizer_Protect_namespaces() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: exampleSecret})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)), "/admin")
	sio.OnEvent("/", "time", func(socketio.Conn) string { return "late" })
	sio.OnEvent("/admin", "shutdown", func(socketio.Conn) string { return "done" })
	address, stop := listen(sio, sio)
	defer stop()

	client := connect(address, "")
	client.EmitAck("/", "time")
	client.sees(2)
	client.Join("/admin")
	client.EmitAck("/admin", "shutdown") // is dropped: nobody listens yet
	client.Emit("/admin", "authenticate", map[string]string{"token": "nonsense"})
	client.sees(3)
	// Output:
	// client: connect
	// client: ack ["late"]
	// client: connect
	// client: event ["unauthorized",{"message":"jwt malformed","data":{"message":"jwt malformed","code":"invalid_token","type":"UnauthorizedError"}}]
	// client: disconnect
}

// The settings of go-socket.io's transports stay: the imports are
// github.com/googollee/go-socket.io/engineio, and transport, transport/polling and
// transport/websocket below it.
func ExampleHarden() {
	fromOurApp := func(r *http.Request) bool { return r.Header.Get("Origin") == "https://app.example.com" }
	server := socketio.NewServer(socketiojwt.Harden(&engineio.Options{
		PingTimeout: 30 * time.Second,
		Transports: []transport.Transport{
			&polling.Transport{CheckOrigin: fromOurApp},
			&websocket.Transport{CheckOrigin: fromOurApp}, // nil: pages of the server's own host only
		},
	}, socketiojwt.Limits{MessageBytes: 4 << 20}))

	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: exampleSecret, Handshake: true})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(server)
	sio.OnConnect("/", func(socketio.Conn) error { return nil })
	address, stop := listen(sio, sio)
	defer stop()

	for _, origin := range []string{"https://app.example.com", "https://elsewhere.example"} {
		client, err := siotest.Dial(context.Background(), address, siotest.Options{
			Transport: "websocket",
			Query:     harness.WithToken(exampleToken(jwt.MapClaims{"sub": "bob"})),
			Header:    http.Header{"Origin": {origin}},
		})
		fmt.Println(origin, err == nil)
		if err == nil {
			client.Close()
		}
	}
	// Output:
	// https://app.example.com true
	// https://elsewhere.example false
}

// The hooks one by one, on a server of one's own.
func ExampleAuthorizer_Guard() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: exampleSecret, Handshake: true})
	if err != nil {
		log.Fatal(err)
	}
	server := socketio.NewServer(socketiojwt.Harden(nil))
	server.OnConnect("/", auth.OnConnect)
	server.OnEvent("/", "authenticate", auth.OnAuthenticate)
	server.OnDisconnect("/", auth.OnDisconnect)
	server.OnEvent("/", "whoami", auth.Guard(func(s socketio.Conn) string {
		session, _ := auth.Session(s)
		return session.Subject()
	}))
	address, stop := listen(server, auth.Handler(server))
	defer stop() // which closes server

	client := connect(address, exampleToken(jwt.MapClaims{"sub": "bob"}))
	client.EmitAck("/", "whoami")
	client.sees(2)

	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := auth.Drain(ctx); err != nil { // before server.Close()
		log.Fatal(err)
	}
	<-client.Done()
	fmt.Println("client:", client.CloseReason())
	// Output:
	// client: connect
	// client: ack ["bob"]
	// client: transport close
}

// Each tenant has a secret of its own.
func ExampleSecretFunc() {
	secrets := map[string]string{"north": "the secret of north, of 32 bytes or more"}
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Handshake: true,
		Secret: socketiojwt.SecretFunc(func(ctx context.Context, r *socketiojwt.Request, token *jwt.Token) (any, error) {
			// Nothing of the token is verified yet: it may choose the secret, and nothing else.
			tenant, _ := token.Header["kid"].(string)
			secret, ok := secrets[tenant]
			if !ok {
				return nil, &socketiojwt.UnauthorizedError{Code: "unknown_tenant", Message: "no such tenant"}
			}
			return secret, nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	address, stop := listen(sio, sio)
	defer stop()

	for _, tenant := range []string{"north", "west"} {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "bob"})
		token.Header["kid"] = tenant
		raw, err := token.SignedString([]byte(secrets["north"]))
		if err != nil {
			log.Fatal(err)
		}
		connect(address, raw).sees(1)
	}
	// Output:
	// client: connect
	// client: error {"message":"no such tenant","code":"unknown_tenant","type":"UnauthorizedError"}
}

// The claims as a type of one's own.
func ExampleClaimsOf() {
	type claims struct {
		jwt.RegisteredClaims
		Role string `json:"role"`
	}
	auth, err := socketiojwt.Authorize(socketiojwt.Options{
		Secret:    exampleSecret,
		Handshake: true,
		NewClaims: func() jwt.Claims { return &claims{} },
	})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	sio.OnConnect("/", func(s socketio.Conn) error {
		session, _ := auth.Session(s)
		claims, _ := socketiojwt.ClaimsOf[*claims](session)
		s.Emit("welcome", claims.Role)
		return nil
	})
	address, stop := listen(sio, sio)
	defer stop()

	connect(address, exampleToken(jwt.MapClaims{"sub": "bob", "role": "editor"})).sees(2)
	// Output:
	// client: connect
	// client: event ["welcome","editor"]
}

func ExampleAuthorizer_DisconnectUser() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: exampleSecret, Handshake: true})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	connected := make(chan bool)
	sio.OnConnect("/", func(socketio.Conn) error { connected <- true; return nil })
	address, stop := listen(sio, sio)
	defer stop()

	client := connect(address, exampleToken(jwt.MapClaims{"sub": "bob"}))
	<-connected
	for session := range auth.Sessions() {
		fmt.Println("connected:", session.Identity())
	}
	n, err := auth.DisconnectUser(context.Background(), "bob", &socketiojwt.UnauthorizedError{Code: "logged_out", Message: "you have logged out"})
	fmt.Println("ended:", n, err)
	client.sees(3)
	// Output:
	// connected: bob
	// ended: 1 <nil>
	// client: connect
	// client: event ["unauthorized",{"message":"you have logged out","data":{"message":"you have logged out","code":"logged_out","type":"UnauthorizedError"}}]
	// client: disconnect
}

// Log out everywhere: all tokens that a subject was issued up to now are good no longer.
func ExampleRevocations() {
	revocations := socketiojwt.NewMemoryRevocations()
	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: exampleSecret, Handshake: true, Revocations: revocations})
	if err != nil {
		log.Fatal(err)
	}
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	connected := make(chan bool)
	sio.OnConnect("/", func(socketio.Conn) error { connected <- true; return nil })
	address, stop := listen(sio, sio)
	defer stop()

	token := exampleToken(jwt.MapClaims{"sub": "bob", "iat": time.Now().Unix()})
	client := connect(address, token)
	<-connected
	const longestLifeOfAToken = 24 * time.Hour
	err = revocations.Add(context.Background(), socketiojwt.Revocation{
		Subject: "bob",
		Until:   time.Now().Add(longestLifeOfAToken),
	})
	if err != nil {
		log.Fatal(err)
	}
	client.sees(3)
	connect(address, token).sees(1)
	// Output:
	// client: connect
	// client: event ["unauthorized",{"message":"jwt revoked","data":{"message":"jwt revoked","code":"invalid_token","type":"UnauthorizedError"}}]
	// client: disconnect
	// client: error {"message":"jwt revoked","code":"invalid_token","type":"UnauthorizedError"}
}

func ExampleAuthorizer_Middleware() {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: exampleSecret})
	if err != nil {
		log.Fatal(err)
	}
	self := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := socketiojwt.SessionFromContext(r.Context())
		fmt.Fprint(w, "hello ", session.Subject())
	}))

	for _, authorization := range []string{"Bearer " + exampleToken(jwt.MapClaims{"sub": "bob"}), ""} {
		r := httptest.NewRequest(http.MethodGet, "/self", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		self.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 hello bob
	// 401 {"message":"no token provided","code":"credentials_required","type":"UnauthorizedError"}
}

func ExampleUnauthorizedError() {
	var err error = &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeInvalidToken, Message: "jwt expired"}
	fmt.Println(errors.Is(err, &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeInvalidToken}))
	fmt.Println(errors.Is(err, &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeTimeout}))
	// Output:
	// true
	// false
}

func ExampleServer_Close() {
	auth, _ := socketiojwt.Authorize(socketiojwt.Options{Secret: socketiojwt.StaticSecret("a secret of at least thirty-two bytes")})
	sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	go sio.Serve()
	fmt.Println(sio.Close()) // returns when every OnDisconnect has run
	// Output: <nil>
}
