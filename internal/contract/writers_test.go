package contract_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// onlyUnwraps is what middleware makes of a ResponseWriter since there is http.ResponseController.
type onlyUnwraps struct{ inner http.ResponseWriter }

func (w onlyUnwraps) Header() http.Header         { return w.inner.Header() }
func (w onlyUnwraps) Write(p []byte) (int, error) { return w.inner.Write(p) }
func (w onlyUnwraps) WriteHeader(status int)      { w.inner.WriteHeader(status) }
func (w onlyUnwraps) Unwrap() http.ResponseWriter { return w.inner }

// hides has nothing but what every ResponseWriter has.
type hides struct{ http.ResponseWriter }

// promises has a Hijack that does not work, as that of middleware may.
type promises struct{ http.ResponseWriter }

func (promises) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("the writer below has no Hijack")
}

// serveBehind serves a protected server whose root is on the go-socket.io server, or not, behind a wrapper.
func serveBehind(t *testing.T, opts socketiojwt.Options, plainRoot bool, wrap func(http.ResponseWriter) http.ResponseWriter) harness.Place {
	t.Helper()
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	namespaces := []string{"/"}
	if plainRoot {
		plain.OnConnect("/", func(socketio.Conn) error { return nil })
		plain.OnEvent("/", "ask", func(socketio.Conn) string { return "" })
		namespaces = []string{"/admin"}
	}
	sio := harness.Authorize(t, opts).Protect(plain, namespaces...)
	if !plainRoot {
		sio.OnEvent("/", "ask", func(socketio.Conn) string { return "" })
	}
	at := harness.Loopback(t)
	harness.Serve(t, sio, at, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { sio.ServeHTTP(wrap(w), r) }))
	return at
}

func everyRoot(t *testing.T, f func(t *testing.T, plainRoot bool, o siotest.Options)) {
	for _, plainRoot := range []bool{false, true} {
		for _, version := range []int{3, 4} {
			name := "ours"
			if plainRoot {
				name = "plain"
			}
			t.Run(name+"/EIO="+string(rune('0'+version)), func(t *testing.T) {
				t.Parallel()
				f(t, plainRoot, siotest.Options{Version: version, Query: harness.WithToken(harness.TokenOf(t, "bob"))})
			})
		}
	}
}

func TestWritersThatOnlyUnwrap(t *testing.T) {
	t.Parallel()
	everyRoot(t, func(t *testing.T, plainRoot bool, o siotest.Options) {
		at := serveBehind(t, harness.HandshakeMode, plainRoot, func(w http.ResponseWriter) http.ResponseWriter { return onlyUnwraps{onlyUnwraps{w}} })
		for _, transport := range harness.Transports {
			o.Transport = transport
			_, must := harness.Dial(t, at, o)
			if o.Version == 4 {
				must.Join("/")
			}
			must.Connected("/")
			must.Call("/", "ask")
		}
		if !plainRoot && o.Version == 3 {
			_, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
			must.NextRaw("44" + harness.Refusal("credentials_required", "no token provided"))
		}
	})
}

func TestWritersThatCannotBeHijacked(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"nothing but a ResponseWriter": func(w http.ResponseWriter) http.ResponseWriter { return hides{w} },
		"a Hijack that fails":          func(w http.ResponseWriter) http.ResponseWriter { return promises{w} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyRoot(t, func(t *testing.T, plainRoot bool, o siotest.Options) {
				log := new(harness.Record)
				at := serveBehind(t, socketiojwt.Options{Handshake: true, Logger: harness.LogTo(log)}, plainRoot, wrap)
				c, must := harness.Dial(t, at, o) // polling works
				if o.Version == 4 {
					must.Join("/")
				}
				must.Connected("/")
				var status *siotest.StatusError
				for _, raw := range []string{harness.TokenOf(t, "bob"), "nonsense"} {
					o.Transport, o.Query = "websocket", harness.WithToken(raw)
					if _, err := siotest.Dial(t.Context(), at.URL, o); !errors.As(err, &status) || status.Status != http.StatusBadRequest ||
						strings.TrimSpace(status.Body) != `{"code":3,"message":"Bad request"}` {
						t.Errorf("got %v", err)
					}
				}
				if err := c.UpgradeNow(t.Context()); !errors.As(err, &status) || status.Status != http.StatusBadRequest {
					t.Errorf("the upgrade: got %v", err)
				}
				must.Call("/", "ask")
				harness.SaidOnce(t, log, "WebSockets are refused, because", "level=ERROR", "error=")
			})
		})
	}
}
