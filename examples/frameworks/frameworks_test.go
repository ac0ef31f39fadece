package main

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

const testSecret = "a secret of 32 bytes for the test"

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	os.Exit(m.Run())
}

// Routers wrap the http.ResponseWriter: Hijack, Flush and read deadlines have to get through.
func TestRouters(t *testing.T) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: "red", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	for router := range routers {
		t.Run(router, func(t *testing.T) {
			sio, handler, err := newServer(router, testSecret)
			if err != nil {
				t.Fatal(err)
			}
			server := servetest.Start(t, sio, handler)
			for _, o := range []siotest.Options{{Transport: "polling"}, {Transport: "polling", JSONP: true}, {Transport: "websocket"}, {Transport: "upgrade"}} {
				for range 3 {
					o.Query = url.Values{"token": {token}}
					c := siotest.MustDial(t, server, o)
					must := c.Must(t)
					must.NextRaw("40")
					must.NextRaw(`42["welcome","red"]`)
					for _, text := range []string{"hello", strings.Repeat("long ", 20_000)} {
						if answer := must.Call("/", "echo", text); answer.Raw != `43`+string(answer.Raw[2])+`["`+text+`"]` {
							t.Errorf("got %.100s", answer.Raw)
						}
					}
					c.Close()
					o.Query = url.Values{"token": {"nonsense"}}
					must = siotest.MustDial(t, server, o).Must(t)
					must.NextRaw(`44{"message":"jwt malformed","code":"invalid_token","type":"UnauthorizedError"}`)
					must.NextRaw("41")
					must.Closed()
				}
			}

			for header, want := range map[string]struct {
				status int
				body   string
			}{
				"Bearer " + token: {200, "red"},
				"":                {401, `{"message":"no token provided","code":"credentials_required","type":"UnauthorizedError"}`},
			} {
				r, err := http.NewRequest(http.MethodGet, server+"/self", nil)
				if err != nil {
					t.Fatal(err)
				}
				if header != "" {
					r.Header.Set("Authorization", header)
				}
				response, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				if body, _ := io.ReadAll(response.Body); response.StatusCode != want.status || string(body) != want.body {
					t.Errorf("%q: %d %s", header, response.StatusCode, body)
				}
			}
		})
	}
}

// Everything under /socket.io/ is the server's: the files of ServeClient, and what else a client asks for.
func TestRoutersRouteAllBelow(t *testing.T) {
	for router := range routers {
		t.Run(router, func(t *testing.T) {
			sio, handler, err := newServer(router, testSecret)
			if err != nil {
				t.Fatal(err)
			}
			sio.ServeClient(fstest.MapFS{"socket.io.js": {Data: []byte("io()")}})
			server := servetest.Start(t, sio, handler)
			for path, want := range map[string]struct {
				status int
				body   string
			}{
				"/socket.io/socket.io.js":     {200, "io()"},
				"/socket.io/socket.io.min.js": {404, "socketiojwt: socket.io.min.js is not in the folder of Server.ServeClient\n"},
				"/socket.io/nonsense":         {400, `{"code":0,"message":"Transport unknown"}`},
				"/socket.io/a/b?EIO=4":        {400, `{"code":0,"message":"Transport unknown"}`},
				"/socket.io/":                 {400, `{"code":0,"message":"Transport unknown"}`},
			} {
				response, err := http.Get(server + path)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != want.status || string(body) != want.body {
					t.Errorf("%s: %d %q, %v", path, response.StatusCode, body, err)
				}
			}
		})
	}
}

// A body that never ends has to be cut off, which takes a read deadline on the connection.
func TestRoutersLetReadDeadlinesThrough(t *testing.T) {
	for router := range routers {
		t.Run(router, func(t *testing.T) {
			sio, handler, err := newServer(router, testSecret)
			if err != nil {
				t.Fatal(err)
			}
			server := servetest.Start(t, sio, handler)
			body, writer := io.Pipe()
			defer writer.Close()
			r, err := http.NewRequest(http.MethodPost, server+"/socket.io/?EIO=3&transport=polling", body)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			response, err := (&http.Client{Timeout: siotest.DefaultTimeout}).Do(r)
			if err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("answered after %v: %v", took, err)
			}
		})
	}
}
