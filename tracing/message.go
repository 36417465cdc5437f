package tracing

import (
	"context"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/parleychat/chat"
)

const chatMessage = "chat_message"

func (o *observer) ObserveEvent(ctx context.Context, c *chat.Client, e *chat.Event) (context.Context, func(error)) {
	event := e.Name
	name, known := o.events[event]
	if !known {
		event, name = "other", "chat.event other"
	}
	ctx, span := o.tracer.Start(ctx, name, linked(ctx, rootConsumer)...)
	if !span.IsRecording() {
		return ctx, nil
	}
	span.SetAttributes(system, semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName(event))
	if !e.At.IsZero() {
		span.SetAttributes(queuedKey.Float64(float64(time.Since(e.At).Microseconds()) / 1000))
	}
	setRequestID(ctx, span)
	setClient(span, c)
	if e.Name == chatMessage {
		ctx = context.WithValue(ctx, messageKey{}, span)
	}
	return ctx, func(err error) {
		if err != nil {
			fail(span, err)
		}
		span.End()
	}
}

// messageKey is the key of the span of a chat_message, whose room and id are known when it is saved.
type messageKey struct{}

// ObserveDeliver makes spans in a trace that there is: an Emit has no context, and would be a trace of one span.
func (o *observer) ObserveDeliver(ctx context.Context, d chat.Delivery) {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return
	}
	_, span := o.tracer.Start(ctx, "chat.deliver", trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(d.Begin))
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		system, semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("deliver"), semconv.MessagingMessageBodySize(d.Bytes),
		namespaceKey.String(d.Namespace), eventKey.String(d.Event), receiversKey.Int(d.Clients),
	)
	if d.Room != "" {
		span.SetAttributes(semconv.MessagingDestinationName(d.Room))
	}
	setRequestID(ctx, span)
	if d.Entry == nil {
		return
	}
	setEntry(span, d.Entry)
	if message, ok := ctx.Value(messageKey{}).(trace.Span); ok && d.Entry.SID != "" { // what a handler posts meanwhile has no SID
		setEntry(message, d.Entry)
	}
}

func setEntry(span trace.Span, e *chat.Entry) {
	span.SetAttributes(semconv.MessagingDestinationName(e.Room), semconv.MessagingMessageID(e.ID), seqKey.Int64(int64(e.Seq)))
}
