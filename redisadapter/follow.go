package redisadapter

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/gomodule/redigo/redis"
)

// What comes from other nodes comes over one connection, and one goroutine handles it, so it keeps
// its order.

// namespace is a namespace that this node has.
type namespace struct {
	name    string
	pattern string   // of the channels of broadcasts
	topics  []string // the channels of requests and answers
	sent    bool     // the node has subscribed, over the present connection
	missing int      // how many subscriptions Redis has not confirmed
}

// heard reports whether what is published in the namespace reaches this node.
func (ns *namespace) heard() bool { return ns != nil && ns.sent && ns.missing == 0 }

// route is what a channel is for.
type route struct {
	ns   *namespace
	take func(*Adapter, *namespace, redis.Message) error
}

func (a *Adapter) addNamespace(name string) {
	ns := &namespace{
		name:    name,
		pattern: escapePattern(a.broadcastChannel(name)) + "*",
		topics:  []string{a.requestChannel(name), a.responseChannel(name), a.ownResponseChannel(name)},
	}
	a.namespaces[name] = ns
	a.routes[ns.pattern] = route{ns, (*Adapter).takeBroadcast}
	a.routes[ns.topics[0]] = route{ns, (*Adapter).takeRequest}
	a.routes[ns.topics[1]] = route{ns, (*Adapter).takeAnswer}
	a.routes[ns.topics[2]] = route{ns, (*Adapter).takeAnswer}
}

// escapePattern makes PSUBSCRIBE take a text literally.
func escapePattern(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}

// subscribe is the half of a connection that writes: it subscribes to new namespaces, and sends a
// PING now and then to see whether Redis is there.
func (a *Adapter) subscribe(ctx context.Context, conn redis.Conn) error {
	a.mu.Lock()
	for _, ns := range a.namespaces {
		ns.sent = false
	}
	a.mu.Unlock()
	idle := time.NewTicker(pingEvery)
	defer idle.Stop()
	if err := conn.Send("SUBSCRIBE", a.opts.Prefix+"-node#"+a.uid); err != nil { // so that Redis answers in any case
		return err
	}
	for {
		for _, ns := range a.newNamespaces() {
			if err := conn.Send("PSUBSCRIBE", ns.pattern); err != nil {
				return err
			}
			if err := conn.Send("SUBSCRIBE", redis.Args{}.AddFlat(ns.topics)...); err != nil {
				return err
			}
		}
		if err := conn.Flush(); err != nil {
			return err
		}
		select {
		case <-a.joined:
		case <-idle.C:
			if err := conn.Send("PING"); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// newNamespaces returns the namespaces without a subscription. The caller subscribes.
func (a *Adapter) newNamespaces() (added []*namespace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ns := range a.namespaces {
		if !ns.sent {
			ns.sent, ns.missing = true, 1+len(ns.topics)
			added = append(added, ns)
		}
	}
	return added
}

// receive is the half of a connection that reads. It closes confirmed when Redis has confirmed all
// subscriptions.
func (a *Adapter) receive(conn redis.Conn, confirmed chan<- struct{}) error {
	works, malformed := false, false // malformed: it was logged
	pubsub := redis.PubSubConn{Conn: conn}
	for {
		var err error
		switch got := pubsub.ReceiveWithTimeout(pingEvery + a.opts.Timeout).(type) {
		case error:
			return got
		case redis.Subscription:
			a.subscribed(got.Channel)
		case redis.Message:
			err = a.take(got)
		}
		if err != nil && !malformed {
			malformed = true
			a.log.Warn("redisadapter: a message is dropped", "error", err.Error())
		}
		if !works && a.hears() {
			works = true
			close(confirmed)
		}
	}
}

func (a *Adapter) subscribed(channel string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r, ok := a.routes[channel]; ok && r.ns.missing > 0 {
		r.ns.missing--
	}
}

// hears reports whether Redis has confirmed all subscriptions.
func (a *Adapter) hears() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ns := range a.namespaces {
		if !ns.heard() {
			return false
		}
	}
	return true
}

// take handles what another node, or anybody else, has published.
func (a *Adapter) take(m redis.Message) error {
	name := m.Channel
	if m.Pattern != "" {
		name = m.Pattern
	}
	a.mu.Lock()
	r, ok := a.routes[name]
	a.mu.Unlock()
	if !ok {
		return nil
	}
	err := r.take(a, r.ns, m)
	if errors.Is(err, errOwn) {
		return nil
	}
	a.count(func(s *Stats) {
		s.Received++
		if err != nil {
			s.Malformed++
		}
	})
	return err
}

// errOwn says that this node has published the message itself.
var errOwn = errors.New("it is this node's own")

func (a *Adapter) takeBroadcast(ns *namespace, m redis.Message) error {
	if bytes.HasPrefix(m.Data, a.own) {
		return errOwn
	}
	room := strings.TrimPrefix(m.Channel, a.broadcastChannel(ns.name))
	if room = strings.TrimSuffix(room, "#"); room != "" && !a.node.HasRoom(ns.name, room) {
		return nil // no socket to send it to
	}
	b, err := decodeBroadcast(m.Data)
	switch {
	case err != nil:
		return err
	case b.target.Namespace != ns.name:
		return nil // the channels of a namespace /a#b look like those of /a
	}
	return a.node.Broadcast(b.target, b.event, b.attachments)
}

// Broadcast sends an event to other nodes. It does not block: what cannot be sent is lost.
func (a *Adapter) Broadcast(t socketiojwt.Target, event []byte, attachments [][]byte) {
	m := &message{channel: a.broadcastChannel(t.Namespace)}
	if len(t.Rooms) == 1 {
		m.channel += t.Rooms[0] + "#"
	}
	if a.accepts() == nil { // else encoding would be in vain
		data, err := encodeBroadcast(a.own, t, event, attachments)
		if err != nil {
			a.lost(1, err)
			return
		}
		m.data = data
	}
	a.send(m)
}
