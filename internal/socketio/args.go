package socketio

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// Decode decodes argument i into v, a pointer, as encoding/json does. An attachment goes into a []byte, or
// into an any as a []byte; anything else (a string, a json.RawMessage, an UnmarshalJSON) is given the base64
// text that encoding/json makes of a []byte, and a []byte takes such a text from a plain string as well. An
// absent argument leaves v as it is.
func (a Args) Decode(i int, v any) error {
	if i < 0 || i >= len(a.Values) {
		return nil
	}
	text := a.Values[i]
	if len(a.Attachments) == 0 {
		return json.Unmarshal(text, v)
	}
	t := reflect.TypeOf(v)
	if t == nil || !reachesAny(t) {
		return json.Unmarshal(a.inline(text, ""), v)
	}
	tag := newTag()
	err := json.Unmarshal(a.inline(text, tag.json), v)
	(&untagging{suffixTag: tag}).value(reflect.ValueOf(v))
	return err
}

// Any decodes argument i: nil, bool, float64, string, []byte, []any, map[string]any. An absent one is nil.
func (a Args) Any(i int) (any, error) {
	var v any
	err := a.Decode(i, &v)
	return v, err
}

// inline puts base64 strings, each ending in suffix, where the placeholders are.
func (a Args) inline(text []byte, suffix string) []byte {
	var out []byte
	last := 0
	_ = placeholders(text, func(start, end, num int) { // the text has been passed before
		if num >= len(a.Attachments) {
			return
		}
		out = append(append(out, text[last:start]...), '"')
		out = base64.StdEncoding.AppendEncode(out, a.Attachments[num])
		out = append(append(out, suffix...), '"')
		last = end
	})
	if last == 0 {
		return text
	}
	return append(out, text[last:]...)
}

// A suffix tag tells base64 text that stands for an attachment from a string of the sender's. It is made of
// line ends, which every base64 decoder passes over, 64 random bits of them.
type suffixTag struct {
	text string
	json string // text, escaped
}

func newTag() suffixTag {
	var bits [8]byte
	rand.Read(bits[:])
	text := make([]byte, 0, 64)
	for _, b := range bits {
		for i := range 8 {
			text = append(text, "\r\n"[b>>i&1])
		}
	}
	t := suffixTag{text: string(text)}
	t.json = strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(t.text)
	return t
}

// untagging finds what is tagged in a decoded value: []byte is made of it in an any, and in a string the tag
// taken off.
type untagging struct {
	suffixTag
	path []pathStep
}

func (u *untagging) value(v reflect.Value) {
	if !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if v.IsNil() {
			return
		}
		step := pathStep{at: v.UnsafePointer(), typ: v.Type()}
		if v.Kind() == reflect.Slice {
			step.len = v.Len()
		}
		for _, s := range u.path {
			if s == step {
				return
			}
		}
		u.path = append(u.path, step)
		defer func() { u.path = u.path[:len(u.path)-1] }()
	}
	switch v.Kind() {
	case reflect.Pointer:
		u.value(v.Elem())
	case reflect.String:
		if s, ok := strings.CutSuffix(v.String(), u.text); ok && v.CanSet() {
			v.SetString(s)
		}
	case reflect.Interface:
		u.any(v)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || embedsStruct(f) {
				u.value(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		u.elems(v)
	case reflect.Map:
		u.mapping(v)
	}
}

func (u *untagging) elems(v reflect.Value) {
	if v.Type() == rawMessage && v.CanSet() {
		v.SetBytes(bytes.ReplaceAll(v.Bytes(), []byte(u.json), nil))
	}
	if k := v.Type().Elem().Kind(); k < reflect.Array { // numbers and bools
		return
	}
	for i := range v.Len() {
		u.value(v.Index(i))
	}
}

func (u *untagging) any(v reflect.Value) {
	if v.IsNil() || v.NumMethod() > 0 || !v.CanSet() {
		return
	}
	if to, changed := u.plain(v.Elem().Interface()); changed {
		v.Set(reflect.ValueOf(to))
	}
}

// plain changes what encoding/json puts into an any in place, but for a string, which it gives back as []byte.
func (u *untagging) plain(x any) (any, bool) {
	switch x := x.(type) {
	case string:
		if s, ok := strings.CutSuffix(x, u.text); ok {
			b, err := base64.StdEncoding.DecodeString(s)
			return b, err == nil
		}
	case []any:
		for i := range x {
			if to, changed := u.plain(x[i]); changed {
				x[i] = to
			}
		}
	case map[string]any:
		for k := range x {
			if to, changed := u.plain(x[k]); changed {
				x[k] = to
			}
		}
	default: // a pointer that was there before, into which encoding/json decodes
		u.value(reflect.ValueOf(x))
	}
	return nil, false
}

func (u *untagging) mapping(m reflect.Value) {
	for it := m.MapRange(); it.Next(); {
		elem := reflect.New(m.Type().Elem()).Elem()
		elem.Set(it.Value())
		u.value(elem)
		m.SetMapIndex(it.Key(), elem)
	}
}

var (
	rawMessage = reflect.TypeFor[json.RawMessage]()
	anyCache   sync.Map // reflect.Type to bool
)

// reachesAny tells whether decoding into a t may come to an interface.
func reachesAny(t reflect.Type) bool {
	if may, ok := anyCache.Load(t); ok {
		return may.(bool)
	}
	may := findAny(t, map[reflect.Type]bool{})
	anyCache.Store(t, may)
	return may
}

func findAny(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return findAny(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || embedsStruct(f)) && findAny(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
