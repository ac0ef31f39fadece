package sio

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"sync"

	"github.com/googollee/go-socket.io/parser"
)

// go-socket.io's parser.Buffer is how handlers write and get attachments. A Buffer does not tell
// the number of its attachment; its JSON does, in both directions.

var bufferType = reflect.TypeFor[parser.Buffer]()

// detach returns values with a placeholder in the place of each parser.Buffer in them, and the
// attachments in their order. It does not change values, which may be shared, and copies what holds
// a Buffer only. The data of an attachment is copied, because the caller may change it.
func detach(values []any) ([]any, [][]byte) {
	var d detaching
	var detached []any
	for i, value := range values {
		if !mayHoldBuffer(reflect.TypeOf(value)) {
			continue
		}
		v := reflect.ValueOf(value)
		if !d.holdsBuffer(v) {
			continue
		}
		if detached == nil {
			detached = append([]any(nil), values...)
		}
		detached[i] = d.replace(v).Interface()
	}
	if detached == nil {
		return values, nil
	}
	return detached, d.attachments
}

var holders, decoders sync.Map // reflect.Type to bool

// mayHoldBuffer reports whether a value of the type can hold a Buffer.
func mayHoldBuffer(t reflect.Type) bool { return typeHolds(&holders, t, true) }

// decodesBuffer reports whether encoding/json may put a Buffer into a value of the type. Into an
// interface it never does.
func decodesBuffer(t reflect.Type) bool { return typeHolds(&decoders, t, false) }

func typeHolds(known *sync.Map, t reflect.Type, interfaces bool) bool {
	if t == nil {
		return false
	}
	if holds, ok := known.Load(t); ok {
		return holds.(bool)
	}
	holds := typeMayHold(t, interfaces, map[reflect.Type]bool{})
	known.Store(t, holds)
	return holds
}

func typeMayHold(t reflect.Type, interfaces bool, seen map[reflect.Type]bool) bool {
	if t == bufferType {
		return true
	}
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return interfaces
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return typeMayHold(t.Elem(), interfaces, seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && typeMayHold(f.Type, interfaces, seen) {
				return true
			}
		}
	}
	return false
}

// detaching is one call of detach.
type detaching struct {
	attachments [][]byte
	// holds is what is known of pointers, maps and slices, each of which is looked into once. A
	// value that contains itself counts as one without a Buffer, and encoding/json refuses it.
	holds map[place]bool
}

// place is where the value behind a pointer, map or slice is in memory.
type place struct {
	at  uintptr
	len int
	typ reflect.Type
}

func (d *detaching) holdsBuffer(v reflect.Value) (holds bool) {
	if !v.IsValid() || !mayHoldBuffer(v.Type()) {
		return false
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if v.IsNil() {
			return false
		}
		at := place{at: v.Pointer(), typ: v.Type()}
		if v.Kind() == reflect.Slice {
			at.len = v.Len()
		}
		if known, ok := d.holds[at]; ok {
			return known
		}
		if d.holds == nil {
			d.holds = make(map[place]bool)
		}
		d.holds[at] = false
		defer func() { d.holds[at] = holds }()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return d.holdsBuffer(v.Elem())
	case reflect.Struct:
		if v.Type() == bufferType {
			return true
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && d.holdsBuffer(v.Field(i)) {
				return true
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if d.holdsBuffer(entries.Value()) {
				return true
			}
		}
	case reflect.Array, reflect.Slice:
		for i := range v.Len() {
			if d.holdsBuffer(v.Index(i)) {
				return true
			}
		}
	}
	return false
}

// replace copies a value that holds a Buffer, down to its Buffers.
func (d *detaching) replace(v reflect.Value) reflect.Value {
	if !d.holdsBuffer(v) {
		return v
	}
	switch v.Kind() {
	case reflect.Pointer:
		// A value that contains a pointer to itself would be copied without end.
		at := place{at: v.Pointer(), typ: v.Type()}
		d.holds[at] = false
		defer func() { d.holds[at] = true }()
		c := reflect.New(v.Type().Elem())
		c.Elem().Set(d.replace(v.Elem()))
		return c
	case reflect.Interface:
		c := reflect.New(v.Type()).Elem()
		c.Set(d.replace(v.Elem()))
		return c
	case reflect.Struct:
		if v.Type() == bufferType {
			d.attachments = append(d.attachments, bytes.Clone(v.Interface().(parser.Buffer).Data))
			return reflect.ValueOf(placeholderOf(len(d.attachments) - 1))
		}
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				c.Field(i).Set(d.replace(v.Field(i)))
			}
		}
		return c
	case reflect.Map:
		at := place{at: v.Pointer(), typ: v.Type()}
		d.holds[at] = false
		defer func() { d.holds[at] = true }()
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for entries := v.MapRange(); entries.Next(); {
			c.SetMapIndex(entries.Key(), d.replace(entries.Value()))
		}
		return c
	case reflect.Slice:
		at := place{at: v.Pointer(), len: v.Len(), typ: v.Type()}
		d.holds[at] = false
		defer func() { d.holds[at] = true }()
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			c.Index(i).Set(d.replace(v.Index(i)))
		}
		return c
	case reflect.Array:
		c := reflect.New(v.Type()).Elem()
		for i := range v.Len() {
			c.Index(i).Set(d.replace(v.Index(i)))
		}
		return c
	}
	return v
}

func placeholderOf(n int) parser.Buffer {
	var b parser.Buffer
	if err := b.UnmarshalJSON([]byte(`{"_placeholder":true,"num":` + strconv.Itoa(n) + `}`)); err != nil {
		panic(err) // it is what MarshalJSON writes
	}
	return b
}

// numberOf returns the number of the attachment that a decoded Buffer stands for. A Buffer that
// came as text stands for none.
func numberOf(b parser.Buffer) (n int, ok bool) {
	text, err := b.MarshalJSON()
	if err != nil {
		return 0, false
	}
	var p struct {
		Placeholder bool `json:"_placeholder"`
		Num         int  `json:"num"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return 0, false
	}
	return p.Num, p.Placeholder
}

var errNoAttachment = errors.New("a placeholder without its attachment")

// attach gives the Buffers in a value that encoding/json has decoded their data. v must be
// addressable.
func attach(v reflect.Value, attachments [][]byte) error {
	if !decodesBuffer(v.Type()) {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return attach(v.Elem(), attachments)
	case reflect.Struct:
		if v.Type() == bufferType {
			b := v.Addr().Interface().(*parser.Buffer)
			n, ok := numberOf(*b)
			if !ok {
				return nil
			}
			if n < 0 || n >= len(attachments) {
				return errNoAttachment
			}
			*b = parser.Buffer{Data: attachments[n]}
			return nil
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				if err := attach(v.Field(i), attachments); err != nil {
					return err
				}
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			// A value in a map cannot be addressed, so a copy is put there.
			c := reflect.New(v.Type().Elem()).Elem()
			c.Set(entries.Value())
			if err := attach(c, attachments); err != nil {
				return err
			}
			v.SetMapIndex(entries.Key(), c)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := attach(v.Index(i), attachments); err != nil {
				return err
			}
		}
	}
	return nil
}
