package socketiojwt_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// logLines are the lines that the README documents, but for those about mistakes: level, message
// and keys.
var logLines = []string{
	`level=WARN msg="socketiojwt: weak key in Secret" reason=`,
	`level=INFO msg="socketiojwt: a namespace is public" namespace=/open`,
	`level=DEBUG msg="socketiojwt: authenticated" namespace=/ remote=127.0.0.1:`,
	`level=DEBUG msg="socketiojwt: refused" code=invalid_token message="jwt malformed" namespace=/ remote=127.0.0.1:`,
	`level=DEBUG msg="socketiojwt: refused" code=invalid_token message="jwt expired" namespace="" remote=192.0.2.1:`,
	`level=DEBUG msg="socketiojwt: a session ended" code=invalid_token message="jwt revoked" remote=127.0.0.1:`,
	`level=DEBUG msg="socketiojwt: a session ended" code=unauthorized message=unauthorized remote=127.0.0.1:`,
	`level=INFO msg="socketiojwt: a client was disconnected for what it sent" reason="malformed JSON" remote=127.0.0.1:`,
	`level=WARN msg="socketiojwt: a callback failed" callback=Accept error="the database is down" namespace=/ remote=127.0.0.1:`,
	`level=ERROR msg="socketiojwt: a callback panicked" callback=Accept error="panic: string" namespace=/ remote=127.0.0.1:`,
}

// Whatever happens, no token, key or claim gets into the log or the Stats: each of those here
// holds a word that is nowhere else.
func TestLogAndStatsHoldNoTokenKeyOrClaim(t *testing.T) {
	t.Parallel()
	const (
		word   = "canary"
		secret = "canary-key"
	)
	sign := func(claims jwt.MapClaims) string {
		all := jwt.MapClaims{
			"sub": "canary-subject", "jti": "canary-id", "iss": "canary-issuer", "aud": "canary-audience", "name": "canary-name",
			"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Add(-time.Hour).Unix(),
		}
		for name, value := range claims {
			all[name] = value
		}
		return harness.Sign(t, jwt.SigningMethodHS256, []byte(secret), all)
	}

	var log harness.Record
	opts := socketiojwt.Options{
		Secret:        socketiojwt.StaticSecret(secret),
		ParserOptions: []jwt.ParserOption{jwt.WithAudience("canary-audience"), jwt.WithIssuer("canary-issuer")},
		Cookie:        "jwt",
		Logger:        harness.LogTo(&log),
		UserRoom:      func(s *socketiojwt.Session) string { return s.Subject() },
		Accept: func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
			claims := token.Claims.(jwt.MapClaims)
			switch claims["accept"] {
			case "canary-fails":
				return nil, errors.New("the database is down")
			case "canary-panics":
				panic(token.Raw)
			case "canary-crashes":
				return claims["name"].(int), nil
			}
			return nil, nil
		},
	}
	var sids []string
	var tokens []string
	all := make(map[string]uint64)
	for _, handshake := range []bool{true, false} {
		list := socketiojwt.NewMemoryRevocations()
		opts.Handshake, opts.Revocations = handshake, list
		s := harness.Start(t, opts, func(s *harness.App) {
			s.OnConnect("/", func(c socketio.Conn) error { return nil })
			s.OnConnect("/open", func(c socketio.Conn) error { return nil })
		}, "/")
		enter := func(raw string) siotest.Must {
			tokens = append(tokens, raw)
			o := siotest.Options{Transport: "websocket", Header: http.Header{"X-Trace": {"canary-header"}}}
			if handshake {
				o.Query = harness.WithToken(raw)
			}
			c, must := s.Dial(t, o)
			if id := c.SID(); id != "refused" {
				sids = append(sids, id)
			}
			if !handshake {
				must.NextRaw("40")
				must.Emit("/", "authenticate", map[string]string{"token": raw})
			}
			return must
		}
		good := sign(nil)
		for _, raw := range []string{
			"canary", good + "canary", good + ".canary", good[:len(good)-3] + "AAA",
			sign(jwt.MapClaims{"exp": "canary-time"}), sign(jwt.MapClaims{"exp": 1}), sign(jwt.MapClaims{"sub": []string{"canary"}}),
			sign(jwt.MapClaims{"jti": map[string]string{"canary": "canary"}}), sign(jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix()}),
			sign(jwt.MapClaims{"aud": "canary-other"}), sign(jwt.MapClaims{"iss": "canary-other"}),
			sign(jwt.MapClaims{"accept": "canary-fails"}), sign(jwt.MapClaims{"accept": "canary-panics"}), sign(jwt.MapClaims{"accept": "canary-crashes"}),
			harness.Sign(t, jwt.SigningMethodHS512, []byte("canary-other-key"), jwt.MapClaims{}),
			strings.Repeat("canary", 3000),
			harness.SignParts(`{"alg":"canary"}`, `{}`), harness.SignParts(`{"alg":"HS256","crit":["canary"]}`, `{}`), harness.SignParts(`{"alg":"HS256"}`, `{"canary":`),
		} {
			enter(raw).Rest()
		}

		must := enter(sign(jwt.MapClaims{"jti": "canary-revoked"}))
		harness.Eventually(t, "the client is in", func() bool { return s.Auth.Stats().Active == 1 })
		revoke(t, list, socketiojwt.Revocation{TokenID: "canary-revoked"})
		must.Rest()
		must = enter(good)
		harness.Eventually(t, "the client is in", func() bool { return s.Auth.Stats().Active == 1 })
		must.Emit("/", "authenticate", map[string]string{"token": sign(jwt.MapClaims{"sub": "canary-another"})})
		must.Event("/", "unauthorized")
		if n := s.Auth.DisconnectSubject("canary-subject", nil); n != 1 {
			t.Errorf("%d disconnected", n)
		}
		must.Rest()
		must = enter(good)
		harness.Eventually(t, "the client is in", func() bool { return s.Auth.Stats().Active == 1 })
		must.Send(`42["canary",{"canary":]`)
		must.Closed()

		protected := s.Auth.Middleware(http.NotFoundHandler())
		for _, raw := range []string{good, sign(jwt.MapClaims{"exp": 1})} {
			r := httptest.NewRequest(http.MethodGet, "/self?token=canary", nil)
			r.Header.Set("Authorization", "Bearer "+raw)
			protected.ServeHTTP(httptest.NewRecorder(), r)
		}
		stats := s.Auth.Stats()
		for _, counts := range []map[string]uint64{stats.Refused, stats.PacketsRefused} {
			for key, n := range counts {
				all[key] += n
			}
		}
	}

	harness.Eventually(t, "all is logged", func() bool {
		for _, line := range logLines {
			if !strings.Contains(log.String(), line) {
				return false
			}
		}
		return true
	})
	text := log.String()
	for key := range all {
		text += "\n" + key
	}
	forbidden := append(sids, word, base64.RawURLEncoding.EncodeToString([]byte(word)))
	for _, raw := range tokens {
		for part := range strings.SplitSeq(raw, ".") {
			if len(part) > 20 {
				forbidden = append(forbidden, part[:20])
			}
		}
	}
	for line := range strings.Lines(text) {
		for _, word := range forbidden {
			if strings.Contains(line, word) {
				t.Errorf("%q is in %s", word, line)
			}
		}
	}
}

// The line of a panic says whose it was, whichever callback it was in.
func TestPanicsAreLoggedWithTheirClient(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*socketiojwt.Options){
		"UserRoom": func(o *socketiojwt.Options) { o.UserRoom = func(*socketiojwt.Session) string { panic("x") } },
		"OnAuthenticated": func(o *socketiojwt.Options) {
			o.OnAuthenticated = func(socketio.Conn, *socketiojwt.Session) { panic("x") }
		},
		"OnUnauthorized": func(o *socketiojwt.Options) {
			o.OnUnauthorized = func(*socketiojwt.Request, *socketiojwt.UnauthorizedError) { panic("x") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log harness.Record
			opts := socketiojwt.Options{Logger: harness.LogTo(&log)}
			set(&opts)
			s := harness.Start(t, opts, nil)
			for _, token := range []string{harness.TokenOf(t, "bob"), "x"} {
				_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
				must.Connected("/")
				must.Emit("/", "authenticate", map[string]string{"token": token})
			}
			harness.Eventually(t, "it is logged", func() bool {
				return strings.Contains(log.String(), `msg="socketiojwt: a callback panicked" callback=`+name+` error="panic: string" namespace=/ remote=127.0.0.1:`)
			})
		})
	}
}

// A program without a Logger hears of its own panics all the same. It shares the default log with
// nobody: no t.Parallel.
func TestPanicsAreLoggedWithoutALogger(t *testing.T) {
	var record harness.Record
	log.SetOutput(&record)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnConnect("/", func(socketio.Conn) error { panic("x") })
	})
	_, must := s.Dial(t, harness.Bob(t, "websocket"))
	if message, _ := must.Refused("/"); message != "unauthorized" {
		t.Errorf("got %q", message)
	}
	harness.Eventually(t, "it is logged", func() bool {
		return strings.Contains(record.String(), "ERROR socketiojwt: a callback panicked callback=OnConnect")
	})
}

// Of several fields that are wrong it is always the same that is named.
func TestAuthorizeNamesTheFirstWrongField(t *testing.T) {
	t.Parallel()
	opts := socketiojwt.Options{Secret: socketiojwt.StaticSecret(harness.Secret), Timeout: 1, CloseGrace: 1, ExpiryWarning: 1}
	for range 100 {
		if _, err := socketiojwt.Authorize(opts); err == nil || !strings.HasPrefix(err.Error(), "socketiojwt: Timeout: ") {
			t.Fatal(err)
		}
	}
}

// Nothing that holds a token prints it, however it is printed.
func TestNothingPrintsATokenOrAHeader(t *testing.T) {
	t.Parallel()
	token := harness.TokenOf(t, "bob")
	request := &socketiojwt.Request{
		Namespace: "/", SessionID: "the-session-id", RemoteAddr: "192.0.2.1:1",
		URL:    &url.URL{Path: "/socket.io/", RawQuery: "token=" + token},
		Header: http.Header{"Authorization": {"Bearer " + token}, "Cookie": {"jwt=" + token}},
		Auth:   []byte(`{"token":"` + token + `"}`),
	}
	data := new(socketiojwt.AuthenticateData)
	_ = data.UnmarshalJSON([]byte(`{"token":"` + token + `"}`))
	sessions := make(chan *socketiojwt.Session, 1)
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error {
			session, _ := s.Auth.Session(c)
			sessions <- session
			return nil
		})
	})
	s.Dial(t, harness.Bob(t, "websocket"))
	session := <-sessions
	for name, value := range map[string]any{
		"*Request": request, "Request": *request, "*AuthenticateData": data, "AuthenticateData": *data,
		"*Session": session, "[]*Request": []*socketiojwt.Request{request}, "in a struct": struct{ R *socketiojwt.Request }{request},
	} {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&b, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", slog.Any("value", value))
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", slog.Any("value", value))
		got := b.String()
		for _, secret := range []string{token, fmt.Sprintf("%x", token), token[:20], "Bearer", "Authorization", "the-session-id"} {
			if strings.Contains(got, secret) {
				t.Errorf("%s prints %.20s: %s", name, secret, got)
				break
			}
		}
	}
}
