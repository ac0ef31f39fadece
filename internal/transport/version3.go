package transport

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// version3 is Engine.IO 3, which socket.io-client 1.x and 2.x speak.
type version3 struct{}

func (version3) number() int { return 3 }

func (version3) open(h *Hub, id string, upgrades bool) []byte {
	return append(openPacket(id, upgrades, h.config.PingInterval, h.config.PingTimeout), '}')
}

// OPEN waits for what the layer above sends behind it, which saves a write for each connection, and
// a request with polling. There is always something: the client is in the root.
func (version3) opensAtOnce() bool { return false }

// The client PINGs.
func (version3) heartbeat() byte { return typePing }

func (version3) closing() []packet { return justClose }
func (version3) closesApart() bool { return false }

func (version3) frame(p packet, binaryOK bool) (kind int, data []byte) {
	switch {
	case !p.binary:
		return websocket.TextMessage, p.data
	case binaryOK:
		return websocket.BinaryMessage, p.data
	}
	return websocket.TextMessage, appendBase64(p)
}

// encode makes a text payload, unless a packet is binary and the client takes binary, as Node's
// engine.io 3 does.
func (version3) encode(packets []packet, binaryOK bool) (body []byte, contentType string) {
	size, attachments := 0, false
	for _, p := range packets {
		size += len(p.data) + 12
		attachments = attachments || p.binary
	}
	binary := attachments && binaryOK
	contentType = textPayload
	if binary {
		contentType = binaryPayload
	}
	body = make([]byte, 0, size)
	for _, p := range packets {
		if binary {
			body = appendBinary(body, p)
		} else {
			body = appendText(body, p)
		}
	}
	return body, contentType
}

// appendText appends <length>:<packet>, the length in UTF-16 code units: that is
// what JavaScript's String.length counts (UPSTREAM hazard 33).
func appendText(dst []byte, p packet) []byte {
	if p.binary {
		text := appendBase64(p)
		dst = strconv.AppendInt(dst, int64(len(text)), 10)
		dst = append(dst, ':')
		return append(dst, text...)
	}
	dst = strconv.AppendInt(dst, int64(utf16Len(p.data)), 10)
	dst = append(dst, ':')
	return append(dst, p.data...)
}

func appendBase64(p packet) []byte {
	return base64.StdEncoding.AppendEncode([]byte{'b', p.typ}, p.payload())
}

// appendBinary appends <0 text|1 binary><length digits as bytes><255><packet>,
// the length in bytes.
func appendBinary(dst []byte, p packet) []byte {
	kind := byte(0)
	if p.binary {
		kind = 1
	}
	dst = append(dst, kind)
	start := len(dst)
	dst = strconv.AppendInt(dst, int64(len(p.data)), 10)
	for i := start; i < len(dst); i++ {
		dst[i] -= '0'
	}
	dst = append(dst, 255)
	return append(dst, p.data...)
}

func utf16Len(b []byte) int {
	n := 0
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			n++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		i += size
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

func (version3) decode(body []byte, contentType string, most int) ([]packet, error) {
	next := nextText
	if contentType == binaryPayload {
		next = nextBinary
	} else if !utf8.Valid(body) {
		return nil, errPayload
	}
	if len(body) == 0 {
		return nil, errPayload
	}
	var packets []packet
	for len(body) > 0 {
		p, rest, err := next(body)
		if err != nil {
			return nil, err
		}
		if len(packets) == most {
			return nil, TooLarge
		}
		packets = append(packets, p)
		body = rest
	}
	return packets, nil
}

// maxLengthDigits bounds a length prefix; nothing that long is ever accepted.
const maxLengthDigits = 9

func nextText(body []byte) (packet, []byte, error) {
	n, i := 0, 0
	for ; i < len(body) && body[i] != ':'; i++ {
		if body[i] < '0' || body[i] > '9' || i == maxLengthDigits {
			return packet{}, nil, errPayload
		}
		n = n*10 + int(body[i]-'0')
	}
	if i == len(body) || n == 0 {
		return packet{}, nil, errPayload
	}
	body = body[i+1:]
	end := 0
	for ; n > 0; n-- {
		if end == len(body) {
			return packet{}, nil, errPayload
		}
		r, size := utf8.DecodeRune(body[end:])
		end += size
		if r > 0xFFFF {
			if n--; n == 0 {
				return packet{}, nil, errPayload // the length ends inside a surrogate pair
			}
		}
	}
	p, err := version3{}.parseText(body[:end:end])
	return p, body[end:], err
}

func nextBinary(body []byte) (packet, []byte, error) {
	kind, n, i := body[0], 0, 1
	for ; i < len(body) && body[i] != 255; i++ {
		if body[i] > 9 || i > maxLengthDigits {
			return packet{}, nil, errPayload
		}
		n = n*10 + int(body[i])
	}
	if kind > 1 || i == len(body) || n == 0 || n > len(body)-i-1 {
		return packet{}, nil, errPayload
	}
	data, rest := body[i+1:i+1+n:i+1+n], body[i+1+n:]
	if kind == 1 {
		p, err := version3{}.parseBinary(data)
		return p, rest, err
	}
	if !utf8.Valid(data) {
		return packet{}, nil, errPayload
	}
	p, err := version3{}.parseText(data)
	return p, rest, err
}

// parseText parses `4…` or, base64-encoded, `b4…`.
func (version3) parseText(data []byte) (packet, error) {
	if len(data) == 0 {
		return packet{}, errPayload
	}
	if data[0] != 'b' {
		if !isPacketType(data[0]) {
			return packet{}, errPayload
		}
		return packet{typ: data[0], data: data}, nil
	}
	if len(data) < 2 || data[1] != typeMessage {
		return packet{}, errPayload
	}
	decoded, err := base64.StdEncoding.AppendDecode([]byte{binaryMessage}, data[2:])
	if err != nil {
		return packet{}, errPayload
	}
	return packet{typ: typeMessage, binary: true, data: decoded}, nil
}

// parseBinary parses one binary packet: the type as a number, then the data.
func (version3) parseBinary(data []byte) (packet, error) {
	if len(data) == 0 || data[0] != binaryMessage {
		return packet{}, errPayload
	}
	return packet{typ: typeMessage, binary: true, data: data}, nil
}
