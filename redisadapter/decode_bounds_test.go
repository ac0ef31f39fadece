package redisadapter_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/redisadapter"
)

// The last and the first moment of a JavaScript Date, the widest whole seconds, and extensions that
// notepack.io has never written.
func TestUnpackBounds(t *testing.T) {
	t.Parallel()
	for packed, want := range map[string]string{
		"c70cff00000000000007dba8218000":  `"+275760-09-13T00:00:00.000Z"`,
		"c70cff000f4240000007dba8218000":  `null`, // and a millisecond
		"c70cff00000000000007dba8218001":  `null`,
		"c70cff00000000fffff82457de8000":  `"-271821-04-20T00:00:00.000Z"`,
		"c70cff00000000fffff82457de7fff":  `null`,
		"d7ff0000000200000000":            `"2242-03-16T12:56:32.000Z"`, // beyond 32 bits
		"d7ff00000003ffffffff":            `"2514-05-30T01:53:03.000Z"`,
		strings.Repeat("91", 1000) + "c0": strings.Repeat("[", 1000) + "null" + strings.Repeat("]", 1000),
		strings.Repeat("91", 1001) + "c0": ``,          // too deep
		"a2ff61":                          `"\ufffda"`, // a browser would close its WebSocket for that byte
		"d500ffff":                        ``,          // a fixed extension of type 0 that is no Date
		"d600ffffffff":                    ``,
		"d800" + strings.Repeat("ff", 16): ``,
		"d401ff":                          ``,
	} {
		data, err := hex.DecodeString(packed)
		if err != nil {
			t.Fatal(err)
		}
		text, _, err := redisadapter.Unpack(data)
		if (err != nil) != (want == "") || string(text) != want {
			t.Errorf("%.60s: got %.100s, %v, want %.100s", packed, text, err, want)
		}
	}
}

// An object with a name that makes a placeholder behind another is data.
func TestPackOfDataThatLooksLikeAnAttachment(t *testing.T) {
	t.Parallel()
	packed, err := redisadapter.Pack([]byte(`[{"a":1,"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`), [][]byte{[]byte("x")})
	if want := "\x92\x83\xa1a\x01\xac_placeholder\xc3\xa3num\x00\xc4\x01x"; err != nil || string(packed) != want {
		t.Errorf("got %q, %v, want %q", packed, err, want)
	}
}

// Where the header of an array or a map takes one byte, and where it takes five.
func TestPackOfSomeMembers(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 15, 16, 17} {
		var array, object []string
		for i := range n {
			array, object = append(array, fmt.Sprint(i)), append(object, fmt.Sprintf(`"%d":%d`, i, i))
		}
		want := "[[" + strings.Join(array, ",") + "],{" + strings.Join(object, ",") + "}]"
		packed, err := redisadapter.Pack([]byte(want), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _, err := redisadapter.Unpack(packed); err != nil || string(text) != want {
			t.Errorf("%d: got %s, %v", n, text, err)
		}
	}
}
