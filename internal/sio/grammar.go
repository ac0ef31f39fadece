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

// Header is what stands before the data of a Socket.IO packet, and the name of
// an event. A binary event has Type Event, a binary acknowledgement Type Ack.
type Header struct {
	Type        byte
	Attachments int
	Namespace   string // "/" for the root
	Query       string // of CONNECT: `40/admin?token=…`
	ID          uint64
	HasID       bool
	Event       string
	Plain       bool // the event's name is one that go-socket.io reads as what it is
}

const (
	maxNamespaceBytes = 4 << 10 // with its query, which may hold a token
	maxIDDigits       = 15      // JavaScript counts ids in a float64: 2^53 has 16 digits
	maxJSONDepth      = 64
)

// parseHeader checks a whole text packet against the grammar of socket.io-parser,
// as strictly as its JavaScript encoders write it. What follows the header, the JSON array of
// an event or acknowledgement, or the auth of CONNECT, is returned as it is.
func parseHeader(data []byte, maxAttachments int, p protocol) (h Header, body []byte, err error) {
	h.Namespace = Root
	if len(data) == 0 {
		return h, nil, BadPacketType
	}
	h.Type = data[0]
	rest := data[1:]

	binary := h.Type == binaryEvent || h.Type == binaryAck
	if binary {
		n, digits := leadingNumber(rest, 4)
		if digits == 0 || n > uint64(maxAttachments) || digits == len(rest) || rest[digits] != '-' {
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
		if end > maxNamespaceBytes {
			return h, nil, BadNamespace
		}
		h.Namespace, h.Query = p.namespace(string(rest[:end]))
		if strings.ContainsFunc(h.Namespace, isStrange) || (h.Type != Connect && h.Query != "") {
			return h, nil, BadNamespace
		}
		rest = rest[min(end+1, len(rest)):]
	}

	switch {
	case h.Type == Connect:
		auth, err := p.auth(rest)
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
	valid, named := scanJSON(rest)
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
	if named && !placeholdersFit(rest, h.Attachments) {
		return h, nil, BadPlaceholder
	}
	return h, rest, nil
}

// isStrange reports whether a character has no place in the name of a namespace, which is sent
// back: a control character would split a payload.
func isStrange(c rune) bool { return c < ' ' || c == 0x7f || strings.ContainsRune("\"[]{}\\", c) }

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

// isPlain reports whether name stands in an event's array as go-socket.io reads it: that splits
// at the first comma or bracket before it decodes, and takes an escape for what it is not
// (hazard 14).
func isPlain(array []byte, name string) bool {
	end := len(name) + 2
	return name != "" && !strings.ContainsAny(name, `\,]"`) &&
		bytes.HasPrefix(array[1:], []byte(`"`)) && bytes.HasPrefix(array[2:], []byte(name)) &&
		len(array) > end+1 && array[end] == '"' && (array[end+1] == ',' || array[end+1] == ']')
}

// placeholdersFit reports whether every {"_placeholder":true,"num":n} names one
// of the attachments.
func placeholdersFit(data []byte, attachments int) bool {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return walk(decoder, attachments)
}

// walk goes through one JSON value token by token, so that a repeated member
// hides nothing.
func walk(d *json.Decoder, attachments int) bool {
	token, err := d.Token()
	return err == nil && walkFrom(token, d, attachments)
}

// walkFrom goes on behind the first token of the value.
func walkFrom(token json.Token, d *json.Decoder, attachments int) bool {
	switch token {
	case json.Delim('['):
		for d.More() {
			if !walk(d, attachments) {
				return false
			}
		}
		_, err := d.Token()
		return err == nil
	case json.Delim('{'):
		isPlaceholder, numFits, hasNum := false, true, false
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return false
			}
			name, _ := key.(string)
			switch {
			case strings.EqualFold(name, "_placeholder"):
				isPlaceholder = true
				if !walk(d, attachments) {
					return false
				}
			case strings.EqualFold(name, "num"):
				token, err := d.Token()
				if err != nil || !walkFrom(token, d, attachments) {
					return false
				}
				number, _ := token.(json.Number)
				n, digits := leadingNumber([]byte(number), 4)
				hasNum = true
				numFits = numFits && digits > 0 && digits == len(number) && n < uint64(attachments)
			default:
				if !walk(d, attachments) {
					return false
				}
			}
		}
		_, err := d.Token()
		return err == nil && (!isPlaceholder || (hasNum && numFits))
	}
	return true
}
