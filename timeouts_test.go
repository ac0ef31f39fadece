package socketiojwt_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// serverTimeouts are those of http.Server, each far below what polls and WebSockets last.
var serverTimeouts = map[string]func(*http.Server){
	"none":              func(*http.Server) {},
	"ReadTimeout":       func(s *http.Server) { s.ReadTimeout = time.Second },
	"ReadHeaderTimeout": func(s *http.Server) { s.ReadHeaderTimeout = time.Second },
	"WriteTimeout":      func(s *http.Server) { s.WriteTimeout = time.Second },
	"IdleTimeout":       func(s *http.Server) { s.IdleTimeout = time.Second },
	"all": func(s *http.Server) {
		s.ReadTimeout, s.ReadHeaderTimeout, s.WriteTimeout, s.IdleTimeout = time.Second, time.Second, time.Second, time.Second
	},
}

// certificate is one that nobody checks.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	return server.TLS.Certificates[0]
}

// serveTimed serves a protected server in memory, over HTTP/1.1, HTTP/1.1 with TLS, or HTTP/2.
func serveTimed(t *testing.T, protocol string, cert tls.Certificate, timeouts func(*http.Server)) (*testServer, func(siotest.Must)) {
	t.Helper()
	s := &testServer{auth: mustAuthorize(t, handshakeMode), at: inMemory(t)}
	s.Server = s.auth.Protect(socketio.NewServer(hardened()))
	s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	seen := make(chan string, 1)
	s.OnEvent("/", "join", func(c socketio.Conn) { c.Join("here"); seen <- c.RemoteHeader().Get("X-Protocol") })
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-Protocol", r.Proto)
		s.ServeHTTP(w, r)
	})}
	timeouts(server)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve()
	}()
	transport := s.at.client.Transport.(*http.Transport)
	if protocol == "HTTP/1.1" {
		go server.Serve(s.at.listener)
	} else {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		server.Protocols = new(http.Protocols)
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetHTTP2(protocol == "HTTP/2")
		s.at.url = "https://in.memory"
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		transport.ForceAttemptHTTP2 = true
		go server.ServeTLS(s.at.listener, "", "")
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return s, func(must siotest.Must) {
		must.Emit("/", "join")
		if got, want := <-seen, map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[protocol == "HTTP/2"]; got != want {
			t.Errorf("the session was opened over %s", got)
		}
	}
}

// No timeout of http.Server ends a connection, whatever it has to wait for.
func TestTimeoutsOfTheServer(t *testing.T) {
	t.Parallel()
	cert := certificate(t)
	for name, timeouts := range serverTimeouts {
		for _, protocol := range []string{"HTTP/1.1", "TLS", "HTTP/2"} {
			for _, version := range []int{3, 4} {
				for _, transport := range transports {
					t.Run(fmt.Sprintf("%s/%s/EIO=%d/%s", name, protocol, version, transport), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							s, arrived := serveTimed(t, protocol, cert, timeouts)
							o := bob(t, transport)
							o.Version = version
							c, must := s.dial(t, o)
							if version == 4 {
								must.Join("/")
							}
							must.Connected("/")
							if transport != "websocket" || protocol != "HTTP/2" {
								arrived(must)
							} else {
								must.Emit("/", "join") // it was opened by an upgrade from HTTP/1.1
							}
							for _, idle := range []time.Duration{0, 1500 * time.Millisecond, 15 * time.Second, 3 * time.Minute} {
								time.Sleep(idle)
								must.Call("/", "echo", "é")
								s.BroadcastToRoom("/", "here", "news", idle.String())
								if p := must.Event("/", "news"); string(p.Data) != `["news","`+idle.String()+`"]` {
									t.Errorf("after %v it heard %s", idle, p.Raw)
								}
							}
							if reason := c.CloseReason(); reason != "" {
								t.Error(reason)
							}
						})
					})
				}
			}
		}
	}
}
