package chat_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

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
		if h.Query.Get("long") != "" {
			return chat.User{ID: strings.Repeat("x", 1025)}, nil
		}
		return chat.User{}, errors.New("secret")
	}))
	for _, o := range [][]chattest.Option{{}, {chattest.Query("panic", "1")}, {chattest.Query("long", "1")}} {
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
