package socketiojwt_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// TestAnswersOnOneConnection sends requests of all kinds behind each other, with deadlines of the server's own.
func TestAnswersOnOneConnection(t *testing.T) {
	auth := mustAuthorize(t, socketiojwt.Options{Timeout: time.Hour})
	s := auth.Protect(socketio.NewServer(hardened()))
	s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	go s.Serve()
	defer s.Close()
	server := httptest.NewUnstartedServer(s)
	server.Config.WriteTimeout = 1500 * time.Millisecond
	server.Config.ReadTimeout = 1500 * time.Millisecond
	server.Config.IdleTimeout = time.Minute
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
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
	chunked := "Transfer-Encoding: chunked\r\n"
	first := do("GET", "", chunked, "0\r\n\r\n")
	_, sid, _ := strings.Cut(first, `"sid":"`)
	sid, _, _ = strings.Cut(sid, `"`)
	t.Log(first)
	for range 2 {
		t.Log(do("PUT", "", "Content-Length: 3\r\n", "abc"))
		t.Log(do("GET", "&sid=unknown", chunked, "3\r\nabc\r\n0\r\n\r\n"))
		t.Log(do("OPTIONS", "", "", ""))
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
		posted := make(chan bool)
		go func() {
			defer close(posted)
			time.Sleep(2500 * time.Millisecond)
			response, err := http.Post(server.URL+"/socket.io/?EIO=3&transport=polling&sid="+sid, "text/plain", strings.NewReader("1:2"))
			if err == nil {
				_ = response.Body.Close()
			}
		}()
		if got := do("GET", "&sid="+sid, chunked, "0\r\n\r\n"); got != "200 1:3" { // a long poll beyond the server's timeouts
			t.Error(got)
		}
		<-posted
	}
}

// TestAnswersOverHTTP2 does the same there.
func TestAnswersOverHTTP2(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Second} {
		auth := mustAuthorize(t, socketiojwt.Options{Timeout: time.Hour})
		s := auth.Protect(socketio.NewServer(hardened()))
		s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
		go s.Serve()
		server := httptest.NewUnstartedServer(s)
		server.EnableHTTP2 = true
		server.Config.WriteTimeout = timeout
		server.StartTLS()
		must := siotest.MustDial(t, server.URL, siotest.Options{Transport: "polling", HTTP: server.Client()}).Must(t)
		must.NextRaw("40")
		time.Sleep(3 * time.Second)
		must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
		must.Event("/", "authenticated")
		must.Call("/", "echo", "x")
		body := struct{ io.Reader }{strings.NewReader("")}
		request, _ := http.NewRequest("GET", server.URL+"/socket.io/?EIO=3&transport=polling", body)
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(response.Body); response.StatusCode != 200 || response.ProtoMajor != 2 {
			t.Errorf("%s %s", response.Status, b)
		}
		s.Close()
		server.Close()
	}
}
