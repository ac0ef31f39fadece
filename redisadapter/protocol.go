package redisadapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-socketiojwt/socketiojwt"
)

// The protocol of @socket.io/redis-adapter 8, which is described nowhere but by what it does:
//
//   - A broadcast is published on prefix#namespace#, or on prefix#namespace#room# where it is for one
//     room. It is MessagePack: [uid, {type, data, nsp}, {rooms, except, flags}]. uid names the sender,
//     which hears itself, and data is the name of the event and its arguments, with binary values.
//   - A request is published on prefix-request#namespace#, in JSON or MessagePack: {uid, requestId,
//     type, ...}. Answers go to prefix-response#namespace#, {requestId, ...}. Who asks counts the
//     subscribers of the channel of requests to know how many answers there are to come.

func (a *Adapter) broadcastChannel(nsp string) string { return a.opts.Prefix + "#" + nsp + "#" }
func (a *Adapter) requestChannel(nsp string) string   { return a.opts.Prefix + "-request#" + nsp + "#" }
func (a *Adapter) responseChannel(nsp string) string {
	return a.opts.Prefix + "-response#" + nsp + "#"
}

// ownResponseChannel is where nodes answer that have publishOnSpecificResponseChannel.
func (a *Adapter) ownResponseChannel(nsp string) string { return a.responseChannel(nsp) + a.uid + "#" }

// The types of packets that are events.
const (
	typeEvent       = 2
	typeBinaryEvent = 5
)

// The types of requests.
const (
	requestSockets      = 0 // the IDs of the sockets of rooms
	requestAllRooms     = 1
	requestJoin         = 2
	requestLeave        = 3
	requestDisconnect   = 4
	requestFetch        = 5 // the sockets
	requestServerSide   = 6 // an event for the servers, which have no handlers here
	requestBroadcast    = 7 // a broadcast that is to be acknowledged
	answerClientCount   = 8 // the answer to requestBroadcast
	maxAnswersOfUnknown = 10_000
)

// names is a list of rooms. In JavaScript a room may be a number.
type names []string

func (n *names) UnmarshalJSON(text []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*n = make(names, len(list))
	for i, item := range list {
		var number json.Number
		switch err := json.Unmarshal(item, &number); {
		case len(item) > 0 && item[0] == '"':
			if err := json.Unmarshal(item, &(*n)[i]); err != nil {
				return err
			}
		case err != nil || number == "":
			return errors.New("a room is neither text nor a number")
		default:
			(*n)[i] = number.String()
		}
	}
	return nil
}

// packet is an event.
type packet struct {
	Type *int            `json:"type"`
	Data json.RawMessage `json:"data"`
	Nsp  *string         `json:"nsp"`
}

// options say which sockets are meant.
type options struct {
	Rooms  names `json:"rooms"`
	Except names `json:"except"`
	Flags  flags `json:"flags,omitzero"`
}

// flags are the flags that have a meaning here. guests is a flag of this package: without it a
// broadcast without rooms is not for guests, whoever sends it.
type flags struct {
	Volatile bool `json:"volatile"`
	Guests   bool `json:"guests"`
}

func (o options) target(nsp string) socketiojwt.Target {
	return socketiojwt.Target{
		Namespace: nsp, Rooms: o.Rooms, Except: o.Except,
		Guests: o.Flags.Guests, Volatile: o.Flags.Volatile,
	}
}

// broadcast is what decodeBroadcast returns.
type broadcast struct {
	target      socketiojwt.Target
	event       []byte
	attachments [][]byte
}

// beginBroadcast returns how the broadcasts of a node begin.
func beginBroadcast(uid string) []byte {
	p := newPacker()
	if err := errors.Join(p.EncodeArrayLen(3), p.EncodeString(uid)); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	return p.out.Bytes()
}

func encodeBroadcast(own []byte, t socketiojwt.Target, event []byte, attachments [][]byte) ([]byte, error) {
	p := newPacker()
	p.out.Grow(len(event) + 256)
	p.out.Write(own)
	err := errors.Join(
		p.EncodeMapLen(3),
		p.EncodeString("type"), p.EncodeInt(typeEvent),
		p.EncodeString("data"), p.json(event, attachments),
		p.EncodeString("nsp"), p.EncodeString(t.Namespace),

		p.EncodeMapLen(3),
		p.EncodeString("rooms"), p.strings(t.Rooms),
		p.EncodeString("except"), p.strings(t.Except),
		p.EncodeString("flags"), p.flags(t),
	)
	return p.out.Bytes(), err
}

func (p *packer) strings(list []string) error {
	err := p.EncodeArrayLen(len(list))
	for _, s := range list {
		err = errors.Join(err, p.EncodeString(s))
	}
	return err
}

func (p *packer) flags(t socketiojwt.Target) error {
	var set []string
	if t.Volatile {
		set = append(set, "volatile")
	}
	if t.Guests {
		set = append(set, "guests")
	}
	err := p.EncodeMapLen(len(set))
	for _, name := range set {
		err = errors.Join(err, p.EncodeString(name), p.EncodeBool(true))
	}
	return err
}

func decodeBroadcast(data []byte) (b broadcast, err error) {
	text, attachments, err := unpack(data)
	if err != nil {
		return b, err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return b, err
	}
	if len(parts) < 3 {
		return b, errors.New("a broadcast has three parts")
	}
	var opts options
	if err := json.Unmarshal(parts[2], &opts); err != nil {
		return b, err
	}
	var p packet
	if err := json.Unmarshal(parts[1], &p); err != nil {
		return b, err
	}
	nsp := "/"
	if p.Nsp != nil {
		nsp = *p.Nsp
	}
	b.target, b.attachments = opts.target(nsp), attachments
	b.event, err = p.event(attachments)
	return b, err
}

// event checks that the packet is an event, and that no other part of the message had attachments,
// because these are numbered through.
func (p *packet) event(attachments [][]byte) ([]byte, error) {
	switch {
	case p.Type == nil || *p.Type != typeEvent && *p.Type != typeBinaryEvent:
		return nil, errors.New("a packet that is no event")
	case bytes.Count(p.Data, []byte(beforeNumber)) != len(attachments):
		return nil, errors.New("binary data outside of an event")
	}
	return p.Data, nil
}

// request is a request of any type, with the fields that it has.
type request struct {
	UID       string   `json:"uid,omitempty"`
	RequestID string   `json:"requestId,omitempty"`
	Type      int      `json:"type"`
	Opts      *options `json:"opts,omitempty"`
	Rooms     names    `json:"rooms,omitempty"`
	Close     bool     `json:"close,omitempty"`
	Packet    *packet  `json:"packet,omitempty"`
}

// decode reads JSON or MessagePack: JSON begins with a brace, which in MessagePack is the number
// 123.
func decode(data []byte, v any) (attachments [][]byte, err error) {
	text := data
	if len(data) == 0 || data[0] != '{' {
		if text, attachments, err = unpack(data); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("malformed: %w", err)
	}
	return attachments, nil
}

// optionsOf returns options with empty lists where JavaScript needs lists.
func optionsOf(t socketiojwt.Target) *options {
	return &options{Rooms: append(names{}, t.Rooms...), Except: append(names{}, t.Except...)}
}

// remoteSocket is a socket in an answer.
type remoteSocket struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"`
	Rooms     names           `json:"rooms"`
	Data      json.RawMessage `json:"data"`
}
