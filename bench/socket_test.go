package main

import (
	"slices"
	"testing"
)

// What servers send and what the clients make of it.
func TestDialects(t *testing.T) {
	for _, test := range []struct {
		dialect
		frame               string
		came, news, answers int
		refused             bool
	}{
		{socketIO{}, `40`, 1, 0, 0, false},
		{socketIO{}, `42["news","x"]`, 0, 1, 0, false},
		{socketIO{}, `432["x"]`, 0, 0, 1, false},
		{socketIO{today: true}, `40{"sid":"x"}`, 1, 0, 0, false},
		{socketIO{}, `3`, 0, 0, 0, false},
		{socketIO{}, `44"no"`, 0, 0, 0, true},
		{socketIO{refused: true}, `44"no"`, 1, 0, 0, false},
		{socketIO{refused: true}, `41`, 0, 0, 0, false},
		{socketIO{token: "x", roundTrip: true}, `42["authenticated"]`, 1, 0, 0, false},
		{centrifugeJSON{}, `{"id":1,"connect":{"client":"c"}}`, 1, 0, 0, false},
		{centrifugeJSON{}, `{"push":{"channel":"news","pub":{"data":"x"}}}` + "\n" + `{"id":2,"rpc":{"data":"x"}}`, 0, 1, 1, false},
		{centrifugeJSON{}, `{"push":{"channel":"news","join":{}}}`, 0, 0, 0, false},
		{centrifugeJSON{}, `{"id":1,"error":{"code":101}}`, 0, 0, 0, true},
	} {
		s := &socket{came: make(chan struct{}, 1), news: make(chan struct{}, 1), answers: make(chan struct{}, 1)}
		err := test.receive(s, []byte(test.frame))
		got, want := []int{len(s.came), len(s.news), len(s.answers)}, []int{test.came, test.news, test.answers}
		if !slices.Equal(got, want) || (err != nil) != test.refused {
			t.Errorf("%s: came, news, answers %v, want %v; error %v", test.frame, got, want, err)
		}
	}
}

func TestOnly(t *testing.T) {
	b := &bench{only: []string{"echo", "leave/8000", "connect"}, servers: []string{"ours", "node4"}}
	for name, want := range map[string]bool{"echo": true, "leave": true, "connect": true, "hold": false} {
		if got := b.wants(name); got != want {
			t.Errorf("wants(%q) is %v", name, got)
		}
	}
	if got := b.wanted("leave", "1000", "8000"); !slices.Equal(got, []string{"8000"}) {
		t.Errorf("of leave: %v", got)
	}
	if got := b.wanted("connect", websocket, polling); !slices.Equal(got, []string{websocket, polling}) {
		t.Errorf("of connect: %v", got)
	}
	if got := b.choose(floor, handshake, node4); !slices.Equal(got, []kind{handshake, node4}) {
		t.Errorf("servers: %v", got)
	}
}
