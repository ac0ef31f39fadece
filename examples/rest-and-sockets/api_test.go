package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

var testSecret = []byte("a secret of 32 bytes for the test")

type client struct {
	*testing.T
	url, token string
}

func (c client) call(method, path, kind, body string) (status int, answer string, header http.Header) {
	c.Helper()
	r, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(text)), response.Header
}

func (c client) want(method, path, body string, status int, answer string) {
	c.Helper()
	if gotStatus, got, _ := c.call(method, path, "text/plain", body); gotStatus != status || got != answer {
		c.Errorf("%s %s: %d %s", method, path, gotStatus, got)
	}
}

func (c client) login(name string) client {
	c.Helper()
	status, body, _ := c.call("POST", "/login", "application/json", `{"user":"`+name+`","password":"`+name+`-demo"}`)
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(body), &answer); status != 200 || err != nil {
		c.Fatalf("%d %s", status, body)
	}
	c.token = answer.Token
	return c
}

func (c client) connect(transport string) (*siotest.Client, siotest.Must) {
	c.Helper()
	s := siotest.MustDial(c, c.url, siotest.Options{Transport: transport, Query: url.Values{"token": {c.token}}})
	return s, s.Must(c)
}

func start(t *testing.T) client {
	t.Helper()
	a, err := newAPI(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return client{t, servetest.Start(t, a.sio, a), ""}
}

func TestOneLoginForBoth(t *testing.T) {
	nobody := start(t)
	red, blue := nobody.login("red"), nobody.login("blue")
	red.want("GET", "/self", "", 200, `{"name":"red","email":"red@example.com"}`)
	red.want("GET", "/users/blue", "", 200, `{"connected":false,"connections":0}`)

	var sockets []siotest.Must
	for _, transport := range []string{"polling", "websocket", "upgrade"} {
		_, must := blue.connect(transport)
		must.NextRaw("40")
		must.NextRaw(`42["welcome",{"name":"blue","email":"blue@example.com"}]`)
		sockets = append(sockets, must)
	}
	other, must := red.connect("websocket")
	must.NextRaw("40")
	must.NextRaw(`42["welcome",{"name":"red","email":"red@example.com"}]`)
	red.want("GET", "/users/blue", "", 200, `{"connected":true,"connections":3}`)

	red.want("POST", "/users/blue/messages", "hello", 202, "")
	blue.want("POST", "/users/red/messages", "good morning", 202, "")
	for _, socket := range sockets {
		socket.NextRaw(`42["message",{"from":"red","text":"hello"}]`)
	}
	must.NextRaw(`42["message",{"from":"blue","text":"good morning"}]`) // and not what went to blue

	other.Close()
	for end := time.Now().Add(siotest.DefaultTimeout); ; {
		if _, got, _ := blue.call("GET", "/users/red", "", ""); got == `{"connected":false,"connections":0}` {
			break
		} else if time.Now().After(end) {
			t.Fatalf("red is gone, and still %s", got)
		}
	}
}

func TestWhoHasNoToken(t *testing.T) {
	nobody := start(t)
	for _, route := range [][2]string{{"GET", "/self"}, {"GET", "/users/red"}, {"POST", "/users/red/messages"}} {
		status, body, header := nobody.call(route[0], route[1], "", "")
		if status != 401 || header.Get("WWW-Authenticate") != "Bearer" || !strings.Contains(body, "credentials_required") {
			t.Errorf("%v: %d %s", route, status, body)
		}
	}
	for _, body := range []string{`{"user":"red","password":"blue-demo"}`, `{"user":"green","password":""}`, `{}`} {
		if status, _, _ := nobody.call("POST", "/login", "application/json", body); status != 401 {
			t.Errorf("%s: %d", body, status)
		}
	}
	if status, _, _ := nobody.call("POST", "/login", "text/plain", `{"user":"red","password":"red-demo"}`); status != 415 {
		t.Errorf("a form: %d", status)
	}
}

func TestWhatAUserMayNot(t *testing.T) {
	red := start(t).login("red")
	red.want("POST", "/users/green/messages", "hello", 404, "no such user")
	red.want("POST", "/users/blue/messages", strings.Repeat("x", maxTextBytes+1), 413, "the text is too long")

	deleted := red
	var err error
	deleted.token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: "green", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).SignedString(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	const refusal = `{"message":"no such user","code":"unauthorized","type":"UnauthorizedError"}`
	deleted.want("GET", "/self", "", 401, refusal)
	_, must := deleted.connect("websocket")
	must.NextRaw("44" + refusal)
}
