package sio

import (
	"strings"
	"testing"
)

// BenchmarkCheck is what reading one packet of a client takes.
func BenchmarkCheck(b *testing.B) {
	text := func(size int) string {
		head, tail := `2["chat","`, `"]`
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	for _, c := range []struct{ name, packet string }{
		{"100-byte text", text(100)},
		{"100-byte object", `2["message",{"room":"general","text":"hello, how are you today?","at":1700000000123,"to":["bob","al"]}]`},
		{"100-byte ack", strings.Replace(text(97), "2[", "217[", 1)},
		{"100-byte namespace", strings.Replace(text(94), "2[", "2/admin,[", 1)},
		{"10-kilobyte text", text(10_000)},
		{"escapes", `2["chat","` + strings.Repeat(`\n`, 44) + `"]`},
		{"other alphabet", `2["chat","` + strings.Repeat(`é`, 44) + `"]`},
	} {
		b.Run(c.name, func(b *testing.B) {
			conn, m := newParser(), textMessage(c.packet)
			b.SetBytes(int64(len(m.Data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.parse(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
