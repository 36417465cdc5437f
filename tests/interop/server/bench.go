package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

// bench has what the handlers share.
type bench struct {
	mu    sync.Mutex
	asked map[string]int           // how often auth was asked about a user
	held  map[string]chan struct{} // closed by release
}

func newBench() *bench {
	return &bench{asked: map[string]int{}, held: map[string]chan struct{}{}}
}

// options are the handlers of every namespace.
func (b *bench) options() []chat.Option {
	closed := func(context.Context, *chat.Handshake) (chat.User, error) {
		return chat.User{}, chat.Errorf(chat.Unauthorized, "closed")
	}
	return append(b.handlers(),
		chat.WithAuth(b.auth),
		chat.NamespaceAlias("/ws"),
		chat.Namespace("/admin", append(b.handlers(), chat.WithAuth(b.auth))...),
		chat.Namespace("/custom", append(b.handlers(), chat.WithAuth(b.auth))...),
		chat.Namespace("/closed", chat.WithAuth(closed)),
		b.limited(), b.shared(), b.brief(),
	)
}

type credentials struct{ User, Token string }

// auth takes user and token from the auth payload, or from the query for clients that have none.
func (b *bench) auth(_ context.Context, h *chat.Handshake) (chat.User, error) {
	c := credentials{User: h.Query.Get("user"), Token: h.Query.Get("token")}
	if err := h.Decode(&c); err != nil {
		return chat.User{}, err
	}
	b.mu.Lock()
	b.asked[c.User]++
	b.mu.Unlock()
	if c.Token == "bad" {
		return chat.User{}, chat.Errorf(chat.Unauthorized, "bad token")
	}
	payload := h.Auth
	if payload == nil {
		payload = json.RawMessage("{}")
	}
	u := chat.User{ID: c.User, TokenID: c.Token, Data: payload}
	if life, ok := strings.CutPrefix(c.Token, "life:"); ok { // of user:life, for refresh_auth says no more than a token
		user, life, _ := strings.Cut(life, ":")
		d, err := time.ParseDuration(life)
		if err != nil {
			return chat.User{}, chat.Errorf(chat.Unauthorized, "bad token")
		}
		u.ID, u.Expires = user, time.Now().Add(d)
	}
	return u, nil
}

func (b *bench) count(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _ = fmt.Fprint(w, b.asked[r.FormValue("user")]) // the test sees a broken answer
}

func (b *bench) hold(key string) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[key] == nil {
		b.held[key] = make(chan struct{})
	}
	return b.held[key]
}

// whoami tells a client what the server knows of it.
type whoami struct {
	Sid       string   `json:"sid"`
	User      string   `json:"user"`
	Namespace string   `json:"namespace"`
	Transport string   `json:"transport"`
	Protocol  int      `json:"protocol"`
	Recovered bool     `json:"recovered"`
	Rooms     []string `json:"rooms"`
}

type pair struct{ A, B float64 }

// oddNames are event names with signs of the protocol in them.
var oddNames = []string{"a,b", "x]y", `quo"te`, `back\slash`, "ünï 💬", "1-2", "/a,"}

func (b *bench) handlers() []chat.Option {
	opts := []chat.Option{
		chat.OnConnect(func(_ context.Context, c *chat.Client) { _ = c.Emit("auth", c.User().Data) }),
		chat.OnRaw("message", func(_ context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
			return nil, c.Emit("message-back", e.Args.Values()...)
		}),
		chat.OnRaw("message-with-ack", func(_ context.Context, _ *chat.Client, e *chat.Event) ([]any, error) {
			return e.Args.Values(), nil
		}),
		chat.OnRaw("whoami", func(_ context.Context, c *chat.Client, _ *chat.Event) ([]any, error) {
			return []any{whoami{
				Sid: c.ID(), User: c.User().ID, Namespace: c.Namespace(), Transport: c.Transport(),
				Protocol: c.Protocol(), Recovered: c.Recovered(), Rooms: c.Rooms(),
			}}, nil
		}),
		chat.On("ticks", ticks), chat.OnRaw("ask", ask), chat.OnRaw("ask-room", askRoom),
		chat.OnRaw("broadcast", func(_ context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
			name, args, err := nameAndArgs(e, 0)
			if err != nil {
				return nil, err
			}
			return nil, c.Hub().Emit(name, args...)
		}),
		chat.OnRaw("say", func(_ context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
			var room string
			if err := e.Args.Decode(0, &room); err != nil {
				return nil, err
			}
			name, args, err := nameAndArgs(e, 1)
			if err != nil {
				return nil, err
			}
			return nil, c.Room(room).Emit(name, args...)
		}),
		chat.OnCall("add", func(_ context.Context, _ *chat.Client, p pair) (map[string]float64, error) {
			return map[string]float64{"sum": p.A + p.B}, nil
		}),
		chat.On("panic", func(context.Context, *chat.Client, any) error { panic("asked for") }),
		chat.On("revoke", func(ctx context.Context, c *chat.Client, user string) error { return c.Hub().Revoke(ctx, user) }),
		chat.On("revoke-token", func(ctx context.Context, c *chat.Client, id string) error { return c.Hub().RevokeToken(ctx, id) }),
		chat.On("kick", func(_ context.Context, c *chat.Client, _ any) error { c.Disconnect(); return nil }),
		chat.OnCall("hold", func(ctx context.Context, _ *chat.Client, key string) (string, error) {
			select {
			case <-b.hold(key):
				return key, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}),
		chat.On("release", func(_ context.Context, _ *chat.Client, key string) error { close(b.hold(key)); return nil }),
	}
	for _, name := range oddNames {
		opts = append(opts, chat.OnRaw(name, func(_ context.Context, _ *chat.Client, e *chat.Event) ([]any, error) {
			return append([]any{e.Name}, e.Args.Values()...), nil
		}))
	}
	return opts
}

// nameAndArgs takes an event to be emitted from the arguments, beginning with argument i.
func nameAndArgs(e *chat.Event, i int) (name string, args []any, err error) {
	if err := e.Args.Decode(i, &name); err != nil {
		return "", nil, err
	}
	return name, e.Args.Values()[i+1:], nil
}

// ask makes the server ask the client back, and answers with what it said.
func ask(ctx context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
	name, args, err := nameAndArgs(e, 0)
	if err != nil {
		return nil, err
	}
	answer, err := chat.Call[any](ctx, c, name, args...)
	return []any{answer}, err
}

// askRoom asks everybody in a room.
func askRoom(ctx context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
	var room string
	if err := e.Args.Decode(0, &room); err != nil {
		return nil, err
	}
	name, args, err := nameAndArgs(e, 1)
	if err != nil {
		return nil, err
	}
	replies, err := chat.CallAll[any](ctx, c.Hub().To(chat.Rooms(room)), name, args...)
	if err != nil {
		return nil, err
	}
	answers := make([]any, len(replies))
	for i, r := range replies {
		if r.Err != nil {
			return nil, r.Err
		}
		answers[i] = r.Value
	}
	return []any{answers}, nil
}

// ticks sends so many events, numbered, without waiting for anything.
func ticks(_ context.Context, c *chat.Client, n int) error {
	for i := range n {
		if err := c.Emit("tick", i); err != nil {
			return err
		}
	}
	return nil
}
