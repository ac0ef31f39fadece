package main

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

const testSecret = "a secret of 32 bytes for the test"

type user struct {
	*testing.T
	siotest.Must
	id string // of the socket
}

func sign(t *testing.T, sub string, teams ...string) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{jwt.RegisteredClaims{Subject: sub}, teams}).SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func connect(t *testing.T, at string, version int, sub string, teams ...string) user {
	t.Helper()
	c := siotest.MustDial(t, at, siotest.Options{Version: version, Transport: "websocket", Query: url.Values{"token": {sign(t, sub, teams...)}}})
	u := user{t, c.Must(t), c.SID()}
	if version == 4 {
		u.Join("/")
		u.id = u.Connected("/").SID()
	} else {
		u.Connected("/")
	}
	return u
}

// answers requires that an event has this answer. What comes before the answer is dropped.
func (u user) answers(want string, event string, args ...any) {
	u.Helper()
	if got := string(u.Call("/", event, args...).Args()[0]); got != `"`+want+`"` {
		u.Errorf("%s %q: %s, want %s", event, args, got, want)
	}
}

// hears requires that these are the next packets of a user, and that there are no others.
func (u user) hears(packets ...string) {
	u.Helper()
	for _, want := range packets {
		u.NextRaw(want)
	}
	u.Send(`421["join","no such team"]`)
	u.NextRaw(`431["forbidden"]`)
}

func TestTeams(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		sio, err := newServer(testSecret)
		if err != nil {
			t.Fatal(err)
		}
		at := servetest.Start(t, sio, sio)
		red := connect(t, at, version, "red", "blue", "green")
		member := connect(t, at, version, "member", "blue")
		stranger := connect(t, at, version, "stranger")
		red.answers("joined", "join", "blue")
		red.answers("joined", "join", "green")
		member.answers("joined", "join", "blue")
		member.answers("forbidden", "join", "green")
		stranger.answers("forbidden", "join", "blue")

		stranger.answers("forbidden", "say", "blue", "hello")
		member.answers("forbidden", "say", "green", "hello")
		red.answers("said", "say", "blue", "hello")
		member.hears(`42["said","blue","red","hello"]`)
		stranger.hears()

		member.Emit("/", "leave", "blue")
		member.hears()
		red.answers("said", "say", "blue", "gone?")
		member.hears()

		// A newer token without a team.
		red.Emit("/", "authenticate", map[string]string{"token": sign(t, "red", "blue")})
		red.Event("/", "authenticated")
		red.answers("forbidden", "join", "green")
		red.answers("forbidden", "say", "green", "hello")
		sio.BroadcastToRoom("/", "team:green", "said", "green")
		sio.BroadcastToRoom("/", "team:blue", "said", "blue")
		red.hears(`42["said","blue"]`)
	}
}

func TestNamesOfRoomsThatAreNoTeams(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		sio, err := newServer(testSecret)
		if err != nil {
			t.Fatal(err)
		}
		at := servetest.Start(t, sio, sio)
		red := connect(t, at, version, "red", "blue")
		red.answers("joined", "join", "blue")
		names := []string{"user:red", red.id, "team:blue", "", "BLUE", "blue ", "blue\x00"}
		eve := connect(t, at, version, "eve")
		for _, name := range names {
			eve.answers("forbidden", "join", name)
			eve.answers("forbidden", "say", name, "hello")
		}
		// Even with teams of such names.
		mallory := connect(t, at, version, "mallory", names...)
		for _, name := range names {
			mallory.answers("joined", "join", name)
			mallory.answers("said", "say", name, "hello")
		}
		eve.Emit("/", "tell", "red", "a secret")
		red.hears(`42["told","eve","a secret"]`)
		sio.BroadcastToRoom("/", red.id, "news")
		sio.BroadcastToRoom("/", "team:blue", "news")
		red.hears(`42["news"]`, `42["news"]`)
		eve.hears()
		mallory.hears()
	}
}

func TestDocsShowThisCode(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/rooms.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("rooms.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, found := strings.Cut(string(docs), "```go\n")
	shown, _, _ = strings.Cut(shown, "```")
	if !found || !strings.HasSuffix(string(code), shown) {
		t.Errorf("docs/rooms.md does not have the end of rooms.go:\n%s", shown)
	}
}
