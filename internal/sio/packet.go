package sio

import (
	"encoding/json"
	"strconv"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// Root is the name of the root namespace.
const Root = "/"

// Packet is a packet of a client, with its attachments.
type Packet struct {
	Header
	Text        []byte // the whole packet
	Body        []byte // the JSON in Text: an array, or the client's auth in a CONNECT
	Attachments [][]byte
	cost        int // for transport.Client.Consumed
}

// head is the start of a packet before its data: the type, the count of attachments, and the
// namespace. The root is not named.
func head(typ byte, attachments int, namespace string, end string) []byte {
	b := make([]byte, 0, len(namespace)+24)
	b = append(b, typ)
	if attachments > 0 {
		b[0] += binaryEvent - Event
		b = strconv.AppendInt(b, int64(attachments), 10)
		b = append(b, '-')
	}
	if namespace != Root {
		b = append(b, namespace...)
		b = append(b, end...)
	}
	return b
}

// ErrorFrame is what Node's socket.io 2 answers to a CONNECT that it refuses.
func ErrorFrame(namespace string, payload any) transport.Frame {
	b, err := json.Marshal(payload)
	if err != nil {
		b = []byte(`""`)
	}
	return transport.Text(head(Error, 0, namespace, ","), b)
}

// DisconnectFrame ends a namespace.
func DisconnectFrame(namespace string) transport.Frame {
	return transport.Text(head(Disconnect, 0, namespace, ""))
}

// payload is the encoded values of an event or an acknowledgement.
type payload struct {
	body        []byte
	attachments [][]byte
}

// encode encodes values now, so they may be changed after. A value that cannot be encoded is an
// error.
func encode(values []any) (payload, error) {
	values, attachments := detach(values)
	body, err := json.Marshal(values)
	return payload{body, attachments}, err
}

// frames returns the packet: one text frame, then its attachments. With hasID it contains id.
func (p payload) frames(typ byte, namespace string, id uint64, hasID bool) []transport.Frame {
	start := head(typ, len(p.attachments), namespace, ",")
	if hasID {
		start = strconv.AppendUint(start, id, 10)
	}
	frames := make([]transport.Frame, 1, 1+len(p.attachments))
	frames[0] = transport.Text(start, p.body)
	for _, data := range p.attachments {
		frames = append(frames, transport.Binary(data))
	}
	return frames
}

// eventFrames encodes an event or an acknowledgement.
func eventFrames(typ byte, namespace string, id uint64, hasID bool, values []any) ([]transport.Frame, error) {
	p, err := encode(values)
	if err != nil {
		return nil, err
	}
	return p.frames(typ, namespace, id, hasID), nil
}

// Cost is what the packet counts until it is consumed.
func (p *Packet) Cost() int { return p.cost }
