package chat_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
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
