package redisadapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// From MessagePack to JSON. The data may be anything: each byte that is read makes a few bytes at
// most, and values are nested no deeper than maxDepth.

const maxDepth = 1000

var (
	errDeep     = errors.New("nested too deep")
	errShort    = errors.New("a value ends early")
	errTrailing = errors.New("more than one value")
	errKey      = errors.New("a key of a map is neither text nor a number")
)

// unpack returns MessagePack as JSON with placeholders, and the binary values they stand for.
func unpack(data []byte) (text []byte, attachments [][]byte, err error) {
	r := bytes.NewReader(data)
	u := unpacker{Decoder: msgpack.NewDecoder(r), in: r}
	if err := u.value(0); err != nil {
		return nil, nil, err
	}
	switch {
	case r.Len() > 0:
		return nil, nil, errTrailing
	case u.named && len(u.attachments) > 0:
		return nil, nil, errPlaceholder
	}
	return u.out, u.attachments, nil
}

type unpacker struct {
	*msgpack.Decoder
	in          *bytes.Reader
	out         []byte
	attachments [][]byte
	named       bool // a map has a key that makes a placeholder
}

func (u *unpacker) value(depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	code, err := u.PeekCode()
	if err != nil {
		return err
	}
	switch {
	case code == msgpcode.Nil:
		u.out = append(u.out, "null"...)
		return u.DecodeNil()
	case code == msgpcode.True, code == msgpcode.False:
		b, err := u.DecodeBool()
		u.out = strconv.AppendBool(u.out, b)
		return err
	case code == msgpcode.Uint64:
		n, err := u.DecodeUint64()
		u.out = strconv.AppendUint(u.out, n, 10)
		return err
	case isInteger(code):
		n, err := u.DecodeInt64()
		u.out = strconv.AppendInt(u.out, n, 10)
		return err
	case code == msgpcode.Float, code == msgpcode.Double:
		f, err := u.DecodeFloat64()
		if err != nil {
			return err
		}
		return u.float(f)
	case msgpcode.IsString(code):
		s, err := u.run()
		u.text(string(s))
		return err
	case msgpcode.IsBin(code):
		data, err := u.run()
		u.attach(data)
		return err
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		return u.array(depth)
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		return u.object(depth)
	case msgpcode.IsExt(code):
		return u.extension()
	}
	return fmt.Errorf("no value begins with %#x", code)
}

func isInteger(code byte) bool {
	switch code {
	case msgpcode.Uint8, msgpcode.Uint16, msgpcode.Uint32, msgpcode.Int8, msgpcode.Int16, msgpcode.Int32, msgpcode.Int64:
		return true
	}
	return msgpcode.IsFixedNum(code)
}

// float writes what JavaScript writes: null where JSON has no such number.
func (u *unpacker) float(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		u.out = append(u.out, "null"...)
		return nil
	}
	text, err := json.Marshal(f)
	u.out = append(u.out, text...)
	return err
}

func (u *unpacker) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			text, _ := json.Marshal(s) // of a string there is no error
			u.out = append(u.out, text...)
			return
		}
	}
	u.out = append(u.out, '"')
	u.out = append(u.out, s...)
	u.out = append(u.out, '"')
}

const (
	beforeNumber = `{"` + placeholder + `":true,"num":`
	undefined    = 0  // an extension of one byte
	arrayBuffer  = 0  // an extension whose length stands apart
	oldDate      = 0  // an extension of eight bytes: milliseconds
	timestamp    = -1 // of the MessagePack specification
)

func (u *unpacker) attach(data []byte) {
	u.out = append(u.out, beforeNumber...)
	u.out = strconv.AppendInt(u.out, int64(len(u.attachments)), 10)
	u.out = append(u.out, '}')
	u.attachments = append(u.attachments, data)
}

// run reads the bytes of a text or a binary value.
func (u *unpacker) run() ([]byte, error) {
	n, err := u.DecodeBytesLen()
	if err != nil {
		return nil, err
	}
	return u.read(n)
}

// read reads n bytes. The sender says what n is, so it is checked before memory is allocated.
func (u *unpacker) read(n int) ([]byte, error) {
	if n < 0 || n > u.in.Len() {
		return nil, errShort
	}
	data := make([]byte, n)
	return data, u.ReadFull(data)
}

func (u *unpacker) array(depth int) error {
	n, err := u.DecodeArrayLen()
	if err != nil {
		return err
	}
	u.out = append(u.out, '[')
	for i := range n {
		if i > 0 {
			u.out = append(u.out, ',')
		}
		if err := u.value(depth + 1); err != nil {
			return err
		}
	}
	u.out = append(u.out, ']')
	return nil
}

func (u *unpacker) object(depth int) error {
	n, err := u.DecodeMapLen()
	if err != nil {
		return err
	}
	u.out = append(u.out, '{')
	for i := range n {
		if i > 0 {
			u.out = append(u.out, ',')
		}
		if err := u.key(); err != nil {
			return err
		}
		u.out = append(u.out, ':')
		if err := u.value(depth + 1); err != nil {
			return err
		}
	}
	u.out = append(u.out, '}')
	return nil
}

func (u *unpacker) key() error {
	code, err := u.PeekCode()
	switch {
	case err != nil:
		return err
	case msgpcode.IsString(code):
		s, err := u.run()
		u.named = u.named || string(s) == placeholder
		u.text(string(s))
		return err
	case isInteger(code):
		n, err := u.DecodeInt64()
		u.text(strconv.FormatInt(n, 10))
		return err
	}
	return errKey
}

// extension writes the extensions that notepack.io, Node's MessagePack, has or had.
func (u *unpacker) extension() error {
	code, err := u.PeekCode()
	if err != nil {
		return err
	}
	id, n, err := u.DecodeExtHeader()
	if err != nil {
		return err
	}
	data, err := u.read(n)
	if err != nil {
		return err
	}
	switch {
	case id == timestamp:
		return u.timestamp(data)
	case id == undefined && code == msgpcode.FixExt1:
		u.out = append(u.out, "null"...)
	case id == oldDate && code == msgpcode.FixExt8:
		u.date(time.UnixMilli(int64(big(data))))
	case id == arrayBuffer && !msgpcode.IsFixedExt(code):
		u.attach(data)
	default:
		return fmt.Errorf("an extension of type %d", id)
	}
	return nil
}

func (u *unpacker) timestamp(data []byte) error {
	switch len(data) {
	case 4:
		u.date(time.Unix(int64(big(data)), 0))
	case 8:
		n := big(data)
		u.date(time.Unix(int64(n&(1<<34-1)), int64(n>>34)))
	case 12:
		u.date(time.Unix(int64(big(data[4:])), int64(big(data[:4]))))
	default:
		return fmt.Errorf("a timestamp of %d bytes", len(data))
	}
	return nil
}

func big(data []byte) (n uint64) {
	for _, b := range data {
		n = n<<8 | uint64(b)
	}
	return n
}

// date writes what JavaScript writes for a Date: null where it has no such date.
func (u *unpacker) date(t time.Time) {
	if ms := t.UnixMilli(); t.Unix() > maxSeconds || t.Unix() < -maxSeconds || ms > maxSeconds*1000 {
		u.out = append(u.out, "null"...)
		return
	}
	t = t.UTC()
	switch year := t.Year(); {
	case year > 9999:
		u.text(fmt.Sprintf("+%06d", year) + t.Format("-01-02T15:04:05.000Z"))
	case year < 0:
		u.text(fmt.Sprintf("-%06d", -year) + t.Format("-01-02T15:04:05.000Z"))
	default:
		u.text(t.Format("2006-01-02T15:04:05.000Z"))
	}
}

// maxSeconds from 1970 is the last moment that a Date can have.
const maxSeconds = 8_640_000_000_000
