package main

import (
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

const testSecret = "a secret of 32 bytes for the test"

func sign(t *testing.T, key string, life time.Duration) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: "red", ExpiresAt: jwt.NewNumericDate(time.Now().Add(life)),
	}).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTokens(t *testing.T) {
	t.Parallel()
	sio, err := newServer(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	url := servetest.Start(t, sio, sio)
	connect := func(token string) siotest.Must {
		must := siotest.MustDial(t, url, siotest.Options{Version: 4, Transport: "websocket"}).Must(t)
		must.JoinWith("/", map[string]string{"token": token})
		return must
	}

	red := connect(sign(t, testSecret, time.Hour))
	red.Connected("/")
	red.NextRaw(`42["welcome","red"]`)
	if answer := red.Call("/", "echo", "hello"); string(answer.Data) != `["hello"]` {
		t.Errorf("got %s", answer.Raw)
	}

	for want, token := range map[string]string{
		"invalid signature": sign(t, "another secret, also of 32 bytes", time.Hour),
		"jwt expired":       sign(t, testSecret, -time.Hour),
		"jwt malformed":     "nonsense",
	} {
		if message, _ := connect(token).Refused("/"); message != want {
			t.Errorf("refused with %q, want %q", message, want)
		}
	}
}

func TestSecretIsRequired(t *testing.T) {
	t.Parallel()
	if _, err := newServer(""); err == nil {
		t.Error("a server without a secret")
	}
}
