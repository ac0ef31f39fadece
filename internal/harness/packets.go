package harness

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/googollee/go-socket.io/parser"
)

// Expect ends the test unless these are the packets that came, and all.
func Expect(tb testing.TB, got []siotest.Packet, want ...string) {
	tb.Helper()
	raw := make([]string, len(got))
	for i, p := range got {
		raw[i] = p.Raw
	}
	if !slices.Equal(raw, want) {
		tb.Fatalf("got %q, want %q", raw, want)
	}
}

// Refusal is the payload with which clients 1.x and 2.x are refused.
func Refusal(code, message string) string {
	return `{"message":"` + message + `","code":"` + code + `","type":"UnauthorizedError"}`
}

// ConnectError is the payload with which clients 3.x and 4.x are refused.
func ConnectError(code, message string) string {
	return fmt.Sprintf(`{"message":%q,"data":{"message":%[1]q,"code":%q,"type":"UnauthorizedError"}}`, message, code)
}

// Unauthorized checks an `unauthorized` event and returns the id that acknowledges it.
func Unauthorized(tb testing.TB, p siotest.Packet, code, message string) int64 {
	tb.Helper()
	if want := fmt.Sprintf(`["unauthorized",{"message":%q,"data":%s}]`, message, Refusal(code, message)); string(p.Data) != want {
		tb.Errorf("got %s, want %s", p.Data, want)
	}
	if p.ID < 0 {
		tb.Error("unauthorized asks for no acknowledgement")
	}
	return p.ID
}

// Buffer is an attachment.
func Buffer(text string) parser.Buffer { return parser.Buffer{Data: []byte(text)} }

// Sorted joins a list in order, by blanks.
func Sorted(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), " ") }
