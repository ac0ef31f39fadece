package harness

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// Transports are the ways a client comes in.
var Transports = []string{"polling", "websocket", "upgrade"}

// BothTransports are those that differ once a client is connected.
var BothTransports = []string{"polling", "websocket"}

// Dial connects a client.
func Dial(tb testing.TB, at Place, o siotest.Options) (*siotest.Client, siotest.Must) {
	tb.Helper()
	o.HTTP = at.Client
	c := siotest.MustDial(tb, at.URL, o)
	return c, c.Must(tb)
}

// Dial connects a client to s.
func (s *App) Dial(tb testing.TB, o siotest.Options) (*siotest.Client, siotest.Must) {
	tb.Helper()
	return Dial(tb, s.At, o)
}

// Dial4 connects a client 3.x or 4.x to s.
func Dial4(tb testing.TB, s *App, transport string) siotest.Must {
	tb.Helper()
	_, must := s.Dial(tb, siotest.Options{Version: 4, Transport: transport})
	return must
}

// Auth is what the `auth` option of such a client holds.
type Auth map[string]any

// Bob are the options of a client with bob's token in the query.
func Bob(tb testing.TB, transport string) siotest.Options {
	return siotest.Options{Transport: transport, Query: WithToken(TokenOf(tb, "bob"))}
}

// Honest connects a client that has a good token and works in either mode.
func (s *App) Honest(tb testing.TB, transport string) (*siotest.Client, siotest.Must) {
	tb.Helper()
	c, must := s.Dial(tb, Bob(tb, transport))
	must.Emit("/", "authenticate", map[string]string{"token": TokenOf(tb, "bob")})
	must.Event("/", "authenticated")
	return c, must
}

// Served ends the test unless the client's events are answered. It needs Chat.
func Served(tb testing.TB, must siotest.Must) {
	tb.Helper()
	if got := string(must.Call("/", "echo", "alive").Data); got != `["alive"]` {
		tb.Fatalf("an honest client got %s", got)
	}
}

// Enter connects a client and gets it in, in either mode.
func (s *App) Enter(tb testing.TB, handshake bool, transport, raw string) (*siotest.Client, siotest.Must) {
	tb.Helper()
	o := siotest.Options{Transport: transport}
	if handshake {
		o.Query = WithToken(raw)
	}
	before := s.Auth.Stats().Active
	c, must := s.Dial(tb, o)
	must.NextRaw("40")
	if handshake { // the root's CONNECT comes before the session
		Eventually(tb, "it has a session", func() bool { return s.Auth.Stats().Active > before })
	} else {
		must.Emit("/", "authenticate", map[string]string{"token": raw})
		must.NextRaw(`42["authenticated"]`)
	}
	return c, must
}

// Knock connects a client of a version with bob's token, in either mode, up to what answers it.
func Knock(tb testing.TB, s *App, version int, transport string, handshake bool) siotest.Must {
	tb.Helper()
	o := siotest.Options{Version: version, Transport: transport}
	if handshake && version == 3 {
		o = Bob(tb, transport)
	}
	_, must := s.Dial(tb, o)
	switch {
	case version == 3 && !handshake:
		must.Connected("/")
		must.Emit("/", "authenticate", map[string]string{"token": TokenOf(tb, "bob")})
	case version == 4:
		must.JoinWith("/", Auth{"token": TokenOf(tb, "bob")})
	}
	return must
}

// WaitUntilRead waits until the server has read what the client has sent, and ends the test if
// the client gets a broadcast with the word "secret" meanwhile.
func WaitUntilRead(tb testing.TB, c *siotest.Client, version int) {
	tb.Helper()
	must := c.Must(tb)
	if version == 4 {
		must.Join("/none?")
		must.Refused("/none?")
		return
	}
	must.OK(c.SendPacket("2end"))
	for {
		p, err := c.NextEngine(tb.Context())
		must.OK(err)
		if p.Type == siotest.EnginePong {
			return
		}
		if strings.Contains(p.String(), "secret") {
			tb.Fatal("it got ", p)
		}
	}
}

// Get asks for a page on a connection of its own.
func Get(tb testing.TB, url string) (*http.Response, string) {
	tb.Helper()
	return Request(tb, http.MethodGet, url)
}

// Request is Get with another method.
func Request(tb testing.TB, method, url string) (*http.Response, string) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), method, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return response, string(body)
}
