package sio

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"
)

// packetOf is the packet that messages make. It ends the test if that is refused.
func packetOf(t testing.TB, text string, attachments ...string) *Packet {
	t.Helper()
	c := newParser()
	p, err := c.parse(textMessage(text))
	for _, a := range attachments {
		if err == nil {
			p, err = c.parse(blobMessage(a))
		}
	}
	if err != nil || p == nil {
		t.Fatalf("%s: %v, %v", text, p, err)
	}
	return p
}

// decodeFor decodes an event for a handler, and returns what that takes behind the Conn.
func decodeFor(f any, p *Packet) (values []any, err error) {
	args, err := newHandler(f).decode([]reflect.Value{reflect.Zero(connType)}, p, 1)
	if err != nil {
		return nil, err
	}
	for _, arg := range args[1:] {
		values = append(values, arg.Interface())
	}
	return values, nil
}

func list(values ...any) []any { return values }

func TestDecode(t *testing.T) {
	type point struct {
		X, Y int
		Name *string `json:"name"`
	}
	type conn = socketio.Conn
	one, none, text := 1, 0, "p"
	tests := []struct {
		name    string
		handler any
		packet  string
		want    []any
	}{
		{"nothing taken", func(conn) {}, `2["e",1,2]`, nil},
		{"in order", func(conn, string, int, bool, float64) {}, `2["e","a",-7,true,1.5]`, list("a", -7, true, 1.5)},
		{"surplus is ignored", func(conn, string) {}, `2["e","a",{"x":[1]},3]`, list("a")},
		{"missing is zero", func(conn, string, int, []int, map[string]int, any) {}, `2["e"]`, list("", 0, []int(nil), map[string]int(nil), nil)},
		{"some missing", func(conn, string, int) {}, `2["e","a"]`, list("a", 0)},
		{"null is zero", func(conn, string, int, point, []int, any) {}, `2["e",null,null,null,null,null]`, list("", 0, point{}, []int(nil), nil)},
		{"null with blanks", func(conn, int, int) {}, "2[\"e\" , null ,\n2]", list(0, 2)},
		{"pointers", func(conn, *int, *point, *string) {}, `2["e",1,{"X":1,"Y":2,"name":"p"}]`, list(&one, &point{1, 2, &text}, new(string))},
		{"pointer from null", func(conn, *int) {}, `2["e",null]`, list(&none)},
		{"struct with a missing member", func(conn, point) {}, `2["e",{"Y":2,"z":3}]`, list(point{Y: 2})},
		{"any", func(conn, any, any, any) {}, `2["e","s",[1,"x"],{"a":null}]`, list("s", []any{1.0, "x"}, map[string]any{"a": nil})},
		{"RawMessage", func(conn, json.RawMessage) {}, `2["e",{"a": [1, "]"]}]`, list(json.RawMessage(`{"a": [1, "]"]}`))},
		{"variadic", func(conn, ...int) {}, `2["e",1,2,3]`, list([]int{1, 2, 3})},
		{"variadic behind others", func(conn, string, ...string) {}, `2["e","a","b",null,"c"]`, list("a", []string{"b", "", "c"})},
		{"variadic of nothing", func(conn, string, ...string) {}, `2["e","a"]`, list("a", []string{})},
		{"variadic pointers", func(conn, ...*int) {}, `2["e",1,null]`, list([]*int{&one, &none})},
		{"variadic any", func(conn, ...any) {}, `2["e",[1],"x"]`, list([]any{[]any{1.0}, "x"})},
		{"nested arrays", func(conn, [][]string, string) {}, `2["e",[["a","]"],[],["[,"]],"z"]`, list([][]string{{"a", "]"}, {}, {"[,"}}, "z")},
		{"strings with what divides", func(conn, string, string, string) {}, `2["e","a,b","]}[{","\"],[\""]`, list("a,b", "]}[{", `"],["`)},
		{"escapes", func(conn, string, string) {}, `2["e","\\","\u00e9\n\\\""]`, list(`\`, "é\n\\\"")},
		{"blanks", func(conn, string, int, []int) {}, "2[ \"e\" ,\t\"a\" ,\n 7 , [ 1 ,\r 2 ] ]", list("a", 7, []int{1, 2})},
		{"blanks in nothing", func(conn, string) {}, "2[ \"e\" ]", list("")},
		{"odd names", func(conn, string) {}, `2["a,\"]b","x"]`, list("x")},
		{"named types", func(conn, reflect.Kind) {}, `2["e",3]`, list(reflect.Kind(3))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := decodeFor(test.handler, packetOf(t, test.packet))
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %#v, %v; want %#v", got, err, test.want)
			}
		})
	}
}

// TestDecodeWrongTypes: the error says which event and which argument, and does not panic.
func TestDecodeWrongTypes(t *testing.T) {
	type conn = socketio.Conn
	tests := []struct {
		handler any
		packet  string
		want    string
	}{
		{func(conn, int) {}, `2["e","a"]`, `event "e": argument 1: `},
		{func(conn, string, int) {}, `2["e","a",1.5]`, `event "e": argument 2: `},
		{func(conn, string) {}, `2["e",7]`, `event "e": argument 1: `},
		{func(conn, string, uint8) {}, `2["a\"b","x",256]`, `event "a\"b": argument 2: `},
		{func(conn, string, ...int) {}, `2["e","x",1,2,"3"]`, `event "e": argument 4: `},
		{func(conn, error) {}, `2["e","x"]`, `event "e": argument 1: `},
		{func(conn, chan int) {}, `2["e",1]`, `event "e": argument 1: `},
		{func(conn, func()) {}, `2["e",1]`, `event "e": argument 1: `},
		{func(conn, *[]int) {}, `2["e",{}]`, `event "e": argument 1: `},
		{func(conn, parser.Buffer) {}, `2["e","text"]`, `event "e": argument 1: `},
	}
	for _, test := range tests {
		called := false
		h := newHandler(test.handler)
		h.f = reflect.MakeFunc(h.f.Type(), func([]reflect.Value) []reflect.Value { called = true; return nil })
		_, err := h.call([]reflect.Value{reflect.Zero(connType)}, packetOf(t, test.packet), 1)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || called {
			t.Errorf("%s for %T: %v, called %v; want %s", test.packet, test.handler, err, called, test.want)
		}
	}
	_, err := handlerOf(reflect.ValueOf(func(int) {}), 0).call(nil, packetOf(t, `3/admin,12["x"]`), 0)
	if err == nil || !strings.HasPrefix(err.Error(), "acknowledgement 12: argument 1: ") {
		t.Errorf("got %v", err)
	}
}

// TestDecodeAttachmentOfAWrongType: who moves a server from Node writes []byte for a Buffer.
func TestDecodeAttachmentOfAWrongType(t *testing.T) {
	const hint = "binary data needs a *parser.Buffer"
	for _, test := range []struct {
		handler     any
		packet      string
		attachments []string
		hinted      bool
	}{
		{func(socketio.Conn, []byte) {}, `51-["e",{"_placeholder":true,"num":0}]`, []string{"x"}, true},
		{func(socketio.Conn, string) {}, `51-["e",{"_placeholder":true,"num":0}]`, []string{"x"}, true},
		{func(socketio.Conn, int, any) {}, `51-["e","1",{"_placeholder":true,"num":0}]`, []string{"x"}, false},
		{func(socketio.Conn, struct {
			N int
			B *parser.Buffer
		}) {
		}, `51-["e",{"N":"1","B":{"_placeholder":true,"num":0}}]`, []string{"x"}, false},
		{func(socketio.Conn, []byte) {}, `2["e",{"_placeholder":true,"num":0}]`, nil, false},
	} {
		p := packetOf(t, test.packet, test.attachments...)
		_, err := newHandler(test.handler).call([]reflect.Value{reflect.Zero(connType)}, p, 1)
		if err == nil || strings.Contains(err.Error(), hint) != test.hinted {
			t.Errorf("%s for %T: %v", test.packet, test.handler, err)
		}
	}
}

// TestCall: results come back, of variadic functions too.
func TestCall(t *testing.T) {
	first := []reflect.Value{reflect.Zero(connType)}
	tests := []struct {
		handler any
		want    string
	}{
		{func(_ socketio.Conn, a string, b int) (string, error) { return fmt.Sprint(a, b), nil }, "[x1 <nil>]"},
		{func(_ socketio.Conn, a string, b ...int) string { return fmt.Sprint(a, b) }, "[x[1 2]]"},
		{func(_ socketio.Conn, a ...any) int { return len(a) }, "[3]"},
		{func(socketio.Conn) {}, "[]"},
	}
	for _, test := range tests {
		results, err := newHandler(test.handler).call(first, packetOf(t, `2["e","x",1,2]`), 1)
		values := make([]any, len(results))
		for i, r := range results {
			values[i] = r.Interface()
		}
		if got := fmt.Sprint(values); err != nil || got != test.want {
			t.Errorf("%T: %s, %v; want %s", test.handler, got, err, test.want)
		}
	}
}

func TestNewHandlerPanics(t *testing.T) {
	for _, f := range []any{nil, 1, "x", func() {}, func(string) {}, func(*Socket) {}, (func(socketio.Conn))(nil), struct{}{}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%T was taken", f)
				}
			}()
			newHandler(f)
		}()
	}
}

func TestElements(t *testing.T) {
	for array, want := range map[string][]string{
		`[]`:                                 nil,
		`[ ]`:                                nil,
		`[1]`:                                {`1`},
		`["a","b"]`:                          {`"a"`, `"b"`},
		` [1]`[1:]:                           {`1`},
		`[[],{},[[]]]`:                       {`[]`, `{}`, `[[]]`},
		`[[1,2],{"a":[3,{"b":4}]},5]`:        {`[1,2]`, `{"a":[3,{"b":4}]}`, `5`},
		`["]","[",",","{","}"]`:              {`"]"`, `"["`, `","`, `"{"`, `"}"`},
		`["\"","\\","\\\"]",1]`:              {`"\""`, `"\\"`, `"\\\"]"`, `1`},
		`[{"]":1,"\",":[2]},-1.5e3]`:         {`{"]":1,"\",":[2]}`, `-1.5e3`},
		"[\n1\t, 2 ,\r[ 3 , 4 ] , \"a b\" ]": {`1`, `2`, `[ 3 , 4 ]`, `"a b"`},
		`[null,true,false]`:                  {`null`, `true`, `false`},
	} {
		var got []string
		e := elementsOf([]byte(array))
		for text := e.next(); text != nil; text = e.next() {
			got = append(got, strings.TrimSpace(string(text)))
		}
		if !reflect.DeepEqual(got, want) || e.next() != nil {
			t.Errorf("%s: got %q, want %q", array, got, want)
		}
	}
}
