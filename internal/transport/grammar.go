package transport

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Socket.IO packet types (socket.io-protocol 4, which socket.io 1.x and 2.x speak).
const (
	Connect     = '0'
	Disconnect  = '1'
	Event       = '2'
	Ack         = '3'
	Error       = '4'
	binaryEvent = '5'
	binaryAck   = '6'
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
}

const (
	maxNamespaceBytes = 4 << 10 // with its query, which may hold a token
	maxIDDigits       = 15      // JavaScript counts ids in a float64: 2^53 has 16 digits
	maxJSONDepth      = 64
)

// parseHeader checks a whole text packet against the grammar of socket.io-parser,
// as strictly as its JavaScript encoders write it. go-socket.io's own parser takes
// what does not fit for something else: the previous event's name (hazard 14), a
// huge attachment count (hazard 8), a placeholder out of range (hazard 7).
func parseHeader(data []byte, maxAttachments int) (Header, error) {
	h := Header{Namespace: "/"}
	if len(data) == 0 {
		return h, BadPacketType
	}
	h.Type = data[0]
	rest := data[1:]

	binary := h.Type == binaryEvent || h.Type == binaryAck
	if binary {
		n, digits := leadingNumber(rest, 4)
		if digits == 0 || n > uint64(maxAttachments) || digits == len(rest) || rest[digits] != '-' {
			return h, BadAttachment
		}
		h.Attachments = int(n)
		h.Type -= binaryEvent - Event
		rest = rest[digits+1:]
	}
	if h.Type > Ack || h.Type < Connect {
		return h, BadPacketType // ERROR is the server's to send (hazard 16)
	}

	if len(rest) > 0 && rest[0] == '/' {
		end := bytes.IndexByte(rest, ',')
		if end < 0 {
			end = len(rest)
		}
		if end > maxNamespaceBytes {
			return h, BadNamespace
		}
		h.Namespace, h.Query, _ = strings.Cut(string(rest[:end]), "?")
		if strings.ContainsAny(h.Namespace, "\"[]{}\\") || (h.Type != Connect && h.Query != "") {
			return h, BadNamespace
		}
		rest = rest[min(end+1, len(rest)):]
	}

	if h.Type == Connect || h.Type == Disconnect {
		if len(rest) > 0 {
			return h, BadPayload
		}
		return h, nil
	}

	n, digits := leadingNumber(rest, maxIDDigits)
	if digits > maxIDDigits || (h.Type == Ack && digits == 0) {
		return h, BadID
	}
	h.ID, h.HasID = n, digits > 0
	rest = rest[digits:]

	if len(rest) < 2 || rest[0] != '[' {
		return h, BadEvent
	}
	if h.Type == Event {
		name, ok := eventName(rest[1:])
		if !ok {
			return h, BadEvent
		}
		h.Event = name
	}
	valid, named := scanJSON(rest)
	if !valid {
		return h, BadJSON
	}
	if named && !placeholdersFit(rest, h.Attachments) {
		return h, BadPlaceholder
	}
	return h, nil
}

// leadingNumber reads at most max+1 digits and says how many there were.
func leadingNumber(b []byte, max int) (n uint64, digits int) {
	for digits < len(b) && digits <= max && b[digits] >= '0' && b[digits] <= '9' {
		n = n*10 + uint64(b[digits]-'0')
		digits++
	}
	return n, digits
}

// eventName reads the first element of an event's array. It must be a string
// without escapes, commas and brackets: go-socket.io splits there before it
// decodes, and an escaped name would match a handler it does not look like.
func eventName(b []byte) (string, bool) {
	if len(b) == 0 || b[0] != '"' {
		return "", false
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			name := b[1:i]
			if i+1 == len(b) || (b[i+1] != ',' && b[i+1] != ']') {
				return "", false
			}
			return string(name), len(name) > 0
		case c == '\\' || c == ',' || c == ']' || c < 0x20:
			return "", false
		}
	}
	return "", false
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

// check parses what a client sent as a MESSAGE and keeps the order of attachments:
// a header that announces n of them is followed by n binary packets and nothing
// else (hazards 8 and 14). pending is the number still to come.
func check(p packet, pending *int, maxAttachments int) (Header, error) {
	if p.binary {
		if *pending == 0 {
			return Header{}, BadAttachment
		}
		*pending--
		return Header{}, nil
	}
	if *pending > 0 {
		return Header{}, BadAttachment
	}
	if !utf8.Valid(p.data) {
		return Header{}, BadUTF8
	}
	h, err := parseHeader(p.data, maxAttachments)
	if err == nil {
		*pending = h.Attachments
	}
	return h, err
}
