package chat

import (
	"context"
	"net"
	"net/http"
	"reflect"
	"time"
)

// valuesOf is what a client's handlers get of its request's context: its values, without its end. A context
// as net/http makes it, to which nobody has added anything, is replaced by one of a tenth of the size, since
// it stays in memory as long as the connection.
func (h *core) valuesOf(r *http.Request) context.Context {
	ctx := r.Context()
	if !plain(ctx) {
		return context.WithoutCancel(ctx)
	}
	v := plainValues{}
	v.server, _ = ctx.Value(http.ServerContextKey).(*http.Server)
	v.local, _ = ctx.Value(http.LocalAddrContextKey).(net.Addr)
	last := h.lastValues.Load()
	if last == nil || !last.same(&v) {
		last = &v
		h.lastValues.Store(last)
	}
	return last
}

// same tells whether two requests came to the same server at the same address, as they mostly do.
func (v *plainValues) same(o *plainValues) bool {
	if v.server != o.server {
		return false
	}
	a, ok := v.local.(*net.TCPAddr)
	b, ok2 := o.local.(*net.TCPAddr)
	return ok && ok2 && a.Port == b.Port && a.Zone == b.Zone && a.IP.Equal(b.IP)
}

// plainValues are the values that net/http gives every request.
type plainValues struct {
	server *http.Server
	local  net.Addr
}

func (v *plainValues) Deadline() (time.Time, bool) { return time.Time{}, false }
func (v *plainValues) Done() <-chan struct{}       { return nil }
func (v *plainValues) Err() error                  { return nil }

func (v *plainValues) Value(key any) any {
	switch {
	case key == http.ServerContextKey && v.server != nil:
		return v.server
	case key == http.LocalAddrContextKey && v.local != nil:
		return v.local
	}
	return nil
}

// What plain knows of the standard library's types. A field that is not there any more is -1.
var (
	background   = reflect.TypeOf(context.Background())
	valueType    = reflect.TypeOf(context.WithValue(context.Background(), http.ServerContextKey, nil))
	valueParent  = fieldOf(valueType, "Context")
	valueKey     = fieldOf(valueType, "key")
	cancelType   = reflect.TypeOf(cancelled())
	cancelParent = fieldOf(cancelType, "Context")
	serverKey    = reflect.ValueOf(http.ServerContextKey).Pointer()
	localKey     = reflect.ValueOf(http.LocalAddrContextKey).Pointer()
)

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func fieldOf(pointer reflect.Type, name string) int {
	f, ok := pointer.Elem().FieldByName(name)
	if !ok || len(f.Index) != 1 {
		return -1
	}
	return f.Index[0]
}

// plain tells whether ctx is made of cancellations and of net/http's own two values only. It looks into the
// standard library's types; whatever it does not recognize, in this version of Go or a later one, is not
// plain, which costs memory and nothing else.
func plain(ctx context.Context) bool {
	for range 8 { // net/http makes five
		v := reflect.ValueOf(ctx)
		parent := -1
		switch v.Type() {
		case background:
			return true
		case valueType:
			if netHTTPs(v.Elem()) {
				parent = valueParent
			}
		case cancelType:
			parent = cancelParent
		}
		if parent < 0 || !v.Elem().Field(parent).CanInterface() {
			return false
		}
		next, ok := v.Elem().Field(parent).Interface().(context.Context)
		if !ok {
			return false
		}
		ctx = next
	}
	return false
}

// netHTTPs tells whether a context's value is one of net/http's own.
func netHTTPs(value reflect.Value) bool {
	if valueKey < 0 {
		return false
	}
	key := value.Field(valueKey)
	if key.Kind() != reflect.Interface || key.Elem().Kind() != reflect.Pointer {
		return false
	}
	p := key.Elem().Pointer()
	return p == serverKey || p == localKey
}
