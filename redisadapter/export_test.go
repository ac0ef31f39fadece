package redisadapter

import "github.com/go-socketiojwt/socketiojwt"

// Unpack returns MessagePack as JSON with placeholders for the attachments.
func Unpack(data []byte) (text []byte, attachments [][]byte, err error) { return unpack(data) }

// Pack returns JSON, and the attachments it has placeholders for, as MessagePack.
func Pack(text []byte, attachments [][]byte) ([]byte, error) {
	p := newPacker()
	err := p.json(text, attachments)
	return p.out.Bytes(), err
}

// EncodeBroadcast returns what a node with that uid publishes.
func EncodeBroadcast(uid string, t socketiojwt.Target, event []byte, attachments [][]byte) ([]byte, error) {
	return encodeBroadcast(beginBroadcast(uid), t, event, attachments)
}

// DecodeBroadcast returns what EncodeBroadcast was given.
func DecodeBroadcast(data []byte) (t socketiojwt.Target, event []byte, attachments [][]byte, err error) {
	b, err := decodeBroadcast(data)
	return b.target, b.event, b.attachments, err
}

// DecodeRequest reports whether a request, or an answer, can be read.
func DecodeRequest(data []byte) error {
	_, err := decode(data, new(request))
	return err
}

// DecodeAnswer reports whether an answer can be read.
func DecodeAnswer(data []byte) error {
	_, err := decode(data, new(answer))
	return err
}
