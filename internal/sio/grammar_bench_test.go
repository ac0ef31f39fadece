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

// BenchmarkCheckMebibyte is the same for a message as large as one may be, of what takes longest.
func BenchmarkCheckMebibyte(b *testing.B) {
	fill := func(unit string) string { return strings.Repeat(unit, (1<<20)/len(unit)) }
	for _, c := range []struct{ name, data string }{
		{"numbers", fill("1,") + "1"},
		{"empty arrays", fill("[],") + "[]"},
		{"empty objects", fill("{},") + "{}"},
		{"empty strings", fill(`"",`) + `""`},
		{"escapes", `"` + fill(`\n`) + `"`},
		{"escaped names", "{" + fill(`"\n":1,`) + `"a":1}`},
		{"names that are nearly it", "{" + fill(`"_placeholdeX":1,`) + `"\n":1}`},
		{"placeholders", fill(`{"_placeholder":true,"num":0},`) + "1"},
		{"escaped placeholders", fill(`{"\u005f\u0070\u006c\u0061\u0063\u0065\u0068\u006f\u006c\u0064\u0065\u0072":true,"num":0},`) + "1"},
		{"nested", fill(strings.Repeat(`{"\n":`, 60)+"1"+strings.Repeat("}", 60)+",") + "1"},
	} {
		b.Run(c.name, func(b *testing.B) {
			conn, m := newParser(), textMessage(`51-["x",`+c.data+`]`)
			b.SetBytes(int64(len(m.Data)))
			for b.Loop() {
				conn.partial = nil
				if _, err := conn.parse(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
