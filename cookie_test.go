package socketiojwt_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
)

// cookiePages are pages in a browser that holds a good cookie of api.example, and
// programs that are no browser.
var cookiePages = []struct {
	name   string
	host   string // "" is api.example:8080
	header http.Header
	in     bool
	jsonp  any // true or false where it is not as in
}{
	// A browser leaves Origin out of GETs to the page's own origin; a program always does.
	{name: "no Origin", in: true, jsonp: false},
	{name: "no Origin, of the same origin", header: http.Header{"Sec-Fetch-Site": {"same-origin"}}, in: true},
	{name: "no Origin, by the user", header: http.Header{"Sec-Fetch-Site": {"none"}}, in: true},
	{name: "empty Origin", header: origin(""), in: true, jsonp: false},
	{name: "empty Origin, of another site", header: http.Header{"Origin": {""}, "Sec-Fetch-Site": {"cross-site"}}},
	{name: "no Origin, of another site", header: http.Header{"Sec-Fetch-Site": {"cross-site"}}},
	{name: "no Origin, of a sibling", header: http.Header{"Sec-Fetch-Site": {"same-site"}}},
	{name: "no Origin, of who knows", header: http.Header{"Sec-Fetch-Site": {"new-value"}}},

	{name: "same origin", header: origin("http://api.example:8080"), in: true},
	{name: "same origin, and so it says", header: http.Header{"Origin": {"http://api.example:8080"}, "Sec-Fetch-Site": {"same-origin"}}, in: true},
	{name: "same origin, default port", host: "api.example", header: origin("http://api.example"), in: true},
	{name: "same origin, https behind a proxy", host: "api.example", header: origin("https://api.example"), in: true},
	{name: "same origin, default port in Host", host: "api.example:443", header: origin("https://api.example"), in: true},
	{name: "same origin, default port in both", host: "api.example:80", header: origin("http://api.example:80"), in: true},
	{name: "same origin, by the scheme of WebSockets", host: "api.example:443", header: origin("wss://api.example"), in: true},
	{name: "the other scheme's default port", host: "api.example:80", header: origin("https://api.example")},
	{name: "same origin, IPv6", host: "[::1]:8080", header: origin("http://[::1]:8080"), in: true},

	{name: "other port", header: origin("http://api.example:8081")},
	{name: "default port", header: origin("http://api.example")},
	{name: "other scheme, its default port", host: "api.example:80", header: origin("https://api.example")},
	{name: "other scheme, the server's default port", host: "api.example:443", header: origin("http://api.example")},
	{name: "other scheme, no scheme of the web", header: origin("chrome-extension://api.example:8080")},
	{name: "subdomain", header: origin("http://evil.api.example:8080")},
	{name: "parent domain", header: origin("http://example:8080")},
	{name: "sibling", header: origin("http://www.example:8080")},
	{name: "another site", header: origin("https://evil.example")},
	{name: "another site, and so it says", header: http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}},
	{name: "another site that lies", header: http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"same-origin"}}},
	{name: "another site, own host in the user part", header: origin("http://api.example:8080@evil.example")},
	{name: "another site, own host in the path", header: origin("http://evil.example/http://api.example:8080")},
	{name: "another site, own host as prefix", header: origin("http://api.example:8080.evil.example")},
	{name: "own host and a path", header: origin("http://api.example:8080/")},
	{name: "own host and a user", header: origin("http://evil@api.example:8080")},
	{name: "trailing dot", header: origin("http://api.example.:8080")},
	{name: "null", header: origin("null")},
	{name: "null, and so it says", header: http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}}},
	{name: "file", header: origin("file://")},
	{name: "own host without scheme", header: origin("api.example:8080")},
	{name: "two origins", header: http.Header{"Origin": {"http://api.example:8080", "https://evil.example"}}},
	{name: "two origins, the own last", header: http.Header{"Origin": {"https://evil.example", "http://api.example:8080"}}},
	{name: "two origins in one", header: origin("http://api.example:8080 https://evil.example")},
	{name: "two origins, by comma", header: origin("http://api.example:8080, https://evil.example")},

	{name: "allowed", header: origin("https://app.example"), in: true},
	{name: "allowed, and so it says", header: http.Header{"Origin": {"https://app.example"}, "Sec-Fetch-Site": {"cross-site"}}, in: true},
	{name: "allowed, with its port", header: origin("http://localhost:3000"), in: true},
	{name: "allowed, other scheme", header: origin("http://app.example")},
	{name: "allowed, other port", header: origin("http://localhost:3001")},
	{name: "allowed, subdomain", header: origin("https://x.app.example")},
	{name: "allowed, as prefix", header: origin("https://app.example.evil.example")},
}

func origin(value string) http.Header { return http.Header{"Origin": {value}} }

// startCookieServer serves pages of any origin, which CORS may well allow.
func startCookieServer(tb testing.TB, handshake bool, entered *atomic.Int64) *testServer {
	tb.Helper()
	auth := mustAuthorize(tb, socketiojwt.Options{
		Handshake:      handshake,
		Cookie:         "jwt",
		AllowedOrigins: []string{"https://app.example", "http://localhost:3000"},
	})
	anybody := func(*http.Request) bool { return true }
	s := &testServer{auth: auth, at: loopback(tb)}
	s.Server = auth.Protect(socketio.NewServer(socketiojwt.Harden(&engineio.Options{Transports: []transport.Transport{
		&polling.Transport{CheckOrigin: anybody},
		&websocket.Transport{CheckOrigin: anybody},
	}})))
	s.OnConnect("/", func(c socketio.Conn) error {
		entered.Add(1)
		session, _ := auth.Session(c)
		c.Emit("welcome", session.Subject())
		return nil
	})
	serve(tb, s.Server, s.at, s.Server)
	return s
}

// Cross-site WebSocket hijacking, and the same by polling and by script: a page of another
// site never gets in on the cookie of its visitor.
func TestCookieOfAnotherPage(t *testing.T) {
	good := tokenOf(t, "bob")
	for _, handshake := range []bool{true, false} {
		var entered atomic.Int64
		s := startCookieServer(t, handshake, &entered)
		for _, page := range cookiePages {
			for _, transport := range []string{"polling", "websocket", "upgrade", "jsonp"} {
				o := siotest.Options{Transport: transport, Header: page.header.Clone()}
				in := page.in
				if transport == "jsonp" {
					o.Transport, o.JSONP = "polling", true
					if page.jsonp != nil {
						in = page.jsonp.(bool)
					}
				}
				if transport == "upgrade" && handshake && !in {
					continue // there is nothing to upgrade
				}
				if o.Header == nil {
					o.Header = http.Header{}
				}
				o.Header.Set("Cookie", "a=b; jwt="+good)
				o.Header.Set("Host", "api.example:8080")
				if page.host != "" {
					o.Header.Set("Host", page.host)
				}
				t.Run(fmt.Sprintf("handshake %t/%s/%s", handshake, page.name, transport), func(t *testing.T) {
					before := entered.Load()
					_, must := s.dial(t, o)
					switch {
					case in && !handshake:
						must.NextRaw("40")
						must.Emit("/", "authenticate")
						must.NextRaw(`42["authenticated"]`)
						must.NextRaw(`42["welcome","bob"]`)
					case in:
						must.NextRaw("40")
						must.NextRaw(`42["welcome","bob"]`)
					case handshake:
						expect(t, must.Rest(), "44"+e("credentials_required", "no token provided"), "41")
					default:
						must.NextRaw("40")
						must.Send(`42["authenticate",{}]`)
						unauthorized(t, must.Next(), "invalid_token", "invalid token datatype")
						expect(t, must.Rest(), "41")
					}
					if n := entered.Load() - before; (n == 1) != in {
						t.Errorf("OnConnect ran %d times", n)
					}
				})
			}
		}
	}
}

// What a page sends itself is not its visitor's, so where it is from does not matter.
func TestOwnTokenOfAnotherPage(t *testing.T) {
	for _, handshake := range []bool{true, false} {
		var entered atomic.Int64
		s := startCookieServer(t, handshake, &entered)
		for _, transport := range []string{"polling", "websocket", "jsonp"} {
			o := siotest.Options{Transport: transport, Header: http.Header{
				"Origin": {"https://evil.example"}, "Cookie": {"jwt=" + tokenOf(t, "bob")},
			}}
			if transport == "jsonp" {
				o.Transport, o.JSONP = "polling", true
			}
			if handshake {
				o.Query = withToken(tokenOf(t, "eve"))
			}
			_, must := s.dial(t, o)
			must.NextRaw("40")
			if !handshake {
				must.Emit("/", "authenticate", map[string]string{"token": tokenOf(t, "eve")})
				must.NextRaw(`42["authenticated"]`)
			}
			must.NextRaw(`42["welcome","eve"]`)
		}
	}
}

// A foreign page cannot use the cookie for a namespace either, nor by an upgrade that looks
// better than the handshake.
func TestCookieOfAnotherPageInANamespace(t *testing.T) {
	for _, handshake := range []bool{true, false} {
		auth := mustAuthorize(t, socketiojwt.Options{Handshake: handshake, Cookie: "jwt"})
		at := loopback(t)
		sio := auth.Protect(socketio.NewServer(hardened()), "/admin")
		sio.OnConnect("/", func(socketio.Conn) error { return nil })
		sio.OnConnect("/admin", func(socketio.Conn) error { t.Error("OnConnect ran"); return nil })
		serve(t, sio, at, sio)

		header := http.Header{"Origin": {"https://evil.example"}, "Cookie": {"jwt=" + tokenOf(t, "bob")}}
		c, must := dial(t, at, siotest.Options{Transport: "polling", Header: header, ManualPoll: true, NoPing: true})
		must.NextRaw("40")
		header.Set("Origin", at.url) // of the requests that follow
		must.OK(c.UpgradeNow(t.Context()))
		must.Join("/admin")
		if handshake {
			must.NextRaw("44/admin," + e("credentials_required", "no token provided"))
			must.NextRaw("41/admin")
			continue
		}
		must.NextRaw("40/admin")
		must.Send(`42/admin,["authenticate",{}]`)
		unauthorized(t, must.Next(), "invalid_token", "invalid token datatype")
		must.NextRaw("41/admin")
	}
}

// Without a CheckOrigin of its own, no WebSocket of a foreign page is opened at all.
func TestForeignWebSocketIsRefusedByDefault(t *testing.T) {
	for _, handshake := range []bool{true, false} {
		s := start(t, socketiojwt.Options{Handshake: handshake, Cookie: "jwt"}, nil)
		for _, from := range []string{"https://evil.example", "null", s.at.url + ".evil.example"} {
			_, err := siotest.Dial(t.Context(), s.at.url, siotest.Options{Transport: "websocket",
				Header: http.Header{"Origin": {from}, "Cookie": {"jwt=" + tokenOf(t, "bob")}}})
			if refused := new(siotest.StatusError); !errors.As(err, &refused) || refused.Status != http.StatusForbidden || refused.Body != `{"code":4,"message":"Forbidden"}` {
				t.Errorf("handshake %t, %s: got %v", handshake, from, err)
			}
			if n := s.Count(); n != 0 {
				t.Errorf("handshake %t, %s: %d sessions", handshake, from, n)
			}
		}
	}
}
