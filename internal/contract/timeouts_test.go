package contract_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// TestAnswersOnOneConnection sends requests of all kinds behind each other, with deadlines of the server's own.
func TestAnswersOnOneConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, answersOnOneConnection)
}

func answersOnOneConnection(t *testing.T) {
	auth := harness.Authorize(t, socketiojwt.Options{Timeout: time.Hour})
	s := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	at := harness.InMemory(t)
	harness.ServeWith(t, s, at, &http.Server{Handler: s, WriteTimeout: 1500 * time.Millisecond, ReadTimeout: 1500 * time.Millisecond, IdleTimeout: time.Minute})
	conn := at.Dial(t)
	r := bufio.NewReader(conn)
	do := func(method, query, headers, body string) string {
		t.Helper()
		_, _ = fmt.Fprintf(conn, "%s /socket.io/?EIO=3&transport=polling%s HTTP/1.1\r\nHost: x\r\n%s\r\n%s", method, query, headers, body)
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s %s: %v", method, query, err)
		}
		b, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(response.StatusCode, " ", string(b))
	}
	refused := func(method, query, headers, body string) {
		t.Helper()
		if got := do(method, query, headers, body); !strings.HasPrefix(got, "400 ") {
			t.Errorf("%s %s: %s", method, query, got)
		}
	}
	chunked := "Transfer-Encoding: chunked\r\n"
	first := do("GET", "", chunked, "0\r\n\r\n")
	_, sid, found := strings.Cut(first, `"sid":"`)
	if !found {
		t.Fatal(first)
	}
	sid, _, _ = strings.Cut(sid, `"`)
	for range 2 {
		refused("PUT", "", "Content-Length: 3\r\n", "abc")
		refused("GET", "&sid=unknown", chunked, "3\r\nabc\r\n0\r\n\r\n")
		if got := do("OPTIONS", "", "", ""); got != "204 " {
			t.Error(got)
		}
		time.Sleep(2 * time.Second)
		if got := do("POST", "&sid="+sid, "Content-Length: 3\r\n", "1:2"); got != "200 ok" {
			t.Error(got)
		}
		if got := do("POST", "&sid="+sid, chunked, "3\r\n1:2\r\n0\r\n\r\n"); got != "200 ok" {
			t.Error(got)
		}
		if got := do("GET", "&sid="+sid, "", ""); got != "200 1:3" {
			t.Error(got)
		}
		for headers, body := range map[string]string{"": "", chunked: "0\r\n\r\n"} { // long polls beyond the server's timeouts
			time.AfterFunc(2500*time.Millisecond, func() {
				response, err := at.Client.Post(at.URL+"/socket.io/?EIO=3&transport=polling&sid="+sid, "text/plain", strings.NewReader("1:2"))
				if err == nil {
					_ = response.Body.Close()
				}
			})
			if got := do("GET", "&sid="+sid, headers, body); got != "200 1:3" {
				t.Error(got)
			}
		}
	}
}

// TestAnswersOverHTTP2 does the same there.
func TestAnswersOverHTTP2(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{0, time.Second} {
		t.Run(fmt.Sprint("WriteTimeout ", timeout), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { answersOverHTTP2(t, timeout) })
		})
	}
}

func answersOverHTTP2(t *testing.T, timeout time.Duration) {
	auth := harness.Authorize(t, socketiojwt.Options{Timeout: time.Hour})
	s := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
	s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	var http2 http.Protocols
	http2.SetUnencryptedHTTP2(true)
	at := harness.InMemory(t)
	at.Client.Transport.(*http.Transport).Protocols = &http2
	harness.ServeWith(t, s, at, &http.Server{Handler: s, WriteTimeout: timeout, Protocols: &http2})
	_, must := harness.Dial(t, at, siotest.Options{Transport: "polling"})
	must.NextRaw("40")
	time.Sleep(3 * time.Second)
	must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	must.Event("/", "authenticated")
	must.Call("/", "echo", "x")
	body := struct{ io.Reader }{strings.NewReader("")} // of unknown length
	request, err := http.NewRequest("GET", at.URL+"/socket.io/?EIO=3&transport=polling", body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := at.Client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if b, _ := io.ReadAll(response.Body); response.StatusCode != 200 || response.ProtoMajor != 2 {
		t.Errorf("%s %s", response.Status, b)
	}
}

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
func serveTimed(t *testing.T, protocol string, cert tls.Certificate, timeouts func(*http.Server)) (*harness.App, func(siotest.Must)) {
	t.Helper()
	s := &harness.App{Auth: harness.Authorize(t, harness.HandshakeMode), At: harness.InMemory(t)}
	s.Server = s.Auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)))
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
	transport := s.At.Client.Transport.(*http.Transport)
	if protocol == "HTTP/1.1" {
		go server.Serve(s.At.Listener)
	} else {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		server.Protocols = new(http.Protocols)
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetHTTP2(protocol == "HTTP/2")
		s.At.URL = "https://in.memory"
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		transport.ForceAttemptHTTP2 = true
		go server.ServeTLS(s.At.Listener, "", "")
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
				for _, transport := range harness.Transports {
					t.Run(fmt.Sprintf("%s/%s/EIO=%d/%s", name, protocol, version, transport), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							s, arrived := serveTimed(t, protocol, cert, timeouts)
							o := harness.Bob(t, transport)
							o.Version = version
							c, must := s.Dial(t, o)
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
