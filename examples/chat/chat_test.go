package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

var testSecret = []byte("a secret of 32 bytes for the test")

const testLife = 10 * time.Minute

func testServer(t *testing.T) (url string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "socket.io.min.js"), []byte("// the client"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := newChat(testSecret, testLife, dir)
	if err != nil {
		t.Fatal(err)
	}
	return servetest.Start(t, c.sio, c)
}

func TestLogin(t *testing.T) {
	server := testServer(t)
	for _, test := range []struct {
		name, kind, body string
		status           int
	}{
		{"right", "application/json", `{"user":"red","password":"red-demo"}`, 200},
		{"charset", "application/json; charset=utf-8", `{"user":"blue","password":"blue-demo"}`, 200},
		{"wrong password", "application/json", `{"user":"red","password":"blue-demo"}`, 401},
		{"no such user", "application/json", `{"user":"green","password":"green-demo"}`, 401},
		{"no such user, no password", "application/json", `{"user":"green","password":""}`, 401},
		{"nothing", "application/json", `{}`, 401},
		{"not JSON", "application/json", `user=red`, 400},
		{"too long", "application/json", `{"user":"` + strings.Repeat("r", 5<<10) + `"}`, 400},
		{"form of another site", "text/plain", `{"user":"red","password":"red-demo"}`, 415},
	} {
		t.Run(test.name, func(t *testing.T) {
			response, err := http.Post(server+"/login", test.kind, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", response.StatusCode, test.status, body)
			}
			if found := regexp.MustCompile(`"token":"(.*)"`).FindSubmatch(body); (found != nil) != (test.status == 200) {
				t.Fatalf("body %s with status %d", body, test.status)
			} else if found != nil {
				checkToken(t, string(found[1]))
			}
		})
	}
}

func checkToken(t *testing.T, raw string) {
	t.Helper()
	claims := parse(t, raw)
	if left := time.Until(claims.ExpiresAt.Time); left > testLife || left < testLife-time.Minute {
		t.Errorf("the token expires in %v, want %v", left, testLife)
	}
}

func parse(t *testing.T, raw string) claims {
	t.Helper()
	var c claims
	if _, err := jwt.ParseWithClaims(raw, &c, func(*jwt.Token) (any, error) { return testSecret, nil }); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRefresh(t *testing.T) {
	server := testServer(t)
	in := func(d time.Duration) *jwt.NumericDate { return jwt.NewNumericDate(time.Now().Add(d)) }
	for _, test := range []struct {
		name              string
		expires, loggedIn *jwt.NumericDate
		key               []byte
		status            int
	}{
		{"good", in(time.Minute), in(-time.Hour), testSecret, 200},
		{"expired", in(-time.Minute), in(-time.Hour), testSecret, 401},
		{"forged", in(time.Minute), in(-time.Hour), []byte("another secret of 32 bytes or so"), 401},
		{"login too long ago", in(time.Minute), in(-loginLife - time.Minute), testSecret, 401},
		{"no login", in(time.Minute), nil, testSecret, 401},
		{"no expiry", nil, in(0), testSecret, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			old, err := jwt.NewWithClaims(jwt.SigningMethodHS256,
				claims{jwt.RegisteredClaims{Subject: "red", ExpiresAt: test.expires}, "a login", test.loggedIn}).SignedString(test.key)
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.NewRequest(http.MethodPost, server+"/refresh", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+old)
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != test.status {
				t.Fatalf("status %d, want %d", response.StatusCode, test.status)
			}
			if test.status != 200 {
				return
			}
			var answer struct{ Token string }
			if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
				t.Fatal(err)
			}
			checkToken(t, answer.Token)
			if c := parse(t, answer.Token); c.Subject != "red" || c.SID != "a login" || !c.LoggedInAt.Equal(test.loggedIn.Time) {
				t.Errorf("subject %q, sid %q, logged in at %v; want red, a login, %v", c.Subject, c.SID, c.LoggedInAt, test.loggedIn)
			}
		})
	}
}

// send posts with a token, and returns the token in the answer.
func send(t *testing.T, url, token, body string, status int) (answered string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != status {
		t.Fatalf("%s: status %d, want %d", url, response.StatusCode, status)
	}
	var answer struct{ Token string }
	_ = json.NewDecoder(response.Body).Decode(&answer) // 204 has no body
	return answer.Token
}

// A log-out ends one login: its sockets and all its tokens, and nothing else.
func TestLogout(t *testing.T) {
	server := testServer(t)
	enter := func(token string) siotest.Must {
		c := siotest.MustDial(t, server, siotest.Options{Version: 4, Transport: "websocket"})
		must := c.Must(t)
		must.JoinWith("/", map[string]string{"token": token})
		return must
	}
	in := func(token string) siotest.Must {
		must := enter(token)
		must.Connected("/")
		must.NextRaw(`42["welcome","red"]`)
		return must
	}
	const red = `{"user":"red","password":"red-demo"}`
	first := send(t, server+"/login", "", red, 200)
	renewed := send(t, server+"/refresh", first, "", 200)
	other := send(t, server+"/login", "", red, 200)
	one, two, stays := in(first), in(renewed), in(other)

	send(t, server+"/logout", "nonsense", "", 401)
	send(t, server+"/logout", renewed, "", 204)
	for _, must := range []siotest.Must{one, two} {
		must.NextRaw(`420["unauthorized",{"message":"you have logged out","data":{"message":"you have logged out","code":"logged_out","type":"UnauthorizedError"}}]`)
		must.NextRaw("41")
	}
	for _, token := range []string{first, renewed} {
		if message, _ := enter(token).Refused("/"); message != "jwt revoked" {
			t.Errorf("refused with %q", message)
		}
		send(t, server+"/refresh", token, "", 401)
	}
	stays.Send(`42["chat","still here"]`)
	stays.NextRaw(`42["chat",{"from":"red","text":"still here"}]`)
	send(t, server+"/refresh", other, "", 200)
}

// The policy only helps while the page needs nothing it forbids.
func TestPageKeepsItsPolicy(t *testing.T) {
	server := testServer(t)
	get := func(path string) (*http.Response, string) {
		t.Helper()
		response, err := http.Get(server + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(body)
	}

	response, page := get("/")
	if policy := response.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if inline := regexp.MustCompile(`<script>|<style|\sstyle=|\son[a-z]+=|javascript:`).FindString(page); inline != "" {
		t.Errorf("the page has inline code or style: %q", inline)
	}
	links := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 4 {
		t.Fatalf("the page loads %d files: the test does not see them", len(links))
	}
	for _, link := range links {
		if response, _ := get("/" + link[1]); response.StatusCode != 200 {
			t.Errorf("%s: status %d", link[1], response.StatusCode)
		}
	}
	if _, script := get("/chat.js"); strings.Contains(script, "innerHTML") {
		t.Error("chat.js writes HTML")
	}
}
