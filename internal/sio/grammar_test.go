package sio

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/googollee/go-socket.io/engineio/session"
	"github.com/googollee/go-socket.io/parser"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

var testLimits = Limits{Attachments: 4, Depth: 64}

func event(name string) Header { return Header{Type: Event, Namespace: "/", Event: name, Plain: true} }

// odd is an event with a name that go-socket.io could misread.
func odd(name string) Header { return Header{Type: Event, Namespace: "/", Event: name} }

func (h Header) with(change func(*Header)) Header {
	change(&h)
	return h
}

func TestParseHeader(t *testing.T) {
	id := func(n uint64) func(*Header) { return func(h *Header) { h.ID, h.HasID = n, true } }
	in := func(nsp string) func(*Header) { return func(h *Header) { h.Namespace = nsp } }
	attached := func(n int) func(*Header) { return func(h *Header) { h.Attachments = n } }
	loose := func(h *Header) { h.Loose = true }
	ack := Header{Type: Ack, Namespace: "/"}
	nested := strings.Repeat("[", testLimits.Depth-1) + strings.Repeat("]", testLimits.Depth-1)

	tests := []struct {
		packet string
		want   Header
	}{
		{`0`, Header{Type: Connect, Namespace: "/"}},
		{`0/`, Header{Type: Connect, Namespace: "/"}},
		{`0/admin`, Header{Type: Connect, Namespace: "/admin"}},
		{`0/admin,`, Header{Type: Connect, Namespace: "/admin"}},
		{`0/admin?token=a.b-c_d&x=1,`, Header{Type: Connect, Namespace: "/admin", Query: "token=a.b-c_d&x=1"}},
		{`0/admin?a=b?c`, Header{Type: Connect, Namespace: "/admin", Query: "a=b?c"}},
		{`0/?token=x`, Header{Type: Connect, Namespace: "/", Query: "token=x"}},
		{`0/1`, Header{Type: Connect, Namespace: "/1"}},
		{`0/ünï/😀,`, Header{Type: Connect, Namespace: "/ünï/😀"}},
		{`0/room[1]`, Header{Type: Connect, Namespace: "/room[1]"}},
		{`0/a"b\c{}?x`, Header{Type: Connect, Namespace: `/a"b\c{}`, Query: "x"}},
		{`0/a?` + strings.Repeat("x", maxQueryBytes), Header{Type: Connect, Namespace: "/a", Query: strings.Repeat("x", maxQueryBytes)}},
		{`2/room]1,["chat"]`, event("chat").with(in("/room]1"))},
		{`1`, Header{Type: Disconnect, Namespace: "/"}},
		{`1/admin`, Header{Type: Disconnect, Namespace: "/admin"}},
		{`1/admin,`, Header{Type: Disconnect, Namespace: "/admin"}},

		{`2["chat"]`, event("chat")},
		{`2["chat","hi",1,null,{"a":[true,1.5e3]}]`, event("chat")},
		{`2["a b[c{d:e😀"]`, event("a b[c{d:e😀")},
		{"2[\"\u2028\"]", event("\u2028")},
		{`20["chat"]`, event("chat").with(id(0))},
		{`217["chat","x"]`, event("chat").with(id(17))},
		{`2999999999999999["chat"]`, event("chat").with(id(999999999999999))},
		{`2/admin,["chat"]`, event("chat").with(in("/admin"))},
		{`2/admin,3["chat"]`, event("chat").with(in("/admin")).with(id(3))},
		{`2/,["chat"]`, event("chat")},
		{`2["chat","\"]\\",[]]`, event("chat")},
		{`2["chat",` + nested + `]`, event("chat")},
		{`2["chat",{"num":9}]`, event("chat")},
		{`2["chat","_placeholder"]`, event("chat")},
		{`2["chat",{"_placeholder":false,"num":0}]`, event("chat")},
		{`2["chat",{"_placeholder":true,"num":0}]`, event("chat").with(loose)},
		{`2["chat",{"a":[{"_Placeholder":true}]}]`, event("chat").with(loose)},
		{`31[{"_placeholder":true,"num":0}]`, ack.with(id(1)).with(loose)},
		{`51-["chat",{"_placeholder":false,"num":7}]`, event("chat").with(attached(1))},
		{`51-["chat",{"_placeholder":"true","num":7}]`, event("chat").with(attached(1))},
		{`2["chat","\u005fplaceholder"]`, event("chat")},

		{`2["\u0063hat"]`, odd("chat")},
		{`2["ch\u0061t",1]`, odd("chat")},
		{`2["a\"b"]`, odd(`a"b`)},
		{`2["a\\b"]`, odd(`a\b`)},
		{`2["a\nb"]`, odd("a\nb")},
		{`2["\u0000"]`, odd("\x00")},
		{`2["\ud83d\ude00"]`, odd("😀")},
		{`2["\ud83d"]`, odd("\ufffd")}, // as encoding/json reads half a pair
		{`2["a,b"]`, odd("a,b")},
		{`2["a]b"]`, odd("a]b")},
		{`2["],["]`, odd("],[")},
		{`2["a[b"]`, event("a[b")},
		{`2[" "]`, event(" ")},
		{`2[""]`, odd("")},
		{`2["","chat"]`, odd("")},
		{`2[ "chat"]`, odd("chat")},
		{`2["chat" ]`, odd("chat")},
		{`2["chat" ,1]`, odd("chat")},
		{`2["chat", 1 ]`, event("chat")},
		{"2[\n\t\"chat\"\r\n]", odd("chat")},

		{`31[]`, ack.with(id(1))},
		{`31[ ]`, ack.with(id(1))},
		{`30["ok",1]`, ack.with(id(0))},
		{`3/admin,12[{"a":1}]`, ack.with(in("/admin")).with(id(12))},

		{`50-["bin"]`, event("bin")}, // has-binary1 counts typed arrays that are not there after JSON
		{`51-["bin",{"_placeholder":true,"num":0}]`, event("bin").with(attached(1))},
		{`51-["bin",{"num":0,"_placeholder":true}]`, event("bin").with(attached(1))},
		{`52-/admin,7["bin",{"x":{"_placeholder":true,"num":1},"y":[{"_placeholder":true,"num":0}]}]`,
			event("bin").with(attached(2)).with(in("/admin")).with(id(7))},
		{`54-["bin",{"_placeholder":true,"num":3}]`, event("bin").with(attached(4))},
		{`61-3[{"_placeholder":true,"num":0}]`, ack.with(attached(1)).with(id(3))},
		{`61-/admin,3[{"_placeholder":true,"num":0}]`, ack.with(attached(1)).with(in("/admin")).with(id(3))},
	}
	for _, test := range tests {
		got, body, err := parseHeader([]byte(test.packet), testLimits, protocol4{})
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.packet, got, err, test.want)
		}
		wantBody := ""
		if i := strings.IndexByte(test.packet, '['); got.Type >= Event {
			wantBody = test.packet[i:]
		}
		if string(body) != wantBody {
			t.Errorf("%s: body %q, want %q", test.packet, body, wantBody)
		}
	}
}

func TestParseHeaderRefused(t *testing.T) {
	deep := strings.Repeat("[", testLimits.Depth) + strings.Repeat("]", testLimits.Depth)
	tests := []struct {
		want    transport.Reason
		packets []string
	}{
		{BadPacketType, []string{
			``, `4`, `4"no"`, `4/admin,"no"`, `4{"message":"x"}`, // ERROR
			`7`, `9["chat"]`, `a`, `[`, `["chat"]`, `"chat"`, ` 2["chat"]`, "\x002[\"chat\"]", `-1`, `é`,
		}},
		{BadPayload, []string{
			`0{`, `0[]`, `0{}`, `0"x"`, `00`, `0,`, `0admin`, `0/admin,{`, `0/admin,[]`, `0/admin,,`, `0/admin,1`, `0 `, "0\n",
			`1[]`, `11`, `1/admin,"x"`, `0?token=x`,
		}},
		{BadNamespace, []string{
			"2/a\x00b,[\"chat\"]", "0/a\x1f", "0/a\x7f",
			`2/admin?x=1,["chat"]`, `1/admin?x`, `3/admin?x,1[]`, `0/` + strings.Repeat("a", maxNamespaceBytes),
		}},
		{BadAttachment, []string{
			`5["bin"]`, `5-["bin"]`, `51["bin",{"_placeholder":true,"num":0}]`, `51`, `5`, `6`, `61[]`, `6-1[]`, `51/admin,["bin"]`,
			`55-["bin"]`, `599999-["bin"]`, `54599999999999999999-["bin"]`, `51000000000-["bin"]`, `518446744073709551617-["bin"]`,
			`5+1-["bin"]`, `5 1-["bin"]`, `5-1-["bin"]`, `51.0-["bin"]`, `5/admin,1-["bin"]`,
		}},
		{BadID, []string{
			`21234567890123456["chat"]`, `218446744073709551616["chat"]`, `2` + strings.Repeat("9", 400) + `["chat"]`,
			`3[]`, `3["x"]`, `3/admin,["x"]`, `31234567890123456[]`, `3`, `3/admin,`, `60-[]`,
		}},
		{BadEvent, []string{
			`2/admin["chat"]`, `2/admin["chat","x"]`,
			`2`, `21`, `2"chat"`, `2"X"]`, `2[`, `2[]`, `2[ ]`, `2{}`, `2/admin`, `2/admin,`,
			`2[null]`, `2[null,"X"]`, `2[1]`, `2[true,"chat"]`, `2[["chat"]]`, `2[{"a":1}]`,
			`2 ["chat"]`, "2\n[\"chat\"]", `2-["chat"]`, `21-["chat"]`, `2,["chat"]`,
			`2?x,["chat"]`, `2é["chat"]`, `2-1["chat"]`, `21.5["chat"]`, `31`, `31{}`, `31"x"`, `31null`, `31 []`, `31[`, `50-`,
		}},
		{BadJSON, []string{
			`2[]]`, `2["`, `2["chat`, `2["chat"`, `2["ch\at"]`, "2[\"a\nb\"]", "2[\"a\x00b\"]", `2["\u00"]`, "2[\u00a0\"chat\"]",
			`2["chat",]`, `2["chat","x"`, `2["chat"]]`, `2["chat"]x`, `2["chat"],["chat"]`, `2["chat"]42["x"]`, `2["chat",nul]`,
			`2["chat",'x']`, `2["chat",01]`, `2["chat",{"a"}]`, `2["chat",{a:1}]`, `2["chat",NaN]`, `2["chat","\x"]`,
			`2["chat",` + deep + `]`, `31[}`, `31[]]`, `31[],1`, `2["chat",{"_placeholder":true,"num":0}`,
		}},
		{BadPlaceholder, []string{
			`50-["bin",{"_placeholder":true,"num":0}]`,
			`51-["bin",{"_placeholder":true,"num":1}]`, `51-["bin",{"_placeholder":true,"num":4}]`,
			`51-["bin",{"_placeholder":true,"num":18446744073709551615}]`, `51-["bin",{"_placeholder":true,"num":18446744073709551616}]`,
			`51-["bin",{"_placeholder":true,"num":-1}]`, `51-["bin",{"_placeholder":true,"num":0.5}]`, `51-["bin",{"_placeholder":true,"num":0e0}]`,
			`51-["bin",{"_placeholder":true,"num":"0"}]`, `51-["bin",{"_placeholder":true,"num":null}]`, `51-["bin",{"_placeholder":true,"num":[0]}]`,
			`51-["bin",{"_placeholder":true}]`, `51-["bin",{"_placeholder":true,"Num":1}]`, `51-["bin",{"_PLACEHOLDER":true,"num":1}]`,
			`51-["bin",{"_Placeholder":true,"NUM":7}]`, `51-["bin",{"\u005fplaceholder":true,"num":1}]`,
			`51-["bin",{"_placeholder":true,"\u006eum":1}]`, `51-["bin",{"_placeholder":true,"\u004eUM":1}]`,
			`51-["bin",{"_placeholder":true,"num":0,"num":1}]`, `51-["bin",{"_placeholder":true,"num":1,"num":0}]`,
			`51-["bin",{"num":1,"_placeholder":true}]`, `51-["bin",{"_placeholder":false,"num":1,"_placeholder":true}]`,
			`51-["bin",{"_placeholder":true,"num":1,"_placeholder":false}]`,
			`51-["bin",{"num":{"_placeholder":true,"num":1}}]`, `51-["bin",{"num":[[{"num":{"_placeholder":true,"num":9}}]]}]`,
			`51-["bin",{"_placeholder":{"_placeholder":true,"num":1},"num":0}]`,
			`51-["bin",[[{"a":{"_placeholder":true,"num":0}},{"b":{"_placeholder":true,"num":2}}]]]`,
			`61-3[{"_placeholder":true,"num":1}]`, `51-["chat","\\",{"_placeholder":true,"num":1}]`,
			`51-["bin",{"\u005FPlaceholder":true}]`, `51-["bin",{"_placeholder":true , "num" : 0 , "num" : 1}]`,
		}},
	}
	for _, test := range tests {
		for _, packet := range test.packets {
			if h, _, err := parseHeader([]byte(packet), testLimits, protocol4{}); !errors.Is(err, test.want) {
				t.Errorf("%.80s: %+v, %v; want %v", packet, h, err, test.want)
			}
		}
	}
}

// A message is read once, however its members are nested.
func TestNestingIsReadOnce(t *testing.T) {
	const text, levels = 64 << 10, 60
	data := []byte(`51-["x",` + strings.Repeat(`{"_placeholder":true,"num":`, levels) + `"` + strings.Repeat("x", text) + `"` + strings.Repeat("}", levels) + "]")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := parseHeader(data, Limits{1, 64}, protocol4{}); err != BadPlaceholder {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 20*text {
		t.Errorf("%d bytes were allocated for %d", n, len(data))
	}
}

// newParser makes a Conn that reads packets and nothing else.
func newParser() *Conn {
	return &Conn{protocol: protocol4{}, server: &Server{limits: testLimits}, client: new(transport.Client)}
}

func textMessage(s string) transport.Message { return transport.Message{Data: []byte(s)} }
func blobMessage(s string) transport.Message { return transport.Message{Binary: true, Data: []byte(s)} }

func TestParse(t *testing.T) {
	const header, two = `51-["bin",{"_placeholder":true,"num":0}]`, `52-["bin",{"_placeholder":true,"num":1}]`
	list := func(m ...transport.Message) []transport.Message { return m }
	text, blob := textMessage, blobMessage
	tests := []struct {
		name     string
		messages []transport.Message
		packets  string // what came, and the attachments
		want     error
	}{
		{"text", list(text(`2["chat"]`), text(`0/admin`)), `2["chat"] 0/admin`, nil},
		{"attachment after its header", list(text(header), blob("a"), text(`2["chat"]`)), header + `+a 2["chat"]`, nil},
		{"two attachments", list(text(two), blob("a"), blob(""), text(header), blob("b")), two + "+a+ " + header + "+b", nil},
		{"header without its attachment yet", list(text(header)), "", nil},
		{"none announced", list(text(`50-["bin"]`), text(`2["chat"]`)), `50-["bin"] 2["chat"]`, nil},
		{"attachment without a header", list(blob("a")), "", BadAttachment},
		{"attachment after a text event", list(text(`2["chat"]`), blob("a")), `2["chat"]`, BadAttachment},
		{"one attachment too many", list(text(header), blob("a"), blob("b")), header + "+a", BadAttachment},
		{"event in place of an attachment", list(text(header), text(`2["chat"]`)), "", BadAttachment},
		{"event between attachments", list(text(two), blob("a"), text(`2["chat"]`)), "", BadAttachment},
		{"disconnect in place of an attachment", list(text(header), text("1")), "", BadAttachment},
		{"second header in place of an attachment", list(text(header), text(header)), "", BadAttachment},
		{"empty message", list(text("")), "", BadPacketType},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newParser()
			var packets []string
			var err error
			cost, counted := 0, 0
			for i, m := range test.messages {
				var p *Packet
				if p, err = c.parse(m); err != nil && i < len(test.messages)-1 {
					t.Fatalf("message %d: %v", i, err)
				}
				cost += m.Cost()
				if p == nil {
					continue
				}
				packets = append(packets, string(p.Text))
				for _, a := range p.Attachments {
					packets[len(packets)-1] += "+" + string(a)
				}
				counted += p.Cost()
				if c.partial == nil && err == nil && counted != cost {
					t.Errorf("%s costs %d of %d", p.Text, counted, cost)
				}
			}
			if got := strings.Join(packets, " "); !errors.Is(err, test.want) || got != test.packets {
				t.Errorf("%s, %v; want %s, %v", got, err, test.packets, test.want)
			}
		})
	}
}

// frames is a parser.FrameReader of a packet and its attachments.
type frames struct {
	text        []byte
	attachments int
	read        int
}

func (f *frames) NextReader() (session.FrameType, io.ReadCloser, error) {
	f.read++
	switch {
	case f.read == 1:
		return session.TEXT, io.NopCloser(bytes.NewReader(f.text)), nil
	case f.read <= 1+f.attachments:
		return session.BINARY, io.NopCloser(bytes.NewReader([]byte{byte(f.read)})), nil
	}
	return 0, nil, io.EOF
}

type withBuffers struct {
	A    parser.Buffer
	B    []*parser.Buffer
	Data struct{ Num map[string]any }
	Num  *withBuffers
}

// handlerArgs are the argument types of the handlers that packets are tried on.
var handlerArgs = [][]reflect.Type{
	nil,
	{reflect.TypeFor[string]()},
	{reflect.TypeFor[any](), reflect.TypeFor[any]()},
	{reflect.TypeFor[map[string]any]()},
	{reflect.TypeFor[[]any]()},
	{reflect.TypeFor[float64](), reflect.TypeFor[bool]()},
	{reflect.TypeFor[parser.Buffer](), reflect.TypeFor[*parser.Buffer](), reflect.TypeFor[parser.Buffer]()},
	{reflect.TypeFor[[]parser.Buffer](), reflect.TypeFor[string]()},
	{reflect.TypeFor[any](), reflect.TypeFor[[]*parser.Buffer]()},
	{reflect.TypeFor[map[string]parser.Buffer]()},
	{reflect.TypeFor[map[string]*parser.Buffer]()},
	{reflect.TypeFor[withBuffers](), reflect.TypeFor[*withBuffers]()},
	{reflect.TypeFor[[][]withBuffers]()},
}

// reasons are what a packet may be refused for.
var reasons = []error{
	BadPacketType, BadPayload, BadAttachment, BadNamespace, BadID, BadEvent, BadJSON, BadPlaceholder,
}

func isReason(err error) bool {
	for _, reason := range reasons {
		if err == reason {
			return true
		}
	}
	return false
}

// receive reads one packet and gives it the attachments that it announces. It returns nil for what
// is refused.
func receive(t *testing.T, data []byte) *Packet {
	if !utf8.Valid(data) {
		return nil // the transport refuses it
	}
	c := newParser()
	p, err := c.parse(transport.Message{Data: data})
	if err != nil {
		if !isReason(err) {
			t.Fatalf("%q is refused for %v", data, err)
		}
		return nil
	}
	for i := 0; p == nil; i++ {
		if i == testLimits.Attachments {
			t.Fatalf("%q wants more attachments", data)
		}
		if p, err = c.parse(blobMessage(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.Attachments) != p.Header.Attachments {
		t.Fatalf("%d attachments came, header %+v", len(p.Attachments), p.Header)
	}
	return p
}

// FuzzPacketCheck holds go-socket.io's parser to what parse accepted and takes for plain: it reads the same header, and
// no handler's arguments make it panic.
func FuzzPacketCheck(f *testing.F) {
	for _, packet := range []string{
		`0`, `0/admin`, `0/admin?token=x,`, `1`, `1/admin,`, `2["chat"]`, `2["chat","a"]`, `2/admin,17["chat",{"a":1}]`, `20["chat"]`,
		`30[]`, `3/admin,12["x",{"a":[1]}]`, `2["a[b",[["x"]],"\u0041"]`, `2/,["chat",{}]`, `2/a?,["chat"]`,
		`51-["bin",{"_placeholder":true,"num":0}]`, `52-/admin,3["bin",{"A":{"_placeholder":true,"num":1},"B":[{"num":0,"_placeholder":true}]}]`,
		`61-3[{"_placeholder":true,"num":0}]`, `2["bin",{"_placeholder":true,"num":0}]`, `51-["bin",{"_Placeholder":true,"NUM":1}]`,
		`51-["bin",{"\u005fplaceholder":true,"num":1}]`, `51-["bin",{"num":{"_placeholder":true,"num":1}}]`,
		`51-["bin",{"_placeholder":true,"num":0,"num":1}]`, `51-["bin",[[{"A":{"_placeholder":true,"num":0}}]]]`, `50-["bin"]`,
		`4599999999999999999-["chat","x"]`, `2"X"]`, `2[null,"X"]`, `2["\u0063hat"]`, `2 ["x"]`, `2["x" ]`, `21-["x"]`, `2-["x"]`, `0{`,
		`2["bin",{"data":"AQID","num":5}]`, `2["bin",{"type":"Buffer","data":[1,2]}]`, "2[\"chat\",\"\xff\"]",
		`2["a,b"]`, `2["a]b",1]`, `2["a\"b"]`, `2[""]`, `2["a[b" ,1]`, `2[ "chat"]`,
		`51-["bin",{"_placeholder":true,"num":0},null,{"_placeholder":true,"num":0}]`,
	} {
		f.Add([]byte(packet))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := receive(t, data)
		if p == nil || p.Type == Event && !p.Plain || p.Loose || isOdd(p.Namespace) {
			return // go-socket.io does not see it
		}
		want := p.Header
		want.Plain = false
		for _, types := range handlerArgs {
			source := &frames{text: data, attachments: want.Attachments}
			decoder := parser.NewDecoder(source)
			var header parser.Header
			name := "the event before"
			if err := decoder.DecodeHeader(&header, &name); err != nil {
				t.Fatalf("go-socket.io refuses the header of %+v: %v", want, err)
			}
			got := Header{
				Type: byte(header.Type) + '0', Attachments: want.Attachments, Namespace: header.Namespace,
				Query: header.Query, ID: header.ID, HasID: header.NeedAck,
			}
			if got.Namespace == "" {
				got.Namespace = "/"
			}
			if got.Type == Event {
				got.Event = name
			}
			if got != want {
				t.Fatalf("go-socket.io reads %+v, we %+v", got, want)
			}
			if _, err := decoder.DecodeArgs(types); err == nil && source.read != 1+want.Attachments && want.Type >= Event {
				t.Fatalf("go-socket.io read %d frames of %d", source.read, 1+want.Attachments)
			}
		}
	})
}
