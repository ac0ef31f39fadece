package sio

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// Socket.IO packet types, the same in protocols 4 and 5 (socket.io-protocol). Error is named
// CONNECT_ERROR in 5.
const (
	Connect     = '0'
	Disconnect  = '1'
	Event       = '2'
	Ack         = '3'
	Error       = '4'
	binaryEvent = '5'
	binaryAck   = '6'
)

// The reasons for which a packet is refused and its connection closed.
const (
	BadPacketType                   = transport.BadPacketType
	BadPayload                      = transport.BadPayload
	BadAttachment  transport.Reason = "attachment count or order"
	BadNamespace   transport.Reason = "malformed namespace"
	BadID          transport.Reason = "malformed acknowledgement id"
	BadEvent       transport.Reason = "event without a name"
	BadJSON        transport.Reason = "malformed JSON"
	BadPlaceholder transport.Reason = "placeholder without attachment"
)

// Header is the start of a Socket.IO packet before its data, and the name of an event. A binary
// event has Type Event, a binary acknowledgement Type Ack.
type Header struct {
	Type        byte
	Attachments int
	Namespace   string // "/" for the root
	Query       string // of CONNECT: `40/admin?token=…`
	ID          uint64
	HasID       bool
	Event       string
	Plain       bool // go-socket.io reads the name of the event right
	Loose       bool // the data has a placeholder, and there are no attachments
}

const (
	maxNamespaceBytes = 4 << 10
	maxQueryBytes     = 64 << 10 // of a namespace; it may hold a token
	maxIDDigits       = 15       // JavaScript counts ids in a float64: 2^53 has 16 digits
)

// Limits bound what a packet may be.
type Limits struct {
	Attachments int // of one event
	Depth       int // how deep its JSON may be nested
}

// restrictedDepth bounds Depth for restricted clients.
const restrictedDepth = 64

// parseHeader checks a whole text packet against the grammar of socket.io-parser, as strictly as
// its JavaScript encoders write it. In a packet without attachments a placeholder is data like any
// other. body is what follows the header: the JSON array of an event or acknowledgement, or the
// auth of CONNECT.
func parseHeader(data []byte, limits Limits, p protocol) (h Header, body []byte, err error) {
	h.Namespace = Root
	if len(data) == 0 {
		return h, nil, BadPacketType
	}
	h.Type = data[0]
	rest := data[1:]

	binary := h.Type == binaryEvent || h.Type == binaryAck
	if binary {
		n, digits := leadingNumber(rest, 4)
		if digits == 0 || n > uint64(limits.Attachments) || digits == len(rest) || rest[digits] != '-' {
			return h, nil, BadAttachment
		}
		h.Attachments = int(n)
		h.Type -= binaryEvent - Event
		rest = rest[digits+1:]
	}
	if h.Type > Ack || h.Type < Connect {
		return h, nil, BadPacketType // ERROR is the server's to send (hazard 16)
	}

	if len(rest) > 0 && rest[0] == '/' {
		end := bytes.IndexByte(rest, ',')
		if end < 0 {
			end = len(rest)
		}
		h.Namespace, h.Query = p.namespace(string(rest[:end]))
		if len(h.Namespace) > maxNamespaceBytes || len(h.Query) > maxQueryBytes ||
			strings.ContainsFunc(h.Namespace, isControl) || (h.Type != Connect && h.Query != "") {
			return h, nil, BadNamespace
		}
		rest = rest[min(end+1, len(rest)):]
	}

	switch {
	case h.Type == Connect:
		auth, err := p.auth(rest, limits.Depth)
		return h, auth, err
	case h.Type == Disconnect && len(rest) > 0:
		return h, nil, BadPayload
	case h.Type == Disconnect:
		return h, nil, nil
	}

	n, digits := leadingNumber(rest, maxIDDigits)
	if digits > maxIDDigits || (h.Type == Ack && digits == 0) {
		return h, nil, BadID
	}
	h.ID, h.HasID = n, digits > 0
	rest = rest[digits:]

	if len(rest) < 2 || rest[0] != '[' {
		return h, nil, BadEvent
	}
	valid, named := scanJSON(rest, limits.Depth)
	if !valid {
		return h, nil, BadJSON
	}
	if h.Type == Event {
		name, ok := eventName(rest[1:])
		if !ok {
			return h, nil, BadEvent
		}
		h.Event, h.Plain = name, isPlain(rest, name)
	}
	switch {
	case !named || placeholdersFit(rest, h.Attachments):
	case binary:
		return h, nil, BadPlaceholder
	default:
		h.Loose = true
	}
	return h, rest, nil
}

// isControl reports whether a character may not be in the name of a namespace. The name is sent
// back, where a control character would split a payload.
func isControl(c rune) bool { return c < ' ' || c == 0x7f }

// isOdd reports whether go-socket.io would not find the end of a namespace's name, and would take
// it for another namespace: it ends a name at a question mark.
func isOdd(namespace string) bool { return strings.ContainsAny(namespace, "?\"[]{}\\") }

// leadingNumber reads at most max+1 digits and says how many there were.
func leadingNumber(b []byte, max int) (n uint64, digits int) {
	for digits < len(b) && digits <= max && b[digits] >= '0' && b[digits] <= '9' {
		n = n*10 + uint64(b[digits]-'0')
		digits++
	}
	return n, digits
}

// eventName reads the first element of an event's array, valid JSON that must be a string.
func eventName(b []byte) (name string, ok bool) {
	b = bytes.TrimLeft(b, " \t\r\n")
	n, _ := scanString(b)
	if n == 0 {
		return "", false
	}
	if bytes.IndexByte(b[:n], '\\') < 0 {
		return string(b[1 : n-1]), true
	}
	err := json.Unmarshal(b[:n], &name)
	return name, err == nil
}

// isPlain reports whether go-socket.io reads the name of an event in its array right. go-socket.io
// splits the array at the first comma or bracket before it decodes, and takes an escape for what it
// is not (hazard 14).
func isPlain(array []byte, name string) bool {
	end := len(name) + 2
	return name != "" && !strings.ContainsAny(name, `\,]"`) &&
		bytes.HasPrefix(array[1:], []byte(`"`)) && bytes.HasPrefix(array[2:], []byte(name)) &&
		len(array) > end+1 && array[end] == '"' && (array[end+1] == ',' || array[end+1] == ']')
}
