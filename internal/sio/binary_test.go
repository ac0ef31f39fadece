package sio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"
)

type buffer = parser.Buffer

type holder struct {
	Name  string
	Data  buffer
	Inner *holder
	list  []buffer // not written
}

// marshaler writes itself, from a field that reflection cannot set.
type marshaler struct {
	Data buffer
	n    int
}

func (m marshaler) MarshalJSON() ([]byte, error) { return json.Marshal([]any{m.n, m.Data}) }

func buf(s string) buffer   { return buffer{Data: []byte(s)} }
func bufp(s string) *buffer { b := buf(s); return &b }

const (
	ph0 = `{"_placeholder":true,"num":0}`
	ph1 = `{"_placeholder":true,"num":1}`
)

func detachTests() []struct {
	name        string
	value       any
	json        string
	attachments []string
} {
	return []struct {
		name        string
		value       any
		json        string
		attachments []string
	}{
		{"none", list("a", 1, nil, []int{1}, map[string]any{"a": 1}), `["a",1,null,[1],{"a":1}]`, nil},
		{"by value", buf("a"), ph0, []string{"a"}},
		{"by pointer", bufp("a"), ph0, []string{"a"}},
		{"empty", buffer{}, ph0, []string{""}},
		{"nil pointer", (*buffer)(nil), `null`, nil},
		{"in a slice", []buffer{buf("a"), buf("b")}, "[" + ph0 + "," + ph1 + "]", []string{"a", "b"}},
		{"in a slice of pointers", []*buffer{bufp("a"), nil, bufp("b")}, "[" + ph0 + ",null," + ph1 + "]", []string{"a", "b"}},
		{"in an array", [2]buffer{buf("a"), buf("b")}, "[" + ph0 + "," + ph1 + "]", []string{"a", "b"}},
		{"in any", []any{"x", buf("a"), []any{bufp("b")}}, `["x",` + ph0 + `,[` + ph1 + `]]`, []string{"a", "b"}},
		{"in a map", map[string]buffer{"k": buf("a")}, `{"k":` + ph0 + `}`, []string{"a"}},
		{"in a map of pointers", map[string]*buffer{"k": bufp("a")}, `{"k":` + ph0 + `}`, []string{"a"}},
		{"in a map of any", map[string]any{"k": buf("a"), "n": 1}, `{"k":` + ph0 + `,"n":1}`, []string{"a"}},
		{"in a map of slices", map[int][]buffer{7: {buf("a"), buf("b")}}, `{"7":[` + ph0 + "," + ph1 + "]}", []string{"a", "b"}},
		{"in a struct", holder{Name: "n", Data: buf("a"), list: []buffer{buf("x")}}, `{"Name":"n","Data":` + ph0 + `,"Inner":null}`, []string{"a"}},
		{"in a pointer to a struct", &holder{Data: buf("a"), Inner: &holder{Data: buf("b")}},
			`{"Name":"","Data":` + ph0 + `,"Inner":{"Name":"","Data":` + ph1 + `,"Inner":null}}`, []string{"a", "b"}},
		{"in a pointer to a pointer", func() any { p := bufp("a"); return &p }(), ph0, []string{"a"}},
		{"in a pointer to any", func() any { var v any = bufp("a"); return &v }(), ph0, []string{"a"}},
		{"in what writes itself", marshaler{buf("a"), 7}, "[7," + ph0 + "]", []string{"a"}},
		{"one twice", func() any { p := bufp("a"); return []*buffer{p, p} }(), "[" + ph0 + "," + ph1 + "]", []string{"a", "a"}},
	}
}

// TestDetach: each Buffer becomes a placeholder, wherever it stands, and the original stays.
func TestDetach(t *testing.T) {
	for _, test := range detachTests() {
		t.Run(test.name, func(t *testing.T) {
			before := fmt.Sprintf("%#v", test.value)
			values := []any{"event", test.value}
			detached, attachments := detach(values)
			body, err := json.Marshal(detached)
			if want := `["event",` + test.json + `]`; err != nil || string(body) != want {
				t.Errorf("got %s, %v; want %s", body, err, want)
			}
			var got []string
			for _, a := range attachments {
				got = append(got, string(a))
			}
			if !reflect.DeepEqual(got, test.attachments) {
				t.Errorf("attachments %q, want %q", got, test.attachments)
			}
			if after := fmt.Sprintf("%#v", test.value); after != before || !reflect.DeepEqual(values, []any{"event", test.value}) {
				t.Errorf("the original was %s and is %s", before, after)
			}
			if again, _ := detach(values); !jsonEqual(t, again, detached) {
				t.Error("a second time gives something else")
			}
		})
	}
}

func jsonEqual(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// TestDetachCopies: what the caller does to its data afterwards changes nothing.
func TestDetachCopies(t *testing.T) {
	data := []byte("before")
	_, attachments := detach([]any{buffer{Data: data}})
	copy(data, "after!")
	if string(attachments[0]) != "before" {
		t.Errorf("got %q", attachments[0])
	}
}

// TestDetachLeavesTheRestShared: what holds no Buffer is not copied.
func TestDetachLeavesTheRestShared(t *testing.T) {
	big := []int{1, 2, 3}
	values := []any{"x", big, nil, map[string]any{"a": big}}
	detached, attachments := detach(values)
	if &detached[0] != &values[0] || attachments != nil {
		t.Error("values without a Buffer were copied")
	}
	values = append(values, buf("a"))
	if detached, _ = detach(values); &detached[1].([]int)[0] != &big[0] {
		t.Error("a value without a Buffer was copied")
	}
}

// TestDetachInParallel: broadcasts of one value may be encoded at the same time.
func TestDetachInParallel(t *testing.T) {
	for _, test := range detachTests() {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 20 {
					frames, err := eventFrames(Event, Root, 0, false, []any{"e", test.value})
					if err != nil || len(frames) != 1+len(test.attachments) {
						t.Errorf("%s: %d frames, %v", test.name, len(frames), err)
					}
				}
			})
		}
		group.Wait()
	}
}

// TestDetachCircles: a value that holds itself cannot be encoded, and says so.
func TestDetachCircles(t *testing.T) {
	circle := &struct{ Next any }{}
	circle.Next = circle
	slice := []any{nil}
	slice[0] = slice
	for _, value := range []any{circle, slice} {
		if _, err := eventFrames(Event, Root, 0, false, []any{"e", value}); err == nil {
			t.Errorf("%T was encoded", value)
		}
	}
}

// TestAttach: placeholders become the attachments that they name, wherever they stand.
func TestAttach(t *testing.T) {
	type conn = socketio.Conn
	type named struct {
		Data buffer `json:"data"`
		More []*buffer
		Deep map[string][]buffer
		Any  any
	}
	tests := []struct {
		name    string
		handler any
		args    string
		want    []any
	}{
		{"by value", func(conn, buffer, buffer) {}, ph0 + "," + ph1, list(buf("a"), buf("b"))},
		{"in another order", func(conn, buffer, buffer) {}, ph1 + "," + ph0, list(buf("b"), buf("a"))},
		{"by pointer", func(conn, *buffer, *buffer) {}, ph0 + "," + ph1, list(bufp("a"), bufp("b"))},
		{"in slices", func(conn, []buffer, []*buffer) {}, "[" + ph1 + "," + ph0 + "],[null," + ph0 + "]", list([]buffer{buf("b"), buf("a")}, []*buffer{nil, bufp("a")})},
		{"in an array", func(conn, [2]buffer) {}, "[" + ph1 + "," + ph0 + "]", list([2]buffer{buf("b"), buf("a")})},
		{"in maps", func(conn, map[string]buffer, map[int]*buffer) {}, `{"k":` + ph0 + `},{"1":` + ph1 + `}`,
			list(map[string]buffer{"k": buf("a")}, map[int]*buffer{1: bufp("b")})},
		{"in a struct", func(conn, named) {}, `{"data":` + ph0 + `,"More":[` + ph1 + `],"Deep":{"k":[` + ph0 + `]},"Any":1}`,
			list(named{buf("a"), []*buffer{bufp("b")}, map[string][]buffer{"k": {buf("a")}}, 1.0})},
		{"in a pointer to a struct", func(conn, *named) {}, `{"data":` + ph1 + `}`, list(&named{Data: buf("b")})},
		{"variadic", func(conn, ...buffer) {}, ph0 + "," + ph1, list([]buffer{buf("a"), buf("b")})},
		{"unused", func(conn, string) {}, `"x",` + ph0, list("x")},
		{"null and missing", func(conn, buffer, *buffer, buffer) {}, "null", list(buffer{}, &buffer{}, buffer{})},
		{"as any", func(conn, any) {}, ph0, list(map[string]any{"_placeholder": true, "num": 0.0})},
		{"twice", func(conn, buffer, buffer) {}, ph0 + "," + ph0, list(buf("a"), buf("a"))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := decodeFor(test.handler, packetOf(t, `52-["e",`+test.args+`]`, "a", "b"))
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

// TestAttachOutOfRange: grammar.go refuses such packets; if it did not, it would be an error.
func TestAttachOutOfRange(t *testing.T) {
	for _, num := range []string{"1", "2", "65536", "9223372036854775807"} {
		for _, f := range []any{
			func(socketio.Conn, buffer) {}, func(socketio.Conn, *buffer) {}, func(socketio.Conn, []buffer) {},
			func(socketio.Conn, map[string]buffer) {}, func(socketio.Conn, holder) {},
		} {
			arg := `{"_placeholder":true,"num":` + num + `}`
			switch f.(type) {
			case func(socketio.Conn, []buffer):
				arg = "[" + arg + "]"
			case func(socketio.Conn, map[string]buffer):
				arg = `{"k":` + arg + `}`
			case func(socketio.Conn, holder):
				arg = `{"Data":` + arg + `}`
			}
			p := &Packet{Header: event("e"), Body: []byte(`["e",` + arg + `]`), Attachments: [][]byte{[]byte("a")}}
			got, err := decodeFor(f, p)
			if err == nil || !strings.HasPrefix(err.Error(), `event "e": argument 1: `) {
				t.Errorf("%s for %T: %v, %v", arg, f, got, err)
			}
		}
	}
}

// TestBufferRoundTrip: what a handler got it can send on, and the attachment is the same.
func TestBufferRoundTrip(t *testing.T) {
	values, err := decodeFor(func(socketio.Conn, buffer, *holder) {}, packetOf(t, `52-["e",`+ph1+`,{"Data":`+ph0+`}]`, "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	detached, attachments := detach(append([]any{"e"}, values...))
	body, err := json.Marshal(detached)
	if want := `["e",` + ph0 + `,{"Name":"","Data":` + ph1 + `,"Inner":null}]`; err != nil || string(body) != want {
		t.Errorf("got %s, %v; want %s", body, err, want)
	}
	if got := fmt.Sprintf("%q", attachments); got != `["b" "a"]` {
		t.Errorf("attachments %s", got)
	}
}
