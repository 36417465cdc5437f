package chat

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"

	"github.com/parleychat/chat/internal/engineio"
)

// requestHeader carries a request's id, as proxies set it.
const requestHeader = "X-Request-Id"

type (
	requestKey struct{}
	clientKey  struct{}
)

// RequestID is the id of the HTTP request that ctx comes of: of RequestIDs' own, or, in a client's handlers, of the handshake's, or of the POST that
// brought the event. It is empty where there is none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// RequestIDs is a middleware for the host's own handlers, and for a Hub among them: each request has an id from then on, the one of its X-Request-Id header (up to
// 128 printable characters) or one that is made, which RequestID finds in its context, LogHandler puts on log lines, and the response tells in the same
// header. A message that a handler posts with that context (Room.Post, Target.WithContext) is logged with it up to its delivery.
func RequestIDs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := requestIDOf(r)
		w.Header().Set(requestHeader, id)
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, id))
		if r.Header.Get(requestHeader) != id { // which is where the transport looks, and the next server if next is a proxy
			r.Header = r.Header.Clone()
			r.Header.Set(requestHeader, id)
		}
		next.ServeHTTP(w, r)
	})
}

// requestIDOf is a request's id, made where it has none.
func requestIDOf(r *http.Request) string {
	if id := RequestID(r.Context()); id != "" {
		return id
	}
	if id := r.Header.Get(requestHeader); validRequestID(id) {
		return id
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// setRequest keeps the id of the handshake's request: one that was made in an eighth of what the text takes, since every client has it.
func (c *Client) setRequest(id string) {
	if n, err := hex.Decode(c.made[:], []byte(id[:min(len(id), 2*len(c.made))])); err != nil || n != len(c.made) || c.requestID() != id {
		c.made = [8]byte{}
		c.rareLocked().request = id
	}
}

func (c *Client) requestID() string {
	switch {
	case c.made != [8]byte{}:
		return hex.EncodeToString(c.made[:])
	case c.rare != nil:
		return c.rare.request
	}
	return ""
}

// validRequestID: it comes from strangers, and goes into logs.
func validRequestID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= engineio.MaxRequestID
}

// requestContext is ctx with a request's id of its own.
type requestContext struct {
	context.Context
	id string
}

func (c requestContext) Value(key any) any {
	if key == (requestKey{}) {
		return c.id
	}
	return c.Context.Value(key)
}

// LogHandler adds to the lines that h writes what their context knows: request_id (see RequestIDs), and in a client's handlers client_id and user_id. A
// Hub does so with its own lines, whatever logger it has.
func LogHandler(h slog.Handler) slog.Handler {
	if l, ok := h.(logHandler); ok {
		return l
	}
	return logHandler{h}
}

type logHandler struct{ slog.Handler }

func (l logHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	if c, ok := ctx.Value(clientKey{}).(*Client); ok {
		r.AddAttrs(slog.String("client_id", c.id), slog.String("user_id", c.userID))
	}
	return l.Handler.Handle(ctx, r)
}

func (l logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{l.Handler.WithAttrs(attrs)}
}

func (l logHandler) WithGroup(name string) slog.Handler { return logHandler{l.Handler.WithGroup(name)} }

// WithTrafficLog sets the level of the lines that tell of ordinary traffic: of each client that comes and goes, each message and each event of the host's. The default
// is slog.LevelDebug. No line holds what a message says.
func WithTrafficLog(level slog.Level) Option {
	return hubOption("WithTrafficLog", func(b *builder) { b.hub.traffic = level })
}

// traffic logs a line of ordinary traffic. ctx is the client's, or what the host's came with.
func (h *core) traffic(ctx context.Context, what string, attrs ...slog.Attr) {
	h.log().LogAttrs(ctx, h.set.traffic, what, attrs...)
}

// logsTraffic spares the making of a line that nobody reads.
func (h *core) logsTraffic(ctx context.Context) bool { return h.log().Enabled(ctx, h.set.traffic) }
