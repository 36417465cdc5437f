package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = chat.WithLogger(slog.New(slog.DiscardHandler))

// newHub makes a hub that the test shuts down.
func newHub(t testing.TB, opts ...chat.Option) *chat.Hub {
	t.Helper()
	hub, err := chat.New(append([]chat.Option{quiet}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return hub
}

// byUser takes the user's id from auth.user.
func byUser() chat.Option {
	return chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
		var a struct{ User, Name string }
		if err := h.Decode(&a); err != nil {
			return chat.User{}, err
		}
		if a.User == "" {
			return chat.User{}, chat.Errorf(chat.Unauthorized, "who are you?")
		}
		return chat.User{ID: a.User, Name: a.Name}, nil
	})
}

func as(user string) chattest.Option { return chattest.Auth(map[string]string{"user": user}) }

// answer is what an ack of the chat's own events may hold.
type answer struct {
	OK      bool
	Room    string
	Seq     uint64
	Members []chat.Member
	Count   int `json:"member_count"`
	Message chat.Entry
	Entries []chat.Entry
	More    bool
	First   uint64 `json:"first_seq"`
	Error   struct {
		Code    chat.Code
		Message string
		Limit   int
	}
	Result json.RawMessage
}

func ask(t testing.TB, c *chattest.Client, event string, args ...any) (a answer) {
	t.Helper()
	c.Call(event, args...).Decode(0, &a)
	return a
}

// mustAsk is ask for what must succeed.
func mustAsk(t testing.TB, c *chattest.Client, event string, args ...any) answer {
	t.Helper()
	a := ask(t, c, event, args...)
	if !a.OK {
		t.Fatalf("%s: %+v", event, a.Error)
	}
	return a
}

func wantCode(t testing.TB, a answer, code chat.Code) {
	t.Helper()
	if a.OK || a.Error.Code != code {
		t.Fatalf("got ok %v, error %+v; want %s", a.OK, a.Error, code)
	}
}

type object = map[string]any

func join(t testing.TB, c *chattest.Client, room string) answer {
	t.Helper()
	return mustAsk(t, c, "join_room", object{"room": room})
}

func entryOf(t testing.TB, m chattest.Message) (e chat.Entry) {
	t.Helper()
	m.Decode(0, &e)
	return e
}

func TestMessage(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser())
	ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
	join(t, ann, "r")
	join(t, bob, "r")

	a := mustAsk(t, ann, "chat_message", object{"text": "hi <b>", "room": "r", "message_id": "m1", "meta": object{"k": 1}})
	got := entryOf(t, bob.Expect("new_message"))
	if got.ID != a.Message.ID || got.Seq != 1 || got.UserID != "ann" || got.SID != ann.ID() || got.Text != "hi <b>" ||
		got.MessageID != "m1" || string(got.Meta) != `{"k":1}` || got.Kind != chat.KindMessage || got.Timestamp.IsZero() {
		t.Fatalf("entry %+v", got)
	}
	if b := mustAsk(t, bob, "chat_message", "plain"); b.Message.Seq != 2 || b.Message.Room != "r" {
		t.Fatalf("second message %+v", b.Message)
	}
	ann.Expect("new_message")
	ann.None("new_message") // its own came by the ack alone
}

func TestRetryGivesFirstResult(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser())
	ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
	join(t, ann, "r")
	join(t, bob, "r")
	first := mustAsk(t, ann, "chat_message", object{"text": "one", "message_id": "k"})
	again := mustAsk(t, ann, "chat_message", object{"text": "changed", "message_id": "k"})
	if again.Message.ID != first.Message.ID || again.Message.Seq != 1 || again.Message.Text != "one" {
		t.Fatalf("retry gave %+v", again.Message)
	}
	// The key is the sender's own.
	if other := mustAsk(t, bob, "chat_message", object{"text": "bob's", "message_id": "k"}); other.Message.Seq != 2 {
		t.Fatalf("bob's message %+v", other.Message)
	}
	if e := entryOf(t, bob.Expect("new_message")); e.Text != "one" {
		t.Fatal(e)
	}
	mustAsk(t, bob, "typing", object{"on": false})
	bob.None("new_message")
}

func TestNoAckMeansEcho(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithRooms("r"))
	c := chattest.Dial(t, hub)
	c.Emit("chat_message", "hello")
	if e := entryOf(t, c.Expect("new_message")); e.Text != "hello" || !strings.HasPrefix(e.UserID, "anon:") {
		t.Fatalf("%+v", e)
	}
}

func TestWithEcho(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithRooms("r"), chat.WithEcho())
	c := chattest.Dial(t, hub)
	a := mustAsk(t, c, "chat_message", "hello")
	if e := entryOf(t, c.Expect("new_message")); e.ID != a.Message.ID {
		t.Fatalf("%+v", e)
	}
}

func TestBadPayloads(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithRooms("r"), chat.WithLimits(chat.Limits{Text: 5, RoomsPerClient: 2}))
	c := chattest.Dial(t, hub)
	for _, tt := range []struct {
		event string
		arg   any
		code  chat.Code
	}{
		{"chat_message", nil, chat.InvalidPayload},
		{"chat_message", 7, chat.InvalidPayload},
		{"chat_message", "", chat.InvalidPayload},
		{"chat_message", []string{"a"}, chat.InvalidPayload},
		{"chat_message", object{"text": 1}, chat.InvalidPayload},
		{"chat_message", object{"text": "a", "room": "no spaces"}, chat.InvalidPayload},
		{"chat_message", object{"text": "a", "message_id": strings.Repeat("x", 129)}, chat.InvalidPayload},
		{"chat_message", object{"text": "a", "meta": []byte{1}}, chat.InvalidPayload},
		{"chat_message", object{"text": "a", "room": "other"}, chat.NotMember},
		{"chat_message", "é€😀aaa", chat.TooLarge},
		{"join_room", nil, chat.InvalidPayload},
		{"join_room", "r", chat.InvalidPayload},
		{"join_room", object{"room": strings.Repeat("x", 129)}, chat.InvalidPayload},
		{"leave_room", object{"room": ""}, chat.InvalidPayload},
		{"typing", object{"on": "yes"}, chat.InvalidPayload},
		{"typing", object{"room": "other", "on": true}, chat.NotMember},
		{"history", object{"room": "r", "after": 1, "before": 2}, chat.InvalidPayload},
		{"history", object{"room": "other"}, chat.NotMember},
		{"nobody_knows", 1, chat.UnknownEvent},
	} {
		wantCode(t, ask(t, c, tt.event, tt.arg), tt.code)
	}
	if a := mustAsk(t, c, "chat_message", "é€😀aa"); a.Message.Text != "é€😀aa" { // five characters
		t.Fatal(a.Message)
	}
	join(t, c, "second")
	wantCode(t, ask(t, c, "join_room", object{"room": "third"}), chat.RateLimited)
	join(t, c, "second") // idempotent, at the limit too

	c.Emit("chat_message", 7) // without an ack the failure is an event
	var e struct {
		Code  chat.Code
		Event string
	}
	c.Expect("error").Decode(0, &e)
	if e.Code != chat.InvalidPayload || e.Event != "chat_message" {
		t.Fatalf("%+v", e)
	}
}

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

func TestSelectors(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser())
	ann1, ann2, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
	join(t, ann1, "x")
	join(t, bob, "x")
	join(t, bob, "y")
	all := []*chattest.Client{ann1, ann2, bob}
	for i, tt := range []struct {
		emit func(string) error
		want []*chattest.Client
	}{
		{func(e string) error { return hub.Emit(e) }, all},
		{func(e string) error { return hub.Room("x").Emit(e) }, []*chattest.Client{ann1, bob}},
		{func(e string) error { return hub.Room("x").Except(chat.Users("bob")).Emit(e) }, []*chattest.Client{ann1}},
		{func(e string) error { return hub.To(chat.Users("ann")).Emit(e) }, []*chattest.Client{ann1, ann2}},
		{func(e string) error { return hub.To(chat.Users("ann")).Except(chat.Rooms("x")).Emit(e) }, []*chattest.Client{ann2}},
		{func(e string) error { return hub.To(chat.Rooms("x", "y")).Emit(e) }, []*chattest.Client{ann1, bob}},
		{func(e string) error { return hub.To(chat.Rooms("y"), chat.Clients(ann2.ID())).Emit(e) }, []*chattest.Client{ann2, bob}},
		{func(e string) error { return hub.To().Except(chat.Clients(ann1.ID())).Emit(e) }, []*chattest.Client{ann2, bob}},
		{func(e string) error { return hub.To(chat.Rooms()).Emit(e) }, nil},
		{func(e string) error { return hub.Room("nowhere").Emit(e) }, nil},
		{func(e string) error { return hub.Client(bob.ID()).Emit(e) }, []*chattest.Client{bob}},
	} {
		event := fmt.Sprint("e", i)
		if err := tt.emit(event); err != nil {
			t.Fatal(err)
		}
		if err := hub.Emit("sync"); err != nil {
			t.Fatal(err)
		}
		for j, c := range all {
			c.Expect("sync")
			if slices.Contains(tt.want, c) {
				c.Expect(event)
			}
			if c.None(event); t.Failed() {
				t.Fatalf("case %d client %d", i, j)
			}
		}
	}
	if infos, err := hub.To(chat.Users("bob")).Clients(t.Context()); err != nil || len(infos) != 1 ||
		!slices.Equal(infos[0].Rooms, []string{"x", "y"}) || infos[0].ID != bob.ID() || infos[0].Transport != "websocket" || infos[0].Protocol != 5 {
		t.Fatal(err, infos)
	}
	if m, err := hub.Room("x").Members(t.Context()); err != nil || !slices.Equal(m, []chat.Member{{UserID: "ann"}, {UserID: "bob"}}) {
		t.Fatal(err, m)
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

func TestAuth(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser(), chat.WithLimits(chat.Limits{ClientsPerUser: 2}))
	_, err := chattest.TryDial(t, hub)
	var refused *chattest.DialError
	if !errors.As(err, &refused) || refused.Message != "who are you?" || string(refused.Data) != `{"code":"UNAUTHORIZED","message":"who are you?"}` {
		t.Fatalf("%v %+v", err, refused)
	}
	chattest.Dial(t, hub, as("ann"))
	second := chattest.Dial(t, hub, as("ann"))
	if _, err := chattest.TryDial(t, hub, as("ann")); !errors.As(err, &refused) || !strings.Contains(string(refused.Data), "RATE_LIMITED") {
		t.Fatal(err)
	}
	second.Close()
	second.WaitClosed()
	eventually(t, func() bool { return hub.Stats().Clients == 1 })
	chattest.Dial(t, hub, as("ann"))
}

func TestAuthErrorsStayInside(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
		if h.Query.Get("panic") != "" {
			panic("boom")
		}
		return chat.User{}, errors.New("secret")
	}))
	for _, o := range [][]chattest.Option{{}, {chattest.Query("panic", "1")}} {
		_, err := chattest.TryDial(t, hub, o...)
		var refused *chattest.DialError
		if !errors.As(err, &refused) || strings.Contains(err.Error()+string(refused.Data), "secret") || !strings.Contains(string(refused.Data), "INTERNAL") {
			t.Fatalf("%v %s", err, refused.Data)
		}
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	got := make(chan chat.Handshake, 1)
	hub := newHub(t, chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
		got <- *h
		return chat.User{ID: h.Cookie("who"), Name: h.Query.Get("name")}, nil
	}))
	for _, o := range []chattest.Option{chattest.Header("X-None", ""), chattest.Polling()} {
		c := chattest.Dial(t, hub, chattest.Header("Cookie", "who=ann"), chattest.Query("name", "Ann"), chattest.Auth(object{"a": 1}), o)
		h := <-got
		if string(h.Auth) != `{"a":1}` || h.Namespace != "/" || h.Protocol != 5 || h.RemoteAddr == "" || h.TLS != nil {
			t.Fatalf("%+v", h)
		}
		u := hub.Client(c.ID()).User()
		if u.ID != "ann" || u.Name != "Ann" || h.Transport != hub.Client(c.ID()).Transport() {
			t.Fatalf("%+v %s", u, h.Transport)
		}
	}
}

func TestAnonymousDevice(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithAnonymous())
	device := chattest.Auth(object{"device": "f0f1f2f3f4f5f6f7"})
	a, b, other := chattest.Dial(t, hub, device), chattest.Dial(t, hub, device), chattest.Dial(t, hub)
	ua, ub, uo := hub.Client(a.ID()).User().ID, hub.Client(b.ID()).User().ID, hub.Client(other.ID()).User().ID
	if ua != ub || ua == uo || !strings.HasPrefix(ua, "anon:") || strings.Contains(ua, "f0f1") || !strings.HasPrefix(uo, "anon:") {
		t.Fatal(ua, ub, uo)
	}
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser(), chat.WithRooms("r"),
		chat.Namespace("/admin",
			chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
				if h.Query.Get("staff") == "" {
					return chat.User{}, chat.Errorf(chat.Forbidden, "staff only")
				}
				return chat.User{ID: "boss"}, nil
			}),
			chat.OnCall("where", func(_ context.Context, c *chat.Client, _ chat.Args) (string, error) { return c.Namespace(), nil })),
		chat.Namespace("/plain"))
	var refused *chattest.DialError
	if _, err := chattest.TryDial(t, hub, chattest.Namespace("/nowhere"), as("ann")); !errors.As(err, &refused) || refused.Message != "Invalid namespace" {
		t.Fatal(err)
	}
	if _, err := chattest.TryDial(t, hub, chattest.Namespace("/admin"), as("ann")); !errors.As(err, &refused) || refused.Message != "staff only" {
		t.Fatal(err)
	}
	if _, err := chattest.TryDial(t, hub, chattest.Namespace("/plain")); !errors.As(err, &refused) {
		t.Fatal("a namespace without auth of its own did not ask the hub's:", err)
	}
	ann := chattest.Dial(t, hub, as("ann"))
	boss := chattest.Dial(t, hub, chattest.Namespace("/admin"), chattest.Query("staff", "1"))
	if a := mustAsk(t, boss, "where"); string(a.Result) != `"/admin"` {
		t.Fatalf("%s", a.Result)
	}
	join(t, boss, "r")
	if err := hub.Of("/admin").Room("r").Emit("only", 1); err != nil {
		t.Fatal(err)
	}
	boss.Expect("only")
	mustAsk(t, ann, "typing", object{"on": false})
	ann.None("only")
	if err := hub.Of("/undeclared").Emit("x"); err != nil {
		t.Fatal(err)
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

func TestMessageGate(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser(), chat.WithRooms("r"),
		chat.OnMessage(func(_ context.Context, _ *chat.Client, m *chat.Entry) error {
			if m.Text == "bad" {
				return chat.Errorf(chat.Rejected, "mind your words")
			}
			m.Text = strings.ToUpper(m.Text)
			m.UserID, m.Room = "mallory", "elsewhere" // not a hook's to change
			return nil
		}),
		chat.OnMessage(func(_ context.Context, _ *chat.Client, m *chat.Entry) error {
			if m.Text == "PANIC" {
				panic("boom")
			}
			return nil
		}))
	c := chattest.Dial(t, hub, as("ann"))
	if a := ask(t, c, "chat_message", "bad"); a.Error.Code != chat.Rejected || a.Error.Message != "mind your words" {
		t.Fatalf("%+v", a)
	}
	wantCode(t, ask(t, c, "chat_message", "panic"), chat.Internal)
	if a := mustAsk(t, c, "chat_message", "good"); a.Message.Text != "GOOD" || a.Message.UserID != "ann" || a.Message.Room != "r" || a.Message.Seq != 1 {
		t.Fatalf("%+v", a.Message)
	}
}

func TestRoomPolicy(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser(), chat.WithRoomPolicy(chat.RoomPolicy{
		Join: func(_ context.Context, c *chat.Client, room string) error {
			if room == "vip" && c.User().ID != "ann" {
				return chat.Errorf(chat.Forbidden, "members only")
			}
			return nil
		},
		Write: func(_ context.Context, c *chat.Client, room string) error {
			if room == "news" && c.User().ID != "ann" {
				return chat.Errorf(chat.Forbidden, "read only")
			}
			return nil
		},
	}))
	ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
	join(t, ann, "vip")
	wantCode(t, ask(t, bob, "join_room", object{"room": "vip"}), chat.Forbidden)
	join(t, ann, "news")
	join(t, bob, "news")
	wantCode(t, ask(t, bob, "chat_message", object{"text": "x", "room": "news"}), chat.Forbidden)
	mustAsk(t, ann, "chat_message", object{"text": "x", "room": "news"})
	bob.Expect("new_message")
	mustAsk(t, bob, "leave_room", object{"room": "news"})
	wantCode(t, ask(t, bob, "chat_message", object{"text": "x", "room": "news"}), chat.NotMember)
}

func TestJoinTellsSeqAndMembers(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser())
	ctx := t.Context()
	for range 3 {
		if _, err := hub.Room("r").Post(ctx, chat.Post{Text: "early", UserID: "host"}); err != nil {
			t.Fatal(err)
		}
	}
	ann := chattest.Dial(t, hub, as("ann"))
	if a := join(t, ann, "r"); a.Seq != 3 || a.Count != 1 || !slices.Equal(a.Members, []chat.Member{{UserID: "ann"}}) {
		t.Fatalf("%+v", a)
	}
	ann.Expect("user_joined")
	bob := chattest.Dial(t, hub, as("bob"))
	if a := join(t, bob, "r"); a.Seq != 3 || a.Count != 2 {
		t.Fatalf("%+v", a)
	}
	e, err := hub.Room("r").Post(ctx, chat.Post{Text: "late", Meta: object{"a": 1}})
	if err != nil || e.Seq != 4 {
		t.Fatal(e, err)
	}
	if got := entryOf(t, ann.Expect("new_message")); got.Seq != 4 || got.SID != "" || string(got.Meta) != `{"a":1}` {
		t.Fatalf("%+v", got)
	}
	if _, err := hub.Room("bad name").Post(ctx, chat.Post{Text: "x"}); err == nil {
		t.Fatal("a bad name was taken")
	}
	if _, err := hub.Room("r").Post(ctx, chat.Post{}); err == nil {
		t.Fatal("an empty text was taken")
	}
	first, _ := hub.Room("r").Post(ctx, chat.Post{Text: "once", UserID: "host", MessageID: "k"})
	again, err := hub.Room("r").Post(ctx, chat.Post{Text: "once", UserID: "host", MessageID: "k"})
	if err != nil || first.ID != again.ID {
		t.Fatal(first, again, err)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithStore(chat.NewMemoryStore(100, 0)), chat.WithRooms("r"))
	for i := range 120 {
		if _, err := hub.Room("r").Post(t.Context(), chat.Post{Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	c := chattest.Dial(t, hub)
	seqs := func(a answer) (first, last uint64, n int) {
		if n = len(a.Entries); n > 0 {
			first, last = a.Entries[0].Seq, a.Entries[n-1].Seq
		}
		return
	}
	for _, tt := range []struct {
		q           object
		first, last uint64
		more        bool
	}{
		{object{"room": "r"}, 71, 120, true},
		{object{"limit": 10}, 111, 120, true},
		{object{"before": 71, "limit": 200}, 21, 70, false},
		{object{"after": 110}, 111, 120, false},
		{object{"after": 0, "limit": 20}, 21, 40, true},
		{object{"after": 120}, 0, 0, false},
		{object{"after": 500}, 0, 0, false},
		{object{"before": 1}, 0, 0, false},
		{object{"before": 500, "limit": 1000}, 21, 120, false},
	} {
		a := mustAsk(t, c, "history", tt.q)
		if first, last, n := seqs(a); first != tt.first || last != tt.last || a.More != tt.more || a.First != 21 || (n > 0 && uint64(n) != last-first+1) {
			t.Errorf("%v: %d to %d, %d entries, more %v, first %d", tt.q, first, last, n, a.More, a.First)
		}
	}
}

// eventually waits for a condition that nothing signals.
func eventually(t testing.TB, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about within 5 s")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestClientsPerUserHoldsAtOnce(t *testing.T) {
	t.Parallel()
	const many, limit = 20, 5
	gate := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Add(many)
	hub := newHub(t, chat.WithLimits(chat.Limits{ClientsPerUser: limit}), chat.WithAuth(func(context.Context, *chat.Handshake) (chat.User, error) {
		waiting.Done()
		<-gate // all are asked before any is in
		return chat.User{ID: "ann"}, nil
	}))
	results := make(chan error, many)
	for range many {
		go func() { _, err := chattest.TryDial(t, hub); results <- err }()
	}
	waiting.Wait()
	close(gate)
	in := 0
	for range many {
		if err := <-results; err == nil {
			in++
		}
	}
	if in != limit {
		t.Fatalf("%d came in", in)
	}
}
