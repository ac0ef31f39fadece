package socketiojwt

import (
	"encoding/json"
	"reflect"

	"github.com/googollee/go-socket.io/parser"
)

// encodeOnce encodes the arguments of a broadcast. go-socket.io would encode them for
// every socket, in as many goroutines and after the broadcast returned (hazard 32).
// Arguments that hold binary data, or cannot be encoded, are left to it.
func encodeOnce(args []any) []any {
	encoded := make([]any, len(args))
	for i, arg := range args {
		if hasBuffer(reflect.ValueOf(arg), 0) {
			return args
		}
		b, err := json.Marshal(arg)
		if err != nil {
			return args
		}
		encoded[i] = json.RawMessage(b)
	}
	return encoded
}

var bufferType = reflect.TypeFor[parser.Buffer]()

// maxBufferDepth bounds the search in values that hold themselves.
const maxBufferDepth = 32

// hasBuffer looks for a parser.Buffer where go-socket.io's encoder does.
func hasBuffer(v reflect.Value, depth int) bool {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
		if depth++; depth > maxBufferDepth {
			return true
		}
	}
	if depth > maxBufferDepth {
		return true
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == bufferType {
			return true
		}
		for i := range v.NumField() {
			if hasBuffer(v.Field(i), depth+1) {
				return true
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if hasBuffer(entries.Value(), depth+1) {
				return true
			}
		}
	case reflect.Array, reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return false
		}
		for i := range v.Len() {
			if hasBuffer(v.Index(i), depth+1) {
				return true
			}
		}
	}
	return false
}
