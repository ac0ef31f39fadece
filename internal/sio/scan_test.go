package sio

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzScanJSON holds scanJSON to encoding/json.
func FuzzScanJSON(f *testing.F) {
	nested := func(open, end string, n int) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }
	for _, data := range []string{
		``, ` `, `[]`, `{}`, `[ ]`, "[\t1\n,\r2 ] ", `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{1}`, `{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`,
		`{"a" : {"b":[]}, "c":[{}]}`, `{,}`, `{"a":1 "b":2}`, `[]]`, `[[]`, `}`, `]`, `[1],`, `:`, `[1:2]`, `{"a",1}`, `{"a"::1}`, `[] []`,
		`0`, `-0`, `00`, `-`, `01`, `1.`, `.1`, `1.5`, `-1.5e10`, `1e`, `1e+`, `1E-5`, `1e5.5`, `+1`, `1-`, `[-]`, `1x`, `0e0`,
		`true`, `false`, `null`, `tru`, `nulll`, `True`, `[true,false,null]`,
		`"`, `"a`, `"a"`, `"\`, `"\"`, `"\""`, `"\\"`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\u12aF"`, `"\u12aF`, `"\/\b\f\n\r\t"`,
		"\"\x1f\"", "\"\x7f\"", "\"\x80\xff\"", "\"12345678\x00\"", "\"1234567\n\"", `"1234567"`, `"12345678"`, `"123456789"`, `"1234567\n"`, `"é漢字😀"`,
		`{"_placeholder":true}`, `{"_PlaceHolder":true}`, `{"_placeholde":1}`, `{"_placeholders":1}`, `{"\u005fplaceholder":true,"num":0}`, `["_placeholder"]`,
		nested("[", "]", maxJSONDepth), nested("[", "]", maxJSONDepth+1), nested(`{"a":`, `}`, maxJSONDepth), nested(`[{"a":`, `}]`, maxJSONDepth/2),
		strings.Repeat(`[`, 100), strings.Repeat(`[]`, 100), `["` + strings.Repeat("]", 100) + `"]`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		valid, named := scanJSON(data)
		if want := json.Valid(data) && nesting(data) <= maxJSONDepth; valid != want {
			t.Errorf("valid is %t of %q, want %t", valid, data, want)
		}
		if !valid || named {
			return
		}
		// Nothing is named, so no placeholder can be found.
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		if !walk(decoder, 0) {
			t.Errorf("a placeholder was missed in %q", data)
		}
	})
}

// nesting is how deep the containers of valid JSON are nested.
func nesting(data []byte) int {
	deepest, now := 0, 0
	for decoder := json.NewDecoder(bytes.NewReader(data)); ; {
		token, err := decoder.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			now++
			deepest = max(deepest, now)
		case json.Delim(']'), json.Delim('}'):
			now--
		}
	}
}
