package siotest_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"

	. "github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

var payloads = []struct {
	name   string
	frames []Frame
	text   string
	binary string
	text4  string
}{
	{"two packets", []Frame{Text("2probe"), Text("6")}, "6:2probe1:6", "\x00\x06\xff2probe\x00\x01\xff6", "2probe\x1e6"},
	{"accent", []Frame{Text(`42["é"]`)}, `7:42["é"]`, "\x00\x08\xff42[\"é\"]", `42["é"]`},
	{"emoji counts twice", []Frame{Text("4😀"), Text("1")}, "3:4😀1:1", "\x00\x05\xff4😀\x00\x01\xff1", "4😀\x1e1"},
	{"binary", []Frame{Text("4x"), Binary([]byte{0, 255})}, "2:4x6:b4AP8=", "\x00\x02\xff4x\x01\x03\xff\x04\x00\xff", "4x\x1ebAP8="},
	{"binary without data", []Frame{Binary(nil)}, "2:b4", "\x01\x01\xff\x04", "b"},
	{"length of two digits", []Frame{Text("4" + strings.Repeat("x", 11))}, "12:4xxxxxxxxxxx", "\x00\x01\x02\xff4xxxxxxxxxxx", "4xxxxxxxxxxx"},
	{"colon inside", []Frame{Text("43:4x")}, "5:43:4x", "\x00\x05\xff43:4x", "43:4x"},
}

func TestPayload(t *testing.T) {
	for _, tt := range payloads {
		t.Run(tt.name, func(t *testing.T) {
			if got := EncodeText(tt.frames...); got != tt.text {
				t.Errorf("EncodeText: %q, want %q", got, tt.text)
			}
			if got := string(EncodeBinary(tt.frames...)); got != tt.binary {
				t.Errorf("EncodeBinary: %q, want %q", got, tt.binary)
			}
			packets, err := DecodeText(tt.text)
			checkPackets(t, "DecodeText", packets, err, tt.frames)
			packets, err = DecodeBinary([]byte(tt.binary))
			checkPackets(t, "DecodeBinary", packets, err, tt.frames)
			if got := EncodeText4(tt.frames...); got != tt.text4 {
				t.Errorf("EncodeText4: %q, want %q", got, tt.text4)
			}
			packets, err = DecodeText4(tt.text4)
			checkPackets(t, "DecodeText4", packets, err, tt.frames)
		})
	}
}

func checkPackets(t *testing.T, what string, got []EnginePacket, err error, want []Frame) {
	t.Helper()
	if err != nil || len(got) != len(want) {
		t.Fatalf("%s: %v, %v", what, got, err)
	}
	for i, f := range want {
		typ := int(f.Data[0])
		if !f.Binary {
			typ -= '0'
		}
		if p := got[i]; p.Type != typ || p.Binary != f.Binary || !bytes.Equal(p.Data, f.Data[1:]) {
			t.Errorf("%s: packet %d is %v, want %q", what, i, p, f.Data)
		}
	}
}

func TestDecodeTextEmptyPacket(t *testing.T) {
	if packets, err := DecodeText("0:1:6"); err != nil || len(packets) != 1 || packets[0].Type != EngineNoop {
		t.Errorf("%v, %v", packets, err)
	}
}

func TestDecodeTextErrors(t *testing.T) {
	for _, payload := range []string{
		"", ":", "4", "x:4", "-1:4", "+1:4", "1.0:4", "2:4", "1:42",
		"2:4😀", // ends between two surrogates
		"4:4😀", // longer than it is
		"1:7", "1:x", "1:b", "2:b7", "4:b4A!",
		"99999999999999999999:4",
	} {
		if packets, err := DecodeText(payload); err == nil {
			t.Errorf("%q: no error, %v", payload, packets)
		}
	}
}

func TestDecodeBinaryErrors(t *testing.T) {
	for _, payload := range []string{
		"\x00", "\x00\x01", "\x00\xff", "\x00\x01\xff", "\x00\x02\xff4", "\x02\x01\xff4",
		"\x00\x0a\xff4", "\x01\x00\xff", "\x01\x01\xff\x07", "\x00\x02\xff4\xe9",
		"\x00" + strings.Repeat("\x09", 30) + "\xff4",
	} {
		if packets, err := DecodeBinary([]byte(payload)); err == nil {
			t.Errorf("%q: no error, %v", payload, packets)
		}
	}
}

func TestDecodeText4Errors(t *testing.T) {
	for _, payload := range []string{
		"", "\x1e", "6\x1e", "\x1e6", "6\x1e\x1e6", "7", "x", "2:7\x1e", "b4A!", "bAP8", "4\xff",
	} {
		if packets, err := DecodeText4(payload); err == nil {
			t.Errorf("%q: no error, %v", payload, packets)
		}
	}
}

// TestEncodeText4Anything: version 4 has no type in binary packets, so that the byte in the frame
// goes nowhere. As text everything is sent as it is.
func TestEncodeText4Anything(t *testing.T) {
	for _, tt := range []struct {
		frame Frame
		want  string
	}{
		{Frame{Binary: true, Data: []byte{EngineClose, 0, 255}}, "bAP8="},
		{Frame{Binary: true}, "b"},
		{Text("b4A!"), "b4A!"},
		{Text("6\x1e\x1e7\xff"), "6\x1e\x1e7\xff"},
		{Text(""), ""},
	} {
		if got := EncodeText4(tt.frame); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.frame.Data, got, tt.want)
		}
	}
}

func TestDecodeJSONP(t *testing.T) {
	for _, tt := range []struct{ script, want string }{
		{`___eio[0]("1:6");`, `1:6`},
		{`___eio[0]("4[\"x\"]");`, `4["x"]`},
		{`___eio[0]("\\n\n\r\t\b\f\v\0\'\/");`, "\\n\n\r\t\b\f\v\x00'/"},
		{`___eio[0]("\u00e9\u2028\x3c");`, "é\u2028<"},
		{`___eio[0]("😀\ud83d\ude00");`, "😀😀"},
		{`___eio[0]("\ud83dx\ude00\ud83d");`, "\uFFFDx\uFFFD\uFFFD"},
	} {
		if got, err := DecodeJSONP("0", tt.script); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v", tt.script, got, err)
		}
	}
	for _, script := range []string{
		``, `1:6`, `___eio[1]("1:6");`, `___eio[0]("1:6")`, `___eio[0]("");alert("");`,
		`___eio[0]("\");`, `___eio[0]("\u12");`, `___eio[0]("\uzzzz");`, "___eio[0](\"\n\");", "___eio[0](\"\xe9\");",
	} {
		if got, err := DecodeJSONP("0", script); err == nil {
			t.Errorf("%s: no error, %q", script, got)
		}
	}
}

// TestEncodeJSONPForm reads the form as engine.io's polling-jsonp.js does.
func TestEncodeJSONPForm(t *testing.T) {
	slashes := regexp.MustCompile(`\\?\\n`)
	for _, payload := range []string{`1:6`, "4é😀 +&=%", "a\nb", `a\nb`, `a\\nb`, "\n\\n\n"} {
		body := EncodeJSONPForm(payload)
		form, err := url.ParseQuery(body)
		if err != nil {
			t.Fatal(err)
		}
		d := form.Get("d")
		if strings.Contains(d, "\n") {
			t.Errorf("%q: a line feed is left in %q", payload, d)
		}
		d = slashes.ReplaceAllStringFunc(d, func(m string) string {
			if m == `\n` {
				return "\n"
			}
			return m
		})
		if d = strings.ReplaceAll(d, `\\n`, `\n`); d != payload {
			t.Errorf("%q arrives as %q", payload, d)
		}
	}
	if got := EncodeJSONPForm("a\n\\n"); got != `d=a%5Cn%5C%5Cn` {
		t.Error(got)
	}
}

func TestDecodePacket(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Packet
	}{
		{`0`, Packet{Type: Connect, Namespace: "/", ID: -1}},
		{`0/admin`, Packet{Type: Connect, Namespace: "/admin", ID: -1}},
		{`0/admin?token=x&y=1,`, Packet{Type: Connect, Namespace: "/admin", Query: "token=x&y=1", ID: -1}},
		{`1`, Packet{Type: Disconnect, Namespace: "/", ID: -1}},
		{`1/admin,`, Packet{Type: Disconnect, Namespace: "/admin", ID: -1}},
		{`2["a",1]`, Packet{Type: Event, Namespace: "/", ID: -1, Data: json.RawMessage(`["a",1]`)}},
		{`2/admin,12["a"]`, Packet{Type: Event, Namespace: "/admin", ID: 12, Data: json.RawMessage(`["a"]`)}},
		{`30[]`, Packet{Type: Ack, Namespace: "/", ID: 0, Data: json.RawMessage(`[]`)}},
		{`4{"message":"no"}`, Packet{Type: Error, Namespace: "/", ID: -1, Data: json.RawMessage(`{"message":"no"}`)}},
		{`4"no"`, Packet{Type: Error, Namespace: "/", ID: -1, Data: json.RawMessage(`"no"`)}},
		{`50-["a"]`, Packet{Type: BinaryEvent, Namespace: "/", ID: -1, Data: json.RawMessage(`["a"]`)}},
		{"2[\"a\"]\n", Packet{Type: Event, Namespace: "/", ID: -1, Data: json.RawMessage(`["a"]`)}},
	} {
		a := NewAssembler(3)
		got, err := a.Add(EnginePacket{Type: EngineMessage, Data: []byte(tt.text)})
		if err != nil || got == nil {
			t.Errorf("%s: %v, %v", tt.text, got, err)
			continue
		}
		if got.Type != tt.want.Type || got.Namespace != tt.want.Namespace || got.Query != tt.want.Query ||
			got.ID != tt.want.ID || string(got.Data) != string(tt.want.Data) {
			t.Errorf("%s: %+v", tt.text, got)
		}
		if want := "4" + strings.TrimSpace(tt.text); got.Raw != want {
			t.Errorf("Raw is %q, want %q", got.Raw, want)
		}
	}
	for _, text := range []string{``, `7`, `x`, `5["a"]`, `5x-["a"]`, `5-1-["a"]`, `2["a"`, `2["a"]x`, `299999999999999999999["a"]`} {
		a := NewAssembler(3)
		if got, err := a.Add(EnginePacket{Type: EngineMessage, Data: []byte(text)}); err == nil {
			t.Errorf("%q: no error, %+v", text, got)
		}
	}
}

func TestDecodePacket4(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Packet
	}{
		{`0`, Packet{Type: Connect, Namespace: "/", ID: -1}},
		{`0{"sid":"x"}`, Packet{Type: Connect, Namespace: "/", ID: -1, Data: json.RawMessage(`{"sid":"x"}`)}},
		{`0/admin,{"sid":"x"}`, Packet{Type: Connect, Namespace: "/admin", ID: -1, Data: json.RawMessage(`{"sid":"x"}`)}},
		{`0/admin?a=b,{}`, Packet{Type: Connect, Namespace: "/admin?a=b", ID: -1, Data: json.RawMessage(`{}`)}},
		{`1/admin,`, Packet{Type: Disconnect, Namespace: "/admin", ID: -1}},
		{`4{"message":"no"}`, Packet{Type: ConnectError, Namespace: "/", ID: -1, Data: json.RawMessage(`{"message":"no"}`)}},
		{`4/admin,"no"`, Packet{Type: ConnectError, Namespace: "/admin", ID: -1, Data: json.RawMessage(`"no"`)}},
		{`2/admin,12["a"]`, Packet{Type: Event, Namespace: "/admin", ID: 12, Data: json.RawMessage(`["a"]`)}},
		{`2[7]`, Packet{Type: Event, Namespace: "/", ID: -1, Data: json.RawMessage(`[7]`)}},
		{`30[]`, Packet{Type: Ack, Namespace: "/", ID: 0, Data: json.RawMessage(`[]`)}},
	} {
		got, err := NewAssembler(4).Add(EnginePacket{Type: EngineMessage, Data: []byte(tt.text)})
		if err != nil || got == nil {
			t.Errorf("%s: %v, %v", tt.text, got, err)
			continue
		}
		if got.Type != tt.want.Type || got.Namespace != tt.want.Namespace || got.Query != tt.want.Query ||
			got.ID != tt.want.ID || string(got.Data) != string(tt.want.Data) || got.Raw != "4"+tt.text {
			t.Errorf("%s: %+v", tt.text, got)
		}
	}
	// socket.io-parser 4 throws at each of these but the first and "0\n", which it takes for CONNECT.
	for _, text := range []string{
		``, `7`, "0\n", `0[]`, `0"x"`, `0null`, `1{}`, `4[]`, `4null`, `4 no`, `2{}`, `2[]`, `2[null]`, `2[["a"]]`,
		`2["connect"]`, `2["connect_error"]`, `2["disconnect"]`, `2["disconnecting"]`,
		`2["newListener"]`, `2["removeListener"]`, `30{}`, `50-["a"]`, `511-["a"]`, `5["a"]`, `2["a"`,
	} {
		if got, err := NewAssembler(4).Add(EnginePacket{Type: EngineMessage, Data: []byte(text)}); err == nil {
			t.Errorf("%q: no error, %+v", text, got)
		}
	}
}

func TestRefusalAndSID(t *testing.T) {
	for _, tt := range []struct{ text, message, data, sid string }{
		{text: `0`},
		{text: `0{"sid":"x"}`, sid: "x"},
		{text: `0/admin,{"sid":"x","pid":"y"}`, sid: "x"},
		{text: `4{"message":"no"}`, message: "no"},
		{text: `4/admin,{"message":"no","data":{"sid":1}}`, message: "no", data: `{"sid":1}`},
		{text: `4"no"`},
		{text: `2["a",{"message":"no","data":1,"sid":"x"}]`},
	} {
		for _, version := range []int{3, 4} {
			p, err := NewAssembler(version).Add(EnginePacket{Type: EngineMessage, Data: []byte(tt.text)})
			if err != nil {
				t.Fatal(err)
			}
			if message, data := p.Refusal(); message != tt.message || string(data) != tt.data || p.SID() != tt.sid {
				t.Errorf("%s: %q, %s, %q", tt.text, message, data, p.SID())
			}
		}
	}
}

func TestAttachments(t *testing.T) {
	a := NewAssembler(3)
	add := func(f Frame) (*Packet, error) {
		p := EnginePacket{Type: EngineMessage, Binary: f.Binary, Data: f.Data[1:]}
		return a.Add(p)
	}
	if p, err := add(Binary([]byte("x"))); err == nil {
		t.Errorf("attachment without packet: %v", p)
	}
	if p, err := add(Text(`451-["a",{"_placeholder":true,"num":0}]`)); p != nil || err != nil {
		t.Fatal(p, err)
	}
	if p, err := add(Text(`42["b"]`)); err == nil {
		t.Errorf("text in place of an attachment: %v", p)
	}
	for _, f := range []Frame{
		Text(`452-/n,7["a",{"_placeholder":true,"num":1},"s",{"_placeholder":true,"num":0}]`),
		Binary([]byte("zero")),
	} {
		if p, err := add(f); p != nil || err != nil {
			t.Fatal(p, err)
		}
	}
	p, err := add(Binary([]byte("one")))
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	var (
		one, zero []byte
		s         string
	)
	if err := p.Decode(&one, &s, &zero); err != nil || string(one) != "one" || s != "s" || string(zero) != "zero" {
		t.Errorf("%q %q %q %v", one, s, zero, err)
	}
	if name, args := p.Event(); name != "a" || len(args) != 3 || p.ID != 7 || p.Namespace != "/n" {
		t.Errorf("%+v", p)
	}
	if err := p.Decode(&one, &s, &zero, &s); err == nil {
		t.Error("no error for an argument that is not there")
	}
}

func TestEventOfOtherPackets(t *testing.T) {
	for _, p := range []Packet{
		{Type: Ack, Data: json.RawMessage(`["a"]`)},
		{Type: Event, Data: json.RawMessage(`[]`)},
		{Type: Event, Data: json.RawMessage(`{}`)},
		{Type: Event, Data: json.RawMessage(`[1]`)},
		{Type: Event},
	} {
		if name, args := p.Event(); name != "" || args != nil {
			t.Errorf("%+v: %q %s", p, name, args)
		}
	}
}

func TestEncodePacket(t *testing.T) {
	nested := map[string]any{"k": []any{[]byte("in")}}
	for _, tt := range []struct {
		typ  int
		nsp  string
		id   int64
		args []any
		want string
	}{
		{Event, "/", -1, []any{"a", 1}, `42["a",1]`},
		{Event, "", 3, []any{"a"}, `423["a"]`},
		{Event, "/n", 0, []any{"a", "<é&>"}, `42/n,0["a","<é&>"]`},
		{Ack, "/n", 5, []any{}, `43/n,5[]`},
		{Event, "/", -1, []any{"a", []byte{1}, nested},
			`452-["a",{"_placeholder":true,"num":0},{"k":[{"_placeholder":true,"num":1}]}] b4AQ== b4aW4=`},
		{Ack, "/n", 5, []any{[]byte{}}, `461-/n,5[{"_placeholder":true,"num":0}] b4`},
	} {
		frames, err := EncodePacket(tt.typ, tt.nsp, tt.id, tt.args)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range frames {
			_, packet, _ := strings.Cut(EncodeText(f), ":")
			got = append(got, packet)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s, want %s", s, tt.want)
		}
	}
	if _, err := EncodePacket(Event, "/", -1, []any{"a", make(chan int)}); err == nil {
		t.Error("no error for an argument that is not JSON")
	}
}
