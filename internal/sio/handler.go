package sio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	socketio "github.com/googollee/go-socket.io"
)

// handler is a function of the application: for an event, or for an acknowledgement.
type handler struct {
	f        reflect.Value
	takes    []reflect.Type // the arguments from the wire
	variadic bool

	// direct is f where f is of one of the commonest types: reflection costs an echo a tenth of its
	// time (make bench, "Server CPU per echo"). It is nil for other types.
	direct func(c socketio.Conn, text string) []any
}

var null = []byte("null")

var connType = reflect.TypeFor[socketio.Conn]()

// newHandler takes what go-socket.io's OnEvent takes, and panics at anything else, as that does.
func newHandler(f any) *handler {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Func || v.IsNil() || v.Type().NumIn() == 0 || v.Type().In(0) != connType {
		panic("socketiojwt: an event handler must be a func(socketio.Conn, ...)")
	}
	h := handlerOf(v, 1)
	switch f := f.(type) {
	case func(socketio.Conn, string):
		h.direct = func(c socketio.Conn, text string) []any { f(c, text); return nil }
	case func(socketio.Conn, string) string:
		h.direct = func(c socketio.Conn, text string) []any { return []any{f(c, text)} }
	}
	return h
}

// handle calls the handler of an event.
func (h *handler) handle(c socketio.Conn, p *Packet) (results []any, err error) {
	if h.direct != nil {
		elements := elementsOf(p.Body)
		elements.next()
		if text, ok := plainString(elements.next()); ok {
			return h.direct(c, text), nil
		}
	}
	// c is passed as a socketio.Conn: otherwise reflection would look whether the type fits.
	values, err := h.call([]reflect.Value{reflect.ValueOf(&c).Elem()}, p, 1)
	for _, v := range values {
		results = append(results, v.Interface())
	}
	return results, err
}

func handlerOf(v reflect.Value, skip int) *handler {
	t := v.Type()
	h := &handler{f: v, variadic: t.IsVariadic()}
	for i := skip; i < t.NumIn(); i++ {
		h.takes = append(h.takes, t.In(i))
	}
	return h
}

// call decodes the arguments and calls the function. An error says that the arguments do not fit:
// the function was not called.
func (h *handler) call(first []reflect.Value, p *Packet, skip int) ([]reflect.Value, error) {
	args, err := h.decode(first, p, skip)
	if err != nil {
		return nil, err
	}
	if h.variadic {
		return h.f.CallSlice(args), nil
	}
	return h.f.Call(args), nil
}

// decode appends the values of the packet's array, without the first skip, to args. Values that the
// function does not take are left out. Missing values and null are zero.
func (h *handler) decode(args []reflect.Value, p *Packet, skip int) ([]reflect.Value, error) {
	elements := elementsOf(p.Body)
	for range skip {
		elements.next()
	}
	for i, t := range h.takes {
		if h.variadic && i == len(h.takes)-1 {
			rest := reflect.MakeSlice(t, 0, 0)
			for n := i; ; n++ {
				text := elements.next()
				if text == nil {
					return append(args, rest), nil
				}
				value, err := decodeArg(t.Elem(), text, p, n)
				if err != nil {
					return nil, err
				}
				rest = reflect.Append(rest, value)
			}
		}
		value, err := decodeArg(t, elements.next(), p, i)
		if err != nil {
			return nil, err
		}
		args = append(args, value)
	}
	return args, nil
}

var stringType = reflect.TypeFor[string]()

// plainString returns the text of a string without escapes, which most arguments are.
func plainString(json []byte) (text string, ok bool) {
	json = bytes.TrimRight(json, " \t\r\n")
	if len(json) < 2 || json[0] != '"' || bytes.IndexByte(json, '\\') >= 0 {
		return "", false
	}
	return string(json[1 : len(json)-1]), true
}

func decodeArg(t reflect.Type, text []byte, p *Packet, i int) (reflect.Value, error) {
	if t == stringType {
		if text, ok := plainString(text); ok {
			return reflect.ValueOf(text), nil
		}
	}
	target := t
	if t.Kind() == reflect.Pointer {
		target = t.Elem()
	}
	pointer := reflect.New(target)
	if text != nil && !bytes.Equal(bytes.TrimSpace(text), null) {
		if err := json.Unmarshal(text, pointer.Interface()); err != nil {
			var misfit *json.UnmarshalTypeError // of a placeholder, which is an object
			if errors.As(err, &misfit) && misfit.Value == "object" && len(p.Attachments) > 0 && bytes.Contains(text, placeholder) {
				err = fmt.Errorf("binary data needs a *parser.Buffer of go-socket.io: %w", err)
			}
			return reflect.Value{}, fmt.Errorf("%s: argument %d: %w", p.what(), i+1, err)
		}
		if err := attach(pointer, p.Attachments); err != nil {
			return reflect.Value{}, fmt.Errorf("%s: argument %d: %w", p.what(), i+1, err)
		}
	}
	if t.Kind() == reflect.Pointer {
		return pointer, nil
	}
	return pointer.Elem(), nil
}

// what names the packet in an error.
func (p *Packet) what() string {
	if p.Type == Ack {
		return fmt.Sprintf("acknowledgement %d", p.ID)
	}
	return fmt.Sprintf("event %q", p.Event)
}

// elements goes through the values of an array that is known to be valid JSON.
type elements struct{ rest []byte }

func elementsOf(array []byte) elements { return elements{array[1:]} }

// next returns the next value, nil behind the last.
func (e *elements) next() []byte {
	rest := bytes.TrimLeft(e.rest, " \t\r\n")
	depth := 0
	for i := 0; i < len(rest); {
		switch rest[i] {
		case '"':
			n, _ := scanString(rest[i:])
			i += max(n, 1)
			continue
		case '[', '{':
			depth++
		case ']', '}', ',':
			if depth == 0 {
				e.rest = rest[i+1:]
				if rest[i] == ']' {
					e.rest = nil
				}
				if i == 0 {
					return nil // an empty array
				}
				return rest[:i]
			}
			if rest[i] != ',' {
				depth--
			}
		}
		i++
	}
	return nil
}
