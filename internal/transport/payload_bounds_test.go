package transport

import (
	"strings"
	"testing"
)

// A payload of version 3 has as many packets as it may have, and a length that no int holds is none.
func TestPayloadBounds(t *testing.T) {
	for contentType, one := range map[string]string{textPayload: "1:6", binaryPayload: "\x00\x01\xff6"} {
		body := []byte(strings.Repeat(one, 100))
		if _, err := v3.decode(body, contentType, 99); err != TooLarge {
			t.Errorf("%s: 100 packets of 99: %v", contentType, err)
		}
		if packets, err := v3.decode(body, contentType, 100); err != nil || len(packets) != 100 {
			t.Errorf("%s: 100 packets of 100: %d, %v", contentType, len(packets), err)
		}
	}
	const huge = "18446744073709551618" // 2⁶⁴+2, which wraps round to 2
	digits := strings.Map(func(c rune) rune { return c - '0' }, huge)
	for contentType, body := range map[string]string{textPayload: huge + ":40", binaryPayload: "\x00" + digits + "\xff40"} {
		if packets, err := v3.decode([]byte(body), contentType, 100); err == nil {
			t.Errorf("%s: a length of %s gave %v", contentType, huge, packets)
		}
	}
}
