package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var testSecret = []byte("a secret of 32 bytes for the test")

const testLife = 10 * time.Minute

func testServer(t *testing.T) *httptest.Server {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "socket.io.min.js"), []byte("// the client"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := newChat(testSecret, testLife, dir)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { c.sio.Serve(); close(served) }()
	server := httptest.NewServer(c)
	t.Cleanup(func() {
		c.sio.Close()
		server.Close()
		<-served
	})
	return server
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
			response, err := http.Post(server.URL+"/login", test.kind, strings.NewReader(test.body))
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
				claims{jwt.RegisteredClaims{Subject: "red", ExpiresAt: test.expires}, test.loggedIn}).SignedString(test.key)
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.NewRequest(http.MethodPost, server.URL+"/refresh", nil)
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
			if c := parse(t, answer.Token); c.Subject != "red" || !c.LoggedInAt.Equal(test.loggedIn.Time) {
				t.Errorf("subject %q, logged in at %v; want red, %v", c.Subject, c.LoggedInAt, test.loggedIn)
			}
		})
	}
}

// The policy only helps while the page needs nothing it forbids.
func TestPageKeepsItsPolicy(t *testing.T) {
	server := testServer(t)
	get := func(path string) (*http.Response, string) {
		t.Helper()
		response, err := http.Get(server.URL + path)
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
