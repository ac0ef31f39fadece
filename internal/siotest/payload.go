package siotest

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// EncodeText makes a text payload: each packet after its length in UTF-16 code units, which is
// what JavaScript counts. Binary frames are written in base64.
func EncodeText(frames ...Frame) string {
	var b strings.Builder
	for _, f := range frames {
		text := string(f.Data)
		if f.Binary {
			text = f.base64()
		}
		b.WriteString(strconv.Itoa(utf16Len(text)))
		b.WriteByte(':')
		b.WriteString(text)
	}
	return b.String()
}

// DecodeText parses a text payload.
func DecodeText(payload string) ([]EnginePacket, error) {
	if payload == "" {
		return nil, errors.New("siotest: empty payload")
	}
	var packets []EnginePacket
	for payload != "" {
		digits, rest, found := strings.Cut(payload, ":")
		n, err := parseLength(digits)
		if !found || err != nil {
			return packets, fmt.Errorf("siotest: bad length in text payload at %.40q", payload)
		}
		size, ok := utf16Prefix(rest, n)
		if !ok {
			return packets, fmt.Errorf("siotest: text payload has no packet of length %d at %.40q", n, rest)
		}
		payload = rest[size:]
		if size == 0 { // "0:" is how engine.io-parser writes a payload without packets
			continue
		}
		p, err := decodeFrame(false, []byte(rest[:size]))
		if err != nil {
			return packets, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

// EncodeBinary makes an octet-stream payload: each packet after a byte that says text (0) or
// binary (1), the decimal digits of its length in bytes as one byte each, and 255. Text is UTF-8.
func EncodeBinary(frames ...Frame) []byte {
	var out []byte
	for _, f := range frames {
		marker := byte(0)
		if f.Binary {
			marker = 1
		}
		out = append(out, marker)
		for _, digit := range strconv.Itoa(len(f.Data)) {
			out = append(out, byte(digit-'0'))
		}
		out = append(out, 255)
		out = append(out, f.Data...)
	}
	return out
}

// DecodeBinary parses an octet-stream payload.
func DecodeBinary(payload []byte) ([]EnginePacket, error) {
	var packets []EnginePacket
	for len(payload) > 0 {
		marker, header := payload[0], 1
		if marker > 1 {
			return packets, fmt.Errorf("siotest: binary payload with marker %d", marker)
		}
		var digits []byte
		for header < len(payload) && payload[header] <= 9 {
			digits = append(digits, '0'+payload[header])
			header++
		}
		n, err := parseLength(string(digits))
		if err != nil || header == len(payload) || payload[header] != 255 || n > len(payload)-header-1 {
			return packets, fmt.Errorf("siotest: bad length in binary payload at % .20x", payload)
		}
		data := payload[header+1 : header+1+n]
		payload = payload[header+1+n:]
		if marker == 0 && !utf8.Valid(data) {
			return packets, fmt.Errorf("siotest: text packet that is not UTF-8: %.80q", data)
		}
		p, err := decodeFrame(marker == 1, data)
		if err != nil {
			return packets, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

// DecodeJSONP takes the payload out of the script that answers a JSONP poll of callback j:
// ___eio[j]("...");
func DecodeJSONP(j, script string) (string, error) {
	literal, ok := strings.CutPrefix(script, "___eio["+j+"](\"")
	if !ok {
		return "", fmt.Errorf("siotest: not a JSONP answer for callback %s: %.80q", j, script)
	}
	literal, ok = strings.CutSuffix(literal, "\");")
	if !ok {
		return "", fmt.Errorf("siotest: unfinished JSONP answer: %.80q", script)
	}
	return unescapeJS(literal)
}

// EncodeJSONPForm makes the form body that carries a payload to the server. As in
// engine.io-client, `\n` becomes `\\n` and a line feed `\n`, because browsers turn line feeds
// of a textarea into CRLF.
func EncodeJSONPForm(payload string) string {
	payload = strings.ReplaceAll(payload, `\n`, "\\\n")
	payload = strings.ReplaceAll(payload, "\n", `\n`)
	return "d=" + url.QueryEscape(payload)
}

// unescapeJS evaluates the inside of a double-quoted JavaScript string literal.
func unescapeJS(literal string) (string, error) {
	var b strings.Builder
	var high rune // a high surrogate that waits for its low one
	write := func(r rune) {
		if high != 0 {
			if r >= 0xDC00 && r <= 0xDFFF {
				b.WriteRune((high-0xD800)<<10 + (r - 0xDC00) + 0x10000)
				high = 0
				return
			}
			b.WriteRune(utf8.RuneError)
			high = 0
		}
		if r >= 0xD800 && r <= 0xDBFF {
			high = r
			return
		}
		b.WriteRune(r) // a lone low surrogate becomes U+FFFD
	}
	for i := 0; i < len(literal); {
		r, size := utf8.DecodeRuneInString(literal[i:])
		i += size
		switch {
		case r == utf8.RuneError && size == 1:
			return "", errors.New("siotest: JSONP answer is not UTF-8")
		case r == '"' || r == '\n' || r == '\r':
			// A quote here ends the string: what follows would run as code in a browser.
			return "", fmt.Errorf("siotest: unescaped %q in a JSONP answer", r)
		case r != '\\':
			write(r)
			continue
		}
		if i == len(literal) {
			return "", errors.New("siotest: JSONP answer ends in a backslash")
		}
		r, size = utf8.DecodeRuneInString(literal[i:])
		i += size
		switch digits := map[rune]int{'u': 4, 'x': 2}[r]; {
		case digits > 0:
			if i+digits > len(literal) {
				return "", errors.New("siotest: cut escape in a JSONP answer")
			}
			code, err := strconv.ParseUint(literal[i:i+digits], 16, 16)
			if err != nil {
				return "", fmt.Errorf("siotest: bad escape in a JSONP answer: %w", err)
			}
			i += digits
			write(rune(code))
		default:
			if plain, ok := jsEscapes[r]; ok {
				r = plain
			}
			write(r)
		}
	}
	if high != 0 {
		b.WriteRune(utf8.RuneError)
	}
	return b.String(), nil
}

var jsEscapes = map[rune]rune{'n': '\n', 'r': '\r', 't': '\t', 'b': '\b', 'f': '\f', 'v': '\v', '0': 0}

// parseLength reads a plain decimal number, which Atoi with its signs is not.
func parseLength(digits string) (int, error) {
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, errors.New("siotest: not a number")
	}
	return strconv.Atoi(digits)
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16Units(r)
	}
	return n
}

// utf16Prefix gives the size in bytes of the first n UTF-16 code units of s. It fails when s is
// shorter, or when n ends between the surrogates of one character.
func utf16Prefix(s string, n int) (size int, ok bool) {
	for i, r := range s {
		if n <= 0 {
			return i, n == 0
		}
		n -= utf16Units(r)
	}
	return len(s), n == 0
}

func utf16Units(r rune) int {
	if r > 0xFFFF {
		return 2
	}
	return 1
}

// anyBinary says whether any of the frames is binary.
func anyBinary(frames []Frame) bool {
	for _, f := range frames {
		if f.Binary {
			return true
		}
	}
	return false
}
