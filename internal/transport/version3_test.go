package transport

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func text(s string) packet { return packet{typ: s[0], data: []byte(s)} }
func blob(s string) packet {
	return packet{typ: typeMessage, binary: true, data: append([]byte{binaryMessage}, s...)}
}
func list(p ...packet) []packet { return p }

func samePackets(a, b []packet) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].typ != b[i].typ || a[i].binary != b[i].binary || !bytes.Equal(a[i].data, b[i].data) {
			return false
		}
	}
	return true
}

// textAsBinary is "40" in an octet-stream payload, blobAsBinary the bytes 1, 2, 3.
const (
	textAsBinary = "\x00\x02\xff40"
	blobAsBinary = "\x01\x04\xff\x04\x01\x02\x03"
)

func TestPayload(t *testing.T) {
	tests := []struct {
		name     string
		packets  []packet
		binaryOK bool
		body     string
		binary   bool
	}{
		{"one", list(text("40")), true, "2:40", false},
		{"empty packet", list(text("1")), true, "1:1", false},
		{"several", list(text("40"), text("2probe"), text("6")), true, "2:406:2probe1:6", false},
		{"two bytes are one UTF-16 unit", list(text("4é")), true, "2:4é", false},
		{"three bytes are one UTF-16 unit", list(text("4€")), true, "2:4€", false},
		{"astral characters are two UTF-16 units", list(text("4😀"), text("4é😀x")), true, "3:4😀5:4é😀x", false},
		{"digits and colons inside", list(text("43:4"), text("4:")), true, "4:43:42:4:", false},
		{"long", list(text("4" + strings.Repeat("a", 1000))), true, "1001:4" + strings.Repeat("a", 1000), false},
		{"binary as base64", list(blob("\x01\x02\x03")), false, "6:b4AQID", false},
		{"binary as padded base64", list(blob("\x01"), text("40")), false, "6:b4AQ==2:40", false},
		{"empty binary as base64", list(blob("")), false, "2:b4", false},
		{"binary", list(blob("\x01\x02\x03")), true, blobAsBinary, true},
		{"empty binary", list(blob("")), true, "\x01\x01\xff\x04", true},
		{"text beside binary", list(text("40"), blob("\x01\x02\x03")), true, textAsBinary + blobAsBinary, true},
		{"text beside binary counts bytes", list(text("4😀"), blob("")), true, "\x00\x05\xff4😀\x01\x01\xff\x04", true},
		{"length of two digits", list(blob("0123456789")), true, "\x01\x01\x01\xff\x040123456789", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body, contentType := v3.encode(test.packets, test.binaryOK)
			if string(body) != test.body || contentType != payloadType(test.binary) {
				t.Errorf("encoded %q, %s; want %q, %s", body, contentType, test.body, payloadType(test.binary))
			}
			packets, err := v3.decode([]byte(test.body), payloadType(test.binary), 100)
			if err != nil || !samePackets(packets, test.packets) {
				t.Errorf("decoded %v, %v; want %v", packets, err, test.packets)
			}
		})
	}
}

var v3 version3

func payloadType(binary bool) string {
	if binary {
		return binaryPayload
	}
	return textPayload
}

func TestPayloadMalformed(t *testing.T) {
	texts := []string{
		"", ":", "2", "2:", "2:4", ":40", "0:", "0:2:40", "-2:40", "+2:40", " 2:40", "2 :40", "2:402", "2:403:4", "3:40",
		"x:40", "2x:40", "٢:40", "1:7", "1:a", "1: ", "1:\x00", "99999999999999999999:40", "9999999999:40",
		"1:b", "2:b2", "2:bx", "3:b4A", "6:b4AQ=", "6:b4A=ID", "6:b4A-ID", "5:b4AQI",
		"1:4é", "1:é", "2:4😀", "2:4\xff", "2:4\xc3", "4:4\xed\xa0\x80", textAsBinary, blobAsBinary,
	}
	binaries := []string{
		"", "\x00", "\xff", "\x00\xff", "\x00\x02", "\x00\x02\xff", "\x00\x02\xff4", "\x00\x00\xff", "\x00\xff40",
		"\x02\x02\xff40", "\x00\x0a\xff40", "\x002\xff40", "\x00\x01\xff7", "\x00\x02\xff4\xff", "\x00\x02\xff40\x00",
		"\x01\x01\xff4", "\x01\x01\xff\x02", "\x01\x01\xff\x07", "\x01\x01\xff", "2:40",
		"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff40", "\x01" + strings.Repeat("\x09", 30) + "\xff\x04",
	}
	for _, body := range texts {
		if packets, err := v3.decode([]byte(body), textPayload, 100); err == nil {
			t.Errorf("text %q: %v", body, packets)
		}
	}
	for _, body := range binaries {
		if packets, err := v3.decode([]byte(body), binaryPayload, 100); err == nil {
			t.Errorf("binary %q: %v", body, packets)
		}
	}
}

func TestUnescapeJSONP(t *testing.T) {
	tests := []struct{ body, want string }{
		{"d=2%3A40", "2:40"},
		{`d=4%3A4%5Cnx`, "4:4\nx"},        // a newline
		{`d=5%3A4%5C%5Cnx`, `5:4\nx`},     // what was \n before
		{`d=6%3A4%5C%5C%5Cnx`, `6:4\\nx`}, // and \\n
		{"d=%2B+%26%3D", "+ &="},
		{"x=1", ""},
	}
	for _, test := range tests {
		if got, err := unescapeJSONP([]byte(test.body)); err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v; want %q", test.body, got, err, test.want)
		}
	}
	if got, err := unescapeJSONP([]byte("d=%zz")); err == nil {
		t.Errorf("malformed form gave %q", got)
	}
}

func FuzzPayload(f *testing.F) {
	for _, body := range []string{
		"2:40", "2:406:2probe", "5:4é😀x", "6:b4AQID", "6:b4AQ==", "2:4😀", "1:4é", "0:", "99999999999:4",
	} {
		f.Add([]byte(body), false)
	}
	for _, body := range []string{textAsBinary, blobAsBinary, textAsBinary + blobAsBinary, "\x01\x01\xff\x04", "\x00\xff", "\x00\x05\xff4😀"} {
		f.Add([]byte(body), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, binary bool) {
		packets, err := v3.decode(body, payloadType(binary), math.MaxInt)
		if err != nil {
			return
		}
		for _, binaryOK := range []bool{true, false} {
			encoded, contentType := v3.encode(packets, binaryOK)
			again, err := v3.decode(encoded, contentType, math.MaxInt)
			if err != nil || !samePackets(packets, again) {
				t.Fatalf("%v became %q, then %v, %v", packets, encoded, again, err)
			}
		}
	})
}
