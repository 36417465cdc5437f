package chat_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// bridgeEnd is a Bridge that records, and has one server with two clients behind it, of whom one answers.
type bridgeEnd struct {
	mu      sync.Mutex
	h       chat.BridgeHandler
	told    []chat.BridgeMessage
	stopped bool
}

func (w *bridgeEnd) Start(h chat.BridgeHandler) error { w.h = h; return nil }

func (w *bridgeEnd) Tell(m *chat.BridgeMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, *m)
}

func (w *bridgeEnd) Call(ctx context.Context, m *chat.BridgeMessage) ([]chat.BridgeArgs, int, error) {
	w.Tell(m)
	if m.Event == "silence" {
		<-ctx.Done()
		return nil, 1, nil
	}
	return []chat.BridgeArgs{{JSON: []byte(`"there"`)}}, 0, nil
}

func (w *bridgeEnd) Stop(context.Context) error { w.stopped = true; return nil }

func (w *bridgeEnd) take() []chat.BridgeMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.told = nil }()
	return w.told
}

func bridged(t *testing.T, opts ...chat.Option) (*chat.Hub, *bridgeEnd) {
	t.Helper()
	w := &bridgeEnd{}
	hub, err := chat.New(append(opts, chat.WithBridge(w), chat.WithGrace(0))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hub.Shutdown(context.Background()); err != nil || !w.stopped {
			t.Errorf("shutdown: %v; the bridge has ended: %v", err, w.stopped)
		}
	})
	return hub, w
}

func TestBridgeIsTold(t *testing.T) {
	t.Parallel()
	hub, w := bridged(t, chat.WithRooms("r"))
	c := chattest.Dial(t, hub)
	for what, f := range map[string]func() error{
		"a client that is here": func() error { return hub.To(chat.Clients(c.ID())).Emit("ev") },
		"users alone":           func() error { return hub.To(chat.Users("ann")).Emit("ev") },
		"nobody":                func() error { return hub.To(chat.Rooms()).Emit("ev") },
		"the client itself":     func() error { return hub.Client(c.ID()).Emit("ev") },
	} {
		if err := f(); err != nil {
			t.Error(err)
		}
		if got := w.take(); len(got) != 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	ctx := t.Context()
	post, err := hub.Room("r").Post(ctx, chat.Post{Text: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	_ = hub.To(chat.Rooms("r"), chat.Users("ann"), chat.Clients("else")).Except(chat.Rooms("x"), chat.Users("bob"), chat.Clients(c.ID())).Emit("ev", 1, []byte{7})
	_ = hub.Of("/theirs").Emit("ev")
	_ = hub.Room("r").Target().Join(ctx, "j")
	_ = hub.Room("r").Target().Leave(ctx, "j")
	_ = hub.Room("none").Disconnect(ctx)
	text, _ := post.MarshalJSON()
	want := []chat.BridgeMessage{
		{Kind: chat.BridgeEmit, Namespace: "/", Rooms: []string{"r"}, Event: "new_message", Args: chat.BridgeArgs{JSON: text}},
		{
			Kind: chat.BridgeEmit, Namespace: "/", Rooms: []string{"r", "else"}, Except: []string{"x", c.ID()}, Event: "ev",
			Args: chat.BridgeArgs{JSON: []byte(`1,{"_placeholder":true,"num":0}`), Attachments: [][]byte{{7}}},
		},
		{Kind: chat.BridgeEmit, Namespace: "/theirs", Event: "ev"},
		{Kind: chat.BridgeJoin, Namespace: "/", Rooms: []string{"r"}, Names: []string{"j"}},
		{Kind: chat.BridgeLeave, Namespace: "/", Rooms: []string{"r"}, Names: []string{"j"}},
		{Kind: chat.BridgeDisconnect, Namespace: "/", Rooms: []string{"none"}},
	}
	got := w.take()
	if len(got) != len(want) {
		t.Fatalf("told %+v", got)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestBridgeTells(t *testing.T) {
	t.Parallel()
	hub, w := bridged(t)
	in, out := chattest.Dial(t, hub), chattest.Dial(t, hub)
	tell := func(m chat.BridgeMessage) {
		t.Helper()
		m.Namespace = "/"
		if err := w.h.Told(&m); err != nil {
			t.Error(err)
		}
	}
	tell(chat.BridgeMessage{Kind: chat.BridgeJoin, Rooms: []string{in.ID()}, Names: []string{"r"}})
	in.Expect("user_joined")
	tell(chat.BridgeMessage{Kind: chat.BridgeEmit, Rooms: []string{"r", out.ID()}, Except: []string{in.ID()}, Event: "one", Args: chat.BridgeArgs{JSON: []byte(`"x"`)}})
	tell(chat.BridgeMessage{Kind: chat.BridgeEmit, Except: []string{"r"}, Event: "two"})
	tell(chat.BridgeMessage{Kind: chat.BridgeEmit, Event: "end"})
	for _, event := range []string{"one", "two", "end"} {
		if m := out.Next(); m.Event != event {
			t.Errorf("%s instead of %s", m.Event, event)
		}
	}
	if m := in.Next(); m.Event != "end" {
		t.Errorf("%s to the one who was left out", m.Event)
	}
	if got := w.h.Clients("/", []string{"r"}, nil); len(got) != 1 || got[0].ID != in.ID() {
		t.Errorf("clients %+v", got)
	}
	if got := w.h.Rooms("/"); !reflect.DeepEqual(got, []string{"r"}) {
		t.Errorf("rooms %v", got)
	}
	tell(chat.BridgeMessage{Kind: chat.BridgeLeave, Rooms: []string{"r"}, Names: []string{"r"}})
	if got := w.h.Rooms("/"); len(got) != 0 {
		t.Errorf("rooms %v", got)
	}
	tell(chat.BridgeMessage{Kind: chat.BridgeDisconnect, Rooms: []string{in.ID()}, Close: true})
	in.WaitClosed()
	if len(w.take()) != 0 {
		t.Error("what a bridge tells is not told back")
	}
}

func TestBridgeRefusesWhatIsNotValid(t *testing.T) {
	t.Parallel()
	hub, w := bridged(t)
	c := chattest.Dial(t, hub)
	place := `{"_placeholder":true,"num":0}`
	for why, m := range map[string]chat.BridgeMessage{
		"not known":             {Kind: chat.BridgeEmit, Namespace: "/else", Event: "ev"},
		"unknown kind":          {Namespace: "/"},
		"reserved":              {Kind: chat.BridgeEmit, Namespace: "/", Event: "disconnect"},
		"not a room":            {Kind: chat.BridgeJoin, Namespace: "/", Names: []string{"with space"}},
		"no JSON values":        {Kind: chat.BridgeEmit, Namespace: "/", Event: "ev", Args: chat.BridgeArgs{JSON: []byte(`1]`)}},
		"place for each":        {Kind: chat.BridgeEmit, Namespace: "/", Event: "ev", Args: chat.BridgeArgs{JSON: []byte(`1`), Attachments: [][]byte{{1}}}},
		"with a place for each": {Kind: chat.BridgeEmit, Namespace: "/", Event: "ev", Args: chat.BridgeArgs{JSON: []byte(place + "," + place), Attachments: [][]byte{{1}}}},
	} {
		if err := w.h.Told(&m); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	_ = hub.Emit("end")
	if m := c.Next(); m.Event != "end" {
		t.Errorf("%s was delivered", m.Event)
	}
	if _, err := chat.New(chat.WithBridge(w), chat.WithBridge(w)); err == nil {
		t.Error("two bridges")
	}
}

func TestBridgeCalls(t *testing.T) {
	t.Parallel()
	hub, w := bridged(t, chat.WithRooms("r"))
	c := chattest.Dial(t, hub)
	c.Answer("q", func(chattest.Args) []any { return []any{"here", 2} })
	replies, err := chat.CallAll[string](t.Context(), hub.To(), "q")
	want := []chat.Reply[string]{{Client: c.ID(), Value: "here"}, {Value: "there"}}
	if err != nil || !reflect.DeepEqual(replies, want) {
		t.Errorf("%+v, %v", replies, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	replies, err = chat.CallAll[string](ctx, hub.To(chat.Rooms("none")), "silence")
	if !errors.Is(err, context.DeadlineExceeded) || len(replies) != 1 || replies[0].Err == nil {
		t.Errorf("%+v, %v", replies, err)
	}

	counted, acks := 0, []string(nil)
	m := &chat.BridgeMessage{Kind: chat.BridgeEmit, Namespace: "/", Rooms: []string{"r"}, Event: "q"}
	err = w.h.Called(t.Context(), m, func(n int) { counted = n }, func(a chat.BridgeArgs) { acks = append(acks, string(a.JSON)) })
	if err != nil || counted != 1 || !reflect.DeepEqual(acks, []string{`"here",2`}) {
		t.Errorf("%d clients, %q, %v", counted, acks, err)
	}
}
