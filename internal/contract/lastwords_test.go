package contract_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// What was emitted or broadcast before an end arrives before it, in order, and nothing comes
// behind it. Hazard 45.

// stage is a server whose clients are ended, by Protect or with the hooks one by one.
type stage struct {
	*harness.App
	*socketiojwt.MemoryRevocations
	plain  *socketio.Server
	inA    sync.Map // the socket in /a, by ID
	refuse bool     // OnConnect does
	once   sync.Once
}

type ending struct {
	name string
	end  func(st *stage, c socketio.Conn, subject string)
	want string // what the client hears of it, one for each namespace
	own  bool   // it comes some time after end returned
}

const (
	told    = `["unauthorized",{"message":"%s","data":{"message":"%[1]s","code":"%s","type":"UnauthorizedError"}}]`
	goodbye = "41 41/a"
)

func toldOf(code, message string) string {
	text := fmt.Sprintf(told, message, code)
	return "41 41/a 42/a,2" + text + " 421" + text
}

var endings = []ending{
	{"Conn.Close", func(_ *stage, c socketio.Conn, _ string) { _ = c.Close() }, goodbye, false},
	{"go Conn.Close", func(_ *stage, c socketio.Conn, _ string) { go c.Close() }, goodbye, true},
	{"Disconnect", func(st *stage, _ socketio.Conn, subject string) {
		st.Auth.Disconnect(func(s *socketiojwt.Session) bool { return s.Subject() == subject }, nil)
	}, toldOf("unauthorized", "unauthorized"), false},
	{"DisconnectSubject", func(st *stage, _ socketio.Conn, subject string) { st.Auth.DisconnectSubject(subject, nil) }, toldOf("unauthorized", "unauthorized"), false},
	{"revocation", func(st *stage, _ socketio.Conn, subject string) {
		_ = st.Add(context.Background(), socketiojwt.Revocation{Subject: subject, Until: time.Now().Add(time.Hour)})
	}, toldOf("invalid_token", "jwt revoked"), false},
	{"In", func(st *stage, c socketio.Conn, _ string) { st.In("/", c.ID()).End(nil) }, toldOf("unauthorized", "unauthorized"), false},
}

func (st *stage) options() socketiojwt.Options {
	st.MemoryRevocations = socketiojwt.NewMemoryRevocations()
	return socketiojwt.Options{Handshake: true, Revocations: st}
}

// protect builds the stage with Protect.
func (st *stage) protect(t *testing.T, at harness.Place, end func(c socketio.Conn)) {
	st.App = harness.StartAt(t, at, st.options(), func(s *harness.App) {
		s.OnConnect("/a", func(c socketio.Conn) error { st.inA.Store(c.ID(), c); return nil })
		s.OnEvent("/a", "mark", func(socketio.Conn) {})
		s.OnEvent("/", "go", end)
		s.OnConnect("/", func(c socketio.Conn) error {
			if !st.refuse {
				return nil
			}
			asked := make(chan struct{})
			c.Emit("ask", func() { close(asked) })
			<-asked
			end(c)
			return errors.New("no")
		})
	})
}

// hooks builds it with the hooks one by one.
func (st *stage) hooks(t *testing.T, at harness.Place, end func(c socketio.Conn)) {
	opts := st.options()
	opts.OnAuthenticated = func(c socketio.Conn, _ *socketiojwt.Session) {
		if c.Namespace() == "/a" {
			st.inA.Store(c.ID(), c)
		}
	}
	st.App = &harness.App{Auth: harness.Authorize(t, opts), At: at}
	st.plain = socketio.NewServer(socketiojwt.Harden(nil))
	for _, nsp := range []string{"/", "/a"} {
		st.plain.OnConnect(nsp, st.Auth.OnConnect)
		st.plain.OnDisconnect(nsp, st.Auth.OnDisconnect)
		st.plain.OnEvent(nsp, "go", st.Auth.Guard(end))
		st.plain.OnEvent(nsp, "mark", st.Auth.Guard(func(socketio.Conn) string { return "" }))
	}
	harness.Serve(t, st.plain, at, st.Auth.Handler(st.plain))
}

func (st *stage) toRoom(nsp, room string, n int) {
	if st.plain != nil {
		st.plain.BroadcastToRoom(nsp, room, "word", n)
	} else {
		st.BroadcastToRoom(nsp, room, "word", n)
	}
}

// speak says the words, all but the last to the root.
func (st *stage) speak(c socketio.Conn) {
	c.Emit("word", 0)
	st.toRoom("/", c.ID(), 1)
	c.Emit("word", 2)
	c.Emit("word", 3, func() {})
	if other, ok := st.inA.Load(c.ID()); ok {
		other.(socketio.Conn).Emit("word", 4)
	}
}

// visit is one try: a client that comes in, is spoken to and ended while it polls, on a
// WebSocket, or while it upgrades, in one of two ways.
func (st *stage) visit(t *testing.T, transport string, try int, trigger func(*siotest.Client, siotest.Must)) heard {
	o := siotest.Options{Transport: transport, Query: harness.WithToken(harness.TokenOf(t, fmt.Sprint(transport, try)))}
	if transport == "upgrade" {
		o.Transport = "polling"
	}
	client, must := st.Dial(t, o)
	defer client.Close()
	must.NextRaw("40")
	if !st.refuse {
		must.Join("/a")
		must.Connected("/a")
		must.Call("/a", "mark")
	} else {
		must.Event("/", "ask")
	}
	switch {
	case transport != "upgrade":
		trigger(client, must)
	case try%2 == 0:
		if err := client.Probe(t.Context()); err != nil {
			t.Error(err)
		}
		trigger(client, must)
		_ = client.FinishUpgrade() // unless it has ended
	default:
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = client.UpgradeNow(t.Context())
		}()
		trigger(client, must)
		<-done
	}
	return heard{must.Rest(), fmt.Sprintf("%s, %v", client.CloseReason(), client.Err())}
}

// heard is what a client heard from the words on, and how it ended.
type heard struct {
	packets []siotest.Packet
	ended   string
}

// tries of a kind, of all transports together.
const tries = 200

// everyone makes the tries.
func everyone(t *testing.T, f func(t *testing.T, transport string, try int)) {
	for i, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			var group sync.WaitGroup
			next := make(chan int)
			for range 12 {
				group.Go(func() {
					for try := range next {
						f(t, transport, try)
					}
				})
			}
			for try := range (tries + i) / len(harness.Transports) {
				next <- try
			}
			close(next)
			group.Wait()
		})
	}
}

// check requires the words in their order, then the end in any. The first fault of a kind is
// enough.
func (st *stage) check(t *testing.T, got heard, want string) {
	t.Helper()
	words := []string{`42["word",0]`, `42["word",1]`, `42["word",2]`, `420["word",3]`, `42/a,["word",4]`}
	if st.refuse {
		words = []string{words[0], words[1], words[2], `421["word",3]`} // behind the question
	}
	raw := make([]string, len(got.packets))
	for i, p := range got.packets {
		raw[i] = p.Raw
	}
	if st.plain != nil {
		raw = likeOurs(got.packets)
	}
	if len(raw) < len(words) || !slices.Equal(raw[:len(words)], words) || harness.Sorted(raw[len(words):]) != want {
		st.once.Do(func() { t.Errorf("got %q (%s), want %q and then %s", raw, got.ended, words, want) })
	}
}

// likeOurs takes from what a client of the hooks got what is go-socket.io's way: other ids, and
// what was emitted while go-socket.io still had in hand what came before the end. That comes
// before the end, too.
func likeOurs(got []siotest.Packet) (raw []string) {
	for _, p := range got {
		name, args := p.Event()
		switch {
		case name == "late" || name == "word" && string(args[0]) == "-1":
			if len(raw) != 5 {
				raw = append(raw, p.Raw)
			}
		case name == "word" && p.ID >= 0:
			raw = append(raw, "420"+string(p.Data))
		case p.ID >= 0 && p.Namespace == "/":
			raw = append(raw, "421"+string(p.Data))
		case p.ID >= 0:
			raw = append(raw, "42/a,2"+string(p.Data))
		default:
			raw = append(raw, p.Raw)
		}
	}
	return raw
}

func TestLastWords(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"Protect", "hooks"} {
		for _, ending := range endings {
			if how == "hooks" && ending.name == "In" {
				continue
			}
			t.Run(how+"/"+ending.name, func(t *testing.T) {
				t.Parallel()
				st := &stage{}
				build := st.protect
				want := ending.want
				if how == "hooks" {
					build = st.hooks
					if want == goodbye { // go-socket.io's Close, which sends none
						want = ""
					}
				}
				build(t, harness.Loopback(t), func(c socketio.Conn) {
					session, _ := st.Auth.Session(c)
					st.speak(c)
					ending.end(st, c, session.Subject())
					if !ending.own {
						c.Emit("late")
						st.toRoom("/", c.ID(), -1)
						st.toRoom("/a", c.ID(), -1)
					}
				})
				everyone(t, func(t *testing.T, transport string, try int) {
					st.check(t, st.visit(t, transport, try, func(_ *siotest.Client, must siotest.Must) { must.Emit("/", "go") }), want)
				})
			})
		}
	}
}

// Who was authenticated has some seconds to fetch the last words, and may have sent much before it heard them.
func TestLastWordsFetchedLate(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"Protect", "hooks"} {
		for _, version := range []int{3, 4} {
			for _, transport := range []string{"polling", "websocket"} {
				t.Run(fmt.Sprintf("%s/EIO=%d/%s", how, version, transport), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						st := &stage{}
						build := st.protect
						if how == "hooks" {
							build = st.hooks
						}
						build(t, harness.InMemory(t), func(c socketio.Conn) {
							c.Emit("word", 0)
							st.Auth.DisconnectSubject("bob", nil)
						})
						client, must := st.Dial(t, siotest.Options{Version: version, Transport: transport, Query: harness.WithToken(harness.TokenOf(t, "bob")), ManualPoll: true, ManualRead: true})
						if version == 4 {
							must.Send("40")
						}
						fetch := func() (got []string) { // what there is, without PINGs and what comes from the transport
							if transport == "polling" {
								packets, _, err := client.Poll(t.Context())
								must.OK(err)
								for _, p := range packets {
									got = append(got, p.String())
								}
								return got
							}
							p, err := client.ReadFrame(t.Context())
							must.OK(err)
							return []string{p.String()}
						}
						if version == 4 {
							fetch()
						}
						must.Send(`42["go"]`)
						time.Sleep(3 * time.Second)
						if transport == "polling" {
							must.Send(`42["much","` + strings.Repeat("x", 50_000) + `"]`)
						}
						time.Sleep(time.Second)
						var got []string
						for !slices.Contains(got, "441") && !slices.Contains(got, "41") {
							got = append(got, fetch()...)
						}
						if all := strings.Join(got, " "); !strings.Contains(all, `42["word",0]`) || !strings.Contains(all, `["unauthorized",`) {
							t.Errorf("got %q", got)
						}
					})
				})
			}
		}
	}
}

// slowWord takes its time where go-socket.io encodes it, as on a machine that has other things to do.
type slowWord struct{}

func (slowWord) MarshalJSON() ([]byte, error) {
	time.Sleep(time.Second)
	return []byte("0"), nil
}

func TestLastWordsThatTakeLong(t *testing.T) {
	t.Parallel()
	for _, ending := range endings {
		if ending.name == "In" {
			continue
		}
		t.Run(ending.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := &stage{}
				st.hooks(t, harness.InMemory(t), func(c socketio.Conn) {
					c.Emit("word", slowWord{})
					ending.end(st, c, "bob")
				})
				_, must := st.Dial(t, siotest.Options{Transport: "websocket", Query: harness.WithToken(harness.TokenOf(t, "bob"))})
				must.NextRaw("40")
				must.Emit("/", "go")
				must.NextRaw(`42["word",0]`)
				rest := must.Rest()
				if told := len(rest) > 0; told == (ending.want == goodbye) { // go-socket.io's Close says nothing
					t.Errorf("then came %v", rest)
				}
			})
		})
	}
}

// An error from OnConnect comes behind what OnConnect has emitted.
func TestLastWordsOfOnConnect(t *testing.T) {
	t.Parallel()
	st := &stage{refuse: true}
	st.protect(t, harness.Loopback(t), st.speak)
	everyone(t, func(t *testing.T, transport string, try int) {
		got := st.visit(t, transport, try, func(client *siotest.Client, must siotest.Must) { must.OK(client.Ack("/", 0)) })
		st.check(t, got, "41 44"+harness.Refusal("unauthorized", "unauthorized"))
	})
}

// Server.Close says nothing of its own: clients come back after a restart. All words arrive.
func TestLastWordsOfTheServer(t *testing.T) {
	t.Parallel()
	const each = 22
	for range tries / (each * len(harness.Transports)) {
		st := &stage{}
		var spoken, group sync.WaitGroup
		st.protect(t, harness.Loopback(t), func(c socketio.Conn) { st.speak(c); spoken.Done() })
		spoken.Add(each * len(harness.Transports))
		for _, transport := range harness.Transports {
			for try := range each {
				group.Go(func() {
					got := st.visit(t, transport, try, func(_ *siotest.Client, must siotest.Must) { must.Emit("/", "go") })
					st.check(t, got, "")
				})
			}
		}
		spoken.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
	}
}

// Somebody speaks without a pause while the token expires: the client hears an unbroken line up
// to the end, and at least what was said before.
func TestLastWordsBeforeExpiry(t *testing.T) {
	t.Parallel()
	const life, pace, before = time.Minute, 100 * time.Microsecond, 10
	for _, how := range []string{"Protect", "hooks"} {
		for i, transport := range harness.Transports {
			t.Run(how+"/"+transport, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					st := &stage{}
					build := st.protect
					if how == "hooks" {
						build = st.hooks
					}
					expires := time.Now().Add(life).Truncate(time.Second)
					var group sync.WaitGroup
					build(t, harness.InMemory(t), func(c socketio.Conn) {
						group.Go(func() {
							time.Sleep(time.Until(expires) - before*pace)
							for n := range 2 * before {
								if n%2 == 0 {
									c.Emit("word", n)
								} else {
									st.toRoom("/", c.ID(), n)
								}
								time.Sleep(pace)
							}
						})
					})
					for range (tries + i) / len(harness.Transports) {
						group.Go(func() {
							o := siotest.Options{Transport: transport, Query: harness.WithToken(harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "exp": expires.Unix()}))}
							if transport == "upgrade" {
								o.Transport = "polling"
							}
							client, must := st.Dial(t, o)
							must.NextRaw("40")
							must.Emit("/", "go")
							if transport == "upgrade" {
								time.Sleep(time.Until(expires))
								_ = client.UpgradeNow(t.Context())
							} else {
								time.Sleep(time.Until(expires))
							}
							got := must.Rest()
							if len(got) < before+2 || got[len(got)-1].Raw != "41" {
								t.Errorf("got %d packets, the last %v", len(got), got[max(0, len(got)-3):])
								return
							}
							harness.Unauthorized(t, got[len(got)-2], "invalid_token", "jwt expired")
							for n, p := range got[:len(got)-2] {
								if p.Raw != fmt.Sprintf(`42["word",%d]`, n) {
									t.Errorf("word %d is %s", n, p.Raw)
								}
							}
						})
					}
					group.Wait()
				})
			})
		}
	}
}

// Close says goodbye in every namespace that the client is in, and in no other.
func TestCloseSaysGoodbyePerNamespace(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.BothTransports {
		for _, from := range []string{"/", "/a", "/b"} {
			t.Run(transport+strings.ReplaceAll(from, "/", "/from "), func(t *testing.T) {
				s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
					for _, nsp := range []string{"/", "/a", "/b", "/c"} {
						s.OnEvent(nsp, "close", func(c socketio.Conn) { _ = c.Close(); _ = c.Close() })
						s.OnEvent(nsp, "mark", func(socketio.Conn) {})
					}
				})
				client, must := s.Dial(t, harness.Bob(t, transport))
				for _, nsp := range []string{"/a", "/b", "/c"} {
					must.Join(nsp)
					must.Connected(nsp)
				}
				must.OK(client.Leave("/c"))
				must.Call("/a", "mark")
				must.Emit(from, "close")
				var got []string
				for _, p := range must.Rest() {
					got = append(got, p.Raw)
				}
				if harness.Sorted(got) != "41 41/a 41/b" {
					t.Errorf("got %q", got)
				}
			})
		}
	}
}
