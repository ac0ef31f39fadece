package siotest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Engine.IO packet types.
const (
	EngineOpen = iota
	EngineClose
	EnginePing
	EnginePong
	EngineMessage
	EngineUpgrade
	EngineNoop
)

// Socket.IO packet types.
const (
	Connect = iota
	Disconnect
	Event
	Ack
	Error
	BinaryEvent
	BinaryAck
)

// ConnectError is what version 4 made of Error: the answer to a CONNECT that is refused.
const ConnectError = Error

// Frame is one Engine.IO packet as it is put on the wire, unchecked: a hostile client
// may send anything. Data begins with the packet type: a digit in text, the byte 0 to 6
// in a binary frame. Version 4 has no type in binary frames, and the client leaves that byte out
// there, whatever it is.
type Frame struct {
	Binary bool
	Data   []byte
}

// Text makes a text frame of a packet in wire notation, such as `42["chat","hi"]` or "2probe".
func Text(packet string) Frame { return Frame{Data: []byte(packet)} }

// Binary makes a binary MESSAGE, which is what an attachment is.
func Binary(data []byte) Frame {
	return Frame{Binary: true, Data: append([]byte{EngineMessage}, data...)}
}

// base64 is the text form of a binary frame, for transports that carry only text.
func (f Frame) base64() string {
	if len(f.Data) == 0 {
		return "b"
	}
	return "b" + string('0'+f.Data[0]) + base64.StdEncoding.EncodeToString(f.Data[1:])
}

// EnginePacket is one Engine.IO packet that came from the server.
type EnginePacket struct {
	Type   int
	Binary bool
	Data   []byte // without the type
}

// String is the packet in wire notation; a binary one in its base64 form of version 3, with a type.
func (p EnginePacket) String() string {
	if p.Binary {
		return Frame{Binary: true, Data: append([]byte{byte(p.Type)}, p.Data...)}.base64()
	}
	return strconv.Itoa(p.Type) + string(p.Data)
}

// decodeFrame parses what came in one WebSocket frame or as one packet of a payload of version 3.
func decodeFrame(binary bool, data []byte) (EnginePacket, error) {
	if len(data) == 0 {
		return EnginePacket{}, errors.New("siotest: empty Engine.IO packet")
	}
	packet := EnginePacket{Binary: binary, Type: int(data[0]), Data: data[1:]}
	if !binary {
		if data[0] == 'b' {
			if len(data) < 2 {
				return EnginePacket{}, errors.New("siotest: base64 packet without type")
			}
			raw, err := base64.StdEncoding.DecodeString(string(data[2:]))
			if err != nil {
				return EnginePacket{}, fmt.Errorf("siotest: base64 packet: %w", err)
			}
			packet.Binary, packet.Data, data = true, raw, data[1:]
		}
		packet.Type = int(data[0]) - '0'
	}
	if packet.Type < EngineOpen || packet.Type > EngineNoop {
		return EnginePacket{}, fmt.Errorf("siotest: unknown Engine.IO packet type in %.40q", data)
	}
	return packet, nil
}

// Packet is one Socket.IO packet that came from the server.
type Packet struct {
	Type        int
	Namespace   string // "/" for the root
	Query       string // of the namespace, without "?"; version 4 has none
	ID          int64  // of the acknowledgement; -1: none
	Data        json.RawMessage
	Attachments [][]byte
	Raw         string // the text with its MESSAGE digit, such as `42["chat","hi"]`, without the
	// line feed at its end that go-socket.io writes; NextEngine gives the bytes as they came

	wanted int // attachments announced
}

// Event takes an EVENT or BINARY_EVENT apart. The name is "" when the packet is no event.
// Placeholders of attachments stay in args; see Decode.
func (p Packet) Event() (name string, args []json.RawMessage) {
	if p.Type != Event && p.Type != BinaryEvent {
		return "", nil
	}
	args = p.Args()
	if len(args) == 0 || json.Unmarshal(args[0], &name) != nil {
		return "", nil
	}
	return name, args[1:]
}

// Args gives the elements of the packet's JSON array: for an acknowledgement its arguments,
// for an event its name and arguments. It is nil when the data is no array.
func (p Packet) Args() []json.RawMessage {
	var args []json.RawMessage
	if json.Unmarshal(p.Data, &args) != nil {
		return nil
	}
	return args
}

// Decode stores the arguments of an event or an acknowledgement in what dst points to.
// A *[]byte takes an attachment. More arguments than dst are ignored, fewer are an error.
func (p Packet) Decode(dst ...any) error {
	args := p.Args()
	if p.Type == Event || p.Type == BinaryEvent {
		_, args = p.Event()
	}
	if len(args) < len(dst) {
		return fmt.Errorf("siotest: %d arguments, want %d, in %s", len(args), len(dst), p.Raw)
	}
	for i, d := range dst {
		if b, ok := d.(*[]byte); ok {
			attachment, err := p.attachment(args[i])
			if err != nil {
				return err
			}
			*b = attachment
			continue
		}
		if err := json.Unmarshal(args[i], d); err != nil {
			return fmt.Errorf("siotest: argument %d of %s: %w", i, p.Raw, err)
		}
	}
	return nil
}

func (p Packet) attachment(arg json.RawMessage) ([]byte, error) {
	var ph struct {
		Placeholder bool `json:"_placeholder"`
		Num         int  `json:"num"`
	}
	err := json.Unmarshal(arg, &ph)
	if err != nil || !ph.Placeholder || ph.Num < 0 || ph.Num >= len(p.Attachments) {
		return nil, fmt.Errorf("siotest: no attachment for %s in %s", arg, p.Raw)
	}
	return p.Attachments[ph.Num], nil
}

// Refusal takes a CONNECT_ERROR apart. The message is "" when the payload is no object with one.
// Of an ERROR of version 3, which has no fixed form, it gives the same.
func (p Packet) Refusal() (message string, data json.RawMessage) {
	var payload struct {
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if p.Type != ConnectError || json.Unmarshal(p.Data, &payload) != nil {
		return "", nil
	}
	return payload.Message, payload.Data
}

// SID is the id of the socket in a CONNECT of version 4, "" in all other packets.
func (p Packet) SID() string {
	var payload struct {
		SID string `json:"sid"`
	}
	if p.Type != Connect || json.Unmarshal(p.Data, &payload) != nil {
		return ""
	}
	return payload.SID
}

// decodePacket parses what the versions have in common. Each has a decodePacket around it.
func decodePacket(text string) (Packet, error) {
	p := Packet{Namespace: "/", ID: -1, Raw: "4" + text}
	if text == "" || text[0] < '0'+Connect || text[0] > '0'+BinaryAck {
		return p, fmt.Errorf("siotest: unknown Socket.IO packet type in %.80q", p.Raw)
	}
	p.Type = int(text[0] - '0')
	rest := text[1:]
	if p.Type == BinaryEvent || p.Type == BinaryAck {
		count, after, found := strings.Cut(rest, "-")
		n, err := strconv.Atoi(count)
		if !found || err != nil || n < 0 {
			return p, fmt.Errorf("siotest: bad number of attachments in %.80q", p.Raw)
		}
		p.wanted, rest = n, after
	}
	if strings.HasPrefix(rest, "/") {
		p.Namespace, rest, _ = strings.Cut(rest, ",")
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if digits > 0 {
		id, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return p, fmt.Errorf("siotest: bad id in %.80q", p.Raw)
		}
		p.ID, rest = id, rest[digits:]
	}
	if rest != "" {
		if !json.Valid([]byte(rest)) {
			return p, fmt.Errorf("siotest: bad JSON in %.200q", p.Raw)
		}
		p.Data = json.RawMessage(rest)
	}
	return p, nil
}

// encodePacket makes the frames of an event or an acknowledgement; id -1 means none.
// Every []byte among the arguments becomes an attachment.
func encodePacket(typ int, nsp string, id int64, args []any) ([]Frame, error) {
	var attachments [][]byte
	data, err := marshal(detach(args, &attachments))
	if err != nil {
		return nil, err
	}
	text := strconv.Itoa(EngineMessage)
	if len(attachments) > 0 {
		text += strconv.Itoa(typ+BinaryEvent-Event) + strconv.Itoa(len(attachments)) + "-"
	} else {
		text += strconv.Itoa(typ)
	}
	text += namespacePrefix(nsp)
	if id >= 0 {
		text += strconv.FormatInt(id, 10)
	}
	frames := []Frame{Text(text + string(data))}
	for _, a := range attachments {
		frames = append(frames, Binary(a))
	}
	return frames, nil
}

// namespacePrefix is "" for the root, else the namespace with a comma, as socket.io-client 2 writes
// it.
func namespacePrefix(nsp string) string {
	if nsp == "" || nsp == "/" {
		return ""
	}
	return nsp + ","
}

// detach replaces each []byte in v by a placeholder and collects it.
func detach(v any, attachments *[][]byte) any {
	switch v := v.(type) {
	case []byte:
		*attachments = append(*attachments, v)
		return map[string]any{"_placeholder": true, "num": len(*attachments) - 1}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = detach(v[i], attachments)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = detach(v[k], attachments)
		}
		return out
	}
	return v
}

// marshal writes JSON as JavaScript does: without escaping <, > and &.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("siotest: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// assembler puts Socket.IO packets together from Engine.IO messages: a text and the attachments
// that it announces.
type assembler struct {
	version version
	open    *Packet // waits for attachments
}

// add takes the next MESSAGE. The packet is nil while attachments are missing.
func (a *assembler) add(message EnginePacket) (*Packet, error) {
	if message.Binary {
		if a.open == nil {
			return nil, fmt.Errorf("siotest: attachment without a packet: %.80s", message)
		}
		a.open.Attachments = append(a.open.Attachments, message.Data)
		return a.complete(), nil
	}
	if missing := a.open; missing != nil {
		a.open = nil
		return nil, fmt.Errorf("siotest: %.80s in place of an attachment of %s", message, missing.Raw)
	}
	p, err := a.version.decodePacket(string(message.Data))
	if err != nil {
		return nil, err
	}
	a.open = &p
	return a.complete(), nil
}

func (a *assembler) complete() *Packet {
	p := a.open
	if len(p.Attachments) < p.wanted {
		return nil
	}
	a.open = nil
	return p
}
