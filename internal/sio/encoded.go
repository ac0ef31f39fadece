package sio

import (
	"bytes"
	"errors"
)

// Encoded is an event with its arguments, encoded for any number of sockets.
type Encoded struct {
	name string
	payload
}

// Body returns the JSON array of the event's name and its arguments, with placeholders for the
// attachments. It must not be changed.
func (e Encoded) Body() []byte { return e.body }

// Attachments returns the attachments in the order of their numbers. They must not be changed.
func (e Encoded) Attachments() [][]byte { return e.attachments }

// maxEncodedDepth is the most that encoding/json decodes.
const maxEncodedDepth = 10000

var errNoEvent = errors.New("no JSON array that begins with the name of an event")

// EncodedEvent makes an event of what Body and Attachments returned on another node. It keeps both.
func EncodedEvent(body []byte, attachments [][]byte) (Encoded, error) {
	if valid, _ := scanJSON(body, maxEncodedDepth); !valid {
		return Encoded{}, errNoEvent
	}
	body = bytes.TrimSpace(body)
	if body[0] != '[' {
		return Encoded{}, errNoEvent
	}
	name, ok := eventName(body[1:])
	if !ok {
		return Encoded{}, errNoEvent
	}
	return Encoded{name, payload{body, attachments}}, nil
}
