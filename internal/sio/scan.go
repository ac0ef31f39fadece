package sio

import (
	"bytes"
	"encoding/binary"
)

// scanJSON reports whether data is one JSON value, as json.Valid does, that is nested no deeper
// than maxDepth. named reports whether a member in it could be the one that makes a placeholder.
// encoding/json, with which go-socket.io decodes, matches names in any case and after unescaping,
// so every name with an escape could be. scanJSON reads every event, and does all this at once
// because json.Valid alone takes several times as long.
func scanJSON(data []byte, maxDepth int) (valid, named bool) {
	var objects containers
	depth, state := 0, beginValue
	for i := 0; i < len(data); {
		c := data[i]
		if c == ' ' || c == '\n' || c == '\t' || c == '\r' {
			i++
			continue
		}
		inObject := depth > 0 && objects.isObject(depth-1)
		switch state {
		case beginValue, beginElement:
			switch {
			case c == '"':
				n, _ := scanString(data[i:])
				if n == 0 {
					return false, named
				}
				i += n
				state = endValue
				continue
			case c == '[' || c == '{':
				if depth == maxDepth {
					return false, named
				}
				objects.enter(depth, c == '{')
				state = beginElement
				if c == '{' {
					state = beginMember
				}
				depth++
			case c == ']' && state == beginElement:
				depth--
				state = endValue
			default:
				n := scanLiteral(data[i:])
				if n == 0 {
					return false, named
				}
				i += n
				state = endValue
				continue
			}
		case beginMember, beginName:
			if c == '}' && state == beginMember {
				depth--
				state = endValue
				break
			}
			n, names := scanString(data[i:])
			if n == 0 {
				return false, named
			}
			named = named || names
			i += n
			state = endName
			continue
		case endName:
			if c != ':' {
				return false, named
			}
			state = beginValue
		case endValue:
			switch {
			case c == ',' && inObject:
				state = beginName
			case c == ',' && depth > 0:
				state = beginValue
			case c == '}' && inObject, c == ']' && depth > 0 && !inObject:
				depth--
			default:
				return false, named
			}
		}
		i++
	}
	return depth == 0 && state == endValue, named
}

// What comes next in scanJSON.
const (
	beginValue   = iota
	beginElement // or the end of an array without any
	beginMember  // or the end of an object without any
	beginName
	endName
	endValue
)

// containers says for each container around a position in JSON whether it is an object.
type containers struct {
	near uint64 // bit n is for the container at depth n
	deep []uint64
}

func (n *containers) isObject(depth int) bool {
	if depth < 64 {
		return n.near>>depth&1 == 1
	}
	return n.deep[depth/64-1]>>(depth%64)&1 == 1
}

func (n *containers) enter(depth int, object bool) {
	word := &n.near
	if depth >= 64 {
		if depth/64 > len(n.deep) {
			n.deep = append(n.deep, 0)
		}
		word = &n.deep[depth/64-1]
	}
	*word &^= 1 << (depth % 64)
	if object {
		*word |= 1 << (depth % 64)
	}
}

var placeholder = []byte("_placeholder")

// scanString returns the length of the string that data begins with, 0 if there is none. named
// reports whether the string could name the member that makes a placeholder.
func scanString(data []byte) (n int, named bool) {
	if len(data) == 0 || data[0] != '"' {
		return 0, false
	}
	for i := 1; ; {
		for i+8 <= len(data) && !hasSpecial(binary.LittleEndian.Uint64(data[i:])) {
			i += 8
		}
		if i >= len(data) {
			return 0, named
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, named || i == len(placeholder)+1 && bytes.EqualFold(data[1:i], placeholder)
		case c == '\\':
			n := scanEscape(data[i:])
			if n == 0 {
				return 0, named
			}
			i += n
			named = true
		case c < ' ':
			return 0, named
		default:
			i++
		}
	}
}

// hasSpecial reports whether one of eight bytes is a quote, a backslash or a control character
// (Bit Twiddling Hacks, "Determine if a word has a byte equal to n", "less than n").
func hasSpecial(word uint64) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	quote, backslash := word^(each*'"'), word^(each*'\\')
	return ((quote-each)&^quote|(backslash-each)&^backslash|(word-each*' ')&^word)&high != 0
}

func scanEscape(data []byte) int {
	if len(data) < 2 {
		return 0
	}
	switch data[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	if len(data) < 6 {
		return 0
	}
	for _, c := range data[2:6] {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return 0
		}
	}
	return 6
}

// scanLiteral returns the length of the number, true, false or null that data begins with, 0
// if there is none.
func scanLiteral(data []byte) int {
	switch data[0] {
	case 't':
		return prefix(data, "true")
	case 'f':
		return prefix(data, "false")
	case 'n':
		return prefix(data, "null")
	}
	i := prefix(data, "-")
	whole := digits(data[i:])
	if whole == 0 || (whole > 1 && data[i] == '0') {
		return 0
	}
	i += whole
	if i < len(data) && data[i] == '.' {
		n := digits(data[i+1:])
		if n == 0 {
			return 0
		}
		i += 1 + n
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		i += max(prefix(data[i:], "+"), prefix(data[i:], "-"))
		n := digits(data[i:])
		if n == 0 {
			return 0
		}
		i += n
	}
	return i
}

func prefix(data []byte, text string) int {
	if len(data) < len(text) || string(data[:len(text)]) != text {
		return 0
	}
	return len(text)
}

func digits(data []byte) (n int) {
	for n < len(data) && isDigit(data[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
