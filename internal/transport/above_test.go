package transport_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// above is a layer above that is as small as can be. It speaks enough Socket.IO for the tests'
// client: it reads events and their attachments, and has their handlers called one after another.
// A message is consumed when its handler returns.
type above struct {
	t      testing.TB
	server *testServer
	client *transport.Client
	gone   chan struct{} // closed by Closed

	receiving sync.Mutex // to see that calls follow one another
	partial   *event     // waits for attachments

	mu      sync.Mutex
	closed  bool
	got     int // messages received
	queue   []*event
	running bool
}

// event is an event of the client's, or the text of what is none.
type event struct {
	name        string
	id          string // asks for an acknowledgement, unless ""
	args        []json.RawMessage
	attachments [][]byte
	wanted      int // attachments announced
	cost        int
}

// refused is why the layer above does not take a message.
const refused transport.Reason = "refused by the layer above"

func (a *above) Closing(end func()) { end() }

func (a *above) Receive(messages []transport.Message) error {
	if !a.receiving.TryLock() {
		a.t.Error("Receive is called while a call of it or of Closed runs")
		return refused
	}
	defer a.receiving.Unlock()
	if len(messages) == 0 {
		a.t.Error("Receive is called without messages")
	}
	var events []*event
	for _, m := range messages {
		if !m.Binary {
			e, err := parseEvent(m)
			if err != nil {
				return err
			}
			a.partial = e
		} else if a.partial == nil {
			return refused
		} else {
			a.partial.attachments = append(a.partial.attachments, bytes.Clone(m.Data))
			a.partial.cost += m.Cost()
		}
		if a.partial.wanted == len(a.partial.attachments) {
			events = append(events, a.partial)
			a.partial = nil
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		a.t.Error("Receive is called after Closed")
	}
	a.got += len(messages)
	a.queue = append(a.queue, events...)
	if !a.running && len(a.queue) > 0 {
		a.running = true
		go a.run()
	}
	return nil
}

func (a *above) Closed() {
	if !a.receiving.TryLock() {
		a.t.Error("Closed is called while Receive runs")
	} else {
		defer a.receiving.Unlock()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		a.t.Error("Closed is called twice")
		return
	}
	a.closed = true
	close(a.gone)
}

// run has the handlers called. It lives while there are events.
func (a *above) run() {
	for {
		a.mu.Lock()
		if len(a.queue) == 0 {
			a.running = false
			a.mu.Unlock()
			return
		}
		e := a.queue[0]
		a.queue = a.queue[1:]
		a.mu.Unlock()
		if f, ok := a.server.handlers.Load(e.name); ok {
			f.(func(*above, *event))(a, e)
		}
		a.client.Consumed(e.cost)
	}
}

// received is how many messages Receive was given.
func (a *above) received() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got
}

// emit sends an event. []byte arguments go as attachments.
func (a *above) emit(name string, args ...any) {
	a.client.Send(encode('2', "", append([]any{name}, args...))...)
}

// ack acknowledges an event that asks for it.
func (a *above) ack(e *event, args ...any) {
	if e.id != "" {
		a.client.Send(encode('3', e.id, args)...)
	}
}

// parseEvent reads `2["chat","hi"]`, `217["chat"]` and `51-["bin",{"_placeholder":true,"num":0}]`.
func parseEvent(m transport.Message) (*event, error) {
	text := string(m.Data)
	if text == "" || text[0] < '0' || text[0] > '6' || text[0] == '4' {
		return nil, refused
	}
	e := &event{name: text, cost: m.Cost()}
	if text[0] != '2' && text[0] != '5' {
		return e, nil
	}
	head, _, _ := strings.Cut(text[1:], "[")
	body := text[1+len(head):]
	if text[0] == '5' {
		count, after, _ := strings.Cut(head, "-")
		n, err := strconv.Atoi(count)
		if err != nil {
			return nil, refused
		}
		e.wanted, head = n, after
	}
	e.id = head
	if json.Unmarshal([]byte(body), &e.args) != nil || len(e.args) == 0 || json.Unmarshal(e.args[0], &e.name) != nil {
		return nil, refused
	}
	e.args = e.args[1:]
	return e, nil
}

func (e *event) int(t testing.TB, i int) (n int) {
	e.decode(t, i, &n)
	return n
}

func (e *event) string(t testing.TB, i int) (s string) {
	e.decode(t, i, &s)
	return s
}

func (e *event) decode(t testing.TB, i int, v any) {
	if i >= len(e.args) {
		t.Errorf("%s has no argument %d", e.name, i)
	} else if err := json.Unmarshal(e.args[i], v); err != nil {
		t.Errorf("argument %d of %s: %v", i, e.name, err)
	}
}

func encode(typ byte, id string, args []any) []transport.Frame {
	var attachments []transport.Frame
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg
		if data, ok := arg.([]byte); ok {
			values[i] = map[string]any{"_placeholder": true, "num": len(attachments)}
			attachments = append(attachments, transport.Binary(data))
		}
	}
	body, err := json.Marshal(values)
	if err != nil {
		panic(err)
	}
	head := string(typ)
	if len(attachments) > 0 {
		head = fmt.Sprintf("%c%d-", typ+3, len(attachments))
	}
	return append([]transport.Frame{transport.Text([]byte(head+id), body)}, attachments...)
}

// text is the frame of a text message, without the MESSAGE digit.
func text(s string) transport.Frame { return transport.Text([]byte(s)) }
