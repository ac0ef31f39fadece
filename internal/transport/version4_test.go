package transport

import (
	"math"
	"strings"
	"testing"
)

var v4 version4

func TestPayload4(t *testing.T) {
	text := func(s string) packet { return packet{typ: s[0], data: []byte(s)} }
	blob := func(s string) packet {
		return packet{typ: typeMessage, binary: true, data: append([]byte{binaryMessage}, s...)}
	}
	for body, packets := range map[string][]packet{
		"40":                       {text("40")},
		"40\x1e42[\"é😀\"]":         {text("40"), text("42[\"é😀\"]")},
		"6\x1e1":                   {text("6"), text("1")},
		"b":                        {blob("")},
		"451-[]\x1ebAQID\x1ebAQ==": {text("451-[]"), blob("\x01\x02\x03"), blob("\x01")},
	} {
		if encoded, contentType := v4.encode(packets, true); string(encoded) != body || contentType != textPayload {
			t.Errorf("encoded %q, %s; want %q", encoded, contentType, body)
		}
		if decoded, err := v4.decode([]byte(body), "", 100); err != nil || !samePackets(decoded, packets) {
			t.Errorf("%q: decoded %v, %v", body, decoded, err)
		}
	}
	for _, body := range []string{
		"", "\x1e", "40\x1e", "\x1e40", "40\x1e\x1e40", "7", "a", "40\x1ex", "\xff", "4\xc3", "bA", "bAQ=", "bA-ID", "bAQID=",
	} {
		if packets, err := v4.decode([]byte(body), textPayload, 100); err == nil {
			t.Errorf("%q: %v", body, packets)
		}
	}
	if _, err := v4.decode([]byte("40"), binaryPayload, 100); err == nil {
		t.Error("a binary payload was taken")
	}
	many := strings.Repeat("6\x1e", 100) + "6"
	if _, err := v4.decode([]byte(many), textPayload, 100); err != TooLarge {
		t.Errorf("101 packets: %v", err)
	}
	if _, err := v4.decode([]byte(many), textPayload, 101); err != nil {
		t.Errorf("101 packets of 101: %v", err)
	}
}

func FuzzPayload4(f *testing.F) {
	for _, body := range []string{"40", "40\x1e6", "bAQID\x1e4é", "b", "\x1e", "2probe", "b=\x1e3"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		packets, err := v4.decode(body, textPayload, math.MaxInt)
		if err != nil {
			return
		}
		encoded, contentType := v4.encode(packets, true)
		again, err := v4.decode(encoded, contentType, math.MaxInt)
		if err != nil || !samePackets(packets, again) {
			t.Fatalf("%v became %q, then %v, %v", packets, encoded, again, err)
		}
	})
}
