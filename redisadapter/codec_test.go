package redisadapter_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/redisadapter"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// From JSON to MessagePack and back: the same, but for how numbers are written.
func TestPack(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 70000)
	many := "[" + strings.Repeat("0,", 70000) + "0]"
	for _, c := range []struct{ text, want string }{
		{`null`, ``}, {`true`, ``}, {`false`, ``}, {`""`, ``}, {`"é\u0000\"\\\u2028"`, `"é\u0000\"\\\u2028"`},
		{`0`, ``}, {`-0`, `0`}, {`127`, ``}, {`128`, ``}, {`-32`, ``}, {`-33`, ``}, {`65536`, ``}, {`-2147483649`, ``},
		{`9007199254740993`, ``}, {`-9223372036854775808`, ``}, {`18446744073709551615`, ``},
		{`18446744073709551616`, `18446744073709552000`}, {`1.5`, ``}, {`1e300`, `1e+300`}, {`1e999`, `null`}, {`1.0`, `1`},
		{`[]`, ``}, {`{}`, ``}, {`[1,[2,[3]],{}]`, ``}, {`{"b":1,"a":{"d":[{}],"c":2}}`, ``},
		{`[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]]`, ``},
		{many, ``}, {`"` + long + `"`, ``}, {`{"` + long + `":[{"` + long + `":1}]}`, ``},
		{`{"_placeholder":true,"num":0}`, ``}, // without attachments it is data
		{"[\"\xff\"]", `["\ufffd"]`},
	} {
		if c.want == "" {
			c.want = c.text
		}
		packed, err := redisadapter.Pack([]byte(c.text), nil)
		if err != nil {
			t.Errorf("%.50s: %v", c.text, err)
			continue
		}
		text, attachments, err := redisadapter.Unpack(packed)
		if err != nil || len(attachments) > 0 {
			t.Errorf("%.50s: %v, %q", c.text, err, attachments)
			continue
		}
		if !sameJSON(string(text), c.want) {
			t.Errorf("%.50s: got %.100s, want %.100s", c.text, text, c.want)
		}
	}
	for _, bad := range []string{``, `[`, `{"a"`, `[1] 2`, `nil`} {
		if _, err := redisadapter.Pack([]byte(bad), nil); err == nil {
			t.Errorf("%s was packed", bad)
		}
	}
}

// sameJSON compares text, and where that differs what it says: one character may be written in two
// ways.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	var x, y any
	return strings.ContainsRune(a, '"') && json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func TestAttachments(t *testing.T) {
	t.Parallel()
	text := `["e",{"_placeholder":true,"num":1},{"x":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}]`
	packed, err := redisadapter.Pack([]byte(text), [][]byte{{0, 1, 2}, nil})
	if err != nil {
		t.Fatal(err)
	}
	got, attachments, err := redisadapter.Unpack(packed)
	want := `["e",{"_placeholder":true,"num":0},{"x":[{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]}]`
	if err != nil || string(got) != want || len(attachments) != 3 || string(attachments[1]) != "\x00\x01\x02" || len(attachments[0]) != 0 {
		t.Errorf("got %s, %q, %v", got, attachments, err)
	}
	for _, bad := range []string{
		`{"_placeholder":true,"num":1}`, `{"_placeholder":true,"num":-1}`, `{"_placeholder":true,"num":"0"}`, `{"_placeholder":false,"num":0}`,
		`{"_placeholder":true}`, `{"_placeholder":true,"num":0,"more":1}`, `{"_placeholder":true,"number":0}`, `{"_placeholder":[],"num":0}`,
	} {
		if _, err := redisadapter.Pack([]byte(bad), [][]byte{{1}}); err == nil {
			t.Errorf("%s was packed", bad)
		}
	}
	// One that is data beside others that are not would have clients 4.x close their connection.
	if _, _, err := redisadapter.Unpack([]byte("\x92\xc4\x01x\x81\xac_placeholder\xc3")); err == nil {
		t.Error("a placeholder that is data beside an attachment was taken")
	}
}

// What notepack.io writes, or has written, and encoding/json would not.
func TestUnpack(t *testing.T) {
	t.Parallel()
	for packed, want := range map[string]string{
		"cb7ff8000000000000":                `null`,                       // NaN
		"ca3fc00000":                        `1.5`,                        // a short float
		"d40000":                            `null`,                       // undefined
		"d6ff5e0be100":                      `"2020-01-01T00:00:00.000Z"`, // a Date of whole seconds
		"d7ffb2d05e005e0be100":              `"2020-01-01T00:00:00.750Z"`, // of milliseconds
		"c70cff2faf0800fffffffffffffffe":    `"1969-12-31T23:59:58.800Z"`, // before 1970
		"c70cff000000007fffffffffffffff":    `null`,                       // of no year
		"c70cff000000000000007fffffffff":    `"+019391-01-25T12:18:07.000Z"`,
		"d7000000016f5e66e800":              `"2020-01-01T00:00:00.000Z"`,    // of old
		"c70200ffff":                        `{"_placeholder":true,"num":0}`, // an ArrayBuffer of old
		"8301a16102c0a163c2":                `{"1":"a","2":null,"c":false}`,  // numbers for keys
		"cfffffffffffffffff":                `18446744073709551615`,          //
		"d3ffffffffffffffff":                `-1`,                            //
		"dd00000001df00000001db00000001780": ``,                              // odd
		"dc0001de0001d90178910000":          ``,                              // trailing
		"91c1":                              ``,                              // reserved
		"":                                  ``,                              //
		"ddffffffff":                        ``,                              // four billion elements
		"c6ffffffff00":                      ``,                              // four billion bytes
		"c9ffffffff0000":                    ``,                              //
		"d4ff00":                            ``,                              // a timestamp of one byte
		"d40100":                            ``,                              // an extension
		"81c0c0":                            ``,                              // null for a key
		strings.Repeat("91", 1002) + "c0":   ``,                              // too deep
		strings.Repeat("91", 500) + "c0":    strings.Repeat("[", 500) + "null" + strings.Repeat("]", 500),
	} {
		data, err := hex.DecodeString(packed)
		text, _, unpackErr := redisadapter.Unpack(data)
		if err == nil {
			err = unpackErr
		}
		if (err != nil) != (want == "") || string(text) != want {
			t.Errorf("%.60s: got %.100s, %v, want %.100s", packed, text, err, want)
		}
	}
}

func TestBroadcastMessage(t *testing.T) {
	t.Parallel()
	for _, target := range []socketiojwt.Target{
		{Namespace: "/", Rooms: []string{}, Except: []string{}},
		{Namespace: "/a", Rooms: []string{"x", ""}, Except: []string{"y"}, Guests: true, Volatile: true},
	} {
		data, err := redisadapter.EncodeBroadcast("me", target, []byte(`["e",{"_placeholder":true,"num":0}]`), [][]byte{{1}})
		if err != nil {
			t.Fatal(err)
		}
		got, event, attachments, err := redisadapter.DecodeBroadcast(data)
		if err != nil || !reflect.DeepEqual(got, target) || string(event) != `["e",{"_placeholder":true,"num":0}]` || !bytes.Equal(attachments[0], []byte{1}) {
			t.Errorf("got %+v, %s, %q, %v", got, event, attachments, err)
		}
	}
	pack := func(text string) []byte {
		data, err := redisadapter.Pack([]byte(text), [][]byte{{1}})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	// As a port in another language may write it.
	got, event, _, err := redisadapter.DecodeBroadcast(pack(`["emitter",{"data":["e"],"type":5},{"rooms":[7,"x"],"flags":null}]`))
	if want := (socketiojwt.Target{Namespace: "/", Rooms: []string{"7", "x"}}); err != nil || string(event) != `["e"]` || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %s, %v", got, event, err)
	}
	for _, bad := range []string{
		`null`, `{}`, `[]`, `["u",{"type":2,"data":["e"]}]`, `["u",["e"],{}]`, `["u",{"data":["e"]},{}]`, `["u",{"type":3,"data":["e"]},{}]`,
		`["u",{"type":"2","data":["e"]},{}]`, `["u",{"type":2,"data":["e"],"nsp":1},{}]`, `["u",{"type":2,"data":["e"]},{"rooms":"x"}]`,
		`["u",{"type":2,"data":["e"]},{"rooms":[{}]}]`, `["u",{"type":2,"data":["e"]},{"rooms":[null]}]`, `["u",{"type":2,"data":["e"]},{"flags":{"guests":1}}]`,
		`[{"_placeholder":true,"num":0},{"type":2,"data":["e"]},{}]`, `["u",{"type":2,"data":["e"]},{"rooms":[],"x":{"_placeholder":true,"num":0}}]`,
	} {
		if _, _, _, err := redisadapter.DecodeBroadcast(pack(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`["u",{"type":2,"data":["e",{"a":[1.5,null,"é"]},{"_placeholder":true,"num":0}],"nsp":"/"},{"rooms":["x",1],"except":[],"flags":{"volatile":true}}]`,
		`{"uid":"u","requestId":"r","type":7,"opts":{"rooms":[]},"packet":{"type":2,"data":["e"]}}`,
	} {
		packed, err := redisadapter.Pack([]byte(text), [][]byte{{1, 2}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
		f.Add([]byte(text))
	}
	for _, packed := range []string{"ddffffffff", "c70cff2faf0800fffffffffffffffe", "d7ffb2d05e005e0be100", "c70200ffff", "df00000001a161c6000000"} {
		data, _ := hex.DecodeString(packed)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = redisadapter.DecodeRequest(data)
		_ = redisadapter.DecodeAnswer(data)
		text, attachments, err := redisadapter.Unpack(data)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%x became %q, which is no JSON", data, text)
		}
		if len(text) > 30*len(data)+10 {
			t.Fatalf("%d bytes became %d", len(data), len(text))
		}
		packed, err := redisadapter.Pack(text, attachments)
		if err != nil {
			t.Fatalf("%s cannot be packed: %v", text, err)
		}
		again, _, err := redisadapter.Unpack(packed)
		if err != nil || !sameJSON(string(again), string(text)) {
			t.Fatalf("%s became %s, %v", text, again, err)
		}
		target, event, attachments, err := redisadapter.DecodeBroadcast(data)
		if err != nil {
			return
		}
		// What is passed on is read as the same.
		if packed, err = redisadapter.EncodeBroadcast("me", target, event, attachments); err != nil {
			return // a name of the event's own that makes a placeholder
		}
		target2, event2, _, err := redisadapter.DecodeBroadcast(packed)
		if err != nil || !sameJSON(string(event2), string(event)) || len(target2.Rooms) != len(target.Rooms) {
			t.Fatalf("%s for %v became %s for %v, %v", event, target, event2, target2, err)
		}
	})
}

// A message of a few bytes may say that gigabytes follow. It costs no more than it brings.
func TestLengthsThatAreNoneOfTheirs(t *testing.T) {
	for _, code := range []byte{msgpcode.Str32, msgpcode.Bin32, msgpcode.Ext32, msgpcode.Array32, msgpcode.Map32} {
		message := []byte{code, 0x79, 0, 0, 0, 0}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := redisadapter.Unpack(message)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 1<<20 {
			t.Errorf("%#x: %d bytes, %v", code, n, err)
		}
	}
}
