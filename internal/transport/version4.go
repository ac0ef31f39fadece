package transport

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// version4 is Engine.IO 4, which socket.io-client 3.x and 4.x speak.
type version4 struct{}

func (version4) number() int { return 4 }

// open says when the client may take the server for dead: PingInterval and the advertised timeout
// after it heard of the server last. Here the timeout begins at a PING, in version 3 at the last
// sign of life. So the interval is taken off: a silent server has PingTimeout in both versions.
func (version4) open(h *Hub, id string, upgrades bool) []byte {
	timeout := h.config.PingTimeout
	if timeout > h.config.PingInterval {
		timeout -= h.config.PingInterval
	}
	b := openPacket(id, upgrades, h.config.PingInterval, timeout)
	b = append(b, `,"maxPayload":`...)
	b = strconv.AppendInt(b, int64(h.limits.Message), 10)
	return append(b, '}')
}

// The client asks for a namespace only when it has OPEN.
func (version4) opensAtOnce() bool { return true }

// The server PINGs.
func (version4) heartbeat() byte { return typePong }

// A client that finds CLOSE beside the reason for it takes the connection for lost, and never sees
// the reason. So CLOSE has an answer of its own. NOOP before CLOSE is what Node's engine.io sends.
// On a WebSocket the close frame is enough.
func (version4) closing() []packet { return []packet{justNoop[0], justClose[0]} }
func (version4) closesApart() bool { return true }

// separator stands between the packets of a payload. JSON has to escape it.
const separator = '\x1e'

func (version4) encode(packets []packet, _ bool) (body []byte, contentType string) {
	size := 0
	for _, p := range packets {
		size += len(p.data) + 1
		if p.binary {
			size += len(p.data)/3 + 4
		}
	}
	body = make([]byte, 0, size)
	for i, p := range packets {
		if i > 0 {
			body = append(body, separator)
		}
		if p.binary {
			body = base64.StdEncoding.AppendEncode(append(body, 'b'), p.payload())
		} else {
			body = append(body, p.data...)
		}
	}
	return body, textPayload
}

func (v version4) decode(body []byte, contentType string, most int) ([]packet, error) {
	if contentType == binaryPayload || !utf8.Valid(body) {
		return nil, errPayload
	}
	n := bytes.Count(body, []byte{separator}) + 1
	if n > most {
		return nil, TooLarge
	}
	packets := make([]packet, 0, n)
	for text := range bytes.SplitSeq(body, []byte{separator}) {
		p, err := v.parseText(text[:len(text):len(text)])
		if err != nil {
			return nil, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

// parseText parses `4…` or, base64-encoded, `b…`.
func (version4) parseText(data []byte) (packet, error) {
	switch {
	case len(data) == 0:
		return packet{}, errPayload
	case isPacketType(data[0]):
		return packet{typ: data[0], data: data}, nil
	case data[0] != 'b':
		return packet{}, errPayload
	}
	decoded, err := base64.StdEncoding.AppendDecode([]byte{binaryMessage}, data[1:])
	if err != nil {
		return packet{}, errPayload
	}
	return packet{typ: typeMessage, binary: true, data: decoded}, nil
}

func (version4) parseBinary(data []byte) (packet, error) {
	return packet{typ: typeMessage, binary: true, data: append([]byte{binaryMessage}, data...)}, nil
}

func (version4) frame(p packet, binaryOK bool) (kind int, data []byte) {
	switch {
	case !p.binary:
		return websocket.TextMessage, p.data
	case binaryOK:
		return websocket.BinaryMessage, p.payload()
	}
	return websocket.TextMessage, base64.StdEncoding.AppendEncode([]byte{'b'}, p.payload())
}
