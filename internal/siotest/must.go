package siotest

import (
	"context"
	"encoding/json"
	"testing"
)

// MustDial is Dial for tests: it ends the test if it fails, and closes the client with the test.
func MustDial(tb testing.TB, baseURL string, o Options) *Client {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), DefaultTimeout)
	defer cancel()
	c, err := Dial(ctx, baseURL, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// Must gives the client's methods for tests: each waits DefaultTimeout at most, and ends the
// test if it fails.
func (c *Client) Must(tb testing.TB) Must { return Must{c, tb} }

// Must is made by Client.Must.
type Must struct {
	c  *Client
	tb testing.TB
}

// Next gives the next packet.
func (m Must) Next() Packet {
	m.tb.Helper()
	return must(m, m.c.Next)
}

// NextRaw ends the test unless the next packet is that, such as "40" or `42["chat","hi"]`.
func (m Must) NextRaw(want string) Packet {
	m.tb.Helper()
	p := m.Next()
	if p.Raw != want {
		m.tb.Fatalf("siotest: got %s, want %s", p.Raw, want)
	}
	return p
}

// Event is WaitEvent.
func (m Must) Event(nsp, name string) Packet {
	m.tb.Helper()
	return must(m, func(ctx context.Context) (Packet, error) { return m.c.WaitEvent(ctx, nsp, name) })
}

// Ack is WaitAck.
func (m Must) Ack(nsp string, id int64) Packet {
	m.tb.Helper()
	return must(m, func(ctx context.Context) (Packet, error) { return m.c.WaitAck(ctx, nsp, id) })
}

// Type is WaitType.
func (m Must) Type(nsp string, typ int) Packet {
	m.tb.Helper()
	return must(m, func(ctx context.Context) (Packet, error) { return m.c.WaitType(ctx, nsp, typ) })
}

// Connected is WaitConnect.
func (m Must) Connected(nsp string) Packet {
	m.tb.Helper()
	return must(m, func(ctx context.Context) (Packet, error) { return m.c.WaitConnect(ctx, nsp) })
}

// Refused waits for the CONNECT_ERROR of a namespace (in version 3: ERROR) and takes it apart as
// Packet.Refusal does.
func (m Must) Refused(nsp string) (message string, data json.RawMessage) {
	m.tb.Helper()
	return m.Type(nsp, ConnectError).Refusal()
}

// Rest reads until the server has closed the client.
func (m Must) Rest() []Packet {
	m.tb.Helper()
	return must(m, m.c.Rest)
}

// Emit sends an event.
func (m Must) Emit(nsp, event string, args ...any) {
	m.tb.Helper()
	m.OK(m.c.Emit(nsp, event, args...))
}

// Call emits an event and gives the acknowledgement; packets before it are dropped.
func (m Must) Call(nsp, event string, args ...any) Packet {
	m.tb.Helper()
	id, err := m.c.EmitAck(nsp, event, args...)
	m.OK(err)
	return m.Ack(nsp, id)
}

// Join joins a namespace; see Connected.
func (m Must) Join(nsp string) {
	m.tb.Helper()
	m.OK(m.c.Join(nsp))
}

// JoinWith joins a namespace with a payload; see Connected and Refused.
func (m Must) JoinWith(nsp string, auth any) {
	m.tb.Helper()
	m.OK(m.c.JoinWith(nsp, auth))
}

// Send sends packets in wire notation together.
func (m Must) Send(packets ...string) {
	m.tb.Helper()
	frames := make([]Frame, len(packets))
	for i, p := range packets {
		frames[i] = Text(p)
	}
	m.OK(m.c.SendFrames(frames...))
}

// Upgrade is UpgradeNow.
func (m Must) Upgrade() {
	m.tb.Helper()
	must(m, func(ctx context.Context) (struct{}, error) { return struct{}{}, m.c.UpgradeNow(ctx) })
}

// Closed waits until the client is closed and gives the reason.
func (m Must) Closed() string {
	m.tb.Helper()
	return must(m, func(ctx context.Context) (string, error) {
		select {
		case <-m.c.Done():
			return m.c.CloseReason(), nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
}

// OK ends the test on an error.
func (m Must) OK(err error) {
	m.tb.Helper()
	if err != nil {
		m.tb.Fatal(err)
	}
}

func must[T any](m Must, f func(context.Context) (T, error)) T {
	m.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), DefaultTimeout)
	defer cancel()
	v, err := f(ctx)
	if err != nil {
		if reason := m.c.CloseReason(); reason != "" {
			m.tb.Fatalf("%v (client: %s, %v)", err, reason, m.c.Err())
		}
		m.tb.Fatal(err)
	}
	return v
}
