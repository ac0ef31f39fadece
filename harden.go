package socketiojwt

import (
	"fmt"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
	"github.com/go-socketiojwt/socketiojwt/internal/transport"
	"github.com/go-socketiojwt/socketiojwt/internal/upstream"
	"github.com/googollee/go-socket.io/engineio"
)

// Limits bound what one client can make a hardened server hold and do. The zero value of each field
// means its default.
type Limits struct {
	// MessageBytes is the size of one message, and of the body of one polling request. A larger one
	// closes the connection. 0 means 1 MiB.
	MessageBytes int

	// UnauthenticatedMessageBytes is MessageBytes for a client that has no authenticated socket. A
	// client that is a guest, or in public namespaces only, is never authenticated. 0 means 16 KiB.
	UnauthenticatedMessageBytes int

	// UnauthenticatedPackets is how many packets such a client may send in a second, also all at
	// once. Polls and WebSocket control frames count. 0 means 200.
	UnauthenticatedPackets int

	// UnauthenticatedBytes is how many bytes such a client may send in a second, also all at once.
	// 0 means 64 KiB.
	UnauthenticatedBytes int

	// PingBytes is the size of a PING, which is echoed. 0 means 512.
	PingBytes int

	// BodyTime is how long a client may take to send the body of a polling request. The server's
	// ping timeout and the authentication timeout end the request as well. 0 means 20 seconds.
	BodyTime time.Duration

	// Attachments is how many binary attachments one event may have. With its attachments an event
	// may be four times MessageBytes, or 1 MiB if that is more. So may all messages of one polling
	// request together, each of which counts some hundred bytes more than it has. Before
	// authentication it may be twice UnauthenticatedMessageBytes. 0 means 64.
	Attachments int

	// Depth is how deep the arrays and objects of an event may be nested, counting the array of its
	// arguments. A deeper event closes the connection. Before authentication the limit is 64 at
	// most. 0 means 512.
	Depth int

	// OutboxBytes is how much may wait for a client that does not fetch it. When a message is sent
	// while more than this waits, the connection is closed. One message may be larger. 0 means 16
	// MiB.
	OutboxBytes int
}

// Harden returns options for socketio.NewServer with the transports that this package needs:
//
//	server := socketio.NewServer(socketiojwt.Harden(nil))
//
// These transports take the place of go-socket.io's own, through which anybody on the network can
// crash, stall or overhear a server. They speak Engine.IO 3, as go-socket.io's do, and 4. Session
// ids become unguessable, whatever SessionIDGenerator says.
//
// Everything else in opts is kept, also the settings of its transports (CheckOrigin, buffer sizes,
// subprotocols, TLS) and their order. nil means go-socket.io's defaults. opts itself is not
// changed. At most one Limits may be given; none means the defaults.
//
// One result is for one server. Harden panics when a limit is negative, when there is more than one
// Limits, and when opts has a transport that is not one of go-socket.io's two.
func Harden(opts *engineio.Options, limits ...Limits) *engineio.Options {
	hardened := engineio.Options{}
	if opts != nil {
		hardened = *opts
	}
	bounds, packets := boundsOf(limits)
	server, err := upstream.New(hardened, bounds, packets)
	if err != nil {
		panic("socketiojwt: Harden: " + err.Error())
	}
	return server.Options(hardened)
}

func boundsOf(given []Limits) (transport.Limits, sio.Limits) {
	if len(given) > 1 {
		panic("socketiojwt: Harden takes one Limits at most")
	}
	var l Limits
	if len(given) == 1 {
		l = given[0]
	}
	bounds := transport.Limits{
		Message:           limit("MessageBytes", l.MessageBytes, 1<<20),
		RestrictedMessage: limit("UnauthenticatedMessageBytes", l.UnauthenticatedMessageBytes, 16<<10),
		RestrictedPackets: limit("UnauthenticatedPackets", l.UnauthenticatedPackets, 200),
		RestrictedBytes:   limit("UnauthenticatedBytes", l.UnauthenticatedBytes, 64<<10),
		Ping:              limit("PingBytes", l.PingBytes, 512),
		BodyTime:          limit("BodyTime", l.BodyTime, 20*time.Second),
		Outbox:            limit("OutboxBytes", l.OutboxBytes, 16<<20),
	}
	packets := sio.Limits{
		Attachments: limit("Attachments", l.Attachments, 64),
		Depth:       limit("Depth", l.Depth, 512),
	}
	return bounds, packets
}

func limit[T int | time.Duration](name string, value, otherwise T) T {
	switch {
	case value < 0:
		panic(fmt.Sprintf("socketiojwt: Limits.%s is %v: use 0 for the default of %v", name, value, otherwise))
	case value == 0:
		return otherwise
	}
	return value
}
