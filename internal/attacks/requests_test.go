package attacks_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// Requests that no client of ours makes, but proxies and strangers do.

// serveLogged serves a protected server whose root is on the go-socket.io server, or not, and
// returns its address and what net/http logs.
func serveLogged(t *testing.T, opts socketiojwt.Options, plainRoot bool) (address string, logged *harness.Record) {
	t.Helper()
	logged = new(harness.Record)
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	namespaces := []string{"/"}
	if plainRoot {
		plain.OnConnect("/", func(socketio.Conn) error { return nil })
		namespaces = []string{"/admin"}
	}
	sio := harness.Authorize(t, opts).Protect(plain, namespaces...)
	go sio.Serve()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: sio, ErrorLog: log.New(logged, "", 0)}
	go server.Serve(listener)
	t.Cleanup(func() {
		_ = sio.Close()
		_ = server.Close()
	})
	return listener.Addr().String(), logged
}

// send writes to a TCP connection and returns the first answer, with its body.
func send(t *testing.T, address, text string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(siotest.DefaultTimeout))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, ""
	}
	body := ""
	if response.StatusCode != http.StatusSwitchingProtocols {
		all, _ := io.ReadAll(response.Body)
		body = string(all)
	}
	return response, body
}

// A WebSocket handshake that is none gets the answer of Node, without a word of who found out.
func TestBrokenWebSocketHandshakes(t *testing.T) {
	t.Parallel()
	const upgrade = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	for _, handshake := range []bool{true, false} {
		for _, plainRoot := range []bool{true, false} {
			for _, version := range []string{"3", "4"} {
				for name, headers := range map[string]string{
					"no key":           upgrade + "Sec-WebSocket-Version: 13\r\n",
					"a short key":      upgrade + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n",
					"another version":  upgrade + "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
					"no version":       upgrade + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
					"no upgrade":       "Host: x\r\n",
					"another protocol": "Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
				} {
					t.Run(fmt.Sprintf("handshake=%t/plain=%t/EIO=%s/%s", handshake, plainRoot, version, name), func(t *testing.T) {
						address, logged := serveLogged(t, socketiojwt.Options{Handshake: handshake}, plainRoot)
						response, body := send(t, address, "GET /socket.io/?transport=websocket&EIO="+version+" HTTP/1.1\r\n"+headers+"\r\n")
						if response == nil || response.StatusCode != http.StatusBadRequest || body != `{"code":3,"message":"Bad request"}` {
							t.Errorf("got %v %s", response, body)
						}
						if logged.String() != "" {
							t.Errorf("net/http logged %s", logged)
						}
					})
				}
				t.Run(fmt.Sprintf("handshake=%t/plain=%t/EIO=%s/data behind the headers", handshake, plainRoot, version), func(t *testing.T) {
					address, logged := serveLogged(t, socketiojwt.Options{Handshake: handshake}, plainRoot)
					for range 3 {
						send(t, address, "GET /socket.io/?transport=websocket&EIO="+version+" HTTP/1.1\r\n"+upgrade+
							"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x80mask")
					}
					if logged.String() != "" {
						t.Errorf("net/http logged %s", logged)
					}
				})
			}
		}
	}
}

// Proxies may not know that a request has no body.
func TestRequestsOfUnknownLength(t *testing.T) {
	t.Parallel()
	const chunked = "Host: x\r\nTransfer-Encoding: chunked\r\n"
	for name, request := range map[string]string{
		"GET":       "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n" + chunked,
		"OPTIONS":   "OPTIONS /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n" + chunked,
		"WebSocket": "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + chunked,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, _ := serveLogged(t, socketiojwt.Options{}, false)
			if response, body := send(t, address, request+"\r\n0\r\n\r\n"); response == nil || response.StatusCode >= 300 {
				t.Errorf("no body: %v %s", response, body)
			}
			if response, body := send(t, address, request+"\r\n1\r\nx\r\n0\r\n\r\n"); response == nil || response.StatusCode != http.StatusBadRequest {
				t.Errorf("a body: %v %s", response, body)
			}
			began := time.Now()
			if response, body := send(t, address, request+"\r\n"); response == nil || response.StatusCode != http.StatusBadRequest {
				t.Errorf("a body that does not come: %v %s", response, body)
			} else if took := time.Since(began); took > siotest.DefaultTimeout/2 {
				t.Errorf("a body that does not come was waited for: %v", took)
			}
		})
	}
}

// A client that asks and asks, and does not read the answers, holds nothing for long.
func TestAnswersThatNobodyReads(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"an unknown transport": "GET /socket.io/?transport=x HTTP/1.1\r\nHost: x\r\n\r\n",
		"an unknown session":   "GET /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: x\r\n\r\n",
		"a refused handshake":  "GET /socket.io/?EIO=3&transport=polling&token=x HTTP/1.1\r\nHost: x\r\n\r\n",
		"one too many":         "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n",
		"a preflight":          "OPTIONS /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n",
		"a goodbye":            "POST /socket.io/?EIO=3&transport=polling&sid=refused HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: true, MaxPending: 1}, nil)
				if strings.HasPrefix(name, "one too many") {
					response, err := s.At.Client.Get(s.At.URL + "/socket.io/?EIO=4&transport=polling") // has the place
					if err != nil {
						t.Fatal(err)
					}
					defer response.Body.Close()
				}
				conn, began := s.At.Dial(t), time.Now() // nothing on its way holds a byte
				if _, err := io.WriteString(conn, strings.Repeat(request, 100)); err == nil {
					t.Error("the server took all requests")
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("the server was writing for %v", took)
				}
			})
		})
	}
}
