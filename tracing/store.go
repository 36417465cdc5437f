package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/parleychat/chat"
)

func (o *observer) ObserveStore(ctx context.Context, call chat.StoreCall) (context.Context, func(error)) {
	if len(call.For) > 0 {
		return o.append(ctx, call)
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() && !sc.IsSampled() {
		return ctx, nil
	}
	ctx, span := o.tracer.Start(ctx, "chat.store "+call.Op)
	if !span.IsRecording() {
		return ctx, nil
	}
	span.SetAttributes(storeAttributes(call)...)
	return ctx, endOf(span)
}

// append makes the span of a batch. Of one sampled message it is a child, and so is what the database driver makes of it. Of several it is a trace of its own, linked to all
// of them, and each gets a child of the batch's times.
func (o *observer) append(ctx context.Context, call chat.StoreCall) (context.Context, func(error)) {
	senders := sampled(call.For)
	switch len(senders) {
	case 0:
		if s := trace.SpanFromContext(call.For[0]); s.SpanContext().IsValid() { // it says "not sampled" to the driver too, which would begin a trace of its own
			ctx = trace.ContextWithSpan(ctx, s)
		}
		return ctx, nil
	case 1:
		ctx, span := o.tracer.Start(trace.ContextWithSpan(ctx, senders[0]), "chat.store append")
		span.SetAttributes(storeAttributes(call)...)
		return ctx, endOf(span)
	}
	links := make([]trace.Link, len(senders))
	for i, s := range senders {
		links[i].SpanContext = s.SpanContext()
	}
	begin := time.Now()
	ctx, batch := o.tracer.Start(ctx, "chat.store append", trace.WithNewRoot(), trace.WithLinks(links...), trace.WithTimestamp(begin))
	batch.SetAttributes(storeAttributes(call)...)
	return ctx, func(err error) {
		end := time.Now()
		if err != nil {
			failStore(batch, err)
		}
		batch.End(trace.WithTimestamp(end))
		o.shares(senders, batch.SpanContext(), call, begin, end, err)
	}
}

// shares shows the batch's time in each sender's trace.
func (o *observer) shares(senders []trace.Span, batch trace.SpanContext, call chat.StoreCall, begin, end time.Time, err error) {
	opts := []trace.SpanStartOption{trace.WithTimestamp(begin), trace.WithAttributes(storeAttributes(call)...)}
	if batch.IsSampled() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: batch}))
	}
	for _, s := range senders {
		_, span := o.tracer.Start(trace.ContextWithSpan(context.Background(), s), "chat.store append", opts...)
		if err != nil {
			failStore(span, err)
		}
		span.End(trace.WithTimestamp(end))
	}
}

func sampled(ctxs []context.Context) (spans []trace.Span) {
	for _, ctx := range ctxs {
		if s := trace.SpanFromContext(ctx); s.SpanContext().IsSampled() {
			spans = append(spans, s)
		}
	}
	return spans
}

func storeAttributes(call chat.StoreCall) []attribute.KeyValue {
	kvs := []attribute.KeyValue{storeOpKey.String(call.Op)}
	if call.Entries > 0 {
		kvs = append(kvs, entriesKey.Int(call.Entries))
	}
	return kvs
}

func endOf(span trace.Span) func(error) {
	return func(err error) {
		if err != nil {
			failStore(span, err)
		}
		span.End()
	}
}
