package tracing_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/store/sqlite"
)

// gated holds up the first Append until it is let go, so that the second is a batch of all that came meanwhile.
type gated struct {
	chat.Store
	open   chan struct{}
	inside func(ctx context.Context, entries int)
	err    error
}

func (g *gated) Append(ctx context.Context, entries []chat.Entry) ([]chat.Appended, error) {
	<-g.open
	g.inside(ctx, len(entries))
	if g.err != nil {
		return nil, g.err
	}
	return g.Store.Append(ctx, entries)
}

const statement = 10 * time.Millisecond // of the bubble's time

// batch saves a first message, and n as one batch behind it, each under a span of the host's; sampled says of which.
func batch(t *testing.T, failure error, n int, sampled func(i int) bool) (w *world, hosts []trace.Span, s spans) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "chat.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	g := &gated{Store: store, open: make(chan struct{}), err: failure}
	off := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("host")
	w = start(t, nil, nil, chat.WithStore(g))
	g.inside = func(ctx context.Context, entries int) {
		_, span := w.provider.Tracer("driver").Start(ctx, "INSERT") // as instrumented drivers do
		time.Sleep(statement)
		span.End()
	}
	var all sync.WaitGroup
	post := func(ctx context.Context) {
		all.Go(func() {
			if _, err := w.hub.Room("lobby").Post(ctx, chat.Post{Text: "secret words"}); (err == nil) != (failure == nil) {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
	post(context.Background())
	for i := range n {
		tracer := off
		if sampled(i) {
			tracer = w.provider.Tracer("host")
		}
		ctx, span := tracer.Start(t.Context(), "host")
		hosts = append(hosts, span)
		post(ctx)
	}
	close(g.open)
	all.Wait()
	for _, h := range hosts {
		h.End()
	}
	s = w.stop()
	s.none("secret")
	return w, hosts, s
}

func TestBatchOfManyTraces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hosts, s := batch(t, nil, 4, func(i int) bool { return i != 2 })
		var whole sdktrace.ReadOnlySpan
		for _, span := range s.named("chat.store append") {
			if !span.Parent().IsValid() {
				whole = span
			}
		}
		if whole == nil || len(whole.Links()) != 3 {
			t.Fatalf("no span of the batch that is linked to its three traces: %q", s.names())
		}
		has(t, whole, map[string]any{"chat.store.op": "append", "chat.store.entries": 4})
		s.below(whole.SpanContext(), "INSERT")
		for i, h := range hosts {
			if i == 2 {
				continue
			}
			share := s.below(h.SpanContext(), "chat.store append")
			has(t, share, map[string]any{"chat.store.op": "append", "chat.store.entries": 4})
			if !links(whole, h.SpanContext()) || !links(share, whole.SpanContext()) {
				t.Error("no links between the batch and its messages")
			}
			if !share.StartTime().Equal(whole.StartTime()) || !share.EndTime().Equal(whole.EndTime()) {
				t.Error("a share of another time than the batch's")
			}
			if d := share.EndTime().Sub(share.StartTime()); d < statement {
				t.Errorf("the store's share is %v", d)
			}
			s.below(h.SpanContext(), "chat.deliver")
		}
		if n := len(s.named("chat.store append")); n != 4 {
			t.Errorf("%d spans of the store", n)
		}
	})
}

// One sampled message among others has the batch, and what the driver makes of it, in its own trace.
func TestBatchOfOneTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hosts, s := batch(t, nil, 3, func(i int) bool { return i == 1 })
		store := s.below(hosts[1].SpanContext(), "chat.store append")
		has(t, store, map[string]any{"chat.store.entries": 3})
		s.below(store.SpanContext(), "INSERT")
		if n := len(s.named("chat.store append")); n != 1 {
			t.Errorf("%d spans of the store", n)
		}
	})
}

// Of a batch that nobody traces the driver makes no trace either, but for the first Post, which had no trace to be left out of.
func TestBatchOfNoTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, _, s := batch(t, nil, 3, func(int) bool { return false })
		if n := len(s.all); n != 1 || s.all[0].Name() != "INSERT" {
			t.Errorf("spans %q", s.names())
		}
	})
}

func TestStoreFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		kind string
		n    int
	}{
		"one":     {errors.New("secret words"), "_OTHER", 1},
		"batch":   {errors.New("secret words"), "_OTHER", 2},
		"timeout": {errors.Join(errors.New("secret words"), context.DeadlineExceeded), "timeout", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, hosts, s := batch(t, test.err, test.n, func(int) bool { return true })
				for _, h := range hosts {
					status(t, s.below(h.SpanContext(), "chat.store append"), codes.Error, test.kind, test.kind)
				}
				if n := len(s.named("chat.deliver")); n != 0 {
					t.Errorf("%d deliveries", n)
				}
			})
		})
	}
}

// What the Hub asks its store for by itself is a trace of its own.
func TestStoreCallsOfTheHub(t *testing.T) {
	t.Parallel()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "chat.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := start(t, nil, nil, chat.WithStore(store))
	chattest.Dial(t, w.hub).Call("join_room", map[string]string{"room": "lobby"})
	s := w.stop()
	bounds := s.one("chat.store bounds")
	root(t, bounds)
	has(t, bounds, map[string]any{"chat.store.op": "bounds"})
}
