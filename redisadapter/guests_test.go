//go:build unix

package redisadapter_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
	socketio "github.com/googollee/go-socket.io"
)

// What another node says of no room in particular concerns guests, but for broadcasts: those are for
// members, whoever sends them, and whether they are to be acknowledged or not.
func TestGuestsOfAnotherNode(t *testing.T) {
	t.Parallel()
	s, a, b := twoNodes(t)
	ctx := t.Context()
	member, guest := b.enter("bob"), b.enter("")
	if n, err := a.In("/").CountAll(ctx); err != nil || n != 2 {
		t.Errorf("counted %d, %v", n, err)
	}
	if fetched, err := a.In("/").FetchSockets(ctx); err != nil || len(fetched) != 2 {
		t.Errorf("fetched %v, %v", fetched, err)
	}
	if n, err := a.In("/").Except("user:bob").CountAll(ctx); err != nil || n != 1 {
		t.Errorf("counted %d, %v", n, err)
	}
	if err := a.In("/").SocketsJoin(ctx, "all"); err != nil {
		t.Error(err)
	}
	conn, err := s.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, opts := range []string{`{"rooms":[],"except":[]}`, `{"rooms":["all"],"except":[]}`} {
		request := fmt.Sprintf(`{"uid":"node","requestId":"r","type":7,"opts":%s,"packet":{"type":2,"data":["news",%q],"nsp":"/"}}`, opts, opts)
		if _, err := conn.Do("PUBLISH", "socket.io-request#/#", request); err != nil {
			t.Fatal(err)
		}
	}
	heard(t, member, `42["news","{\"rooms\":[],\"except\":[]}"]`, `42["news","{\"rooms\":[\"all\"],\"except\":[]}"]`)
	heard(t, guest, `42["news","{\"rooms\":[\"all\"],\"except\":[]}"]`)
	silent(t, a, member, guest)
}

// A node does not do a second time what it has asked others for.
func TestOwnRequests(t *testing.T) {
	t.Parallel()
	_, a, b := twoNodes(t)
	ctx := t.Context()
	for range 5 {
		if err := a.In("/").SocketsJoin(ctx, "x"); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.In("/").CountAll(ctx); err != nil { // which a has heard behind them
		t.Error(err)
	}
	if n := a.adapter.Stats().Received; n != 1 { // the answer
		t.Errorf("%d messages of other nodes", n)
	}
	eventually(t, "b has heard all", func() bool { return b.adapter.Stats().Received == 6 })
}

// One malformed answer hides none of the others.
func TestOneMalformedAnswer(t *testing.T) {
	t.Parallel()
	s, a, _ := twoNodes(t)
	for range 2 { // they count as two nodes
		requests := subscribe(t, s, "nothing")
		if err := requests.Subscribe("socket.io-request#/#"); err != nil {
			t.Fatal(err)
		}
		requests.ReceiveWithTimeout(patience)
	}
	first := subscribe(t, s, "socket.io-request#/#")
	go func() {
		m, ok := first.ReceiveWithTimeout(patience).(redis.Message)
		if !ok {
			return
		}
		conn, err := s.Dial(context.Background())
		if err != nil {
			return
		}
		defer conn.Close()
		_, id, _ := strings.Cut(string(m.Data), `"requestId":"`)
		id, _, _ = strings.Cut(id, `"`)
		for _, sockets := range []string{`7`, `[{"id":"far","rooms":["far"]}]`} {
			_, _ = conn.Do("PUBLISH", "socket.io-response#/#", `{"requestId":"`+id+`","sockets":`+sockets+`}`)
		}
	}()
	fetched, err := a.In("/").FetchSockets(t.Context())
	if err == nil || len(fetched) != 1 || fetched[0].ID != "far" {
		t.Errorf("got %v, %v", fetched, err)
	}
}

// The ID of a socket is a room on all nodes.
func TestRoomOfOneSocket(t *testing.T) {
	t.Parallel()
	_, a, b := twoNodes(t)
	must, other := b.enter("bob"), b.enter("eve")
	conn, _ := b.conns.Load("/bob")
	a.In("/", conn.(socketio.Conn).ID()).Emit("you")
	heard(t, must, `42["you"]`)
	silent(t, a, must, other)
}
