package sio

import "reflect"

// Events in both directions, and what acknowledges them.

// Emit sends an event. The arguments are encoded before it returns. If the last one is a function,
// it is called with what the client acknowledges the event with.
func (s *Socket) Emit(event string, args ...any) {
	var callback *handler
	if n := len(args); n > 0 {
		if f := reflect.ValueOf(args[n-1]); f.Kind() == reflect.Func {
			args = args[:n-1]
			if !f.IsNil() {
				callback = handlerOf(f, 0)
			}
		}
	}
	values := append(append(make([]any, 0, len(args)+1), event), args...)
	encoded, err := encode(values)
	if err == nil {
		err = s.conn.protocol.fits(event, len(encoded.attachments))
	}
	if err != nil {
		s.onError(err)
		return
	}
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.state != stateAdmitted {
		return
	}
	var id uint64
	if callback != nil {
		id = s.expect(ack{user: callback})
	}
	s.conn.client.Send(encoded.frames(Event, s.name, id, callback != nil)...)
}

// expect returns the id of an acknowledgement. Ids count per connection: a late acknowledgement for
// an earlier socket of the namespace must not answer a new one.
func (s *Socket) expect(a ack) uint64 {
	id := s.conn.ids
	s.conn.ids++
	if s.foreign {
		id += firstForeignAck
	}
	if s.acks == nil {
		s.acks = make(map[uint64]ack, 1)
	}
	s.acks[id] = a
	return id
}

// acknowledged calls what waits for an acknowledgement, once.
func (s *Socket) acknowledged(p *Packet) {
	s.conn.mu.Lock()
	a, ok := s.acks[p.ID]
	delete(s.acks, p.ID)
	s.conn.mu.Unlock()
	switch {
	case !ok:
		s.conn.client.Consumed(p.cost)
	case a.own != nil:
		s.conn.client.Consumed(p.cost)
		a.own()
	default:
		s.conn.acks.run(func() {
			defer s.conn.client.Consumed(p.cost)
			defer s.recovered("acknowledgement")
			if !s.counts() {
				return
			}
			if _, err := a.user.call(nil, p, 0); err != nil {
				s.onError(err)
			}
		})
	}
}

// onError tells the visitor of an error, in the lane.
func (s *Socket) onError(err error) {
	s.conn.lane.run(func() {
		defer s.recovered("OnError") // the Error of err may be the application's
		s.conn.visitor.OnError(s, err)
	})
}

// recovered must be deferred.
func (s *Socket) recovered(callback string) {
	if r := recover(); r != nil {
		s.conn.visitor.Panicked(s, callback, r)
	}
}

// dispatch runs the handler of an event, in the lane.
func (s *Socket) dispatch(p *Packet) {
	if !s.counts() {
		return
	}
	h := s.ns.handler(p.Event)
	if h == nil {
		return
	}
	defer s.recovered("OnEvent")
	results, err := h.handle(s, p)
	if err != nil {
		s.conn.visitor.OnError(s, err)
		return
	}
	if !p.HasID {
		return
	}
	if results == nil {
		results = []any{} // an acknowledgement without arguments
	}
	frames, err := eventFrames(Ack, s.name, p.ID, true, results)
	if err != nil {
		s.conn.visitor.OnError(s, err)
		return
	}
	s.deliver(frames, false, false)
}

// counts reports whether what the client sent is to be handled. After the server has ended the
// socket it is not.
func (s *Socket) counts() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return !s.conn.closing && (s.state == stateAdmitted || s.state == stateEnded && s.byClient)
}
