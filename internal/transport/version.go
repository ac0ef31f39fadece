package transport

import (
	"strconv"
	"time"
)

// version is what Engine.IO 3 and 4 do differently. It is chosen once for each connection.
type version interface {
	number() int

	// open makes the packet that says what the client must know.
	open(h *Hub, id string, upgrades bool) []byte
	// opensAtOnce reports whether OPEN is sent before the layer above has something to send.
	opensAtOnce() bool

	// heartbeat is the packet by which a client shows that it is alive: PING, or PONG where the
	// server PINGs.
	heartbeat() byte

	// closing returns the packets that say that the connection ends. closesApart reports whether
	// these have a polling answer of their own, and are not sent on a WebSocket.
	closing() []packet
	closesApart() bool

	// encode makes the answer of a poll. binaryOK says that the client takes binary data as such.
	encode(packets []packet, binaryOK bool) (body []byte, contentType string)
	// decode takes the body of a POST, all of it or nothing. It refuses more than most packets. The
	// packets share the memory of the body.
	decode(body []byte, contentType string, most int) ([]packet, error)

	// frame makes the frame of a WebSocket, parseText and parseBinary take one. The text must
	// be known to be valid UTF-8.
	frame(p packet, binaryOK bool) (kind int, data []byte)
	parseText(data []byte) (packet, error)
	parseBinary(data []byte) (packet, error)
}

// Content types of payloads.
const (
	textPayload   = "text/plain; charset=UTF-8"
	binaryPayload = "application/octet-stream"
)

// versionOf returns the version that a request speaks, nil for an unknown one. A request that does
// not say is of version 3. So is one that says 2, as the browser build of socket.io-client 1.0.6
// does.
func versionOf(query Query) version {
	switch number, n := query.Lookup("EIO"); {
	case n == 0, number == "3", number == "2":
		return version3{}
	case number == "4":
		return version4{}
	}
	return nil
}

// VersionOf returns the version of Engine.IO that a request speaks, 0 for one that is unknown.
func VersionOf(query Query) int {
	if v := versionOf(query); v != nil {
		return v.number()
	}
	return 0
}

// openPacket makes OPEN without its closing brace. It is written by hand, because encoding/json
// takes longer than all else that a connection needs here. An id has no character that JSON
// escapes.
func openPacket(id string, upgrades bool, interval, timeout time.Duration) []byte {
	b := make([]byte, 0, 160)
	b = append(b, typeOpen)
	b = append(b, `{"sid":"`...)
	b = append(b, id...)
	b = append(b, `","upgrades":[`...)
	if upgrades {
		b = append(b, `"`+WebSocket+`"`...)
	}
	b = append(b, `],"pingInterval":`...)
	b = strconv.AppendInt(b, interval.Milliseconds(), 10)
	b = append(b, `,"pingTimeout":`...)
	return strconv.AppendInt(b, timeout.Milliseconds(), 10)
}
