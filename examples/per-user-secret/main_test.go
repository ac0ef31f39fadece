package main

import (
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

var db = tenants{"north": "the north of a test, of 32 bytes or so", "south": "the south of a test, of 32 bytes or so"}

func sign(t *testing.T, tenant, key string) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "42", "tenant": tenant, "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTenants(t *testing.T) {
	t.Parallel()
	sio, err := newServer(db)
	if err != nil {
		t.Fatal(err)
	}
	url := servetest.Start(t, sio, sio)
	authenticate := func(token string) siotest.Must {
		must := siotest.MustDial(t, url, siotest.Options{Version: 4, Transport: "websocket"}).Must(t)
		must.Join("/")
		must.Connected("/")
		must.Emit("/", "authenticate", map[string]string{"token": token})
		return must
	}
	enter := func(tenant string) siotest.Must {
		must := authenticate(sign(t, tenant, db[tenant]))
		must.NextRaw(`42["authenticated"]`)
		if answer := must.Call("/", "whoami"); string(answer.Data) != `["42 of `+tenant+`"]` {
			t.Errorf("got %s", answer.Raw)
		}
		return must
	}
	north, phone, south := enter("north"), enter("north"), enter("south")

	// Users that share a number share nothing else.
	north.Emit("/", "note", "buy milk")
	phone.NextRaw(`42["note","buy milk"]`)
	north.Emit("/", "log out everywhere")
	for _, must := range []siotest.Must{north, phone} {
		must.NextRaw(`420["unauthorized",{"message":"you have logged out","data":{"message":"you have logged out","code":"logged_out","type":"UnauthorizedError"}}]`)
	}
	if answer := south.Call("/", "whoami"); string(answer.Data) != `["42 of south"]` {
		t.Errorf("got %s", answer.Raw)
	}

	for name, token := range map[string]string{
		"a secret of another tenant": sign(t, "north", db["south"]),
		"an unknown tenant":          sign(t, "west", db["north"]),
		"no tenant":                  sign(t, "", db["north"]),
	} {
		got := authenticate(token).Next().Raw
		if got != `420["unauthorized",{"message":"invalid signature","data":{"message":"invalid signature","code":"invalid_token","type":"UnauthorizedError"}}]` {
			t.Errorf("%s: %s", name, got)
		}
	}
}
