package contract_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"
)

// What handlers and hooks emit, and the acknowledgements that come back.

// startDoing starts a server on which the event "do" calls f, and connects a client to it.
func startDoing(t *testing.T, transport string, opts socketiojwt.Options, f func(s *harness.App, c socketio.Conn, n int)) (*harness.App, *siotest.Client, siotest.Must) {
	t.Helper()
	opts.Handshake = true
	s := harness.Start(t, opts, func(s *harness.App) {
		s.OnEvent("/", "do", func(c socketio.Conn, n int) { f(s, c, n) })
		s.OnEvent("/", "ping", func(socketio.Conn) {})
	})
	client, must := s.Dial(t, harness.Bob(t, transport))
	must.NextRaw("40")
	return s, client, must
}

// hearing lets log hear of each error that OnError is told of.
func hearing(log *harness.Record) func(*harness.App) {
	return func(s *harness.App) {
		s.OnError("/", func(_ socketio.Conn, err error) { log.Add("%v", err) })
	}
}

type cargo struct {
	Name string         `json:"name"`
	Data parser.Buffer  `json:"data"`
	Next *cargo         `json:"next,omitempty"`
	Any  any            `json:"any,omitempty"`
	No   *parser.Buffer `json:"no,omitempty"`
}

func TestEmitTakesAnyArguments(t *testing.T) {
	t.Parallel()
	const first, second = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`
	b := harness.Buffer("x")
	args := func(args ...any) []any { return args }
	tests := []struct {
		args        []any
		want        string // behind 4
		attachments string
	}{
		{nil, `2["x"]`, ""},
		{args(nil), `2["x",null]`, ""},
		{args("a", nil), `2["x","a",null]`, ""},
		{args(nil, nil, 1), `2["x",null,null,1]`, ""},
		{args((*int)(nil)), `2["x",null]`, ""},
		{args((*cargo)(nil), (*parser.Buffer)(nil)), `2["x",null,null]`, ""},
		{args(map[string]any(nil), []int(nil), error(nil)), `2["x",null,null,null]`, ""},
		{args([]any{nil}, map[string]any{"a": nil}), `2["x",[null],{"a":null}]`, ""},
		{args("é😀", 1.5, true, []string{"a"}), `2["x","é😀",1.5,true,["a"]]`, ""},
		{args(b), `51-["x",` + first + `]`, "x"},
		{args(&b, nil), `51-["x",` + first + `,null]`, "x"},
		{args(parser.Buffer{}), `51-["x",` + first + `]`, ""},
		{args(cargo{Name: "n", Data: b}), `51-["x",{"name":"n","data":` + first + `}]`, "x"},
		{args(&cargo{Data: b, Next: &cargo{Data: harness.Buffer("y")}}), `52-["x",{"name":"","data":` + first + `,"next":{"name":"","data":` + second + `}}]`, "x,y"},
		{args(cargo{Data: b, Any: []any{&b}}), `52-["x",{"name":"","data":` + first + `,"any":[` + second + `]}]`, "x,x"},
		{args(map[string]any{"a": b}), `51-["x",{"a":` + first + `}]`, "x"},
		{args(map[string]parser.Buffer{"a": b}, map[int]*parser.Buffer{7: &b}), `52-["x",{"a":` + first + `},{"7":` + second + `}]`, "x,x"},
		{args([]parser.Buffer{b, harness.Buffer("y")}), `52-["x",[` + first + `,` + second + `]]`, "x,y"},
		{args([]any{1, b}, [1]parser.Buffer{b}), `52-["x",[1,` + first + `],[` + second + `]]`, "x,x"},
		{args([][]map[string]any{{{"a": b}}}), `51-["x",[[{"a":` + first + `}]]]`, "x"},
	}
	ways := map[string]func(s *harness.App, c socketio.Conn, args []any){
		"Emit":                 func(_ *harness.App, c socketio.Conn, args []any) { c.Emit("x", args...) },
		"In":                   func(s *harness.App, c socketio.Conn, args []any) { s.In("/", c.ID()).Emit("x", args...) },
		"BroadcastToRoom":      func(s *harness.App, c socketio.Conn, args []any) { s.BroadcastToRoom("/", c.ID(), "x", args...) },
		"BroadcastToNamespace": func(s *harness.App, _ socketio.Conn, args []any) { s.BroadcastToNamespace("/", "x", args...) },
	}
	for way, emit := range ways {
		for _, transport := range harness.BothTransports {
			t.Run(way+"/"+transport, func(t *testing.T) {
				_, _, must := startDoing(t, transport, socketiojwt.Options{}, func(s *harness.App, c socketio.Conn, n int) { emit(s, c, tests[n].args) })
				for n, test := range tests {
					must.Emit("/", "do", n)
					p := must.NextRaw("4" + test.want)
					if got := string(bytes.Join(p.Attachments, []byte(","))); got != test.attachments {
						t.Errorf("%s has the attachments %q, want %q", test.want, got, test.attachments)
					}
				}
			})
		}
	}
	if string(b.Data) != "x" {
		t.Error("a Buffer was changed")
	}
}

// A function at the end asks for an acknowledgement, a nil one does not and is no argument.
func TestEmitTakesAFunctionLast(t *testing.T) {
	t.Parallel()
	none := (func(string))(nil)
	_, _, must := startDoing(t, "websocket", socketiojwt.Options{}, func(_ *harness.App, c socketio.Conn, _ int) {
		c.Emit("x", none)
		c.Emit("x", nil, none)
		c.Emit("x", func() {})
		c.Emit("x", harness.Buffer("b"), nil, func(...int) {})
	})
	must.Emit("/", "do", 0)
	for _, want := range []string{`42["x"]`, `42["x",null]`, `420["x"]`, `451-1["x",{"_placeholder":true,"num":0},null]`} {
		must.NextRaw(want)
	}
}

// Hazard 42: an echo of what is missing, or null, is a nil in the last place.
func TestHazard42_EchoOfNothing(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.BothTransports {
		t.Run(transport, func(t *testing.T) {
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				s.OnEvent("/", "echo", func(c socketio.Conn, v any) any { c.Emit("echo", v); return v })
				s.OnEvent("/", "all", func(_ socketio.Conn, v any) { s.BroadcastToNamespace("/", "all", v) })
			})
			_, must := s.Dial(t, harness.Bob(t, transport))
			must.NextRaw("40")
			for _, send := range []string{`42["echo"]`, `42["echo",null]`, `427["echo"]`, `427["echo",null,1]`} {
				must.Send(send)
				must.NextRaw(`42["echo",null]`)
				if strings.HasPrefix(send, "427") {
					must.NextRaw(`437[null]`)
				}
			}
			must.Send(`42["all"]`, `42["all",null]`)
			must.NextRaw(`42["all",null]`)
			must.NextRaw(`42["all",null]`)
		})
	}
}

// What was given to Emit or a broadcast may change as soon as that returns, and calls of one
// goroutine are heard in their order, however they are made.
func TestEmitKeepsValuesAndOrder(t *testing.T) {
	t.Parallel()
	const rounds = 200
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			_, _, must := startDoing(t, transport, socketiojwt.Options{}, func(s *harness.App, c socketio.Conn, _ int) {
				go func() {
					shared, data := map[string]any{}, harness.Buffer("0000")
					shared["data"] = data
					for n := range rounds {
						shared["n"] = n
						copy(data.Data, fmt.Sprintf("%04d", n))
						switch n % 4 {
						case 0:
							c.Emit("x", shared)
						case 1:
							s.BroadcastToNamespace("/", "x", shared)
						case 2:
							c.Emit("x", shared, func() {})
						case 3:
							s.In("/", c.ID(), "nobody's").Except("nobody's").Emit("x", shared)
						}
					}
				}()
			})
			must.Emit("/", "do", 0)
			for n := range rounds {
				var got struct{ N int }
				p := must.Next()
				must.OK(p.Decode(&got))
				if data := string(p.Attachments[0]); got.N != n || data != fmt.Sprintf("%04d", n) {
					t.Fatalf("number %d is %s with %s", n, p.Raw, data)
				}
			}
		})
	}
}

type unwilling struct{}

func (unwilling) MarshalJSON() ([]byte, error) { return nil, errors.New("no") }

// What cannot be encoded is not sent. OnError is told or else the log, and the connection lives.
func TestEmitOfWhatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	cycle := map[string]any{}
	cycle["itself"] = cycle
	bad := []any{make(chan int), math.NaN(), map[string]any{"f": func() {}}, cycle, unwilling{}, []any{harness.Buffer("b"), make(chan int)}}
	ways := map[string]func(s *harness.App, c socketio.Conn, v any){
		"Emit":             func(_ *harness.App, c socketio.Conn, v any) { c.Emit("x", v) },
		"Emit with an ack": func(_ *harness.App, c socketio.Conn, v any) { c.Emit("x", v, func() {}) },
		"a function first": func(_ *harness.App, c socketio.Conn, v any) { c.Emit("x", func() {}, v) },
		"broadcast":        func(s *harness.App, _ socketio.Conn, v any) { s.BroadcastToNamespace("/", "x", v) },
		"In":               func(s *harness.App, c socketio.Conn, v any) { s.In("/", c.ID()).Emit("x", v, func() {}) },
	}
	for way, emit := range ways {
		for _, told := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/OnError %t", way, told), func(t *testing.T) {
				var errs, log harness.Record
				s, _, must := startDoing(t, "websocket", socketiojwt.Options{Logger: harness.LogTo(&log)}, func(s *harness.App, c socketio.Conn, n int) { emit(s, c, bad[n]) })
				if told {
					hearing(&errs)(s)
				}
				heard := func() int {
					if told {
						return strings.Count(errs.String(), "json:")
					}
					return strings.Count(log.String(), "level=WARN")
				}
				for n := range bad {
					must.Emit("/", "do", n)
					id := fmt.Sprint(n)
					must.Send("42" + id + `["ping"]`)
					must.NextRaw("43" + id + "[]") // and nothing before
					harness.Eventually(t, "it is heard of", func() bool { return heard() == n+1 })
				}
			})
		}
	}
	t.Run("result", func(t *testing.T) {
		var errs harness.Record
		s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
			harness.Chat(s)
			hearing(&errs)(s)
			s.OnEvent("/", "bad", func(socketio.Conn) any { return make(chan int) })
		})
		_, must := s.Dial(t, harness.Bob(t, "websocket"))
		must.Send(`421["bad"]`)
		harness.Served(t, must)
		errs.Eventually(t, "json: unsupported type: chan int")
	})
}

// A value that holds itself cannot be encoded either, with a Buffer in it or without, and is
// found out soon. It runs in a process of its own: what may happen cannot be recovered from.
func TestEmitOfValuesThatHoldThemselves(t *testing.T) {
	const env = "SOCKETIOJWT_CYCLE"
	circle := &cargo{Data: harness.Buffer("x")}
	circle.Next = circle
	both := map[string]any{}
	both["a"], both["b"] = both, both
	values := map[string]any{"with a Buffer": circle, "twice": both}
	if name := os.Getenv(env); name != "" {
		debug.SetMaxStack(16 << 20)
		var errs harness.Record
		s, _, must := startDoing(t, "websocket", socketiojwt.Options{}, func(_ *harness.App, c socketio.Conn, _ int) { c.Emit("x", values[name]) })
		hearing(&errs)(s)
		must.Emit("/", "do", 0)
		must.Call("/", "ping")
		harness.Eventually(t, "it is heard of", func() bool { return strings.Contains(errs.String(), "cycle") })
		return
	}
	t.Parallel()
	for name := range values {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEmitOfValuesThatHoldThemselves$", "-test.timeout=5s")
			cmd.Env = append(os.Environ(), env+"="+name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %.300s", err, out)
			}
		})
	}
}

func TestAcknowledgementsAreDecoded(t *testing.T) {
	t.Parallel()
	var got harness.Record
	callbacks := []any{
		func(n int, s string) { got.Add("%d %q", n, s) },
		func(p *int, c *cargo) { got.Add("%d %q", *p, c.Name) },
		func(list []string, m map[string]int, v any) { got.Add("%v %v %v", list, m, v) },
		func(n int, rest ...string) { got.Add("%d %q", n, rest) },
		func(b parser.Buffer, c cargo) { got.Add("%s %s", b.Data, c.Data.Data) },
		func(*parser.Buffer) int { got.Add("no arguments"); return 1 },
	}
	acks := []struct {
		args []any
		want string
	}{
		{[]any{5, "five", "surplus"}, `5 "five"`},
		{[]any{6, map[string]string{"name": "n"}}, `6 "n"`},
		{[]any{[]string{"a"}, nil, 1.5}, `[a] map[] 1.5`},
		{[]any{1, "a", "b"}, `1 ["a" "b"]`},
		{[]any{[]byte("bytes"), map[string]any{"data": []byte("more")}}, `bytes more`},
		{nil, "no arguments"},
	}
	missing := []string{`0 ""`, `0 ""`, `[] map[] <nil>`, `0 []`, ` `, "no arguments"}
	for _, transport := range harness.BothTransports {
		t.Run(transport, func(t *testing.T) {
			_, client, must := startDoing(t, transport, socketiojwt.Options{}, func(_ *harness.App, c socketio.Conn, n int) {
				c.Emit("ask", n, callbacks[n%len(callbacks)])
			})
			for n := range 2 * len(callbacks) {
				got.Reset()
				must.Emit("/", "do", n)
				id := must.Event("/", "ask").ID
				want := missing[n%len(callbacks)]
				if n < len(acks) {
					want = acks[n].want
					must.OK(client.Ack("/", id, acks[n].args...))
				} else {
					must.OK(client.Ack("/", id))
				}
				got.Eventually(t, want)
			}
		})
	}
}

// Each callback runs once, with what belongs to it, whoever emits and whatever a client sends.
func TestAcknowledgementsOfManyEmits(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 40
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			calls := make(chan [2]int, 4*goroutines*each)
			_, client, must := startDoing(t, transport, socketiojwt.Options{}, func(_ *harness.App, c socketio.Conn, _ int) {
				for g := range goroutines {
					go func() {
						for n := range each {
							own := g*each + n
							c.Emit("ask", own, func(got int) { calls <- [2]int{own, got} })
						}
					}()
				}
			})
			must.Emit("/", "do", 0)
			var frames []siotest.Frame
			for range goroutines * each {
				var n int
				p := must.Event("/", "ask")
				must.OK(p.Decode(&n))
				ack := siotest.Text(fmt.Sprintf("43%d[%d]", p.ID, n))
				frames = append(frames, ack, siotest.Text(fmt.Sprintf("43%d[-1]", p.ID)), ack)
			}
			must.OK(client.SendFrames(append(frames, siotest.Text(`43999999["unknown"]`))...))
			seen := make(map[int]bool)
			for range goroutines * each {
				call := <-calls
				if call[0] != call[1] || seen[call[0]] {
					t.Fatalf("callback %d got %d, called before: %t", call[0], call[1], seen[call[0]])
				}
				seen[call[0]] = true
			}
			must.Call("/", "ping")
			select {
			case call := <-calls:
				t.Errorf("callback %d ran again", call[0])
			default:
			}
		})
	}
}

// A namespace that is joined again has a socket of its own: another pointer, nothing in its
// Context, and the callbacks of the old one are forgotten.
func TestRejoiningStartsAnew(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.BothTransports {
		t.Run(transport, func(t *testing.T) {
			var got harness.Record
			sockets := make(chan socketio.Conn, 2)
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				harness.Chat(s)
				s.OnConnect("/a", func(c socketio.Conn) error { sockets <- c; return nil })
				s.OnEvent("/a", "same", func(c socketio.Conn) bool { other := <-sockets; sockets <- other; return other == c })
			})
			client, must := s.Dial(t, harness.Bob(t, transport))
			must.NextRaw("40")
			join := func() socketio.Conn {
				must.Join("/a")
				must.Connected("/a")
				if p := must.Call("/a", "same"); string(p.Data) != "[true]" {
					t.Error("the handler has another pointer than OnConnect")
				}
				return <-sockets
			}
			old := join()
			old.SetContext("old")
			old.Join("room")
			old.Emit("ask", func(text string) { got.Add("old %s", text) })
			must.Event("/a", "ask")
			must.OK(client.Leave("/a"))
			must.OK(client.Ack("/a", 0, "after leaving"))
			current := join()
			must.OK(client.Ack("/a", 0, "to the new one"))
			must.Call("/", "echo", "behind it")
			if current == old || current.Context() != nil || s.RoomLen("/a", "room") != 0 {
				t.Errorf("same pointer: %t, Context %v, %d in the room", current == old, current.Context(), s.RoomLen("/a", "room"))
			}
			if old.Context() != "old" {
				t.Errorf("the old Context is %v", old.Context())
			}
			old.Emit("from the old", func() { got.Add("emitted late") })
			current.Emit("ask", func(text string) { got.Add("new %s", text) })
			must.OK(client.Ack("/a", must.Next().ID, "at last"))
			got.Eventually(t, "new at last")
		})
	}
}

// An acknowledgement of the wrong type goes to OnError, or else to the log, and nothing else
// happens. A callback that panics is logged.
func TestAcknowledgementsThatFail(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprint("OnError ", told), func(t *testing.T) {
			var errs, log, ran harness.Record
			s, client, must := startDoing(t, "websocket", socketiojwt.Options{Logger: harness.LogTo(&log)}, func(_ *harness.App, c socketio.Conn, _ int) {
				c.Emit("ask", func(int) { ran.Add("called") })
				c.Emit("ask", func(string) { panic("no") })
				c.Emit("ask", func(text string) { ran.Add("%s", text) })
			})
			heard := &log
			if told {
				hearing(&errs)(s)
				heard = &errs
			}
			must.Emit("/", "do", 0)
			for range 3 {
				must.OK(client.Ack("/", must.Event("/", "ask").ID, "text"))
			}
			ran.Eventually(t, "text")
			harness.Eventually(t, "the type is told of", func() bool { return strings.Contains(heard.String(), "acknowledgement 0: argument 1") })
			harness.SaidOnce(t, &log, "callback=acknowledgement", "level=ERROR", "panic: string")
			if n := strings.Count(heard.String(), "argument 1"); n != 1 {
				t.Errorf("told %d times", n)
			}
			must.Call("/", "ping")
		})
	}
}

// The same goes for what OnConnect asks for, which may still run then.
func TestAcknowledgementThatFailsInOnConnect(t *testing.T) {
	t.Parallel()
	var errs harness.Record
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		hearing(&errs)(s)
		s.OnConnect("/", func(c socketio.Conn) error {
			c.Emit("ask", func(int) {})
			second := make(chan struct{})
			c.Emit("ask", func() { close(second) })
			<-second
			return nil
		})
	})
	client, must := s.Dial(t, harness.Bob(t, "websocket"))
	for range 2 {
		must.OK(client.Ack("/", must.Event("/", "ask").ID, "no number"))
	}
	harness.Eventually(t, "OnError is told", func() bool { return strings.Contains(errs.String(), "acknowledgement 0") })
}
