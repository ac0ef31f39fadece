package sio

import (
	"slices"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// TestUnfitBroadcast: an event that clients 4.x do not take reaches the others.
func TestUnfitBroadcast(t *testing.T) {
	s := newServer(t, transport.Limits{})
	var conns []*Conn
	for range 2 {
		c := s.arrive5()
		take(t, c, "0")
		conns = append(conns, c, s.arrive())
	}
	if err := (Audience{Namespace: s.Namespace(Root)}).Emit("disconnecting", nil, nil); err == nil {
		t.Error("no error")
	}
	for n, c := range conns {
		var got []string
		if c.IsProtocol5() {
			got = fetch(c)
		} else {
			got = s.sent(c)
		}
		if slices.Contains(got, `42["disconnecting"]`) == c.IsProtocol5() {
			t.Errorf("client %d got %q", n, got)
		}
	}
}
