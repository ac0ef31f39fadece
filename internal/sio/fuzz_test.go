package sio

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// eventHandlers are handlers of many types. ackHandlers are the same without the Conn.
var eventHandlers, ackHandlers = func() (events, acks []*handler) {
	for _, types := range handlerArgs {
		for _, variadic := range []bool{false, true} {
			in := append([]reflect.Type{connType}, types...)
			if variadic && len(types) == 0 {
				continue
			} else if variadic {
				in[len(in)-1] = reflect.SliceOf(in[len(in)-1])
			}
			nothing := func([]reflect.Value) []reflect.Value { return nil }
			events = append(events, newHandler(reflect.MakeFunc(reflect.FuncOf(in, nil, variadic), nothing).Interface()))
			acks = append(acks, handlerOf(reflect.MakeFunc(reflect.FuncOf(in[1:], nil, variadic), nothing), 0))
		}
	}
	return events, acks
}()

func addPackets(f *testing.F, packets ...string) {
	for _, p := range packets {
		f.Add([]byte(p))
	}
}

// FuzzEvent: whatever a client sends as a packet is refused for one of the reasons, or decoded for
// handlers of any type without a panic. Elements are divided as encoding/json does.
func FuzzEvent(f *testing.F) {
	addPackets(f, `2["chat"]`, `2["chat","a",1]`, `2/admin,17["chat",{"a":[1,"]"]}]`, `20["a,b",null]`, `2["\u0063hat" , "\"" ]`, `2[""]`,
		`51-["bin",`+ph0+`]`, `52-["bin",[`+ph1+`,`+ph0+`]]`, `51-["bin",{"A":`+ph0+`,"B":[null,`+ph0+`],"Num":{"A":`+ph0+`}}]`,
		`2["bin",{"type":"Buffer","data":[1,2]}]`, `2["bin",{"data":"AQID","num":5}]`, `2["e",1e400]`, `2["e",[[{}]]]`, "2[ \"e\"\n,\t{ } ]",
		`51-["bin",{"k":`+ph0+`},{"k":{"A":`+ph0+`}}]`, `50-["bin"]`, `2[null]`, `4"x"`, `0/admin?x`, `1`, ``,
		`54-["bin",{"_placeholder":true,"num":3},{"_Placeholder":true,"NUM":2}]`)
	f.Fuzz(func(t *testing.T, data []byte) {
		p := receive(t, data)
		if p == nil || p.Type != Event {
			return
		}
		checkElements(t, p)
		for _, h := range eventHandlers {
			// The error is the sender's, and says what is wrong.
			if _, err := h.call([]reflect.Value{reflect.Zero(connType)}, p, 1); err != nil && !strings.HasPrefix(err.Error(), p.what()+": argument ") {
				t.Fatalf("%s for %v: %v", data, h.f.Type(), err)
			}
		}
	})
}

// FuzzAcknowledgement is FuzzEvent for acknowledgements.
func FuzzAcknowledgement(f *testing.F) {
	addPackets(f, `31[]`, `30["ok",1]`, `3/admin,12[{"a":1}]`, `31[ ]`, `31[null,null]`, `61-3[`+ph0+`]`, `62-/admin,3[[`+ph1+`],{"k":`+ph0+`}]`,
		`3[]`, `60-1[]`, `31[1,[2,{"x":"]"}],"\\"]`, `3999999999999999["x"]`, `31{}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		p := receive(t, data)
		if p == nil || p.Type != Ack {
			return
		}
		if !p.HasID {
			t.Fatalf("%s has no id", data)
		}
		checkElements(t, p)
		for _, h := range ackHandlers {
			if _, err := h.call(nil, p, 0); err != nil && !strings.HasPrefix(err.Error(), p.what()+": argument ") {
				t.Fatalf("%s for %v: %v", data, h.f.Type(), err)
			}
		}
	})
}

// checkElements holds elements to encoding/json.
func checkElements(t *testing.T, p *Packet) {
	var want []json.RawMessage
	if err := json.Unmarshal(p.Body, &want); err != nil {
		t.Fatalf("%s: %v", p.Body, err)
	}
	e := elementsOf(p.Body)
	for i, want := range want {
		got := e.next()
		if !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
			t.Fatalf("element %d of %s is %q, want %q", i, p.Body, got, want)
		}
	}
	if extra := e.next(); extra != nil {
		t.Fatalf("%s has one more element: %q", p.Body, extra)
	}
	for _, text := range want {
		decoded, err := decodeArg(stringType, text, p, 0)
		var s string
		wantErr := json.Unmarshal(text, &s)
		if (err == nil) != (wantErr == nil) || err == nil && decoded.String() != s {
			t.Fatalf("%s is the string %q (%v), want %q (%v)", text, decoded, err, s, wantErr)
		}
	}
}
