package socketiojwt_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// The first line of a request is one string: what is in no part of the URL that anybody reads is kept with it.
func TestHeapOfUserinfo(t *testing.T) {
	const connections = 30
	idle := runtime.NumGoroutine() + 20 // tests that run in parallel wait meanwhile
	s := start(t, socketiojwt.Options{Timeout: time.Hour}, nil)
	for name, test := range map[string]struct{ target, query string }{
		"userinfo":      {"http://" + strings.Repeat("a", 900_000) + "@x", ""},
		"password":      {"http://u:" + strings.Repeat("a", 900_000) + "@x", ""},
		"scheme":        {strings.Repeat("a", 900_000) + "://x", ""},
		"one parameter": {"", strings.Repeat("&aaaaaaa", 4_000)},
	} {
		for _, version := range []string{"3", "4"} {
			t.Run(name+"/EIO="+version, func(t *testing.T) {
				open := func() {
					conn, err := net.Dial("tcp", strings.TrimPrefix(s.at.url, "http://"))
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					_ = conn.SetDeadline(time.Now().Add(siotest.DefaultTimeout))
					_, _ = io.WriteString(conn, "GET "+test.target+"/socket.io/?EIO="+version+"&transport=polling"+test.query+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
					if response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil); err == nil {
						_, _ = io.Copy(io.Discard, response.Body)
					}
				}
				open()
				eventually(t, "it is quiet", func() bool { return runtime.NumGoroutine() <= idle })
				before := heapOf()
				for range connections {
					open()
				}
				eventually(t, "each takes little", func() bool { return (heapOf()-before)/connections <= 10<<10 })
			})
		}
	}
}
