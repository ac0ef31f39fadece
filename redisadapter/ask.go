package redisadapter

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/gomodule/redigo/redis"
)

// question is a question of this node.
type question struct {
	changed chan struct{} // there is a new answer, or a reply of Redis

	// Adapter.mu guards these.
	heard   bool // this node heard it too, so it is among those that Redis counted
	sent    bool // Redis has taken or refused it
	err     error
	nodes   int // how many other nodes have to answer
	answers []answer
}

func (q *question) complete() bool {
	return q.sent && (q.err != nil || q.heard && len(q.answers) >= q.nodes)
}

// answer is an answer to any question, with the fields that it has.
type answer struct {
	RequestID   string          `json:"requestId"`
	Type        int             `json:"type,omitempty"`
	Sockets     json.RawMessage `json:"sockets,omitempty"`
	Rooms       *names          `json:"rooms,omitempty"`
	ClientCount *int            `json:"clientCount,omitempty"`
}

// ask returns the answers of the other nodes of a namespace.
func (a *Adapter) ask(ctx context.Context, nsp string, r request) ([]answer, error) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	r.UID, r.RequestID = a.uid, rand.Text()
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	q := &question{changed: make(chan struct{}, 1)}
	a.mu.Lock()
	hears := a.namespaces[nsp].heard()
	if hears {
		a.questions[r.RequestID] = q
	}
	a.mu.Unlock()
	if !hears {
		return nil, errNotConnected
	}
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.questions, r.RequestID)
	}()
	a.send(&message{channel: a.requestChannel(nsp), data: data, counts: true, done: func(nodes int, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		q.sent, q.nodes, q.err = true, nodes-1, err // without this node
		signal(q.changed)
	}})
	return a.await(ctx, q)
}

func (a *Adapter) await(ctx context.Context, q *question) ([]answer, error) {
	for {
		a.mu.Lock()
		complete, err := q.complete(), q.err
		nodes, answers, sent := q.nodes, q.answers, q.sent
		a.mu.Unlock()
		if complete {
			return answers, err
		}
		select {
		case <-q.changed:
		case <-ctx.Done():
			switch missing := nodes - len(answers); {
			case !sent, missing <= 0: // Redis did not answer, or did not count this node
				return answers, errors.Join(errNotConnected, ctx.Err())
			default:
				return answers, &socketiojwt.MissingNodesError{Nodes: nodes, Missing: missing, Err: ctx.Err()}
			}
		}
	}
}

// takeAnswer takes an answer to a question of this node. It ignores answers to other nodes.
func (a *Adapter) takeAnswer(_ *namespace, m redis.Message) error {
	var got answer
	if _, err := decode(m.Data, &got); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.questions[got.RequestID]
	if q == nil || q.sent && len(q.answers) >= q.nodes || len(q.answers) >= maxAnswersOfUnknown {
		return errOwn
	}
	q.answers = append(q.answers, got)
	signal(q.changed)
	return nil
}

// takeRequest does what another node asks for.
func (a *Adapter) takeRequest(ns *namespace, m redis.Message) error {
	var r request
	attachments, err := decode(m.Data, &r)
	if err != nil {
		return err
	}
	if r.UID == a.uid {
		a.mu.Lock()
		defer a.mu.Unlock()
		if q := a.questions[r.RequestID]; q != nil {
			q.heard = true
			signal(q.changed)
		}
		return errOwn
	}
	switch r.Type {
	case requestSockets:
		ids, err := json.Marshal(a.node.SocketIDs(options{Rooms: r.Rooms}.everybody(ns.name)))
		if err != nil {
			return err
		}
		return a.answer(ns, answer{RequestID: r.RequestID, Sockets: ids})
	case requestAllRooms:
		rooms := append(names{}, a.node.Rooms(ns.name)...)
		return a.answer(ns, answer{RequestID: r.RequestID, Rooms: &rooms})
	case requestServerSide:
		return nil
	}
	if r.Opts == nil {
		return errors.New("a request without opts") // as servers sent them up to version 5
	}
	t := r.Opts.everybody(ns.name)
	switch r.Type {
	case requestJoin:
		a.node.SocketsJoin(t, r.Rooms)
	case requestLeave:
		a.node.SocketsLeave(t, r.Rooms)
	case requestDisconnect:
		a.node.DisconnectSockets(t, r.Close)
	case requestFetch:
		return a.answerFetch(ns, r.RequestID, t)
	case requestBroadcast:
		return a.takeAcknowledged(ns, r, attachments)
	default:
		return errors.New("a request of an unknown type")
	}
	return nil
}

// everybody is target with guests: what is not a broadcast concerns all admitted sockets.
func (o options) everybody(nsp string) socketiojwt.Target {
	t := o.target(nsp)
	t.Guests = true
	return t
}

// takeAcknowledged delivers a broadcast that wants acknowledgements, and answers that no client
// here was asked for one. Otherwise the node that waits for them would wait in vain.
func (a *Adapter) takeAcknowledged(ns *namespace, r request, attachments [][]byte) error {
	if r.Packet == nil {
		return errors.New("a broadcast without a packet")
	}
	event, err := r.Packet.event(attachments)
	if err != nil {
		return err
	}
	if err := a.node.Broadcast(r.Opts.target(ns.name), event, attachments); err != nil {
		return err
	}
	return a.answer(ns, answer{RequestID: r.RequestID, Type: answerClientCount, ClientCount: new(int)})
}

// handshake is what other nodes learn of a handshake, which Node's nodes show to their
// applications. Headers, query and auth may hold tokens, so it is empty.
var handshake = json.RawMessage(`{"headers":{},"query":{},"auth":{}}`)

func (a *Adapter) answerFetch(ns *namespace, id string, t socketiojwt.Target) error {
	fetched := a.node.FetchSockets(t)
	list := make([]remoteSocket, len(fetched))
	for i, s := range fetched {
		list[i] = remoteSocket{ID: s.ID, Handshake: handshake, Rooms: append(names{}, s.Rooms...), Data: s.Data}
	}
	sockets, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return a.answer(ns, answer{RequestID: id, Sockets: sockets})
}

func (a *Adapter) answer(ns *namespace, what answer) error {
	data, err := json.Marshal(what)
	if err != nil {
		return err
	}
	a.send(&message{channel: a.responseChannel(ns.name), data: data})
	return nil
}

// CountSockets asks the other nodes how many sockets t means.
func (a *Adapter) CountSockets(ctx context.Context, t socketiojwt.Target) (count int, err error) {
	r := request{Type: requestSockets, Rooms: append(names{}, t.Rooms...)}
	if len(t.Except) > 0 {
		r = request{Type: requestFetch, Opts: optionsOf(t)} // requestSockets has no except
	}
	answers, err := a.ask(ctx, t.Namespace, r)
	for _, got := range answers {
		var list []json.RawMessage
		if malformed := json.Unmarshal(got.Sockets, &list); malformed != nil {
			err = errors.Join(err, malformed)
		}
		count += len(list)
	}
	return count, err
}

// FetchSockets asks the other nodes for the sockets that t means.
func (a *Adapter) FetchSockets(ctx context.Context, t socketiojwt.Target) (fetched []socketiojwt.RemoteSocket, err error) {
	answers, err := a.ask(ctx, t.Namespace, request{Type: requestFetch, Opts: optionsOf(t)})
	for _, got := range answers {
		var list []remoteSocket
		if malformed := json.Unmarshal(got.Sockets, &list); malformed != nil {
			err = errors.Join(err, malformed)
			continue
		}
		for _, s := range list {
			var known struct {
				Identity string `json:"identity"`
			}
			_ = json.Unmarshal(s.Data, &known) // it is whatever the application made it
			fetched = append(fetched, socketiojwt.RemoteSocket{ID: s.ID, Rooms: s.Rooms, Identity: known.Identity, Data: s.Data})
		}
	}
	return fetched, err
}

// AllRooms asks the other nodes for their rooms. Several nodes may have the same room.
func (a *Adapter) AllRooms(ctx context.Context, nsp string) (rooms []string, err error) {
	answers, err := a.ask(ctx, nsp, request{Type: requestAllRooms})
	for _, got := range answers {
		if got.Rooms != nil {
			rooms = append(rooms, *got.Rooms...)
		}
	}
	return rooms, err
}

// SocketsJoin makes the sockets of other nodes join rooms.
func (a *Adapter) SocketsJoin(ctx context.Context, t socketiojwt.Target, rooms []string) error {
	return a.tell(ctx, t, request{Type: requestJoin, Rooms: rooms})
}

// SocketsLeave makes the sockets of other nodes leave rooms.
func (a *Adapter) SocketsLeave(ctx context.Context, t socketiojwt.Target, rooms []string) error {
	return a.tell(ctx, t, request{Type: requestLeave, Rooms: rooms})
}

// DisconnectSockets disconnects the sockets of other nodes.
func (a *Adapter) DisconnectSockets(ctx context.Context, t socketiojwt.Target, closes bool) error {
	return a.tell(ctx, t, request{Type: requestDisconnect, Close: closes})
}

// tell sends a request that nobody answers. It returns when Redis has taken it.
func (a *Adapter) tell(ctx context.Context, t socketiojwt.Target, r request) error {
	if r.Type != requestDisconnect && len(r.Rooms) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	r.UID, r.Opts = a.uid, optionsOf(t)
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	a.send(&message{channel: a.requestChannel(t.Namespace), data: data, done: func(_ int, err error) { done <- err }})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Join(errNotConnected, ctx.Err())
	}
}
