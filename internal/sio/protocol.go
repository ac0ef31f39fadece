package sio

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// protocol is what Socket.IO protocols 4 and 5 do differently. It is chosen once for each
// connection. Events, acknowledgements and DISCONNECT are the same in both.
type protocol interface {
	// joinsRoot reports whether a client is in the root when the connection is open, without
	// asking. The root cannot be joined again then.
	joinsRoot() bool

	// namespace splits the name in a packet into a namespace and a query.
	namespace(text string) (name, query string)
	// auth reads what CONNECT brings behind the namespace.
	auth(data []byte, depth int) (json.RawMessage, error)

	// connected answers CONNECT. unknown answers CONNECT for a namespace that does not exist.
	connected(s *Socket) transport.Frame
	unknown(namespace string) transport.Frame
	// lastWords appends what a socket is told when it ends.
	lastWords(frames []transport.Frame, s *Socket, w LastWord) []transport.Frame

	// fits returns what is wrong with an event for the client's parser.
	fits(event string, attachments int) error
}

func protocolOf(client *transport.Client) protocol {
	if client.Version() == 4 {
		return protocol5{}
	}
	return protocol4{}
}

// protocol4 is what socket.io-client 1.x and 2.x speak.
type protocol4 struct{}

func (protocol4) joinsRoot() bool { return true }

func (protocol4) namespace(text string) (name, query string) {
	name, query, ok := strings.Cut(text, "?")
	if ok {
		name = strings.Clone(name) // without the memory of the query, which is dropped earlier
	}
	return name, query
}

func (protocol4) auth(data []byte, _ int) (json.RawMessage, error) {
	if len(data) > 0 {
		return nil, BadPayload
	}
	return nil, nil
}

func (protocol4) connected(s *Socket) transport.Frame {
	return transport.Text(head(Connect, 0, s.name, ""))
}

func (protocol4) unknown(namespace string) transport.Frame {
	return ErrorFrame(namespace, "Invalid namespace") // as Node's socket.io 2
}

func (protocol4) lastWords(frames []transport.Frame, s *Socket, w LastWord) []transport.Frame {
	switch {
	case w.Error != nil:
		frames = append(frames, ErrorFrame(s.name, w.Error))
	case w.Event != "":
		frames = append(frames, s.told(w.Event, w.Arg, func() {})...)
	}
	if !w.Silent {
		frames = append(frames, DisconnectFrame(s.name))
	}
	return frames
}

func (protocol4) fits(string, int) error { return nil }

// protocol5 is what socket.io-client 3.x and 4.x speak.
type protocol5 struct{}

func (protocol5) joinsRoot() bool { return false }

func (protocol5) namespace(text string) (name, query string) { return text, "" }

// maxAuthBytes bounds what is kept as long as the socket lives.
const maxAuthBytes = 64 << 10

func (protocol5) auth(data []byte, depth int) (json.RawMessage, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if len(data) > maxAuthBytes {
		return nil, transport.TooLarge
	}
	if valid, _ := scanJSON(data, depth); !valid {
		return nil, BadJSON
	}
	return append(json.RawMessage(nil), data...), nil // without the memory of the request
}

func (protocol5) connected(s *Socket) transport.Frame {
	return transport.Text(head(Connect, 0, s.name, ","), []byte(`{"sid":"`), []byte(s.conn.id), []byte(`"}`))
}

func (protocol5) unknown(namespace string) transport.Frame {
	return connectError(namespace, struct {
		Message string `json:"message"`
	}{"Invalid namespace"})
}

// lastWords tells a socket whose CONNECT was not answered by CONNECT_ERROR alone: a DISCONNECT
// behind it would undo a connect() that the client calls because of it. On a connected socket
// CONNECT_ERROR would leave the client believing that it is connected.
func (protocol5) lastWords(frames []transport.Frame, s *Socket, w LastWord) []transport.Frame {
	switch {
	case !s.answered && w.Arg != nil:
		s.refused = true
		return append(frames, connectError(s.name, w.Arg))
	case s.answered && w.Event != "":
		frames = append(frames, s.told(w.Event, w.Arg, func() {})...)
	}
	return append(frames, disconnectFrame(s.name))
}

// disconnectFrame is DISCONNECT of protocol 5, with the comma that Node's encoder writes.
func disconnectFrame(namespace string) transport.Frame {
	return transport.Text(head(Disconnect, 0, namespace, ","))
}

// fits knows the limits of socket.io-client 4.5 and later, which closes the connection when it gets
// more than it takes.
func (protocol5) fits(event string, attachments int) error {
	switch event {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return fmt.Errorf("event %q: clients 3.x and 4.x take this name for their own", event)
	}
	if attachments > maxClientAttachments {
		return fmt.Errorf("event %q: it has %d attachments, clients 4.x take %d", event, attachments, maxClientAttachments)
	}
	return nil
}

const maxClientAttachments = 10

func connectError(namespace string, payload any) transport.Frame {
	b, err := json.Marshal(payload)
	if err != nil {
		b = []byte(`{}`)
	}
	return transport.Text(head(Error, 0, namespace, ","), b)
}
