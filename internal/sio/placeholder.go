package sio

// placeholdersFit reports whether every {"_placeholder":true,"num":n} in valid JSON names one of
// the attachments. Names count in any case and after unescaping, and a repeated member hides
// nothing, because encoding/json, with which go-socket.io decodes, reads them so.
func placeholdersFit(data []byte, attachments int) bool {
	var open []object
	member := otherMember
	for i := 0; i < len(data); {
		c := data[i]
		n := 1
		switch c {
		case '{', '[':
			if member == numMember {
				open[len(open)-1].misfit = true
			}
			open = append(open, object{})
			member = otherMember
		case '}', ']':
			if last := open[len(open)-1]; last.isPlaceholder && (last.misfit || !last.hasNum) {
				return false
			}
			open = open[:len(open)-1]
			member = otherMember
		case '"':
			n, _ = scanString(data[i:])
			if rest := skipSpace(data[i+n:]); len(rest) > 0 && rest[0] == ':' {
				member = memberOf(data[i+1 : i+n-1])
				n = len(data) - i - len(rest) + 1
				if member == numMember {
					open[len(open)-1].hasNum = true
				}
				break
			}
			fallthrough
		case 't', 'f', 'n', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			if c != '"' {
				n = scanLiteral(data[i:])
			}
			switch member {
			case placeholderMember:
				open[len(open)-1].isPlaceholder = open[len(open)-1].isPlaceholder || c == 't'
			case numMember:
				number, digits := leadingNumber(data[i:i+n], 4)
				if digits == 0 || digits != n || number >= uint64(attachments) {
					open[len(open)-1].misfit = true
				}
			}
			member = otherMember
		}
		i += n
	}
	return true
}

// object is a container that placeholdersFit is in.
type object struct{ isPlaceholder, hasNum, misfit bool }

// What the value that follows is.
const (
	otherMember = iota
	placeholderMember
	numMember
)

func memberOf(quoted []byte) int {
	switch {
	case isName(quoted, "_placeholder"):
		return placeholderMember
	case isName(quoted, "num"):
		return numMember
	}
	return otherMember
}

// isName reports whether a name, quoted as in JSON, is name in any case. name is in lower case, and
// no letter of other alphabets folds to one of its letters.
func isName(quoted []byte, name string) bool {
	for i := range len(name) {
		if len(quoted) == 0 {
			return false
		}
		c, n := rune(quoted[0]), 1
		if c == '\\' {
			c, n = unescaped(quoted)
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != rune(name[i]) {
			return false
		}
		quoted = quoted[n:]
	}
	return len(quoted) == 0
}

// unescaped returns the character that a valid escape stands for, -1 if that is no letter.
func unescaped(escape []byte) (c rune, n int) {
	if escape[1] != 'u' {
		return -1, 2 // none is a letter
	}
	for _, digit := range escape[2:6] {
		c <<= 4
		switch {
		case isDigit(digit):
			c |= rune(digit - '0')
		default:
			c |= rune(digit|0x20-'a') + 10
		}
	}
	return c, 6
}

func skipSpace(data []byte) []byte {
	for len(data) > 0 && (data[0] == ' ' || data[0] == '\n' || data[0] == '\t' || data[0] == '\r') {
		data = data[1:]
	}
	return data
}
