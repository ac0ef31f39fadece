package sio

import (
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// texts gives what frames hold, text and attachments alike.
func texts(frames ...transport.Frame) string {
	var all []string
	for _, f := range frames {
		all = append(all, f.String())
	}
	return strings.Join(all, " ")
}

func TestFrames(t *testing.T) {
	events := func(typ byte, namespace string, id uint64, hasID bool, values ...any) string {
		t.Helper()
		frames, err := eventFrames(typ, namespace, id, hasID, append([]any{}, values...))
		if err != nil {
			t.Error(err)
		}
		return texts(frames...)
	}
	type err struct {
		Message string `json:"message"`
	}
	tests := []struct{ got, want string }{
		{texts(protocol4{}.connected(&Socket{name: "/"})), `0`},
		{texts(protocol4{}.connected(&Socket{name: "/admin"})), `0/admin`},
		{texts(DisconnectFrame("/")), `1`},
		{texts(DisconnectFrame("/admin")), `1/admin`},
		{texts(ErrorFrame("/", "no")), `4"no"`},
		{texts(ErrorFrame("/admin", err{"no"})), `4/admin,{"message":"no"}`},
		{texts(ErrorFrame("/", func() {})), `4""`},
		{events(Event, "/", 0, false, "chat"), `2["chat"]`},
		{events(Event, "/", 0, false, "chat", "é😀", 1, nil, []int{}), `2["chat","é😀",1,null,[]]`},
		{events(Event, "/", 0, true, "chat"), `20["chat"]`},
		{events(Event, "/admin", 17, true, "chat", 1), `2/admin,17["chat",1]`},
		{events(Event, "/admin", 0, false, "a\"]"), `2/admin,["a\"]"]`},
		{events(Event, "/", 0, false, "bin", buf("x"), "y", bufp("z")), `52-["bin",` + ph0 + `,"y",` + ph1 + `] x z`},
		{events(Event, "/admin", 3, true, "bin", buf("")), `51-/admin,3["bin",` + ph0 + `] `},
		{events(Ack, "/", 12, true), `312[]`},
		{events(Ack, "/admin", 1<<40, true, "ok"), `3/admin,1099511627776["ok"]`},
		{events(Ack, "/", 0, true, buf("x")), `61-0[` + ph0 + `] x`},
		{events(Ack, "/admin", 1, true, buf("x")), `61-/admin,1[` + ph0 + `] x`},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
	for _, value := range []any{func() {}, make(chan int), map[any]int{1: 1}, []any{buf("x"), func() {}}} {
		if frames, err := eventFrames(Event, "/", 0, false, []any{"e", value}); err == nil {
			t.Errorf("%T became %s", value, texts(frames...))
		}
	}
}

// TestFramesAreRead: what we write we take for right.
func TestFramesAreRead(t *testing.T) {
	for _, namespace := range []string{"/", "/admin", "/ünï"} {
		for _, hasID := range []bool{true, false} {
			frames, err := eventFrames(Event, namespace, 7, hasID, []any{"bin", buf("x"), []any{bufp("y")}})
			if err != nil {
				t.Fatal(err)
			}
			p := packetOf(t, frames[0].String(), frames[1].String(), frames[2].String())
			if p.Type != Event || p.Namespace != namespace || p.HasID != hasID || hasID && p.ID != 7 || p.Event != "bin" ||
				string(p.Attachments[0]) != "x" || string(p.Attachments[1]) != "y" {
				t.Errorf("%s was read as %+v", frames[0], p)
			}
		}
	}
}
