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
		nested("[", "]", 64), nested("[", "]", 64+1), nested(`{"a":`, `}`, 64), nested(`[{"a":`, `}]`, 64/2),
		strings.Repeat(`[`, 100), strings.Repeat(`[]`, 100), `["` + strings.Repeat("]", 100) + `"]`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		valid, named := scanJSON(data, 64)
		if want := json.Valid(data) && nesting(data) <= 64; valid != want {
			t.Errorf("valid is %t of %q, want %t", valid, data, want)
		}
		if !valid {
			return
		}
		want := placeholdersFitByDecoder(data, 1)
		if !want && !named {
			t.Errorf("a placeholder was missed in %q", data)
		}
		if got := placeholdersFit(data, 1); got != want {
			t.Errorf("placeholders fit: %t in %q, want %t", got, data, want)
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

// placeholdersFitByDecoder reports whether every {"_placeholder":true,"num":n} names one
// of the attachments.
func placeholdersFitByDecoder(data []byte, attachments int) bool {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return walk(decoder, attachments)
}

// walk goes through one JSON value token by token, so that a repeated member
// hides nothing.
func walk(d *json.Decoder, attachments int) bool {
	token, err := d.Token()
	return err == nil && walkFrom(token, d, attachments)
}

// walkFrom goes on behind the first token of the value.
func walkFrom(token json.Token, d *json.Decoder, attachments int) bool {
	switch token {
	case json.Delim('['):
		for d.More() {
			if !walk(d, attachments) {
				return false
			}
		}
		_, err := d.Token()
		return err == nil
	case json.Delim('{'):
		isPlaceholder, numFits, hasNum := false, true, false
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return false
			}
			name, _ := key.(string)
			switch {
			case strings.EqualFold(name, "_placeholder"):
				token, err := d.Token()
				if err != nil || !walkFrom(token, d, attachments) {
					return false
				}
				isPlaceholder = isPlaceholder || token == true
			case strings.EqualFold(name, "num"):
				token, err := d.Token()
				if err != nil || !walkFrom(token, d, attachments) {
					return false
				}
				number, _ := token.(json.Number)
				n, digits := leadingNumber([]byte(number), 4)
				hasNum = true
				numFits = numFits && digits > 0 && digits == len(number) && n < uint64(attachments)
			default:
				if !walk(d, attachments) {
					return false
				}
			}
		}
		_, err := d.Token()
		return err == nil && (!isPlaceholder || (hasNum && numFits))
	}
	return true
}
