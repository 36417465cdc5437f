package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/parleychat/chat"
)

// clientSuite are the handlers that socket.io-client's own tests expect of a server.
func clientSuite() []chat.Option {
	id := chat.OnRaw("getId", func(_ context.Context, c *chat.Client, _ *chat.Event) ([]any, error) {
		return []any{c.ID()}, nil
	})
	refuse := chat.WithAuth(func(context.Context, *chat.Handshake) (chat.User, error) {
		return chat.User{}, chat.Errorf(chat.Unauthorized, "Auth failed (custom namespace)")
	})
	tell := chat.OnConnect(func(_ context.Context, c *chat.Client) { _ = c.Emit("handshake", c.User().Data) })
	opts := []chat.Option{
		chat.WithAuth(suiteAuth), id,
		chat.Namespace("/foo", id),
		chat.Namespace("/timeout_socket"), chat.Namespace("/valid"), chat.Namespace("/asd"),
		chat.Namespace("/abc", tell),
		chat.Namespace("/no", refuse),
		chat.OnAny(func(context.Context, *chat.Client, *chat.Event) ([]any, error) {
			return nil, chat.ErrNoAck // the tests wait for what a client does then
		}),
	}
	return append(append(opts, suiteTexts()...), suiteBinary()...)
}

// delayed answers handshakes a little late: those tests give up on a connection after no time at all.
func delayed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("sid") {
			time.Sleep(10 * time.Millisecond)
		}
		next.ServeHTTP(w, r)
	})
}

// handshake is what the tests look at of a handshake.
type handshake struct {
	Auth  json.RawMessage   `json:"auth"`
	Query map[string]string `json:"query"`
}

func suiteAuth(_ context.Context, h *chat.Handshake) (chat.User, error) {
	if h.Namespace == "/" && h.Query.Get("fail") != "" {
		return chat.User{}, chat.Errorf(chat.Unauthorized, "Auth failed (main namespace)")
	}
	seen := handshake{Auth: h.Auth, Query: flat(h.Query)}
	if seen.Auth == nil {
		seen.Auth = json.RawMessage("{}")
	}
	return chat.User{Data: seen}, nil
}

func flat(q url.Values) map[string]string {
	m := make(map[string]string, len(q))
	for k := range q {
		m[k] = q.Get(k)
	}
	return m
}

// says makes a handler that emits an event.
func says(on, event string, args ...any) chat.Option {
	return chat.OnRaw(on, func(_ context.Context, c *chat.Client, _ *chat.Event) ([]any, error) {
		return nil, c.Emit(event, args...)
	})
}

func suiteTexts() []chat.Option {
	return []chat.Option{
		says("hi", "hi"), says("false", "false", false),
		says("getDate", "takeDate", time.Now()),
		says("getDateObj", "takeDateObj", map[string]any{"date": time.Now()}),
		chat.OnRaw("echo", func(_ context.Context, _ *chat.Client, e *chat.Event) ([]any, error) {
			return e.Args.Values(), nil
		}),
		chat.OnRaw("getAckDate", func(context.Context, *chat.Client, *chat.Event) ([]any, error) {
			return []any{time.Now()}, nil
		}),
		chat.OnRaw("getHandshake", func(_ context.Context, c *chat.Client, _ *chat.Event) ([]any, error) {
			return []any{c.User().Data}, nil
		}),
		chat.OnRaw("getUtf8", func(_ context.Context, c *chat.Client, _ *chat.Event) ([]any, error) {
			for _, text := range []string{"てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"} {
				if err := c.Emit("takeUtf8", text); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}),
		chat.OnRaw("ack", func(ctx context.Context, c *chat.Client, _ *chat.Event) ([]any, error) {
			go askTest(ctx, c) // the same client emits it again before it answers
			return nil, chat.ErrNoAck
		}),
	}
}

// askTest asks the client, and says so when the answer is the one that the tests give.
func askTest(ctx context.Context, c *chat.Client) {
	answer, err := chat.Call[chat.Args](ctx, c, "ack")
	if err != nil {
		return // it has left
	}
	var n int
	var v struct{ Test bool }
	if answer.Decode(0, &n) == nil && answer.Decode(1, &v) == nil && n == 5 && v.Test {
		_ = c.Emit("got it") // fails on a closed Hub only
	}
}

// wants makes a handler that emits an event when its first argument is as it should be and the events that
// come before it have been seen. It remembers itself.
func wants(on string, good func(v any) bool, answer string, before ...string) chat.Option {
	return chat.OnRaw(on, func(_ context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
		for _, b := range before {
			if c.Get(b) == nil {
				return nil, nil
			}
		}
		if e.Args.Len() == 0 || !good(e.Args.Values()[0]) {
			return nil, nil
		}
		c.Set(on, true)
		if answer == "" {
			return nil, nil
		}
		return nil, c.Emit(answer)
	})
}

func suiteBinary() []chat.Option {
	isBinary := func(v any) bool { _, ok := v.([]byte); return ok }
	isMixed := func(v any) bool {
		m, ok := v.(map[string]any)
		return ok && m["hello"] == "lol" && m["goodbye"] == "gotcha" && isBinary(m["message"])
	}
	isText := func(v any) bool { _, ok := v.(string); return ok }
	isSecond := func(v any) bool { return v == "second" }
	return []chat.Option{
		says("doge", "doge", []byte("asdfasdf")), says("getbin", "takebin", []byte("asdfasdf")),
		wants("buffa", isBinary, "buffack"), wants("jsonbuff", isMixed, "jsonbuff-ack"),
		wants("abuff1", isBinary, ""), wants("abuff2", isText, "abuff2-ack", "abuff1"),
		wants("blob", isBinary, "back"), wants("jsonblob", isMixed, "jsonblob-ack"),
		wants("blob1", isBinary, ""), wants("blob2", isSecond, "", "blob1"),
		wants("blob3", isBinary, "blob3-ack", "blob1", "blob2"),
	}
}
