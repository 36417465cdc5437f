package tracing_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/tracing"
)

func TestMessage(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]chattest.Option{"websocket": nil, "polling": {chattest.Polling()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, nil, nil, chat.WithRooms("lobby"))
			a, b, c := chattest.Dial(t, w.hub, opts...), chattest.Dial(t, w.hub, opts...), chattest.Dial(t, w.hub, opts...)
			var ack struct{ Message struct{ ID string } }
			a.Call("chat_message", map[string]any{"text": "secret words", "message_id": "m-1"}).Decode(0, &ack)
			b.Expect("new_message")
			c.Expect("new_message")
			s := w.stop()
			message := s.one("chat.message")
			root(t, message)
			connect := ofClient(s.named("chat.connect"), a.ID())
			if !links(message, connect.SpanContext()) || len(message.Links()) != 1 || message.SpanContext().TraceID() == connect.SpanContext().TraceID() {
				t.Error("no trace of its own with a link to the connect")
			}
			if message.SpanKind() != trace.SpanKindConsumer {
				t.Error(message.SpanKind())
			}
			has(t, message, map[string]any{
				"messaging.system": "socket.io", "messaging.operation.type": "process", "messaging.operation.name": "chat_message",
				"messaging.destination.name": "lobby", "messaging.message.id": ack.Message.ID, "chat.seq": 1,
				"chat.client_id": a.ID(), "chat.user_id": "", "chat.namespace": "/", "chat.request_id": "",
			})
			status(t, message, codes.Unset, "", "")
			if ms := value(message, "chat.queued_ms").AsFloat64(); ms < 0 || ms > 5000 {
				t.Errorf("queued for %v ms", ms)
			}
			store := s.below(message.SpanContext(), "chat.store append")
			has(t, store, map[string]any{"chat.store.op": "append", "chat.store.entries": 1})
			deliver := s.below(message.SpanContext(), "chat.deliver")
			if deliver.SpanKind() != trace.SpanKindProducer {
				t.Error(deliver.SpanKind())
			}
			has(t, deliver, map[string]any{
				"messaging.operation.type": "send", "messaging.destination.name": "lobby", "messaging.message.id": ack.Message.ID,
				"chat.receivers": 2, "chat.event": "new_message", "messaging.message.body.size": "", "chat.namespace": "/", "chat.request_id": "",
			})
			within(t, message, store, deliver)
			s.none("secret")
		})
	}
}

func ofClient(all []sdktrace.ReadOnlySpan, id string) sdktrace.ReadOnlySpan {
	for _, s := range all {
		if value(s, "chat.client_id").AsString() == id {
			return s
		}
	}
	return nil
}

// within: one after the other, in their parent's time.
func within(t *testing.T, parent sdktrace.ReadOnlySpan, children ...sdktrace.ReadOnlySpan) {
	t.Helper()
	last := parent.StartTime()
	for _, c := range children {
		if c.StartTime().Before(last) || c.EndTime().Before(c.StartTime()) || c.EndTime().After(parent.EndTime()) {
			t.Errorf("%s from %v to %v is not after %v and before %v", c.Name(), c.StartTime(), c.EndTime(), last, parent.EndTime())
		}
		last = c.EndTime()
	}
}

// The host's own spans in a handler are below the event's, and what the handler posts and emits is, too.
func TestHandlersContext(t *testing.T) {
	t.Parallel()
	var w *world
	w = start(t, nil, []tracing.Option{tracing.WithEvents("order")}, chat.WithRooms("lobby"),
		chat.OnMessage(func(ctx context.Context, _ *chat.Client, m *chat.Entry) error {
			_, span := w.provider.Tracer("host").Start(ctx, "moderate")
			span.End()
			return nil
		}),
		chat.On("order", func(ctx context.Context, c *chat.Client, _ any) error {
			ctx, span := w.provider.Tracer("host").Start(ctx, "SELECT orders")
			defer span.End()
			_, err := c.Room("lobby").Post(ctx, chat.Post{Text: "ordered"})
			return err
		}))
	c := chattest.Dial(t, w.hub)
	c.Call("order")
	c.Call("chat_message", "hello")
	s := w.stop()
	event := s.one("chat.event order")
	query := s.below(event.SpanContext(), "SELECT orders")
	s.below(query.SpanContext(), "chat.store append")
	s.below(query.SpanContext(), "chat.deliver")
	if v := value(event, "messaging.message.id"); v.AsString() != "" {
		t.Error("what a handler posts is not the event's own message")
	}
	s.below(s.one("chat.message").SpanContext(), "moderate")
}

// What a gate posts is delivered in the message's trace, and is not the message.
func TestPostInTheGate(t *testing.T) {
	t.Parallel()
	w := start(t, nil, nil, chat.WithRooms("lobby"), chat.OnMessage(func(ctx context.Context, c *chat.Client, _ *chat.Entry) error {
		if _, err := c.Room("audit").Post(ctx, chat.Post{Text: "somebody was sent away"}); err != nil {
			return err
		}
		return chat.Errorf(chat.Rejected, "secret words")
	}))
	chattest.Dial(t, w.hub).Call("chat_message", "hello")
	s := w.stop()
	message := s.one("chat.message")
	has(t, s.below(message.SpanContext(), "chat.deliver"), map[string]any{"messaging.destination.name": "audit"})
	status(t, message, codes.Unset, "", "REJECTED")
	for _, key := range []string{"messaging.destination.name", "messaging.message.id"} {
		if v := value(message, key); v.AsString() != "" {
			t.Errorf("%s of a message that was not saved: %s", key, v.AsString())
		}
	}
	s.none("secret")
}

// A trace goes from the host's POST to the delivery.
func TestPostFromREST(t *testing.T) {
	t.Parallel()
	w := start(t, nil, nil, chat.WithRooms("lobby"))
	c := chattest.Dial(t, w.hub)
	post := chat.RequestIDs(spanAround(w, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, err := w.hub.Room("lobby").Post(r.Context(), chat.Post{Text: "Deploy at noon"}); err != nil {
			t.Error(err)
		}
		if err := w.hub.To(chat.Rooms("lobby")).WithContext(r.Context()).Emit("alert", "noon"); err != nil {
			t.Error(err)
		}
	})))
	r := httptest.NewRequest(http.MethodPost, "/api/broadcast", nil)
	r.Header.Set("X-Request-Id", "req-7")
	post.ServeHTTP(httptest.NewRecorder(), r)
	c.Expect("new_message")
	c.Expect("alert")
	s := w.stop()
	host := s.one("POST /api/broadcast").SpanContext()
	store := s.below(host, "chat.store append")
	if n := len(s.named("chat.deliver")); n != 2 {
		t.Fatalf("%d deliveries", n)
	}
	for _, d := range s.named("chat.deliver") {
		if d.Parent().SpanID() != host.SpanID() || d.SpanContext().TraceID() != host.TraceID() {
			t.Error("delivered in another trace")
		}
		has(t, d, map[string]any{"chat.receivers": 1, "chat.request_id": "req-7", "messaging.destination.name": "lobby"})
	}
	has(t, s.named("chat.deliver")[0], map[string]any{"chat.event": "new_message", "messaging.message.id": ""})
	within(t, s.one("POST /api/broadcast"), store, s.named("chat.deliver")[0])
}

// An emit without a context is in no trace, and makes none.
func TestEmitWithoutContext(t *testing.T) {
	t.Parallel()
	w := start(t, nil, nil)
	c := chattest.Dial(t, w.hub)
	if err := w.hub.Emit("alert", 1); err != nil {
		t.Fatal(err)
	}
	c.Expect("alert")
	if n := len(w.stop().named("chat.deliver")); n != 0 {
		t.Error(n)
	}
}

func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	handler := func(context.Context, *chat.Client, *chat.Event) ([]any, error) { return nil, nil }
	w := start(t, nil, []tracing.Option{tracing.WithEvents("cursor")}, chat.WithRooms("lobby"), chat.OnRaw("cursor", handler), chat.OnAny(handler))
	c := chattest.Dial(t, w.hub)
	for _, event := range []string{"cursor", "made-up-by-somebody", "typing", "history", "join_room", "leave_room"} {
		c.Call(event, map[string]any{"room": "lobby"})
	}
	s := w.stop()
	for _, name := range []string{"cursor", "other", "typing", "history", "join_room", "leave_room"} {
		has(t, s.one("chat.event "+name), map[string]any{"messaging.operation.name": name})
	}
	s.below(s.one("chat.event history").SpanContext(), "chat.store page")
	s.none("made-up")
}

func TestErrors(t *testing.T) {
	t.Parallel()
	fails := func(err error) func(context.Context, *chat.Client, any) error {
		return func(context.Context, *chat.Client, any) error { return err }
	}
	w := start(t, nil, []tracing.Option{tracing.WithEvents("refused", "broken", "down", "silent", "nobody", "panics")},
		chat.On("refused", fails(chat.Errorf("NO_STOCK", "secret words"))),
		chat.On("broken", fails(errors.New("secret words"))),
		chat.On("down", fails(errors.Join(errors.New("secret words"), chat.Errorf(chat.Unavailable, "secret words")))),
		chat.On("silent", fails(chat.ErrNoAck)),
		chat.On("panics", func(context.Context, *chat.Client, any) error { panic("secret words") }),
	)
	c := chattest.Dial(t, w.hub)
	c.Emit("silent", 1)
	for _, event := range []string{"refused", "broken", "down", "nobody", "panics"} {
		c.Call(event, "secret words")
	}
	c.Call("chat_message", map[string]string{"text": "secret words", "room": "elsewhere"})
	s := w.stop()
	status(t, s.one("chat.event refused"), codes.Unset, "", "NO_STOCK")
	status(t, s.one("chat.event broken"), codes.Error, "INTERNAL", "INTERNAL")
	status(t, s.one("chat.event down"), codes.Error, "UNAVAILABLE", "UNAVAILABLE")
	status(t, s.one("chat.event silent"), codes.Unset, "", "")
	status(t, s.one("chat.event nobody"), codes.Unset, "", "UNKNOWN_EVENT")
	status(t, s.one("chat.event panics"), codes.Error, "INTERNAL", "INTERNAL")
	status(t, s.one("chat.message"), codes.Unset, "", "NOT_MEMBER")
	s.none("secret")
}
