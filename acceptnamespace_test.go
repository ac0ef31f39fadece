package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// enterAs connects a client of a version with bob's token, in either mode, up to what answers it.
func enterAs(t *testing.T, s *testServer, version int, transport string, handshake bool) siotest.Must {
	t.Helper()
	o := siotest.Options{Version: version, Transport: transport}
	if handshake && version == 3 {
		o = bob(t, transport)
	}
	_, must := s.dial(t, o)
	switch {
	case version == 3 && !handshake:
		must.Connected("/")
		must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
	case version == 4:
		must.JoinWith("/", auth{"token": tokenOf(t, "bob")})
	}
	return must
}

func eachWay(t *testing.T, f func(t *testing.T, version int, transport string, handshake bool)) {
	for _, version := range []int{3, 4} {
		for _, transport := range transports {
			for _, handshake := range []bool{true, false} {
				t.Run(fmt.Sprintf("EIO=%d/%s/handshake=%t", version, transport, handshake), func(t *testing.T) {
					f(t, version, transport, handshake)
				})
			}
		}
	}
}

// Each protected namespace that a client joins is asked for, in either mode, and a refusal there is that
// of the one namespace.
func TestAcceptNamespace(t *testing.T) {
	eachWay(t, func(t *testing.T, version int, transport string, handshake bool) {
		var asked, ran record
		s := start(t, socketiojwt.Options{
			Handshake: handshake,
			AcceptNamespace: func(_ context.Context, s *socketiojwt.Session, namespace string) error {
				asked.add("%s %s", s.Subject(), namespace)
				switch namespace {
				case "/admin":
					return &socketiojwt.UnauthorizedError{Code: "no_admin", Message: "not an admin"}
				case "/broken":
					return errors.New("internal")
				case "/panics":
					panic("internal")
				}
				return nil
			},
		}, func(s *testServer) {
			for _, namespace := range []string{"/", "/chat", "/admin", "/broken", "/panics"} {
				s.OnConnect(namespace, func(c socketio.Conn) error { ran.add("%s", namespace); return nil })
				s.OnEvent(namespace, "echo", func(_ socketio.Conn, text string) string { return text })
			}
		})
		must := enterAs(t, s, version, transport, handshake)
		if version == 4 || handshake {
			must.Connected("/")
		}
		if !handshake {
			must.Event("/", "authenticated")
		}
		must.Call("/", "echo", "x")
		must.Join("/chat")
		must.Connected("/chat")
		must.Call("/chat", "echo", "x")
		for name, want := range map[string]*socketiojwt.UnauthorizedError{
			"/admin":  {Code: "no_admin", Message: "not an admin"},
			"/broken": {Code: "unauthorized", Message: "unauthorized"},
			"/panics": {Code: "unauthorized", Message: "unauthorized"},
		} {
			for range 2 {
				must.Join(name)
				e := fmt.Sprintf(`{"message":%q,"code":%q,"type":"UnauthorizedError"}`, want.Message, want.Code)
				if version == 4 {
					must.NextRaw("44" + name + "," + contract(want.Code, want.Message))
				} else {
					must.NextRaw("44" + name + "," + e)
					must.NextRaw("41" + name)
				}
			}
		}
		must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")}) // is no joining
		must.Event("/", "authenticated")
		must.Call("/chat", "echo", "x")
		if ran.String() != "/, /chat" {
			t.Errorf("OnConnect ran of %s", &ran)
		}
		if n := strings.Count(asked.String(), "bob"); n != 8 {
			t.Errorf("asked %d times: %s", n, &asked)
		}
	})
}

// The namespace where the client authenticates may be the one that it must not join.
func TestAcceptNamespaceOfTheRoot(t *testing.T) {
	eachWay(t, func(t *testing.T, version int, transport string, handshake bool) {
		s := start(t, socketiojwt.Options{
			Handshake: handshake,
			AcceptNamespace: func(context.Context, *socketiojwt.Session, string) error {
				return &socketiojwt.UnauthorizedError{Code: "nobody", Message: "nobody gets in"}
			},
		}, func(s *testServer) {
			s.OnConnect("/", func(socketio.Conn) error { t.Error("OnConnect ran"); return nil })
		})
		must := enterAs(t, s, version, transport, handshake)
		switch {
		case version == 4:
			must.NextRaw("44" + contract("nobody", "nobody gets in"))
		case handshake:
			must.NextRaw(`44{"message":"nobody gets in","code":"nobody","type":"UnauthorizedError"}`)
			must.NextRaw("41")
			must.Closed()
		default:
			if _, args := must.Event("/", "unauthorized").Event(); string(args[0]) != contract("nobody", "nobody gets in") {
				t.Errorf("unauthorized %s", args)
			}
			must.NextRaw("41")
			must.Closed()
		}
	})
}

// What a client sends while a namespace is asked about is kept; a client that leaves meanwhile, or a callback
// that comes too late, leaves nothing behind.
func TestSlowAcceptNamespace(t *testing.T) {
	eachWay(t, func(t *testing.T, version int, transport string, handshake bool) {
		asked, answer := make(chan string, 100), make(chan error)
		s := start(t, socketiojwt.Options{
			Handshake: handshake,
			AcceptNamespace: func(ctx context.Context, _ *socketiojwt.Session, namespace string) error {
				if namespace == "/" {
					return nil
				}
				asked <- namespace
				select {
				case err := <-answer:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			},
		}, func(s *testServer) {
			s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
			s.OnEvent("/admin", "echo", func(_ socketio.Conn, text string) string { return text })
			s.OnConnect("/admin", func(c socketio.Conn) error { c.Emit("hello"); return nil })
		})
		must := enterAs(t, s, version, transport, handshake)
		must.Call("/", "echo", "x")
		must.Join("/admin")
		<-asked
		must.Send(`42/admin,77["echo","early"]`)
		must.Call("/", "echo", "others do not wait")
		answer <- nil
		must.Connected("/admin")
		must.Event("/admin", "hello")
		must.Ack("/admin", 77)

		for range 5 {
			must.Send("41/admin")
			must.Join("/admin")
		}
		<-asked
		answer <- nil
		must.Call("/", "echo", "x")
	})
}

// An AcceptNamespace that takes too long is no verdict: the client may try again.
func TestAcceptNamespaceThatTakesTooLong(t *testing.T) {
	s := start(t, socketiojwt.Options{
		Handshake: true,
		Timeout:   100 * time.Millisecond,
		AcceptNamespace: func(ctx context.Context, _ *socketiojwt.Session, namespace string) error {
			if namespace == "/" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		},
	}, func(s *testServer) { s.OnEvent("/admin", "x", func(socketio.Conn) {}) })
	_, must := s.dial(t, bob(t, "websocket"))
	must.Connected("/")
	must.Join("/admin")
	must.NextRaw(`44/admin,{"message":"server busy","code":"server_busy","type":"UnauthorizedError"}`)
}

// A guest who authenticates is asked about, too.
func TestAcceptNamespaceOfGuests(t *testing.T) {
	for _, version := range []int{3, 4} {
		s := start(t, socketiojwt.Options{
			Optional: true,
			AcceptNamespace: func(_ context.Context, s *socketiojwt.Session, _ string) error {
				if s.Subject() == "eve" {
					return &socketiojwt.UnauthorizedError{Code: "banned", Message: "not eve"}
				}
				return nil
			},
		}, func(s *testServer) {
			s.OnEvent("/", "whoami", func(c socketio.Conn) string { session, _ := s.auth.Session(c); return session.Subject() })
		})
		enter := func(subject string) siotest.Must {
			must := siotest.MustDial(t, s.at.url, siotest.Options{Version: version, Transport: "websocket"}).Must(t)
			if version == 4 {
				must.Join("/")
			}
			must.Connected("/")
			must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, subject)})
			return must
		}
		must := enter("bob")
		must.Event("/", "authenticated")
		if p := must.Call("/", "whoami"); string(p.Args()[0]) != `"bob"` {
			t.Errorf("whoami %s", p.Raw)
		}
		must = enter("eve")
		if _, args := must.Event("/", "unauthorized").Event(); string(args[0]) != contract("banned", "not eve") {
			t.Errorf("unauthorized %s", args)
		}
		must.Closed()
	}
}
