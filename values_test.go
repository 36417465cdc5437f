package chat

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestPlainValues also tells when a new version of Go has changed what plain looks at.
func TestPlainValues(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, tt := range map[string]struct {
		wrap  func(http.Handler) http.Handler
		base  func(context.Context) context.Context
		plain bool
	}{
		"net/http alone": {plain: true},
		"cancelled by middleware": {plain: true, wrap: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				h.ServeHTTP(w, r.WithContext(ctx))
			})
		}},
		"value by middleware": {wrap: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithCancel(context.WithValue(r.Context(), key{}, "kept"))
				defer cancel()
				h.ServeHTTP(w, r.WithContext(ctx))
			})
		}},
		"value of the connection": {base: func(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, "kept") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan context.Context, 1)
			h := &core{}
			var handler http.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- h.valuesOf(r) })
			if tt.wrap != nil {
				handler = tt.wrap(handler)
			}
			srv := httptest.NewUnstartedServer(handler)
			if tt.base != nil {
				srv.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return tt.base(ctx) }
			}
			srv.Start()
			defer srv.Close()
			res, err := srv.Client().Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			ctx := <-got
			if _, ok := ctx.(*plainValues); ok != tt.plain {
				t.Errorf("plain: %v", ok)
			}
			if v := ctx.Value(key{}); (v == "kept") == tt.plain {
				t.Errorf("value %v", v)
			}
			if ctx.Value(http.ServerContextKey) != srv.Config || ctx.Value(http.LocalAddrContextKey).(net.Addr).String() != srv.Listener.Addr().String() {
				t.Error("net/http's own values are lost")
			}
			if ctx.Err() != nil || ctx.Done() != nil {
				t.Error("it ends with the request")
			}
		})
	}
}
