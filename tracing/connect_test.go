package tracing_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/tracing"
)

const (
	pageTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	pageSpan   = "00f067aa0ba902b7"
	pageParent = "00-" + pageTrace + "-" + pageSpan + "-01"
)

func TestConnect(t *testing.T) {
	t.Parallel()
	w := start(t, nil, nil, chat.WithAuth(func(context.Context, *chat.Handshake) (chat.User, error) { return chat.User{ID: "ann"}, nil }))
	c := chattest.Dial(t, w.hub, chattest.Header("X-Request-Id", "req-1"))
	id := c.ID()
	c.Close()
	s := w.stop()
	connect, gone := s.one("chat.connect"), s.one("chat.disconnect")
	root(t, connect)
	if connect.SpanKind() != trace.SpanKindServer {
		t.Error(connect.SpanKind())
	}
	has(t, connect, map[string]any{
		"messaging.system": "socket.io", "chat.client_id": id, "chat.user_id": "ann", "chat.namespace": "/", "chat.transport": "websocket",
		"chat.protocol": 5, "chat.recovered": false, "chat.request_id": "req-1",
	})
	status(t, connect, codes.Unset, "", "")
	root(t, gone)
	if !links(gone, connect.SpanContext()) || gone.SpanContext().TraceID() == connect.SpanContext().TraceID() {
		t.Error("the disconnect is not a trace of its own with a link to the connect")
	}
	has(t, gone, map[string]any{"chat.client_id": id, "chat.user_id": "ann", "chat.request_id": "req-1", "chat.disconnect.reason": "client namespace disconnect"})
}

// Where a connect has its parent from: the host's span before the header, and that before the auth payload.
func TestParentOfConnect(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		opts         []chattest.Option
		with         []tracing.Option
		host         bool
		parent, link bool // of the page's span
	}{
		"header":          {opts: []chattest.Option{chattest.Header("traceparent", pageParent)}, parent: true},
		"header, polling": {opts: []chattest.Option{chattest.Polling(), chattest.Header("traceparent", pageParent)}, parent: true},
		"auth":            {opts: []chattest.Option{chattest.Auth(map[string]any{"n": 1, "traceparent": pageParent})}, parent: true},
		"both": {opts: []chattest.Option{
			chattest.Header("traceparent", pageParent), chattest.Auth(map[string]string{"traceparent": "00-11111111111111111111111111111111-2222222222222222-01"}),
		}, parent: true},
		"not a string": {opts: []chattest.Option{chattest.Auth(map[string]any{"traceparent": []int{1}})}},
		"nonsense":     {opts: []chattest.Option{chattest.Auth(map[string]any{"traceparent": "00-x"})}},
		"public":       {opts: []chattest.Option{chattest.Header("traceparent", pageParent)}, with: []tracing.Option{tracing.WithPublicEndpoint()}, link: true},
		"host's, auth": {opts: []chattest.Option{chattest.Auth(map[string]string{"traceparent": pageParent})}, host: true, link: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, nil, test.with)
			var h http.Handler = w.hub
			if test.host {
				h = spanAround(w, w.hub)
			}
			chattest.Dial(t, h, test.opts...).Close()
			connect := w.stop().one("chat.connect")
			page := trace.NewSpanContext(trace.SpanContextConfig{TraceID: must(trace.TraceIDFromHex(pageTrace)), SpanID: must(trace.SpanIDFromHex(pageSpan))})
			if got := connect.Parent().SpanID() == page.SpanID() && connect.SpanContext().TraceID() == page.TraceID(); got != test.parent {
				t.Errorf("parent %v, trace %v", connect.Parent().SpanID(), connect.SpanContext().TraceID())
			}
			if got := links(connect, page); got != test.link {
				t.Errorf("links %v", connect.Links())
			}
			if connect.Parent().IsValid() != (test.parent || test.host) {
				t.Error("another parent")
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// spanAround is what a host's tracing middleware does.
func spanAround(w *world, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		ctx, span := w.provider.Tracer("host").Start(r.Context(), r.Method+" "+r.URL.Path, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(rw, r.WithContext(ctx))
	})
}

func TestConnectUnderTheHostsSpan(t *testing.T) {
	t.Parallel()
	w := start(t, nil, nil)
	chattest.Dial(t, spanAround(w, w.hub)).Close()
	s := w.stop()
	connect := s.below(s.one("GET /socket.io/").SpanContext(), "chat.connect")
	if connect.SpanKind() != trace.SpanKindInternal {
		t.Error(connect.SpanKind())
	}
}

// What auth and the hooks do is below the connect's span.
func TestAuthAndHooksAreBelowTheConnect(t *testing.T) {
	t.Parallel()
	var w *world
	mark := func(ctx context.Context, name string) {
		_, span := w.provider.Tracer("host").Start(ctx, name)
		span.End()
	}
	w = start(t, nil, nil,
		chat.WithAuth(func(ctx context.Context, _ *chat.Handshake) (chat.User, error) {
			mark(ctx, "auth")
			return chat.User{ID: "ann"}, nil
		}),
		chat.OnConnect(func(ctx context.Context, _ *chat.Client) { mark(ctx, "hook") }),
	)
	chattest.Dial(t, w.hub).Close()
	s := w.stop()
	connect := s.one("chat.connect").SpanContext()
	s.below(connect, "auth")
	s.below(connect, "hook")
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		status codes.Code
		text   string
		kind   string
	}{
		"by the host": {chat.Errorf(chat.Unauthorized, "secret words"), codes.Unset, "", "UNAUTHORIZED"},
		"broken":      {errors.New("secret words"), codes.Error, "INTERNAL", "INTERNAL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, nil, nil, chat.WithAuth(func(context.Context, *chat.Handshake) (chat.User, error) { return chat.User{}, test.err }))
			if _, err := chattest.TryDial(t, w.hub, chattest.Auth(map[string]string{"token": "secret words"})); err == nil {
				t.Fatal("let in")
			}
			s := w.stop()
			status(t, s.one("chat.connect"), test.status, test.text, test.kind)
			s.none("secret")
		})
	}
}

func TestRecovered(t *testing.T) {
	t.Parallel()
	w := start(t, nil, nil, chat.WithRooms("lobby"))
	c := chattest.Dial(t, w.hub)
	if err := w.hub.Room("lobby").Emit("alert", 1); err != nil {
		t.Fatal(err)
	}
	c.Expect("alert")
	c.Drop()
	c.Reconnect()
	if !c.Recovered() {
		t.Fatal("not recovered")
	}
	connects := w.stop().named("chat.connect")
	if len(connects) != 2 {
		t.Fatal(len(connects))
	}
	has(t, connects[0], map[string]any{"chat.recovered": false})
	has(t, connects[1], map[string]any{"chat.recovered": true})
	if value(connects[0], "chat.client_id") != value(connects[1], "chat.client_id") {
		t.Error("another client")
	}
}

// A page that goes away before the answer has a span all the same.
func TestGoneMeanwhile(t *testing.T) {
	t.Parallel()
	p := sdktrace.NewTracerProvider()
	recorder := tracetest.NewSpanRecorder()
	p.RegisterSpanProcessor(recorder)
	o := tracing.New(tracing.WithTracerProvider(p)).(chat.ConnectObserver)
	_, done := o.ObserveConnect(t.Context(), &chat.Handshake{Namespace: "/"})
	done(nil, nil)
	connect := spans{t, recorder.Ended()}.one("chat.connect")
	has(t, connect, map[string]any{"chat.gone": true, "chat.client_id": nil})
	status(t, connect, codes.Unset, "", "")
}
