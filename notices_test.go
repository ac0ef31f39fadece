package socketiojwt_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// The mistakes of the README's "Troubleshooting", and what is said about them. A forgotten
// Harden is in TestServerWithoutHarden, replaced hooks are in TestNothingGoesAroundProtect.

func TestServingTheServerItself(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		var log harness.Record
		auth := harness.Authorize(t, socketiojwt.Options{Handshake: handshake, Logger: harness.LogTo(&log)})
		server := socketio.NewServer(socketiojwt.Harden(nil))
		sio := auth.Protect(server)
		sio.OnEvent("/", "ask", func(socketio.Conn) string { return "SECRET" })
		at := harness.Loopback(t)
		harness.Serve(t, sio, at, server)
		for range 2 {
			c, must := harness.Dial(t, at, siotest.Options{Transport: "websocket"})
			if handshake {
				must.NextRaw("44" + harness.Refusal("credentials_required", "no token provided"))
				must.NextRaw("41")
				continue
			}
			must.NextRaw("40")
			must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			must.NextRaw(`42["authenticated"]`)
			c.Close()
		}
		harness.SaidOnce(t, &log, "without passing the gate", "level=ERROR", "serve the result of Protect")
	}
}

func TestTheGateIsNotMissedWhereItIs(t *testing.T) {
	t.Parallel()
	var log harness.Record
	for _, front := range []func(*socketiojwt.Authorizer, *socketio.Server, *socketiojwt.Server) http.Handler{
		func(_ *socketiojwt.Authorizer, _ *socketio.Server, sio *socketiojwt.Server) http.Handler { return sio },
		func(auth *socketiojwt.Authorizer, _ *socketio.Server, sio *socketiojwt.Server) http.Handler {
			return auth.Handler(sio)
		},
		func(auth *socketiojwt.Authorizer, server *socketio.Server, _ *socketiojwt.Server) http.Handler {
			return auth.Handler(server)
		},
	} {
		auth := harness.Authorize(t, socketiojwt.Options{Logger: harness.LogTo(&log)})
		server := socketio.NewServer(socketiojwt.Harden(nil))
		sio := auth.Protect(server)
		sio.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
		at := harness.Loopback(t)
		harness.Serve(t, sio, at, front(auth, server, sio))
		for _, transport := range harness.Transports {
			_, must := harness.Dial(t, at, siotest.Options{Transport: transport})
			must.NextRaw("40")
			must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			must.NextRaw(`42["authenticated"]`)
			must.Call("/", "echo", "x")
		}
	}
	if strings.Contains(log.String(), "gate") {
		t.Errorf("the log says %s", &log)
	}
}

func TestNamespaceRegisteredOnTheServerItself(t *testing.T) {
	t.Parallel()
	var log harness.Record
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: true, Logger: harness.LogTo(&log)})
	server := socketio.NewServer(socketiojwt.Harden(nil))
	sio := auth.Protect(server)
	server.OnEvent("/news", "ask", func(socketio.Conn) string { return "SECRET" })
	at := harness.Loopback(t)
	harness.Serve(t, sio, at, sio)
	for range 2 {
		_, must := harness.Dial(t, at, harness.Bob(t, "websocket"))
		must.NextRaw("40")
		for _, name := range []string{"/news", "/nowhere"} {
			must.Join(name)
			must.NextRaw("44" + name + `,"Invalid namespace"`)
		}
	}
	harness.SaidOnce(t, &log, "registered on the server itself", "level=ERROR", "namespace=/news", "through the result of Protect")
	if strings.Contains(log.String(), "nowhere") {
		t.Errorf("a namespace that nobody registered is reported: %s", &log)
	}
}

func TestUnknownVersion(t *testing.T) {
	t.Parallel()
	var log harness.Record
	s := harness.Start(t, socketiojwt.Options{Logger: harness.LogTo(&log)}, nil)
	for _, transport := range []string{"polling", "websocket"} {
		_, err := siotest.Dial(t.Context(), s.At.URL, siotest.Options{Transport: transport, Query: url.Values{"EIO": {"5"}}})
		var status *siotest.StatusError
		if !errors.As(err, &status) || status.Status != 400 || !strings.Contains(status.Body, "Unsupported protocol version") {
			t.Errorf("%s: %v", transport, err)
		}
	}
	harness.SaidOnce(t, &log, "unknown protocol version", "level=WARN", "socket.io-client 1.x to 4.x", "remote=127.0.0.1:")
}

// What goes wrong before there is a connection is told to nobody else, so the log has it, once.
func TestNotices(t *testing.T) {
	t.Parallel()
	var log harness.Record
	s := harness.Start(t, socketiojwt.Options{Logger: harness.LogTo(&log)}, nil)
	for range 3 {
		for _, query := range []string{"EIO=4&transport=polling&sid=somebody", "EIO=3&transport=polling&token=a.b.c"} {
			response, err := http.Get(s.At.URL + "/socket.io/?" + query)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
		}
		for _, version := range []int{3, 4} {
			_, err := siotest.Dial(t.Context(), s.At.URL, siotest.Options{
				Version: version, Transport: "websocket", Header: http.Header{"Origin": {"https://evil.example"}},
			})
			if err == nil {
				t.Error("a WebSocket of another origin was let in")
			}
		}
	}
	harness.SaidOnce(t, &log, "sticky sessions", "level=WARN", "remote=127.0.0.1:")
	harness.SaidOnce(t, &log, "a token in its query", "level=WARN", "Options.Handshake", "remote=127.0.0.1:")
	harness.SaidOnce(t, &log, "page is of another origin", "level=WARN", "origin=https://evil.example", "host=127.0.0.1:")
}

// The last requests of a client whose connection has ended may come late, which is no mistake.
func TestNoticesOfNoLateRequest(t *testing.T) {
	t.Parallel()
	var log harness.Record
	s := harness.Start(t, socketiojwt.Options{Logger: harness.LogTo(&log)}, nil)
	ask := func(sid string) {
		t.Helper()
		response, err := http.Get(s.At.URL + "/socket.io/?EIO=4&transport=polling&sid=" + sid)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", sid, response.Status)
		}
	}
	for _, version := range []int{3, 4} {
		c, _ := s.Dial(t, siotest.Options{Version: version})
		c.Close()
		harness.Eventually(t, "it is gone", func() bool { return s.Count() == 0 })
		ask(c.SID())
		if log.String() != "" {
			t.Errorf("the log says %s", &log)
		}
	}
	another := harness.Start(t, socketiojwt.Options{}, nil)
	c, _ := another.Dial(t, siotest.Options{Version: 4})
	ask(c.SID())
	harness.SaidOnce(t, &log, "sticky sessions", "level=WARN", "remote=127.0.0.1:")
}

// Who has one address of IPv6 has very many, and is told of once.
func TestNoticesOfOneNetwork(t *testing.T) {
	t.Parallel()
	var log harness.Record
	s := harness.Start(t, socketiojwt.Options{Logger: harness.LogTo(&log)}, nil)
	for i := range 3 {
		r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling&sid=somebody", nil)
		r.RemoteAddr = fmt.Sprintf("[2001:db8::%d]:1", i)
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	harness.SaidOnce(t, &log, "sticky sessions", "level=WARN", "remote=")
}

// Auth0 shows the secret of older applications in base64, and signs with what it stands for.
func TestSecretInBase64(t *testing.T) {
	t.Parallel()
	shown := base64.RawURLEncoding.EncodeToString([]byte(harness.Secret))
	decoded, err := base64.RawURLEncoding.DecodeString(shown)
	if err != nil {
		t.Fatal(err)
	}
	token := harness.TokenOf(t, "bob")
	_, err = harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(shown)}).Verify(t.Context(), testRequest, token)
	checkRefusal(t, err, tokenRefusal("invalid signature"))
	_, err = harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(decoded)}).Verify(t.Context(), testRequest, token)
	checkRefusal(t, err, nil)
}

func TestPEMThatWasBentOnItsWay(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	text := harness.PublicPEM(t, &k.P256.PublicKey)
	token := harness.Sign(t, jwt.SigningMethodES256, k.P256, jwt.MapClaims{})
	for name, bent := range map[string]string{
		"CRLF":                    strings.ReplaceAll(text, "\n", "\r\n"),
		"indented":                strings.ReplaceAll("\n"+text, "\n", "\n\t  "),
		"spaces at the ends":      strings.ReplaceAll(text, "\n", "  \n"),
		"without a last new line": strings.TrimSpace(text),
	} {
		_, err := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(bent)}).Verify(t.Context(), testRequest, token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bent := range map[string]string{
		`the two characters \n`: strings.ReplaceAll(text, "\n", `\n`),
		"one line":              strings.ReplaceAll(text, "\n", " "),
	} {
		_, err := socketiojwt.Authorize(socketiojwt.Options{Secret: socketiojwt.StaticSecret(bent)})
		if err == nil || !strings.Contains(err.Error(), "Secret") || !strings.Contains(err.Error(), "real line breaks") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongAudience(t *testing.T) {
	t.Parallel()
	var log harness.Record
	s := harness.Start(t, socketiojwt.Options{
		Handshake: true, Logger: harness.LogTo(&log),
		ParserOptions: []jwt.ParserOption{jwt.WithAudience("chat")},
	}, nil)
	for audience, want := range map[string]string{
		"mail": "44" + harness.Refusal("invalid_token", "jwt audience invalid"),
		"":     "44" + harness.Refusal("invalid_token", "jwt claim required"),
		"chat": "40",
	} {
		claims := jwt.MapClaims{}
		if audience != "" {
			claims["aud"] = audience
		}
		_, must := s.Dial(t, siotest.Options{Query: harness.WithToken(harness.SignHS256(t, claims))})
		must.NextRaw(want)
	}
	harness.SaidOnce(t, &log, "jwt audience invalid", "level=DEBUG", "code=invalid_token", "namespace=/", "remote=127.0.0.1:")
}

// The token of a client whose proxy keeps the Authorization header for itself, and of a browser,
// which cannot set one on a WebSocket.
func TestHeaderThatGetsLost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		opts socketiojwt.Options
		want string
	}{
		{socketiojwt.Options{Handshake: true}, "44" + harness.Refusal("credentials_required", "no token provided")},
		{socketiojwt.Options{Handshake: true, HeaderRequired: true}, "44" + harness.Refusal("missing_authorization_header", "Server requires Authorization Header")},
	} {
		s := harness.Start(t, test.opts, nil)
		target, err := url.Parse(s.At.URL)
		if err != nil {
			t.Fatal(err)
		}
		proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization")
		}})
		defer proxy.Close()
		for _, transport := range []string{"polling", "websocket"} {
			header := http.Header{"Authorization": {"Bearer " + harness.TokenOf(t, "bob")}}
			_, must := s.Dial(t, siotest.Options{Transport: transport, Header: header})
			must.NextRaw("40")
			must = siotest.MustDial(t, proxy.URL, siotest.Options{Transport: transport, Header: header}).Must(t)
			must.NextRaw(test.want)
		}
	}
}
