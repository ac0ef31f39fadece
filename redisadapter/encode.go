package redisadapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// From JSON to MessagePack. Objects keep the order of their members, as in JavaScript.

// placeholder is the first member of an object that stands for an attachment.
const placeholder = "_placeholder"

var errPlaceholder = errors.New("an object looks like the placeholder of an attachment, and is none")

// packer writes MessagePack.
type packer struct {
	*msgpack.Encoder
	out bytes.Buffer
}

func newPacker() *packer {
	p := new(packer)
	p.Encoder = msgpack.NewEncoder(&p.out)
	return p
}

// json writes a JSON value, with attachments in the place of its placeholders.
func (p *packer) json(text []byte, attachments [][]byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	t := transcoder{p, d, attachments}
	if err := t.value(); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

type transcoder struct {
	*packer
	in          *json.Decoder
	attachments [][]byte
}

func (t transcoder) value() error {
	token, err := t.in.Token()
	if err != nil {
		return err
	}
	return t.write(token)
}

func (t transcoder) write(token json.Token) error {
	switch v := token.(type) {
	case nil:
		return t.EncodeNil()
	case bool:
		return t.EncodeBool(v)
	case string:
		return t.EncodeString(v)
	case json.Number:
		return t.number(v.String())
	case json.Delim:
		if v == '[' {
			return t.array()
		}
		return t.object()
	}
	return errors.New("not JSON")
}

func (t transcoder) number(text string) error {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return t.EncodeInt(n)
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return t.EncodeUint(n)
	}
	f, _ := strconv.ParseFloat(text, 64) // what is too large is infinite, as in JavaScript
	return t.EncodeFloat64(f)
}

func (t transcoder) array() error {
	start, n := t.begin(), 0
	for ; t.in.More(); n++ {
		if err := t.value(); err != nil {
			return err
		}
	}
	t.end(start, n, msgpcode.FixedArrayLow, msgpcode.Array32)
	_, err := t.in.Token()
	return err
}

func (t transcoder) object() error {
	start, n := t.begin(), 0
	for ; t.in.More(); n++ {
		name, err := t.in.Token()
		if err != nil {
			return err
		}
		if n == 0 && name == placeholder && len(t.attachments) > 0 {
			t.out.Truncate(start)
			return t.attachment()
		}
		if err := t.write(name); err != nil {
			return err
		}
		if err := t.value(); err != nil {
			return err
		}
	}
	t.end(start, n, msgpcode.FixedMapLow, msgpcode.Map32)
	_, err := t.in.Token()
	return err
}

// attachment reads the rest of a placeholder and writes the attachment.
func (t transcoder) attachment() error {
	var rest [4]json.Token // true, "num", the number, the end
	for i := range rest {
		token, err := t.in.Token()
		if err != nil {
			return err
		}
		rest[i] = token
	}
	number, _ := rest[2].(json.Number)
	n, err := strconv.Atoi(number.String())
	if rest[0] != true || rest[1] != "num" || rest[3] != json.Delim('}') || err != nil || n < 0 || n >= len(t.attachments) {
		return errPlaceholder
	}
	data := t.attachments[n]
	if data == nil {
		data = []byte{} // nil would be null
	}
	return t.EncodeBytes(data)
}

// begin writes a byte in the place of the header of an array or a map whose length is not known
// yet.
func (p *packer) begin() (start int) {
	start = p.out.Len()
	p.out.WriteByte(0)
	return start
}

// end writes that header. A long header needs more room: what follows it moves.
func (p *packer) end(start, n int, short, long byte) {
	if n < 16 {
		p.out.Bytes()[start] = short | byte(n)
		return
	}
	header := []byte{long, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	p.out.Write(header[1:])
	all := p.out.Bytes()
	copy(all[start+len(header):], all[start+1:])
	copy(all[start:], header)
}
