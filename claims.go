package socketiojwt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// registeredNames are the claims of RFC 7519 §4.1, first the dates. All have three letters.
var registeredNames = [...][3]byte{
	{'e', 'x', 'p'}, {'n', 'b', 'f'}, {'i', 'a', 't'},
	{'i', 's', 's'}, {'s', 'u', 'b'}, {'a', 'u', 'd'}, {'j', 't', 'i'},
}

const dates = 3

// A NumericDate (RFC 7519 §2) is bounded by the seconds that a float64 counts exactly (RFC 7493
// §2.2), 285 million years from 1970. golang-jwt makes the date an int64, and package time adds to
// that. A date that is much further away wraps round, so that the far future would be long past.
const (
	maxDate  = 1<<53 - 1
	lastDate = "9007199254740991"
)

// claimNames is what the names of the claims say about a payload.
type claimNames struct {
	// folded says that a name is a registered one but for its case.
	folded bool
	// bounded is the payload with its dates bounded, nil if none of them was changed.
	bounded []byte
}

var (
	errNoObject = errors.New("the claims are no JSON object")
	errTwice    = errors.New("a registered claim comes twice")
	errFolded   = errors.New("the name of a claim is a registered one but for its case, which only jwt.MapClaims can tell apart")
)

// readNames reads the names of the claims in the second part of a token. A registered name that
// comes twice is an error: names must be unique (RFC 7519 §4), and parsers disagree on which one
// counts (RFC 8259 §4). Case makes no difference, because encoding/json takes "Sub" for the field
// of "sub" too, whichever comes last.
//
// readNames does not check the JSON. golang-jwt does.
func readNames(part string) (names claimNames, err error) {
	var buf [1024]byte
	payload, err := base64.RawURLEncoding.AppendDecode(buf[:0], []byte(strings.TrimRight(part, "=")))
	if err != nil {
		return names, err
	}
	if !isObject(payload) {
		return names, errNoObject
	}

	var seen [len(registeredNames)]bool
	copied := 0 // of payload to bounded
	for m := nextMember(payload, 0); m.value > 0; m = nextMember(payload, m.value) {
		i, exact := registeredName(m.name)
		if i < 0 {
			continue
		}
		if seen[i] {
			return names, errTwice
		}
		seen[i] = true
		if !exact {
			names.folded = true
		} else if i < dates {
			date := dateAt(payload, m.value)
			if nearer := bound(date); nearer != "" {
				names.bounded = slices.Concat(names.bounded, payload[copied:m.value], []byte(nearer))
				copied = m.value + len(date)
			}
		}
	}
	if copied > 0 {
		names.bounded = append(names.bounded, payload[copied:]...)
	}
	return names, nil
}

// isObject reports whether a payload begins as a JSON object does. golang-jwt takes the claims
// `null` for an empty object (RFC 7519 §7.2 (10)).
func isObject(payload []byte) bool {
	text := bytes.TrimLeft(payload, " \t\r\n")
	return len(text) > 0 && text[0] == '{'
}

// member is a member of a JSON object: its name as it is written, without the quotes, and where its
// value begins.
type member struct {
	name  []byte
	value int // 0: there is none
}

// nextMember returns the next member of the object in text. i is where the object begins, or where
// the value of the member before begins.
func nextMember(text []byte, i int) member {
	depth := 1
	if i == 0 {
		depth = 0
	}
	for ; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(text, i)
			if depth == 1 {
				if colon := skipBlanks(text, end+1); colon < len(text) && text[colon] == ':' {
					return member{text[i+1 : end], skipBlanks(text, colon+1)}
				}
			}
			i = end
		}
	}
	return member{}
}

// stringEnd returns where the closing quote of the string is that begins at i, len(text) if there
// is none.
func stringEnd(text []byte, i int) int {
	for end := i + 1; ; end++ {
		n := bytes.IndexByte(text[end:], '"')
		if n < 0 {
			return len(text)
		}
		end += n
		backslashes := 0
		for text[end-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return end
		}
	}
}

func skipBlanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}

// registeredName returns the index in registeredNames of the name that encoding/json takes written
// for, -1 if for none. exact is false if written only folds to that name, as "Sub" and "ſub" do.
func registeredName(written []byte) (i int, exact bool) {
	if len(written) == 3 {
		if i := slices.Index(registeredNames[:], [3]byte(written)); i >= 0 {
			return i, true
		}
	}
	var name [3]byte
	exact = true
	for n := 0; len(written) > 0; n++ {
		r, size := rune(written[0]), 1
		if r == '\\' || r >= utf8.RuneSelf {
			r, size = firstRune(written)
		}
		letter := fold(r)
		if n == len(name) || letter >= utf8.RuneSelf {
			return -1, false
		}
		name[n] = byte(letter)
		exact = exact && letter == r
		written = written[size:]
	}
	return slices.Index(registeredNames[:], name), exact
}

// firstRune returns the first character of what is written in a JSON string, U+FFFD for an escape
// that stands for no letter.
func firstRune(written []byte) (r rune, size int) {
	if written[0] != '\\' {
		return utf8.DecodeRune(written)
	}
	if len(written) < 6 || written[1] != 'u' {
		return utf8.RuneError, len(written)
	}
	code, err := strconv.ParseUint(string(written[2:6]), 16, 16)
	if err != nil {
		return utf8.RuneError, len(written)
	}
	return rune(code), 6
}

// fold returns the small letter of a registered name that encoding/json takes r for
// (strings.EqualFold), or else r.
func fold(r rune) rune {
	switch {
	case 'A' <= r && r <= 'Z':
		return r + 'a' - 'A'
	case r == 'ſ': // U+017F; the only other one beyond ASCII is the Kelvin sign, and no name has a k
		return 's'
	}
	return r
}

// dateAt returns the number or the string that begins at i, as it is written.
func dateAt(text []byte, i int) []byte {
	if i < len(text) && text[i] == '"' {
		return text[i:min(stringEnd(text, i)+1, len(text))]
	}
	end := i
	for end < len(text) && isNumeric(text[end]) {
		end++
	}
	return text[i:end]
}

func isNumeric(c byte) bool {
	return '0' <= c && c <= '9' || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E'
}

// bound returns what is read in the place of a NumericDate that is too far away, "" for any other.
func bound(date []byte) string {
	if len(date) > 0 && date[0] == '"' { // golang-jwt takes that too, except in a jwt.MapClaims
		return boundQuoted(date)
	}
	if len(date) < len(lastDate) && bytes.IndexByte(date, 'e') < 0 && bytes.IndexByte(date, 'E') < 0 {
		return "" // as most dates
	}
	seconds, _ := strconv.ParseFloat(string(date), 64) // infinite for what is no float64
	switch {
	case seconds > maxDate:
		return lastDate
	case seconds < -maxDate:
		return "-" + lastDate
	}
	return ""
}

func boundQuoted(date []byte) string {
	var number json.Number
	// A copy is decoded, so that the buffer of readNames stays on the stack.
	if json.Unmarshal(bytes.Clone(date), &number) != nil {
		return ""
	}
	nearer := bound([]byte(number))
	if nearer == "" {
		return ""
	}
	return strconv.Quote(nearer)
}
