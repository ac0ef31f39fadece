//go:build unix

package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/redistest"
	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// start starts a node on a Redis, and returns the URL of its page.
func start(t *testing.T, redis *redistest.Server, name string, others ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "socket.io.min.js"), []byte("// the client"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := newNode(config{
		name: name, others: others, redis: redis.Addr(), clientDir: dir, secret: []byte("a secret of 32 bytes for the test"),
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.revocations.Close(); err != nil {
			t.Error(err)
		}
	})
	return servetest.Start(t, n.sio, n)
}

// call makes a request, with a token where there is one.
func call(t *testing.T, method, url, token, body string) (status int, header http.Header, answer string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
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
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, strings.TrimSpace(string(text))
}

// enter logs a user in and connects. Nodes on a new Redis wait for each other, and tell clients to
// come back.
func enter(t *testing.T, node, user string) (must siotest.Must, token string) {
	t.Helper()
	status, _, answer := call(t, "POST", node+"/login", "", `{"user":"`+user+`","password":"`+user+`-demo"}`)
	var login struct{ Token string }
	if err := json.Unmarshal([]byte(answer), &login); status != 200 || err != nil {
		t.Fatalf("login: %d %s", status, answer)
	}
	for end := time.Now().Add(siotest.DefaultTimeout); ; {
		c, err := siotest.Dial(t.Context(), node, siotest.Options{Version: 4, Transport: "websocket"})
		if err == nil {
			t.Cleanup(c.Close)
			if err = c.JoinWith("/", map[string]string{"token": login.Token}); err == nil {
				_, err = c.WaitEvent(t.Context(), "/", "welcome")
			}
		}
		if err == nil {
			return c.Must(t), login.Token
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestTwoNodes(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	one := start(t, redis, "one")
	two := start(t, redis, "two", one)
	red, token := enter(t, one, "red")
	blue, _ := enter(t, two, "blue")

	red.Emit("/", "chat", "hello")
	for _, must := range []siotest.Must{red, blue} {
		must.NextRaw(`42["chat",{"from":"red","text":"hello","node":"one"}]`)
	}
	for _, user := range []string{"red", "blue"} {
		if status, _, answer := call(t, "GET", one+"/online?user="+user, token, ""); status != 200 || answer != `{"sockets":1}` {
			t.Errorf("%s: %d %s", user, status, answer)
		}
	}

	if status, _, answer := call(t, "POST", two+"/logout-everywhere", token, ""); status != 204 {
		t.Fatalf("%d %s", status, answer)
	}
	red.NextRaw(`420["unauthorized",{"message":"logged out everywhere","data":{"message":"logged out everywhere","code":"logged_out","type":"UnauthorizedError"}}]`)
	red.NextRaw("41")
	for _, node := range []string{one, two} {
		if status, _, _ := call(t, "GET", node+"/online?user=red", token, ""); status != 401 {
			t.Errorf("a token that was revoked: %d", status)
		}
	}
	blue.Emit("/", "chat", "bye")
	blue.NextRaw(`42["chat",{"from":"blue","text":"bye","node":"two"}]`)
}

// The policy only helps while the page needs nothing it forbids.
func TestPageKeepsItsPolicy(t *testing.T) {
	t.Parallel()
	node := start(t, redistest.Start(t), "one", "http://127.0.0.1:1")
	_, header, page := call(t, "GET", node+"/", "", "")
	if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if inline := regexp.MustCompile(`<script>|<style|\sstyle=|\son[a-z]+=|javascript:`).FindString(page); inline != "" {
		t.Errorf("the page has inline code or style: %q", inline)
	}
	links := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) != 4 {
		t.Fatalf("the page loads %d files: the test does not see them", len(links))
	}
	for _, link := range links {
		if status, _, _ := call(t, "GET", node+"/"+link[1], "", ""); status != 200 {
			t.Errorf("%s: status %d", link[1], status)
		}
	}
	if _, _, answer := call(t, "GET", node+"/node", "", ""); answer != `{"name":"one","others":["http://127.0.0.1:1"]}` {
		t.Errorf("it knows %s", answer)
	}
}
