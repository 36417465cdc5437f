package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

func TestTooDeep(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithLimits(chat.Limits{Depth: 8}), chat.OnAny(func(context.Context, *chat.Client, *chat.Event) ([]any, error) {
		return []any{"ran"}, nil
	}))
	c := chattest.Dial(t, hub)
	wantCode(t, ask(t, c, "x", json.RawMessage(strings.Repeat("[", 9)+strings.Repeat("]", 9))), chat.InvalidPayload)
	var got string
	if c.Call("x", 1).Decode(0, &got); got != "ran" {
		t.Fatal(got)
	}
}

func TestTypedHandlers(t *testing.T) {
	t.Parallel()
	type point struct{ X, Y int }
	seen := make(chan point, 1)
	hub := newHub(t,
		chat.On("point", func(_ context.Context, _ *chat.Client, p point) error { seen <- p; return nil }),
		chat.OnCall("sum", func(_ context.Context, _ *chat.Client, p point) (int, error) { return p.X + p.Y, nil }),
		chat.OnCall("fail", func(context.Context, *chat.Client, string) (int, error) { return 0, errors.New("secret") }),
		chat.OnCall("refuse", func(context.Context, *chat.Client, string) (int, error) {
			return 0, &chat.Error{Code: "TEAPOT", Message: "no coffee", Data: object{"limit": 3}}
		}),
		chat.On("panic", func(context.Context, *chat.Client, chat.Args) error { panic("boom") }),
		chat.OnRaw("swap", func(_ context.Context, _ *chat.Client, e *chat.Event) ([]any, error) {
			v := e.Args.Values()
			slices.Reverse(v)
			return v, nil
		}),
		chat.On("args", func(_ context.Context, c *chat.Client, a chat.Args) error { return c.Emit("len", a.Len()) }),
	)
	c := chattest.Dial(t, hub)
	if mustAsk(t, c, "point", point{1, 2}); <-seen != (point{1, 2}) {
		t.Fatal("not that point")
	}
	mustAsk(t, c, "point") // absent: the zero value
	if p := <-seen; p != (point{}) {
		t.Fatal(p)
	}
	if a := mustAsk(t, c, "sum", point{3, 4}); string(a.Result) != "7" {
		t.Fatalf("%s", a.Result)
	}
	wantCode(t, ask(t, c, "sum", object{"x": "three"}), chat.InvalidPayload)
	if a := ask(t, c, "fail"); a.Error.Code != chat.Internal || strings.Contains(a.Error.Message, "secret") {
		t.Fatalf("%+v", a.Error)
	}
	if a := ask(t, c, "refuse"); a.Error.Code != "TEAPOT" || a.Error.Message != "no coffee" || a.Error.Limit != 3 {
		t.Fatalf("%+v", a.Error)
	}
	wantCode(t, ask(t, c, "panic"), chat.Internal)
	v := c.Call("swap", []byte("bin"), object{"b": []byte{0, 255}}, "x").Values()
	if len(v) != 3 || v[0] != "x" || string(v[2].([]byte)) != "bin" || string(v[1].(map[string]any)["b"].([]byte)) != "\x00\xff" {
		t.Fatalf("%#v", v)
	}
	c.Emit("args", 1, 2, 3)
	var n int
	if c.Expect("len").Decode(0, &n); n != 3 {
		t.Fatal(n)
	}
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	mw := func(name string) func(chat.Handler) chat.Handler {
		return func(next chat.Handler) chat.Handler {
			return func(ctx context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
				mu.Lock()
				order = append(order, name+":"+e.Name)
				mu.Unlock()
				if e.Name == "forbidden" {
					return nil, chat.Errorf(chat.Forbidden, "no")
				}
				return next(ctx, c, e)
			}
		}
	}
	hub := newHub(t, chat.Use(mw("a"), mw("b")), chat.OnAny(func(context.Context, *chat.Client, *chat.Event) ([]any, error) {
		return []any{1, 2}, nil
	}))
	c := chattest.Dial(t, hub)
	join(t, c, "r")
	if got := c.Call("any").Len(); got != 2 {
		t.Fatal(got)
	}
	wantCode(t, ask(t, c, "forbidden"), chat.Forbidden)
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"a:join_room", "b:join_room", "a:any", "b:any", "a:forbidden"}; !slices.Equal(order, want) {
		t.Fatal(order)
	}
}

func TestEventsRunInOrderAndHandlersMayCallTheirClient(t *testing.T) {
	t.Parallel()
	var got []int
	done := make(chan struct{})
	hub := newHub(t,
		chat.On("n", func(_ context.Context, _ *chat.Client, n int) error {
			if got = append(got, n); len(got) == 500 {
				close(done)
			}
			return nil
		}),
		chat.OnCall("back", func(ctx context.Context, c *chat.Client, q string) (string, error) {
			return chat.Call[string](ctx, c, "question", q)
		}),
	)
	c := chattest.Dial(t, hub)
	c.Answer("question", func(a chattest.Args) []any {
		var q string
		a.Decode(0, &q)
		return []any{q + "!"}
	})
	if a := mustAsk(t, c, "back", "well"); string(a.Result) != `"well!"` {
		t.Fatalf("%s", a.Result)
	}
	for i := range 500 {
		c.Emit("n", i)
	}
	<-done
	if !slices.IsSorted(got) {
		t.Fatal("out of order")
	}
}

func TestCallEndsWithTheClient(t *testing.T) {
	t.Parallel()
	in := make(chan *chat.Client, 1)
	hub := newHub(t, chat.OnConnect(func(_ context.Context, c *chat.Client) { in <- c }))
	c := chattest.Dial(t, hub)
	client := <-in
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	go func() { _, err := chat.Call[int](ctx, client, "never"); errs <- err }()
	c.Expect("never")
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	go func() { _, err := chat.Call[int](t.Context(), client, "never"); errs <- err }()
	c.Expect("never")
	c.Drop()
	if err := <-errs; !errors.Is(err, chat.ErrDisconnected) {
		t.Fatal(err)
	}
	<-client.Context().Done()
}

func TestCallAll(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithRooms("r"))
	for i := range 3 {
		c := chattest.Dial(t, hub)
		c.Answer("n", func(chattest.Args) []any { return []any{i} })
	}
	replies, err := chat.CallAll[int](t.Context(), hub.Room("r").Target(), "n")
	sum := 0
	for _, r := range replies {
		sum += r.Value
		if r.Err != nil || r.Client == "" {
			t.Fatalf("%+v", r)
		}
	}
	if err != nil || len(replies) != 3 || sum != 3 {
		t.Fatal(err, replies)
	}
}

func TestEmitEncodesBytesAsBinary(t *testing.T) {
	t.Parallel()
	hub := newHub(t)
	c := chattest.Dial(t, hub)
	type picture struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
	}
	if err := hub.Emit("p", picture{"x", []byte{1, 2}}, []byte{3}); err != nil {
		t.Fatal(err)
	}
	v := c.Expect("p").Values()
	if string(v[0].(map[string]any)["data"].([]byte)) != "\x01\x02" || string(v[1].([]byte)) != "\x03" {
		t.Fatalf("%#v", v)
	}
	if err := hub.Emit("bad", func() {}); err == nil {
		t.Fatal("a func was encoded")
	}
	if err := hub.Emit("disconnect"); err == nil {
		t.Fatal("a reserved name was emitted")
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, fmt.Sprintf(format, args...))
	}
	gone := make(chan struct{})
	type key struct{}
	hub := newHub(t, byUser(), chat.WithRooms("lobby"),
		chat.OnConnect(func(_ context.Context, c *chat.Client) {
			note("connect %s", c.User().ID)
			c.Set(key{}, "kept")
		}),
		chat.OnJoin(func(_ context.Context, _ *chat.Client, room string) { note("join %s", room) }),
		chat.OnLeave(func(_ context.Context, _ *chat.Client, room string) { note("leave %s", room) }),
		chat.OnDisconnect(func(_ context.Context, c *chat.Client, reason string) {
			note("disconnect %s %v", reason, c.Get(key{}))
			panic("hooks may not bring the process down")
		}),
		chat.OnDisconnect(func(context.Context, *chat.Client, string) { close(gone) }),
	)
	c := chattest.Dial(t, hub, as("ann"))
	join(t, c, "r")
	mustAsk(t, c, "leave_room", object{"room": "r"})
	c.Close()
	<-gone
	mu.Lock()
	defer mu.Unlock()
	want := []string{"connect ann", "join lobby", "join r", "leave r", "leave lobby", "disconnect client namespace disconnect kept"}
	if !slices.Equal(log, want) {
		t.Fatalf("%q", log)
	}
}
