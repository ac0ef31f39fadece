package siotest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// version4 is Engine.IO 4 and Socket.IO protocol 5, which Socket.IO 3 and 4 speak.
type version4 struct{}

func (version4) eio() string           { return "4" }
func (version4) clientPings() bool     { return false }
func (version4) connectNeedsSID() bool { return true }

func (version4) encodePayload(frames []Frame, _ bool) (contentType, body string) {
	return plainText, EncodeText4(frames...)
}

func (version4) decodePayload(_, body string) ([]EnginePacket, error) { return DecodeText4(body) }

func (version4) encodeFrame(f Frame, textOnly bool) (binary bool, data []byte) {
	if f.Binary && textOnly {
		return false, []byte(f.base64Of4())
	}
	return f.Binary, f.untyped()
}

func (version4) decodeFrame(binary bool, data []byte) (EnginePacket, error) {
	if binary {
		return EnginePacket{Type: EngineMessage, Binary: true, Data: data}, nil
	}
	if !utf8.Valid(data) {
		return EnginePacket{}, fmt.Errorf("siotest: text packet that is not UTF-8: %.80q", data)
	}
	if len(data) > 0 && data[0] == 'b' {
		raw, err := base64.StdEncoding.DecodeString(string(data[1:]))
		if err != nil {
			return EnginePacket{}, fmt.Errorf("siotest: base64 packet: %w", err)
		}
		return EnginePacket{Type: EngineMessage, Binary: true, Data: raw}, nil
	}
	return decodeFrame(false, data)
}

// untyped is what a binary frame carries in version 4: all but the type.
func (f Frame) untyped() []byte {
	if f.Binary && len(f.Data) > 0 {
		return f.Data[1:]
	}
	return f.Data
}

func (f Frame) base64Of4() string { return "b" + base64.StdEncoding.EncodeToString(f.untyped()) }

// separator stands between the packets of a payload of version 4.
const separator = "\x1e"

// EncodeText4 makes a payload of version 4: packets with 0x1E between them, binary ones in base64.
func EncodeText4(frames ...Frame) string {
	packets := make([]string, len(frames))
	for i, f := range frames {
		packets[i] = string(f.Data)
		if f.Binary {
			packets[i] = f.base64Of4()
		}
	}
	return strings.Join(packets, separator)
}

// DecodeText4 parses a payload of version 4.
func DecodeText4(payload string) ([]EnginePacket, error) {
	var packets []EnginePacket
	for text := range strings.SplitSeq(payload, separator) {
		p, err := version4{}.decodeFrame(false, []byte(text))
		if err != nil {
			return packets, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

// What socket.io-parser 4.2 refuses. Clients end the connection on it.
const maxAttachments = 10

var reservedEvents = []string{
	"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener",
}

// decodePacket is as strict as socket.io-parser 4.2: what makes a client close with "parse error"
// is an error here.
func (version4) decodePacket(text string) (Packet, error) {
	p, err := decodePacket(text)
	if err != nil {
		return p, err
	}
	if binary := p.Type == BinaryEvent || p.Type == BinaryAck; binary && (p.wanted < 1 || p.wanted > maxAttachments) {
		return p, fmt.Errorf("siotest: %d attachments in %.200q", p.wanted, p.Raw)
	}
	if p.Data == nil {
		return p, nil
	}
	if err := checkPayload(p); err != nil {
		return p, fmt.Errorf("siotest: %w in %.200q", err, p.Raw)
	}
	return p, nil
}

func checkPayload(p Packet) error {
	var payload any
	if err := json.Unmarshal(p.Data, &payload); err != nil {
		return err
	}
	_, isObject := payload.(map[string]any)
	_, isString := payload.(string)
	array, isArray := payload.([]any)
	ok := false
	switch p.Type {
	case Connect:
		ok = isObject
	case Disconnect:
	case ConnectError:
		ok = isObject || isString
	case Ack, BinaryAck:
		ok = isArray
	case Event, BinaryEvent:
		if len(array) == 0 {
			break
		}
		switch name := array[0].(type) {
		case float64:
			ok = true
		case string:
			ok = !slices.Contains(reservedEvents, name)
		}
	}
	if !ok {
		return errors.New("payload that clients refuse")
	}
	return nil
}
