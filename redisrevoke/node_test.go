//go:build unix

package redisrevoke_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

const secret = "a secret for tests, of 32 bytes or more"

func sign(tb testing.TB, claims jwt.MapClaims) string {
	tb.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// node is one of several servers that share revocations.
type node struct {
	*redisrevoke.Revocations
	auth *socketiojwt.Authorizer
	sio  *socketiojwt.Server
	log  *logged
	url  string
}

// single is for newNode.
func single(opts *socketiojwt.Options) { opts.SingleSession = true }

// newNode makes a node that does not listen yet.
func newNode(opts redisrevoke.Options, with ...func(*socketiojwt.Options)) (*node, error) {
	n := &node{log: new(logged)}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(n.log, nil))
	}
	var err error
	if n.Revocations, err = redisrevoke.New(opts); err != nil {
		return nil, err
	}
	options := socketiojwt.Options{
		Secret:      socketiojwt.StaticSecret(secret),
		Handshake:   true,
		Revocations: n.Revocations,
		Logger:      opts.Logger,
	}
	for _, f := range with {
		f(&options)
	}
	n.auth, err = socketiojwt.Authorize(options)
	if err != nil {
		return nil, err
	}
	n.sio = n.auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	n.sio.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	return n, nil
}

// stop closes the node, and reports what went wrong with that.
func (n *node) stop(tb testing.TB, served chan struct{}) {
	if err := n.sio.Close(); err != nil {
		tb.Error(err)
	}
	<-served
	_ = n.Close() // which may say that something is unsent
}

func startNode(tb testing.TB, s *server, opts redisrevoke.Options, with ...func(*socketiojwt.Options)) *node {
	tb.Helper()
	if opts.Dial == nil {
		opts.Dial = s.Dial
	}
	n, err := newNode(opts, with...)
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = n.sio.Serve()
	}()
	listener := httptest.NewServer(n.sio)
	n.url = listener.URL
	tb.Cleanup(func() {
		n.stop(tb, served)
		listener.Close()
	})
	return n
}

// ready waits until the node accepts new tokens.
func (n *node) ready(tb testing.TB) {
	tb.Helper()
	eventually(tb, "the node accepts new tokens", func() bool {
		revoked, err := n.revoked(jwt.RegisteredClaims{ID: "any"})
		return err == nil && !revoked
	})
}

func (n *node) revoked(claims jwt.RegisteredClaims) (bool, error) {
	return n.Revoked(context.Background(), &claims)
}

func (n *node) add(tb testing.TB, r socketiojwt.Revocation) {
	tb.Helper()
	if err := n.Add(context.Background(), lasting(r)); err != nil {
		tb.Fatal(err)
	}
}

// addAtLast is add after Redis has changed: what another node writes back makes a node wait once more.
func (n *node) addAtLast(tb testing.TB, r socketiojwt.Revocation) {
	tb.Helper()
	eventually(tb, "it is added", func() bool { return n.Add(context.Background(), lasting(r)) == nil })
}

func (n *node) kick(tb testing.TB, identity string, reason *socketiojwt.UnauthorizedError) {
	tb.Helper()
	if _, err := n.auth.DisconnectUser(context.Background(), identity, reason); err != nil {
		tb.Error(err)
	}
}

func lasting(r socketiojwt.Revocation) socketiojwt.Revocation {
	if r.Until.IsZero() {
		r.Until = time.Now().Add(time.Hour)
	}
	return r
}

// enter connects a client that is let in.
func (n *node) enter(tb testing.TB, raw string) (*siotest.Client, siotest.Must) {
	tb.Helper()
	return enter(tb, n.url, raw)
}

func enter(tb testing.TB, url, raw string) (*siotest.Client, siotest.Must) {
	tb.Helper()
	c, must := dial(tb, url, raw)
	must.NextRaw("40")
	alive(tb, must) // now it is in: what is revoked in between is checked again after CONNECT was sent
	return c, must
}

func dial(tb testing.TB, address, raw string) (*siotest.Client, siotest.Must) {
	tb.Helper()
	c := siotest.MustDial(tb, address, siotest.Options{Transport: "websocket", Query: url.Values{"token": {raw}}})
	return c, c.Must(tb)
}

const (
	saysRevoked = `{"message":"jwt revoked","code":"invalid_token","type":"UnauthorizedError"}`
	saysBusy    = `{"message":"server busy","code":"server_busy","type":"UnauthorizedError"}`
)

// refused requires that a new client is refused, and returns what it is told.
func (n *node) refused(tb testing.TB, raw, want string) {
	tb.Helper()
	_, must := dial(tb, n.url, raw)
	if p := must.Next(); p.Raw != "44"+want {
		tb.Errorf("the client got %s, want 44%s", p.Raw, want)
	}
}

// ended requires that a client's session is ended, for that reason.
func ended(tb testing.TB, must siotest.Must, code string) {
	tb.Helper()
	rest := must.Rest()
	if len(rest) != 2 || !strings.Contains(rest[0].Raw, `"code":"`+code+`"`) || rest[1].Raw != "41" {
		tb.Fatalf("got %v, want unauthorized with %s and 41", rest, code)
	}
}

// alive requires that a client's session is not ended.
func alive(tb testing.TB, must siotest.Must) {
	tb.Helper()
	must.Call("/", "echo", "still here")
}

type logged struct{ siotest.Log }

func (l *logged) has(part string) func() bool {
	return func() bool { return strings.Contains(l.String(), part) }
}
