package socketiojwt_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// TestAnswersOnOneConnection sends requests of all kinds behind each other, with deadlines of the server's own.
func TestAnswersOnOneConnection(t *testing.T) { synctest.Test(t, answersOnOneConnection) }

func answersOnOneConnection(t *testing.T) {
	auth := mustAuthorize(t, socketiojwt.Options{Timeout: time.Hour})
	s := auth.Protect(socketio.NewServer(hardened()))
	s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	at := inMemory(t)
	serveWith(t, s, at, &http.Server{Handler: s, WriteTimeout: 1500 * time.Millisecond, ReadTimeout: 1500 * time.Millisecond, IdleTimeout: time.Minute})
	conn := at.dial(t)
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
				response, err := at.client.Post(at.url+"/socket.io/?EIO=3&transport=polling&sid="+sid, "text/plain", strings.NewReader("1:2"))
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
	for _, timeout := range []time.Duration{0, time.Second} {
		t.Run(fmt.Sprint("WriteTimeout ", timeout), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { answersOverHTTP2(t, timeout) })
		})
	}
}

func answersOverHTTP2(t *testing.T, timeout time.Duration) {
	auth := mustAuthorize(t, socketiojwt.Options{Timeout: time.Hour})
	s := auth.Protect(socketio.NewServer(hardened()))
	s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
	var http2 http.Protocols
	http2.SetUnencryptedHTTP2(true)
	at := inMemory(t)
	at.client.Transport.(*http.Transport).Protocols = &http2
	serveWith(t, s, at, &http.Server{Handler: s, WriteTimeout: timeout, Protocols: &http2})
	_, must := dial(t, at, siotest.Options{Transport: "polling"})
	must.NextRaw("40")
	time.Sleep(3 * time.Second)
	must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "bob")})
	must.Event("/", "authenticated")
	must.Call("/", "echo", "x")
	body := struct{ io.Reader }{strings.NewReader("")} // of unknown length
	request, err := http.NewRequest("GET", at.url+"/socket.io/?EIO=3&transport=polling", body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := at.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if b, _ := io.ReadAll(response.Body); response.StatusCode != 200 || response.ProtoMajor != 2 {
		t.Errorf("%s %s", response.Status, b)
	}
}
