package siotest

import (
	"fmt"
	"strings"
)

// version is what differs between the versions of the protocol. Dial chooses one for each client.
// textOnly says that binary data has to be base64.
type version interface {
	eio() string       // EIO in the query
	clientPings() bool // else the server sends PING and the client answers

	encodePayload(frames []Frame, textOnly bool) (contentType, body string)
	decodePayload(contentType, body string) ([]EnginePacket, error)

	// encodeFrame and decodeFrame are for WebSocket frames.
	encodeFrame(f Frame, textOnly bool) (binary bool, data []byte)
	decodeFrame(binary bool, data []byte) (EnginePacket, error)

	// decodePacket parses the text of a Socket.IO packet (without the MESSAGE digit).
	decodePacket(text string) (Packet, error)

	connectNeedsSID() bool
}

func versionOf(number int) (version, error) {
	switch number {
	case 0, 3:
		return version3{}, nil
	case 4:
		return version4{}, nil
	}
	return nil, fmt.Errorf("siotest: no version %d", number)
}

const plainText = "text/plain;charset=UTF-8"

// version3 is Engine.IO 3 and Socket.IO protocol 4, which Socket.IO 2 speaks.
type version3 struct{}

func (version3) eio() string           { return "3" }
func (version3) clientPings() bool     { return true }
func (version3) connectNeedsSID() bool { return false }

func (version3) encodePayload(frames []Frame, textOnly bool) (contentType, body string) {
	if anyBinary(frames) && !textOnly {
		return "application/octet-stream", string(EncodeBinary(frames...))
	}
	return plainText, EncodeText(frames...)
}

func (version3) decodePayload(contentType, body string) ([]EnginePacket, error) {
	if strings.HasPrefix(contentType, "application/octet-stream") {
		return DecodeBinary([]byte(body))
	}
	return DecodeText(body)
}

func (version3) encodeFrame(f Frame, textOnly bool) (binary bool, data []byte) {
	if f.Binary && textOnly {
		return false, []byte(f.base64())
	}
	return f.Binary, f.Data
}

func (version3) decodeFrame(binary bool, data []byte) (EnginePacket, error) {
	return decodeFrame(binary, data)
}

// decodePacket trims the line feed that go-socket.io writes.
func (version3) decodePacket(text string) (Packet, error) {
	p, err := decodePacket(strings.TrimSuffix(text, "\n"))
	p.Namespace, p.Query, _ = strings.Cut(p.Namespace, "?")
	return p, err
}
