package attacks_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
)

// What a stranger may send to a server of the hooks, for clients of 1.x and 2.x and of 3.x and 4.x.
var hostilePackets = []string{
	`42["secret"]`, `42/admin,["secret"]`, `42/,["secret"]`, `420["secret"]`, `42["secret",{"a":1}]`, `42["\u0073ecret"]`,
	`42["authenticate"]`, `42["authenticate",null]`, `42["authenticate",1,2]`, `42["authenticate","secret"]`, `42["authenticate",{"token":1e999}]`,
	`42["authenticate",{"token":{"_placeholder":true,"num":0}}]`, `451-["authenticate",{"token":{"_placeholder":true,"num":0}}]`, `42["\u0061uthenticate",{}]`,
	`42[ "authenticate",{}]`, `42["authenticate" ,{}]`, `42["authenticate"]["secret"]`, `42"secret"]`, `42[null,"secret"]`, `42`, `42[]`, `42{}`,
	`43["x"]`, `430["x"]`, `431099511627776["x"]`, `43/admin,1["x"]`, `44{"x":1}`, `4599999999999999-["secret"]`, `41`, `41/admin`, `40/admin`, `40/admin?token=x`,
	`40/none`, `40/admin,{"token":"x"}`, `40/admin,[1]`, `40{"token":5}`, `40/ADMIN`, `40//admin`, `40/admin/`, "40/admin\x00",
}

// No stranger ends the process, runs a handler, keeps its connection or disturbs who is let in, whatever
// it sends, alone or behind something else.
func TestStrangersOfHooks(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		for _, handshake := range []bool{false, true} {
			for _, gated := range []bool{true, false} {
				if version == 4 && !gated {
					continue // such clients need the gate
				}
				t.Run(fmt.Sprintf("EIO=%d/handshake %t/gate %t", version, handshake, gated), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { strangersOfHooks(t, version, handshake, gated) })
				})
			}
		}
	}
}

func strangersOfHooks(t *testing.T, version int, handshake, gated bool) {
	const timeout = 2 * time.Second
	auth := harness.Authorize(t, socketiojwt.Options{Handshake: handshake, Timeout: timeout})
	plain := socketio.NewServer(socketiojwt.Harden(nil))
	harness.RegisterHooks(plain, auth, "/", "/admin")
	var ran harness.Record
	for _, name := range []string{"/", "/admin"} {
		plain.OnEvent(name, "secret", func(c socketio.Conn) { ran.Add("secret of %s", name) })
		plain.OnEvent(name, "echo", auth.Guard(func(_ socketio.Conn, text string) string { return text }))
	}
	at := harness.InMemory(t)
	if gated {
		harness.Serve(t, plain, at, auth.Handler(plain))
	} else {
		harness.Serve(t, plain, at, plain)
	}
	honest := harness.Knock(t, &harness.App{At: at, Auth: auth}, version, "websocket", handshake)
	if !handshake {
		honest.Event("/", "authenticated")
	}
	for _, o := range []siotest.Options{{ManualPoll: true}, {Transport: "websocket", ManualRead: true}} { // and fetch nothing
		o.Version, o.HTTP = version, at.Client
		for range 10 {
			c, err := siotest.Dial(t.Context(), at.URL, o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Abort()
			_ = c.Join("/")
		}
	}
	for range 100 {
		plain.BroadcastToNamespace("/", "news", strings.Repeat("x", 10_000))
		honest.Event("/", "news")
	}
	for _, transport := range []string{"polling", "websocket"} {
		for i, packet := range hostilePackets {
			for _, first := range []string{"", "40", "41", "40/admin", hostilePackets[(i+7)%len(hostilePackets)]} {
				began := time.Now()
				c, err := siotest.Dial(t.Context(), at.URL, siotest.Options{Version: version, Transport: transport, HTTP: at.Client})
				if err != nil {
					t.Fatal(err)
				}
				if version == 4 {
					_ = c.Join("/")
				}
				if first != "" {
					_ = c.SendText(first)
				}
				_ = c.SendText(packet)
				<-c.Done()
				if took := time.Since(began); took > timeout+time.Second {
					t.Errorf("%s %s: it was connected for %v", first, packet, took)
				}
			}
		}
		honest.Call("/", "echo", "x")
	}
	time.Sleep(timeout + time.Second) // those that fetch nothing
	synctest.Wait()
	if n := plain.Count(); n != 1 {
		t.Errorf("%d sessions", n)
	}
	if n := auth.Stats().Pending; n != 0 {
		t.Errorf("%d are pending", n)
	}
	if ran.String() != "" {
		t.Errorf("these ran: %s", &ran)
	}
}
