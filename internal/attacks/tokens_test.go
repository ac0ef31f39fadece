package attacks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// target is a protected server that notes what got through to it.
type target struct {
	*harness.App
	entered atomic.Int64 // calls of the user's code
	kid     atomic.Value // [1]any: what Secret was given last
}

func startTarget(tb testing.TB, opts socketiojwt.Options, handshake bool) *target {
	tb.Helper()
	z := new(target)
	secret := opts.Secret
	if _, static := secret.(fmt.Stringer); secret != nil && !static {
		opts.Secret = socketiojwt.SecretFunc(func(ctx context.Context, r *socketiojwt.Request, token *jwt.Token) (any, error) {
			z.kid.Store([1]any{token.Header["kid"]})
			return secret.Key(ctx, r, token)
		})
	}
	opts.Handshake = handshake
	auth := harness.Authorize(tb, opts)
	// In the round trip a token has to fit into a message of a client that is not authenticated yet.
	limits := socketiojwt.Limits{}
	if opts.MaxTokenBytes > 0 {
		limits.UnauthenticatedMessageBytes = 2 * opts.MaxTokenBytes
	}
	z.App = &harness.App{Auth: auth, At: harness.Loopback(tb)}
	z.Server = auth.Protect(socketio.NewServer(socketiojwt.Harden(nil, limits)))
	z.OnConnect("/", func(c socketio.Conn) error {
		z.entered.Add(1)
		session, _ := auth.Session(c)
		c.Emit("welcome", session.Subject())
		return nil
	})
	z.OnEvent("/", "secret", func(socketio.Conn) { z.entered.Add(1) })
	harness.Serve(tb, z.Server, z.At, z.Server)
	return z
}

// It is not parallel: some tokens are valid for a short time only.
func TestAttacksOnTokens(t *testing.T) {
	servers := make(map[string][2]*target)
	for name, opts := range attacked(t) {
		servers[name] = [2]*target{startTarget(t, opts, true), startTarget(t, opts, false)}
	}
	for _, a := range attacks(t) {
		if a.on == "" {
			a.on = "HMAC"
		}
		for i, try := range []func(*testing.T, *target, attack){tryHandshake, tryRoundTrip} {
			server := servers[a.on][i]
			entered := server.entered.Load()
			ok := t.Run(fmt.Sprintf("%s/%s/%s", a.on, a.name, []string{"handshake", "round trip"}[i]), func(t *testing.T) {
				try(t, server, a)
				if a.want == accepted {
					entered++
				}
				if n := server.entered.Load(); n != entered {
					t.Errorf("the user's code ran %d times", n-entered)
				}
				if a.kid != nil && !strings.HasPrefix(a.on, "RSA PEM") {
					checkKid(t, server, a.kid)
				}
			})
			if !ok {
				t.Logf("token: %.200s", a.raw)
			}
		}
	}
}

func checkKid(t *testing.T, server *target, want any) {
	t.Helper()
	if _, null := want.(json.RawMessage); null {
		want = nil
	}
	got, _ := server.kid.Load().([1]any)
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("Secret got kid %.50q, want %.50q", got[0], want)
	}
}

func tryHandshake(t *testing.T, s *target, a attack) {
	before := s.Count()
	c, must := s.Dial(t, siotest.Options{Transport: "polling", Query: harness.WithToken(a.raw)})
	if a.want == accepted {
		must.NextRaw("40")
		isEve(t, must.Next())
		c.Close()
		return
	}
	harness.Expect(t, must.Rest(), "44"+harness.Refusal("invalid_token", a.want), "41")
	if n := s.Count(); n > before {
		t.Errorf("%d sessions more", n-before)
	}
}

func tryRoundTrip(t *testing.T, s *target, a attack) {
	c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	err := c.Emit("/", "authenticate", map[string]string{"token": a.raw})
	if len(a.raw) > messageLimit && a.on != bigTokens {
		if rest := must.Rest(); len(rest) > 0 { // no client that is not authenticated may send so much
			t.Errorf("got %v", rest)
		}
		return
	}
	must.OK(err)
	if a.want == accepted {
		must.NextRaw(`42["authenticated"]`)
		isEve(t, must.Next())
		return
	}
	_ = c.SendText(`42["secret"]`) // it may be closed already
	rest := must.Rest()
	if len(rest) != 2 || rest[1].Raw != "41" {
		t.Fatalf("got %v, want unauthorized and 41", rest)
	}
	harness.Unauthorized(t, rest[0], "invalid_token", a.want)
}

func isEve(t *testing.T, p siotest.Packet) {
	t.Helper()
	if !strings.HasPrefix(p.Raw, `42["welcome","eve`) {
		t.Errorf("got %s, want a welcome for eve", p.Raw)
	}
}

// A token of a megabyte costs the server no more than reading it, if at all.
func TestHugeTokens(t *testing.T) {
	huge := strings.Repeat("A", 2<<20)
	for _, handshake := range []bool{true, false} {
		s := startTarget(t, socketiojwt.Options{}, handshake)
		for _, test := range []struct {
			name   string
			length int
			header bool
			status int
			body   string
		}{
			{"query of 30 KiB", 30 << 10, false, http.StatusOK, tooLong},
			{"query of 40 KiB", 40 << 10, false, http.StatusRequestURITooLong, `{"code":3,"message":"Bad request"}`},
			{"query of 1 MiB", 1 << 20, false, http.StatusRequestURITooLong, `{"code":3,"message":"Bad request"}`},
			{"query of 2 MiB", 2 << 20, false, http.StatusRequestHeaderFieldsTooLarge, ""}, // net/http's own limit
			{"header of 40 KiB", 40 << 10, true, http.StatusOK, tooLong},
			{"header of 100 KiB", 100 << 10, true, http.StatusRequestHeaderFieldsTooLarge, `{"code":3,"message":"Bad request"}`},
			{"header of 1 MiB", 1 << 20, true, http.StatusRequestHeaderFieldsTooLarge, `{"code":3,"message":"Bad request"}`},
			{"header of 2 MiB", 2 << 20, true, http.StatusRequestHeaderFieldsTooLarge, ""},
		} {
			if !handshake && test.status == http.StatusOK {
				continue // it is not read there
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.At.URL+"/socket.io/?EIO=3&transport=polling", nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.header {
				r.Header.Set("Authorization", "Bearer "+huge[:test.length])
			} else {
				r.URL.RawQuery += "&token=" + huge[:test.length]
			}
			status, body, err := do(r)
			// net/http may hang up while the rest is still on its way.
			if err != nil && test.length < 2<<20 {
				t.Errorf("%s: %v", test.name, err)
			}
			if err == nil && (status != test.status || !strings.Contains(body, test.body)) {
				t.Errorf("%s: got %d %.100q, want %d %q", test.name, status, body, test.status, test.body)
			}
			if n := s.Count(); n != 0 {
				t.Errorf("%s: %d sessions", test.name, n)
			}
		}
	}

	t.Run("authenticate", func(t *testing.T) {
		s := startTarget(t, socketiojwt.Options{}, false)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const rounds = 10
		for i := range rounds {
			transport := []string{"websocket", "polling"}[i%2]
			c, must := s.Dial(t, siotest.Options{Transport: transport})
			must.NextRaw("40")
			_ = c.SendFrames(siotest.Text(`42["authenticate",{"token":"`+huge[:1<<20]+`"}]`), siotest.Text(`42["secret"]`))
			must.Closed()
			if rest := must.Rest(); len(rest) != 0 {
				t.Errorf("%s: got %v", transport, rest)
			}
		}
		runtime.ReadMemStats(&after)
		if n := s.entered.Load(); n != 0 {
			t.Errorf("the user's code ran %d times", n)
		}
		// The client writes each twice at least; the server must not add much to that.
		if each := (after.TotalAlloc - before.TotalAlloc) / rounds; each > 8<<20 {
			t.Errorf("%d bytes allocated for each", each)
		}
	})
}

func do(r *http.Request) (status int, body string, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return response.StatusCode, string(b), err
}
