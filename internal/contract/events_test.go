package contract_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/parser"
)

// How events find their handlers, and what those are given. Hazard 43.

// An event is found by its name as JSON means it, however the client writes it.
func TestEventNames(t *testing.T) {
	t.Parallel()
	names := map[string][]string{ // by name: what clients write
		"chat":            {`"chat"`, `"\u0063hat"`, `"c\u0068\u0061t"`},
		"chat/message":    {`"chat/message"`, `"chat\/message"`},
		"a,b":             {`"a,b"`, `"a\u002cb"`},
		`a","b`:           {`"a\",\"b"`},
		"]":               {`"]"`, `"\u005d"`},
		"[a]{b}":          {`"[a]{b}"`},
		" ":               {`" "`, `"\u0020"`},
		" a  b ":          {`" a  b "`},
		"42":              {`"42"`},
		"0":               {`"0"`},
		"-1,":             {`"-1,"`},
		"":                {`""`},
		"é":               {`"é"`, `"\u00e9"`, `"\u00E9"`},
		"e\u0301":         {"\"e\u0301\"", `"e\u0301"`},
		"😀":               {`"😀"`, `"\ud83d\ude00"`, `"\uD83D\uDE00"`},
		"\ufffd":          {`"\ud83d"`, `"\ude00"`, `"\ufffd"`},
		"日本語":             {`"日本語"`, `"\u65e5本\u8a9e"`},
		`\`:               {`"\\"`, `"\u005c"`},
		`"`:               {`"\""`},
		"\n\t\x00":        {`"\n\t\u0000"`},
		"null":            {`"null"`},
		"disconnect":      {`"disconnect"`},
		"connect":         {`"connect"`},
		`{"a":"b"}`:       {`"{\"a\":\"b\"}"`},
		"\u2028</script>": {`"\u2028</script>"`, "\"\u2028</script>\""},
	}
	for _, transport := range harness.BothTransports {
		t.Run(transport, func(t *testing.T) {
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				for name := range names {
					for _, nsp := range []string{"/", "/a"} {
						s.OnEvent(nsp, name, func(_ socketio.Conn, text string) string { return nsp + name + text })
					}
				}
			})
			_, must := s.Dial(t, harness.Bob(t, transport))
			must.NextRaw("40")
			must.Join("/a")
			must.NextRaw("40/a")
			id := 0
			for name, written := range names {
				for _, text := range written {
					for _, form := range []string{`42%d[%s,"!"]`, `42%d[ %s , "!" ]`, "42%d[\t%s\n,\r\n\"!\",2]", `42/a,%d[%s,"!"]`} {
						packet := fmt.Sprintf(form, id, text)
						want := "/" + name + "!"
						if strings.HasPrefix(packet, "42/a") {
							want = "/a" + name + "!"
						}
						must.Send(packet)
						var got string
						p := must.Next()
						must.OK(p.Decode(&got))
						if got != want || p.ID != int64(id) {
							t.Errorf("%s is answered with %s, want %q", packet, p.Raw, want)
						}
						id++
					}
				}
			}
		})
	}
}

// What is missing or null is zero, and what is too much is left out.
func TestEventArguments(t *testing.T) {
	t.Parallel()
	type point struct{ X, Y int }
	handlers := map[string]any{
		"none": func(socketio.Conn) string { return "" },
		"values": func(_ socketio.Conn, n int, s string, b bool, f float64) string {
			return fmt.Sprintf("%d %q %t %v", n, s, b, f)
		},
		"composed": func(_ socketio.Conn, p point, l []int, m map[string]int) string { return fmt.Sprint(p, l, m) },
		"any":      func(_ socketio.Conn, v any) string { return fmt.Sprint(v) },
		"pointers": func(_ socketio.Conn, n *int, p *point) string { return fmt.Sprint(*n, *p) },
		"variadic": func(_ socketio.Conn, n int, rest ...string) string { return fmt.Sprintf("%d %q", n, rest) },
		"variants": func(_ socketio.Conn, rest ...any) string { return fmt.Sprint(rest...) },
		"buffers": func(_ socketio.Conn, b parser.Buffer, p *parser.Buffer, l []parser.Buffer, c cargo, m map[string]parser.Buffer) string {
			return fmt.Sprintf("%s %s %s %s %s", b.Data, p.Data, l[0].Data, c.Data.Data, m["m"].Data)
		},
		"mixed": func(_ socketio.Conn, text string, b *parser.Buffer, n int) string {
			return fmt.Sprint(text, string(b.Data), n)
		},
	}
	b := func(text string) []byte { return []byte(text) }
	tests := []struct {
		event string
		args  []any
		want  string
	}{
		{"none", nil, ""},
		{"none", []any{1, "two"}, ""},
		{"values", nil, `0 "" false 0`},
		{"values", []any{7}, `7 "" false 0`},
		{"values", []any{7, "x,]\"[{", true, 1.5, "surplus"}, `7 "x,]\"[{" true 1.5`},
		{"values", []any{nil, nil, nil, nil}, `0 "" false 0`},
		{"composed", []any{map[string]int{"X": 1, "Y": 2}, []int{1, 2}, map[string]int{"a": 1}}, `{1 2} [1 2] map[a:1]`},
		{"composed", []any{nil, nil}, `{0 0} [] map[]`},
		{"any", nil, `<nil>`},
		{"any", []any{nil}, `<nil>`},
		{"any", []any{[]any{"a", nil, map[string]any{"b": "]"}}}, `[a <nil> map[b:]]]`},
		{"pointers", []any{1, map[string]int{"X": 3}}, `1 {3 0}`},
		{"pointers", []any{nil}, `0 {0 0}`},
		{"variadic", nil, `0 []`},
		{"variadic", []any{1, "a", "b"}, `1 ["a" "b"]`},
		{"variadic", []any{1, nil, "b"}, `1 ["" "b"]`},
		{"variants", []any{1, []int{2}, nil}, `1 [2] <nil>`},
		{"buffers", []any{b("a"), b("b"), []any{b("c")}, map[string]any{"data": b("d")}, map[string]any{"m": b("e")}}, `a b c d e`},
		{"mixed", []any{"t", b("\x00\xff"), 5}, "t\x00\xff5"},
	}
	for _, transport := range harness.BothTransports {
		t.Run(transport, func(t *testing.T) {
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				for event, f := range handlers {
					s.OnEvent("/", event, f)
				}
			})
			_, must := s.Dial(t, harness.Bob(t, transport))
			for _, test := range tests {
				var got string
				must.OK(must.Call("/", test.event, test.args...).Decode(&got))
				if want := strings.ToValidUTF8(test.want, "\ufffd"); got != want {
					t.Errorf("%s of %v: got %q, want %q", test.event, test.args, got, want)
				}
			}
		})
	}
}

// Attachments come back, in results too.
func TestResultsWithAttachments(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.BothTransports {
		t.Run(transport, func(t *testing.T) {
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				s.OnEvent("/", "turn", func(_ socketio.Conn, a, b *parser.Buffer) (parser.Buffer, map[string]any, any) {
					return *b, map[string]any{"a": a}, nil
				})
			})
			_, must := s.Dial(t, harness.Bob(t, transport))
			p := must.Call("/", "turn", []byte("a"), []byte("b\xff"))
			if want := `462-0[{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}},null]`; p.Raw != want {
				t.Errorf("got %s, want %s", p.Raw, want)
			}
			if string(p.Attachments[0]) != "b\xff" || string(p.Attachments[1]) != "a" {
				t.Errorf("with %q", p.Attachments)
			}
		})
	}
}

// A value of the wrong type drops the event. OnError, or else the log, is told which one it was.
func TestWrongTypes(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{ // by what is told
		`event "number": argument 1`: {`42["number","x"]`, `420["number",{}]`, `42["number",1.5]`},
		`event "second": argument 2`: {`42["second","a","b"]`, `42["second","a",[]]`},
		`event "rest": argument 3`:   {`42["rest",1,"a",2]`},
		`event "buffer": argument 1`: {`42["buffer","text"]`, `42["buffer",5]`},
		`event "own": argument 1`:    {`42["own",1]`},
		`event "é,\"": argument 1`:   {`42["\u00e9,\"","x"]`},
	}
	for _, told := range []bool{true, false} {
		for _, transport := range harness.BothTransports {
			t.Run(fmt.Sprintf("OnError %t/%s", told, transport), func(t *testing.T) {
				var errs, log, ran harness.Record
				s := harness.Start(t, socketiojwt.Options{Handshake: true, Logger: harness.LogTo(&log)}, func(s *harness.App) {
					harness.Chat(s)
					if told {
						hearing(&errs)(s)
					}
					s.OnEvent("/", "number", func(socketio.Conn, int) { ran.Add("number") })
					s.OnEvent("/", "second", func(socketio.Conn, string, int) { ran.Add("second") })
					s.OnEvent("/", "rest", func(socketio.Conn, int, ...string) { ran.Add("rest") })
					s.OnEvent("/", "buffer", func(socketio.Conn, parser.Buffer) { ran.Add("buffer") })
					s.OnEvent("/", "own", func(socketio.Conn, *refusing) { ran.Add("own") })
					s.OnEvent("/", `é,"`, func(socketio.Conn, int) { ran.Add("quoted") })
				})
				_, must := s.Dial(t, harness.Bob(t, transport))
				must.Event("/", "welcome")
				heard := &log
				if told {
					heard = &errs
				}
				for want, packets := range tests {
					for _, packet := range packets {
						errs.Reset()
						log.Reset()
						must.Send(packet, `429["echo","alive"]`)
						must.NextRaw(`439["alive"]`)
						logged := strings.ReplaceAll(heard.String(), `\`, "") // as slog writes quotes
						if !strings.Contains(logged, strings.ReplaceAll(want, `\`, "")) {
							t.Errorf("%s: got %s, want %s", packet, heard, want)
						}
						if strings.Contains(log.String(), "level=WARN") == told {
							t.Errorf("%s: the log says %q", packet, log.String())
						}
					}
				}
				if ran.String() != "" {
					t.Errorf("these ran: %s", &ran)
				}
			})
		}
	}
}

type refusing struct{}

func (*refusing) UnmarshalJSON([]byte) error { return fmt.Errorf("never") }

// A handler that panics, or ends its goroutine, takes nothing with it but its event.
func TestHandlersThatFail(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.BothTransports {
		t.Run(transport, func(t *testing.T) {
			var log, errs harness.Record
			s := harness.Start(t, socketiojwt.Options{Handshake: true, Logger: harness.LogTo(&log)}, func(s *harness.App) {
				harness.Chat(s)
				hearing(&errs)(s)
				s.OnEvent("/", "panic", func(socketio.Conn) string { panic("SECRET") })
				s.OnEvent("/", "runtime", func(_ socketio.Conn, l []int) int { return l[3] })
				s.OnEvent("/", "exit", func(socketio.Conn) string { runtime.Goexit(); return "" })
				s.OnEvent("/", "type", func(socketio.Conn, panicking) string { return "" })
			})
			_, must := s.Dial(t, harness.Bob(t, transport))
			must.Event("/", "welcome")
			for _, packet := range []string{`421["panic"]`, `422["runtime"]`, `423["exit"]`, `424["type",{}]`} {
				log.Reset()
				for range 2 {
					must.Send(packet, `429["echo","alive"]`)
					must.NextRaw(`439["alive"]`)
				}
				got := log.String()
				if want := 2; packet != `423["exit"]` && (strings.Count(got, "callback=OnEvent") != want || strings.Count(got, "level=ERROR") != want) || strings.Contains(got, "SECRET") {
					t.Errorf("%s: the log says %s", packet, got)
				}
			}
			if errs.String() != "" {
				t.Errorf("OnError was told %s", &errs)
			}
		})
	}
}

type panicking struct{}

func (*panicking) UnmarshalJSON([]byte) error { panic("in a type") }

// Who asks for an acknowledgement gets one, with the results or empty, and nobody else.
func TestAcknowledgements(t *testing.T) {
	t.Parallel()
	for _, transport := range harness.BothTransports {
		t.Run(transport, func(t *testing.T) {
			setup := func(nsp string) func(*harness.App) {
				return func(s *harness.App) {
					s.OnEvent(nsp, "none", func(socketio.Conn) {})
					s.OnEvent(nsp, "none of one", func(socketio.Conn, string) {})
					s.OnEvent(nsp, "one", func(socketio.Conn) int { return 1 })
					s.OnEvent(nsp, "nil", func(socketio.Conn) error { return nil })
					s.OnEvent(nsp, "three", func(socketio.Conn) (string, *int, []int) { return "a", nil, nil })
					s.OnEvent(nsp, "mark", func(socketio.Conn) {})
				}
			}
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) { setup("/")(s); setup("/a")(s) })
			_, must := s.Dial(t, harness.Bob(t, transport))
			must.NextRaw("40")
			must.Join("/a")
			must.NextRaw("40/a")
			for _, nsp := range []string{"", "/a,"} {
				for send, want := range map[string]string{
					`0["none"]`: `0[]`, `123456["none of one"]`: `123456[]`, `7["one"]`: `7[1]`, `7["nil"]`: `7[null]`,
					`1["three",1]`: `1["a",null,null]`, `["none"]`: "", `["three"]`: "", `5["unknown"]`: "", `["unknown"]`: "", `5["None"]`: "",
				} {
					must.Send("42"+nsp+send, "42"+nsp+`99["mark"]`)
					if want != "" {
						must.NextRaw("43" + nsp + want)
					}
					must.NextRaw("43" + nsp + "99[]")
				}
			}
		})
	}
}

// The handlers of a connection run one after another, behind OnConnect, in the order of the
// events. Only its own connection waits for a slow one.
func TestHandlersRunOneAfterAnother(t *testing.T) {
	t.Parallel()
	const events = 50
	for _, transport := range harness.Transports {
		t.Run(transport, func(t *testing.T) {
			var ran harness.Record
			var running atomic.Int32
			enter := func() func() {
				if running.Add(1) > 1 {
					t.Error("two handlers of one connection run at once")
				}
				runtime.Gosched()
				return func() { running.Add(-1) }
			}
			connecting, slow := make(chan struct{}), make(chan struct{})
			s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
				s.OnConnect("/", func(c socketio.Conn) error {
					if session, _ := s.Auth.Session(c); session.Subject() == "bob" {
						defer enter()()
						<-connecting
						ran.Add("connected")
					}
					return nil
				})
				s.OnEvent("/", "n", func(_ socketio.Conn, n int) { defer enter()(); ran.Add("%d", n) })
				s.OnEvent("/", "slow", func(socketio.Conn) { defer enter()(); <-slow; ran.Add("slow") })
				s.OnEvent("/", "ping", func(socketio.Conn) {})
			})
			_, must := s.Dial(t, harness.Bob(t, transport))
			must.NextRaw("40")
			want := "connected"
			for n := range events {
				must.Emit("/", "n", n)
				want += fmt.Sprintf(", %d", n)
			}
			_, other := s.Dial(t, siotest.Options{Transport: transport, Query: harness.WithToken(harness.TokenOf(t, "eve"))})
			other.Call("/", "ping")
			if ran.String() != "" {
				t.Errorf("%s ran before OnConnect returned", &ran)
			}
			close(connecting)
			ran.Eventually(t, want)
			must.Send(`42["slow"]`, `42["n",-1]`)
			other.Call("/", "ping")
			ran.Eventually(t, want)
			close(slow)
			ran.Eventually(t, want+", slow, -1")
		})
	}
}

// Placeholders in text are data, and so is what only looks like one; the JSON of who is authenticated may
// be nested as deep as Limits.Depth says.
func TestArgumentsThatLookLikeAttachments(t *testing.T) {
	t.Parallel()
	var got harness.Record
	s := harness.Start(t, harness.HandshakeMode, func(s *harness.App) {
		s.OnEvent("/", "any", func(_ socketio.Conn, value any) { got.Add("%v", value) })
		s.OnEvent("/", "deep", func(_ socketio.Conn, value json.RawMessage) int { return len(value) })
	})
	for _, transport := range harness.Transports {
		c, must := s.Dial(t, harness.Bob(t, transport))
		must.Connected("/")
		for _, value := range []string{`{"_placeholder":false}`, `{"_placeholder":true,"num":7}`, `{"_placeholder":"x","num":[]}`} {
			must.Send(`42["any",` + value + `]`)
		}
		must.OK(c.SendFrames(siotest.Text(`451-["any",{"_placeholder":false,"num":9}]`), siotest.Binary([]byte("x"))))
		got.Eventually(t, "map[_placeholder:false], map[_placeholder:true num:7], map[_placeholder:x num:[]], map[_placeholder:false num:9]")
		got.Reset()
		deep := strings.Repeat("[", 511) + strings.Repeat("]", 511)
		must.Send(`420["deep",` + deep + `]`)
		must.NextRaw(`430[1022]`)
		_ = c.SendPacket(`420["deep",[` + deep + `]]`) // a POST is answered with 400
		must.Closed()
	}
}
