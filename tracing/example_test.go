package tracing_test

import (
	"context"
	"log"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/tracing"
)

func Example() {
	provider := sdktrace.NewTracerProvider( // with sdktrace.WithBatcher(exporter)
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01))),
	)
	hub, err := chat.New(
		chat.WithRooms("lobby"),
		chat.WithObserver(tracing.New(
			tracing.WithTracerProvider(provider),
			tracing.WithPropagator(propagation.TraceContext{}),
			tracing.WithEvents("cursor", "order"),
		)),
	)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	mux.HandleFunc("POST /api/broadcast", func(w http.ResponseWriter, r *http.Request) {
		if _, err := hub.Room("lobby").Post(r.Context(), chat.Post{Text: "Deploy at noon"}); err != nil { // in the request's trace
			http.Error(w, "not sent", http.StatusServiceUnavailable)
		}
	})
	// At the end:
	_ = hub.Shutdown(context.Background())
	_ = provider.Shutdown(context.Background()) // after the Hub: its last spans end in Shutdown
}
