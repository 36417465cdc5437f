package tracing

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/parleychat/chat"
)

// The conventions let a system that they do not list have a name of its own.
var system = semconv.MessagingSystemKey.String("socket.io")

// What the conventions for messaging have no name for.
const (
	namespaceKey = attribute.Key("chat.namespace")
	clientKey    = attribute.Key("chat.client_id")
	userKey      = attribute.Key("chat.user_id")
	requestKey   = attribute.Key("chat.request_id")
	transportKey = attribute.Key("chat.transport")
	protocolKey  = attribute.Key("chat.protocol")
	recoveredKey = attribute.Key("chat.recovered")
	goneKey      = attribute.Key("chat.gone")
	queuedKey    = attribute.Key("chat.queued_ms") // from when the event came in to when its turn came
	eventKey     = attribute.Key("chat.event")
	receiversKey = attribute.Key("chat.receivers")
	seqKey       = attribute.Key("chat.seq")
	storeOpKey   = attribute.Key("chat.store.op")
	entriesKey   = attribute.Key("chat.store.entries")
)

func setClient(span trace.Span, c *chat.Client) {
	span.SetAttributes(namespaceKey.String(c.Namespace()), clientKey.String(c.ID()), userKey.String(c.User().ID), transportKey.String(c.Transport()))
}

func setRequestID(ctx context.Context, span trace.Span) {
	if id := chat.RequestID(ctx); id != "" {
		span.SetAttributes(requestKey.String(id))
	}
}

// fail puts down what a page was told, by its code alone: the text may repeat what the page sent. As the conventions have it for servers, the status is an error
// where the server has failed, and not where a page asked for what it may not have.
func fail(span trace.Span, err error) {
	if errors.Is(err, chat.ErrNoAck) {
		return
	}
	code := chat.Internal
	if e := (*chat.Error)(nil); errors.As(err, &e) && e != nil {
		code = e.Code
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(string(code)))
	if code == chat.Internal || code == chat.Unavailable {
		span.SetStatus(codes.Error, string(code))
	}
}

// failStore says how a call of the store failed, without the error's text: a database's may hold what was to be saved.
func failStore(span trace.Span, err error) {
	kind := semconv.ErrorTypeOther
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		kind = semconv.ErrorTypeKey.String("timeout")
	case errors.Is(err, context.Canceled):
		kind = semconv.ErrorTypeKey.String("canceled")
	}
	span.SetAttributes(kind)
	span.SetStatus(codes.Error, kind.Value.AsString())
}
