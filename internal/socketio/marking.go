package socketio

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"unsafe"
)

// marking makes copies of values in which markers stand for byte slices. Only the way to a byte slice is
// copied; a value without any comes back as it is.
type marking struct {
	*encoder
	path []pathStep // pointers, maps and slices that we are in, against cycles
}

type pathStep struct {
	at  unsafe.Pointer
	len int
	typ reflect.Type
}

// value gives a copy of v, and true; or v and false where it holds no byte slice that encoding/json would come to.
func (m *marking) value(v reflect.Value) (reflect.Value, bool) {
	if !v.IsValid() || !mayHoldBytes(v.Type()) {
		return v, false
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if v.IsNil() {
			return v, false
		}
		step := pathStep{v.UnsafePointer(), 0, v.Type()}
		if v.Kind() == reflect.Slice {
			step.len = v.Len()
		}
		for _, s := range m.path {
			if s == step {
				return v, false // a cycle: encoding/json will say so
			}
		}
		m.path = append(m.path, step)
		defer func() { m.path = m.path[:len(m.path)-1] }()
	}
	switch v.Kind() {
	case reflect.Pointer:
		return m.pointer(v)
	case reflect.Interface:
		return m.value(v.Elem()) // assignable to where v was
	case reflect.Struct:
		return m.structure(v)
	case reflect.Map:
		return m.mapping(v)
	case reflect.Slice:
		if isBytes(v.Type()) {
			return m.mark(v), true
		}
		return m.elems(v)
	case reflect.Array:
		return m.elems(v)
	}
	return v, false
}

func (m *marking) mark(v reflect.Value) reflect.Value {
	text := marker(len(m.bytes))
	m.bytes = append(m.bytes, v.Bytes())
	out := reflect.MakeSlice(v.Type(), len(text), len(text))
	copy(out.Bytes(), text)
	return out
}

func (m *marking) pointer(v reflect.Value) (reflect.Value, bool) {
	elem, changed := m.value(v.Elem())
	if !changed {
		return v, false
	}
	p := reflect.New(v.Type().Elem())
	p.Elem().Set(elem)
	return p.Convert(v.Type()), true
}

func (m *marking) structure(v reflect.Value) (reflect.Value, bool) {
	var out reflect.Value
	original := v
	for _, f := range fieldsOf(v.Type()) {
		if f.unexported && !v.CanAddr() {
			v = reflect.New(v.Type()).Elem()
			v.Set(original)
		}
		from := f.of(v)
		if f.omitEmpty && from.Kind() == reflect.Slice && from.Len() == 0 {
			continue
		}
		changedTo, changed := m.value(from)
		if !changed {
			continue
		}
		if !out.IsValid() {
			out = reflect.New(v.Type()).Elem()
			out.Set(v)
		}
		f.of(out).Set(changedTo)
	}
	if !out.IsValid() {
		return original, false
	}
	return out, true
}

func (m *marking) mapping(v reflect.Value) (reflect.Value, bool) {
	var out reflect.Value
	for it := v.MapRange(); it.Next(); {
		elem, changed := m.value(it.Value())
		if !changed {
			continue
		}
		if !out.IsValid() {
			out = reflect.MakeMapWithSize(v.Type(), v.Len())
			for all := v.MapRange(); all.Next(); {
				out.SetMapIndex(all.Key(), all.Value())
			}
		}
		out.SetMapIndex(it.Key(), elem)
	}
	if !out.IsValid() {
		return v, false
	}
	return out, true
}

func (m *marking) elems(v reflect.Value) (reflect.Value, bool) {
	var out reflect.Value
	for i := range v.Len() {
		elem, changed := m.value(v.Index(i))
		if !changed {
			continue
		}
		if !out.IsValid() {
			if v.Kind() == reflect.Array {
				out = reflect.New(v.Type()).Elem()
			} else {
				out = reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			}
			reflect.Copy(out, v)
		}
		out.Index(i).Set(elem)
	}
	if !out.IsValid() {
		return v, false
	}
	return out, true
}

type field struct {
	index      int
	omitEmpty  bool
	unexported bool // an embedded struct, or a pointer to one: encoding/json goes into it for its exported fields
}

// of gives the field of v, which is addressable if the field is unexported: only so can reflect's ban on it
// be lifted.
func (f field) of(v reflect.Value) reflect.Value {
	fv := v.Field(f.index)
	if f.unexported {
		fv = reflect.NewAt(fv.Type(), unsafe.Pointer(fv.UnsafeAddr())).Elem()
	}
	return fv
}

var fieldCache sync.Map // reflect.Type of a struct to []field: those that may hold bytes

func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" || !f.IsExported() && !embedsStruct(f) || !mayHoldBytes(f.Type) {
			continue
		}
		_, options, _ := strings.Cut(tag, ",")
		out = append(out, field{i, strings.Contains(","+options+",", ",omitempty,"), !f.IsExported()})
	}
	fieldCache.Store(t, out)
	return out
}

func embedsStruct(f reflect.StructField) bool {
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return f.Anonymous && t.Kind() == reflect.Struct
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	holdCache     sync.Map // reflect.Type to bool
)

func marshals(t reflect.Type) bool {
	if t.Implements(jsonMarshaler) || t.Implements(textMarshaler) {
		return true
	}
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return false
	}
	p := reflect.PointerTo(t)
	return p.Implements(jsonMarshaler) || p.Implements(textMarshaler)
}

// isBytes tells the types that encoding/json writes in base64.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !marshals(t.Elem())
}

// mayHoldBytes tells whether encoding/json may come to a byte slice in a value of type t. A type that
// marshals itself is opaque.
func mayHoldBytes(t reflect.Type) bool {
	if may, ok := holdCache.Load(t); ok {
		return may.(bool)
	}
	may := reaches(t, map[reflect.Type]bool{})
	holdCache.Store(t, may)
	return may
}

// reaches looks through types; seen are those being looked at, which may name themselves.
func reaches(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || marshals(t) && t.Kind() != reflect.Interface {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return !t.Implements(jsonMarshaler) && !t.Implements(textMarshaler)
	case reflect.Slice:
		return isBytes(t) || reaches(t.Elem(), seen)
	case reflect.Pointer, reflect.Map, reflect.Array:
		return reaches(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || embedsStruct(f)) && f.Tag.Get("json") != "-" && reaches(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
