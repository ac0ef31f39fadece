package main

import (
	"fmt"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

const testSecret = "a secret of 32 bytes for the test"

func sign(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func connect(t *testing.T, at string, version int, claims jwt.MapClaims) (*siotest.Client, siotest.Must) {
	t.Helper()
	c := siotest.MustDial(t, at, siotest.Options{Version: version, Transport: "websocket", Query: url.Values{"token": {sign(t, claims)}}})
	must := c.Must(t)
	if version == 4 {
		must.Join("/")
	}
	return c, must
}

// say returns the answer to a message.
func say(must siotest.Must) string { return string(must.Call("/", "chat", "hello").Args()[0]) }

func TestAllSocketsOfAUserShareTheirLimit(t *testing.T) {
	t.Parallel()
	sio, err := newServer(testSecret, newLimits(time.Hour, 3))
	if err != nil {
		t.Fatal(err)
	}
	at := servetest.Start(t, sio, sio)
	red := jwt.MapClaims{"sub": "red"}
	c, first := connect(t, at, 3, red)
	_, second := connect(t, at, 4, red)
	_, blue := connect(t, at, 4, jwt.MapClaims{"sub": "blue"})
	_, other := connect(t, at, 4, jwt.MapClaims{"sub": "red", "iss": "another"})
	for i, step := range []struct {
		who  siotest.Must
		want string
	}{
		{first, `"sent"`}, {second, `"sent"`}, {first, `"sent"`}, {second, `"slow down"`}, {first, `"slow down"`},
		{blue, `"sent"`}, {other, `"sent"`},
	} {
		if got := say(step.who); got != step.want {
			t.Errorf("%d: %s, want %s", i, got, step.want)
		}
	}
	// Neither a newer token nor a new connection brings the burst back.
	second.Emit("/", "authenticate", map[string]string{"token": sign(t, jwt.MapClaims{"sub": "red", "exp": time.Now().Add(time.Hour).Unix()})})
	second.Event("/", "authenticated")
	if got := say(second); got != `"slow down"` {
		t.Error(got)
	}
	c.Close()
	_, again := connect(t, at, 4, red)
	if got := say(again); got != `"slow down"` {
		t.Error(got)
	}
}

func TestTokenOfNobody(t *testing.T) {
	t.Parallel()
	sio, err := newServer(testSecret, newLimits(time.Hour, 3))
	if err != nil {
		t.Fatal(err)
	}
	_, must := connect(t, servetest.Start(t, sio, sio), 4, jwt.MapClaims{"name": "red"})
	if got, args := must.Event("/", "unauthorized").Event(); got != "unauthorized" {
		t.Error(got, args)
	}
}

func TestUsersAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(time.Minute, 3)
		check := func(what string, want int) {
			t.Helper()
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.users) != want {
				t.Errorf("%s: %d users are known, want %d", what, len(l.users), want)
			}
		}
		pass := func(d time.Duration) {
			time.Sleep(d) // of the bubble's clock
			synctest.Wait()
		}
		spend := func() (n int) {
			for l.allow("red") {
				n++
			}
			return n
		}
		l.join("red")
		l.join("red")
		if n := spend(); n != 3 {
			t.Errorf("%d at once", n)
		}
		l.leave("red")
		pass(time.Hour)
		check("one socket is left", 1)
		if n := spend(); n != 3 {
			t.Errorf("%d after an hour", n)
		}

		l.leave("red") // which forgets in three minutes
		pass(time.Minute + time.Second)
		check("just left", 1)
		l.join("red")
		pass(time.Hour)
		check("came back", 1)
		if n := spend(); n != 3 {
			t.Errorf("%d after another hour", n)
		}

		l.leave("red") // the same
		pass(2 * time.Minute)
		l.join("red")
		if n := spend(); n != 2 {
			t.Errorf("%d after two minutes", n)
		}
		l.leave("red") // in three minutes from now
		pass(time.Minute + time.Second)
		check("came back, and spent what there was", 1)
		pass(2 * time.Minute)
		check("full again", 0)
		if l.allow("red") {
			t.Error("somebody without a socket")
		}
		l.join("blue")
		l.leave("blue")
		pass(time.Second)
		check("said nothing", 0)
	})
}

// A user who comes back while being forgotten has the same limiter, or a new one that is the same.
func TestManyComeAndGo(t *testing.T) {
	t.Parallel()
	l := newLimits(time.Microsecond, 2)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			identity := fmt.Sprint(i % 2)
			for range 2000 {
				l.join(identity)
				l.allow(identity)
				l.leave(identity)
			}
		})
	}
	wg.Wait()
	for end := time.Now().Add(siotest.DefaultTimeout); ; {
		l.mu.Lock()
		n := len(l.users)
		l.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d are not forgotten", n)
		}
		runtime.Gosched()
	}
}
