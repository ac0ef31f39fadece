package attacks_test

import (
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/parser"
	"github.com/gorilla/websocket"
)

const plainText = "text/plain;charset=UTF-8"

// Who opens a session and never polls holds up no broadcast and nobody who comes, neither while
// it is there nor when it is given up.
func TestHazard01_NeverPolls(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]engineio.Options{"while it is there": {}, "given up": impatient} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := besiegeInMemory(t, anonymity, engine, nil)
				var mallories []*siotest.Client
				for range 5 {
					s.anonymous(siotest.Options{ManualPoll: true, NoPing: true})
					c, _ := s.mallory(siotest.Options{ManualPoll: true, NoPing: true})
					for _, nsp := range namespaces {
						s.within("broadcast", func() { s.BroadcastToNamespace(nsp, "news", "x") })
						s.within("plain broadcast", func() { s.Plain.BroadcastToNamespace(nsp, "noise") })
						s.within("message to one", func() { s.BroadcastToRoom(nsp, c.SID(), "news", "x") })
					}
					mallories = append(mallories, c)
				}
				if engine.PingTimeout == 0 { // which is too long to wait for
					for _, c := range mallories {
						c.Close()
					}
				}
				s.survived()
			})
		})
	}
}

// flood registers an event whose sender gets more than sockets buffer.
func flood(s *siege) {
	s.OnEvent("/", "flood", func(c socketio.Conn) { c.Emit("flood", strings.Repeat("x", overflow)) })
}

const overflow = 6 << 20

// overfeed has the server answer polls that nobody reads with more than sockets buffer, by a
// PING and by an event.
func (s *siege) overfeed() (polls []*net.TCPConn) {
	s.t.Helper()
	for _, packet := range []string{"2" + strings.Repeat("x", overflow), `42["flood"]`} {
		body := siotest.EncodeText(siotest.Text(packet))
		c, _ := s.mallory(siotest.Options{ManualPoll: true, NoPing: true})
		polls = append(polls, s.request(c, "GET", 0, ""))
		go func() { _, _ = c.PostRaw(plainText, strings.NewReader(body)) }() // refused, or answered late
	}
	return polls
}

// Who does not read its answers until it is given up does not end the process.
func TestHazard05_SlowReaders(t *testing.T) {
	s := besiege(t, harness.HandshakeMode, engineio.Options{PingTimeout: 3 * time.Second, PingInterval: 300 * time.Millisecond}, flood)
	for range 2 {
		s.overfeed()
	}
	s.survived() // and has let go of the polls, which are still not read
}

// Nor does it, or who breaks off, spoil what others get meanwhile.
func TestHazard06_StalledAnswersAndOthers(t *testing.T) {
	s := besiege(t, harness.HandshakeMode, engineio.Options{PingTimeout: 3 * time.Second, PingInterval: 300 * time.Millisecond}, flood)
	stop, others := make(chan struct{}), sync.WaitGroup{}
	for range 3 {
		bob := s.enter("bob", siotest.Options{})
		s.leaving = append(s.leaving, bob.Close)
		others.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					bob.Close()
					return
				default:
				}
				text := strings.Repeat(strconv.Itoa(i), 500)
				id, err := bob.EmitAck("/", "echo", text)
				if err != nil {
					t.Error(err)
					return
				}
				ack, err := bob.WaitAck(t.Context(), "/", id)
				if err != nil || string(ack.Data) != `["`+text+`"]` {
					t.Errorf("got %.50q, %v", ack.Data, err)
					return
				}
			}
		})
	}
	for round := range 2 {
		for _, poll := range s.overfeed() {
			if round%2 == 0 { // the other half stays until the server has given it up
				time.Sleep(100 * time.Millisecond) // into the answer
				_ = poll.SetLinger(0)
				_ = poll.Close()
			}
		}
	}
	harness.Eventually(t, "the stalled ones are given up", func() bool { return s.Count() <= s.before.sessions+3 })
	close(stop)
	s.within("an honest client", others.Wait)
	s.survived()
}

// Placeholders of attachments that are not there.
func TestHazard07_Placeholders(t *testing.T) {
	type form struct {
		Name  string
		Files []parser.Buffer
	}
	s := besiege(t, anonymity, impatient, func(s *siege) {
		s.OnEvent("/", "bin", func(socketio.Conn, *parser.Buffer) { s.ran.Add("bin") })
		s.OnEvent("/", "form", func(socketio.Conn, *form) { s.ran.Add("form") })
		s.OnEvent("/", "ask", func(c socketio.Conn) {
			c.Emit("question", func(*parser.Buffer) { s.ran.Add("acknowledgement") })
		})
	})
	for _, attack := range [][]siotest.Frame{
		{siotest.Text(`450-["bin",{"_placeholder":true,"num":0}]`)},
		{siotest.Text(`450-["bin",{"_Placeholder":true,"num":0}]`)},
		{siotest.Text(`450-["bin",{"\u005fplaceholder":true,"num":0}]`)},
		{siotest.Text(`450-["form",{"Files":[{"_placeholder":true,"num":0}]}]`)},
		{siotest.Text(`451-["bin",{"_placeholder":true,"num":1}]`), siotest.Binary([]byte("x"))},
		{siotest.Text(`451-["bin",{"_placeholder":true,"num":0,"num":-1}]`), siotest.Binary([]byte("x"))},
	} {
		s.everybody(func(c *siotest.Client, must siotest.Must) {
			_ = c.SendFrames(attack...)
			must.Closed()
		})
	}
	// In text a placeholder is data, which is no attachment for a handler that takes one.
	for _, attack := range []string{
		`42["bin",{"_placeholder":true,"num":0}]`,
		`42["bin",{"\u005fPlaceholder":true,"num":0}]`,
		`42["form",{"Files":[{"_placeholder":true,"num":0}]}]`,
	} {
		s.everybody(func(c *siotest.Client, must siotest.Must) {
			must.OK(c.SendPacket(attack))
			c.Close()
		})
	}
	c, must := s.mallory(siotest.Options{})
	must.Emit("/", "ask")
	_ = c.SendPacket("43" + strconv.FormatInt(must.Event("/", "question").ID, 10) + `[{"_placeholder":true,"num":0}]`)
	must.Call("/", "echo", "x")
	c.Close()
	s.survived()
}

// Attachment counts that would have the server allocate them.
func TestHazard08_AttachmentCounts(t *testing.T) {
	s := besiege(t, anonymity, impatient, nil)
	for _, packet := range []string{
		`4599999999999999999-["echo","x"]`,
		`451000000000-["echo","x"]`,
		`45100-["echo","x"]`,
		`4599999999999999999-["nobody","x"]`,
		`4299999999999999999-["echo","x"]`,
		`4399999999999999999-["x"]`,
		`4699999999999999999-0["x"]`,
		`4199999999999999999-["x"]`,
	} {
		s.everybody(func(c *siotest.Client, must siotest.Must) {
			_ = c.SendPacket(packet)
			must.Closed()
		})
	}
	s.survived()
}

// No WebSocket outlasts the session it was to become part of.
func TestHazard11_OrphanedWebSockets(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*siege, *siotest.Client){
		"the client closes": func(_ *siege, c *siotest.Client) { _, _ = c.PostRaw(plainText, strings.NewReader("1:1")) },
		"the server closes": func(_ *siege, c *siotest.Client) { _ = c.SendPacket(`42["closeme"]`) },
		"one takes over":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := besiegeInMemory(t, harness.HandshakeMode, impatient, func(s *siege) {
					s.OnEvent("/", "closeme", func(c socketio.Conn) { _ = c.Close() })
				})
				c, _ := s.mallory(siotest.Options{ManualPoll: true, NoPing: true})
				var probes []*websocket.Conn
				for range 10 {
					ws, _, err := s.webSocket(url.Values{"sid": {c.SID()}})
					if err != nil {
						continue // refused, which is as good
					}
					probes = append(probes, ws)
					_ = ws.WriteMessage(websocket.TextMessage, []byte("2probe"))
					_ = ws.SetReadDeadline(time.Now().Add(siotest.DefaultTimeout))
					_, _, _ = ws.ReadMessage()
				}
				if len(probes) == 0 {
					t.Fatal("no upgrade was begun")
				}
				if end != nil {
					end(s, c)
				} else {
					for _, ws := range probes {
						_ = ws.WriteMessage(websocket.TextMessage, []byte("5"))
					}
				}
				harness.Eventually(t, "the session is given up", func() bool { return s.Count() <= s.before.sessions })
				for _, ws := range probes {
					s.ends(ws.NetConn())
				}
				s.survived()
			})
		})
	}
}

// chat registers an event that says only "a".
func (s *siege) chat() {
	s.OnEvent("/", "chat", func(_ socketio.Conn, text string) {
		if text != "a" {
			s.ran.Add("chat %q", text)
		}
	})
}

// What is no event is not taken for the event before it, and no name for another.
func TestHazard14_EventSmuggling(t *testing.T) {
	s := besiege(t, anonymity, impatient, (*siege).chat)
	for _, packet := range []string{
		`42"X"]`, `42["X"`, `42[null,"X"]`, `42[,"X"]`, `42[["chat"],"X"]`, `42{"0":"chat","1":"X"}`, `42`, `42]`,
	} {
		s.everybody(func(c *siotest.Client, must siotest.Must) {
			_ = c.SendPacket(`42["chat","a"]`)
			_ = c.SendPacket(packet)
			must.Closed()
		})
	}
	// An escape or a blank makes no other event of it.
	for _, packet := range []string{`420["\u0063hat","a"]`, `420["ch\u0061t","a"]`, `420[ "chat","a"]`, `420["chat" ,"a"]`} {
		c := s.enter("bob", siotest.Options{})
		must := c.Must(t)
		must.Send(packet)
		must.NextRaw("430[]")
		c.Close()
	}
	s.survived()
}

// What arrives late is not taken for a packet of its own.
func TestHazard15_FrameSmuggling(t *testing.T) {
	s := besiege(t, harness.HandshakeMode, impatient, (*siege).chat)
	for _, pieces := range [][]string{
		{`43999[`, `2["secret"]`},
		{`43999["`, `2["secret"]`, `"]`},
		{`43999[4`, `2]`}, // which is good JSON as a whole
		{`43/nowhere,999[4`, `2]`},
		{`42["nobody",4`, `2]`},
	} {
		c, must := s.mallory(siotest.Options{})
		must.Emit("/", "chat", "a")
		text := strings.Join(pieces, "")
		length := strconv.Itoa(len(text)) + ":"
		conn := s.request(c, "POST", len(length)+len(text), length)
		for _, piece := range pieces {
			time.Sleep(20 * time.Millisecond) // the server reads what there is
			_, _ = io.WriteString(conn, piece)
		}
		s.answers(conn)
		c.Close()
	}
	s.survived()
}

// Packets that nobody waits for leave no goroutines.
func TestHazard16_GoroutineFlood(t *testing.T) {
	s := besiege(t, anonymity, impatient, nil)
	for _, packet := range []string{"44", `43999[]`} {
		frames := make([]siotest.Frame, 1500)
		for i := range frames {
			frames[i] = siotest.Text(packet)
		}
		s.everybody(func(c *siotest.Client, _ siotest.Must) {
			if most := peak(func() { _ = c.SendFrames(frames...) }); most > s.before.goroutines+200 {
				t.Errorf("%d times %s make %d goroutines", len(frames), packet, most)
			}
			c.Close()
		})
	}
	s.survived()
}

// A POST that does not get on keeps no session, and what it brings after that is lost.
func TestHazard17_StalledPOST(t *testing.T) {
	s := besiege(t, harness.HandshakeMode, impatient, nil)
	body := siotest.EncodeText(siotest.Text(`42["secret"]`))
	half, _ := s.mallory(siotest.Options{ManualPoll: true, NoPing: true})
	stalled := s.request(half, "POST", len(body), body[:8])
	lying, _ := s.mallory(siotest.Options{ManualPoll: true, NoPing: true})
	_ = s.request(lying, "POST", len(body)+100, body).CloseWrite()
	silent, _ := s.mallory(siotest.Options{ManualPoll: true, NoPing: true})
	stuck := s.request(silent, "POST", len(body), body[:8])
	harness.Eventually(t, "the sessions are given up", func() bool { return s.Count() <= s.before.sessions })
	_, _ = io.WriteString(stalled, body[8:])
	s.ends(stalled)
	s.ends(stuck)
	s.survived()
}

// A WebSocket that is not read holds up no broadcast.
func TestHazard19_WebSocketsThatAreNotRead(t *testing.T) {
	s := besiege(t, socketiojwt.Options{Timeout: time.Second}, engineio.Options{}, flood)
	deaf := siotest.Options{Transport: "websocket", ManualRead: true, NoPing: true}
	ping := siotest.Text("2" + strings.Repeat("x", 2*overflow))
	feed := siotest.Text(`42["flood"]`)
	nobody, _ := s.anonymous(deaf)
	pinging, _ := s.mallory(deaf)
	feeding, _ := s.mallory(deaf)
	for c, frames := range map[*siotest.Client][]siotest.Frame{
		nobody:  {ping},
		pinging: {ping},
		feeding: {feed, feed, feed, feed, feed},
	} {
		go func() { _ = c.SendFrames(frames...) }() // it may hang itself
	}
	for range 20 {
		s.served()
	}
	s.survived()
}
