package chattest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHub(t *testing.T, opts ...chat.Option) *chat.Hub {
	t.Helper()
	hub, err := chat.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return hub
}

func echo() chat.Option {
	return chat.OnRaw("echo", func(_ context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
		if !e.NeedsAck {
			return nil, c.Emit("echo", e.Args.Values()...)
		}
		return e.Args.Values(), nil
	})
}

// each runs f over both transports, in a bubble.
func each(t *testing.T, f func(t *testing.T, opts ...chattest.Option)) {
	t.Parallel()
	t.Run("websocket", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { f(t) })
	})
	t.Run("polling", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { f(t, chattest.Polling()) })
	})
}

func TestEmitAndExpect(t *testing.T) {
	each(t, func(t *testing.T, opts ...chattest.Option) {
		c := chattest.Dial(t, newHub(t, echo()), opts...)
		if c.ID() == "" || c.Recovered() {
			t.Error(c.ID(), c.Recovered())
		}
		c.Emit("echo", "one", 1)
		c.Emit("echo", []byte{1, 2}, map[string]any{"b": []byte{3}})
		m := c.Expect("echo")
		if v := m.Values(); len(v) != 2 || v[0] != "one" || v[1] != 1.0 {
			t.Errorf("%q", v)
		}
		m = c.Next()
		var b struct{ B []byte }
		m.Decode(1, &b)
		if v := m.Values(); m.Event != "echo" || len(v) != 2 || !bytes.Equal(v[0].([]byte), []byte{1, 2}) || !bytes.Equal(b.B, []byte{3}) {
			t.Errorf("%q %v", v, b)
		}
		c.None("echo")
	})
}

func TestCall(t *testing.T) {
	each(t, func(t *testing.T, opts ...chattest.Option) {
		c := chattest.Dial(t, newHub(t, echo()), opts...)
		a := c.Call("echo", "x", []byte("y"))
		var s string
		a.Decode(0, &s)
		if a.Len() != 2 || s != "x" || string(a.Values()[1].([]byte)) != "y" || string(a.JSON(0)) != `"x"` {
			t.Errorf("%v", a.Values())
		}
	})
}

func TestAnswer(t *testing.T) {
	each(t, func(t *testing.T, opts ...chattest.Option) {
		hub := newHub(t, chat.OnCall("ask-me", func(ctx context.Context, c *chat.Client, event string) (string, error) {
			return chat.Call[string](ctx, c, event, "blue")
		}))
		c := chattest.Dial(t, hub, opts...)
		c.Answer("colour", func(a chattest.Args) []any { return []any{"light" + a.Values()[0].(string)} })
		var r struct {
			OK     bool
			Result string
		}
		c.Call("ask-me", "colour").Decode(0, &r)
		if !r.OK || r.Result != "lightblue" {
			t.Errorf("%+v", r)
		}
		c.Emit("ask-me", "by hand")
		m := c.Expect("by hand")
		if !m.NeedsAck() {
			t.Error("no ack asked for")
		}
		m.Ack("done")
	})
}

func TestTwoClientsInARoom(t *testing.T) {
	each(t, func(t *testing.T, opts ...chattest.Option) {
		hub := newHub(t, chat.WithRooms("lobby"))
		a, b := chattest.Dial(t, hub, opts...), chattest.Dial(t, hub, opts...)
		a.Call("chat_message", "hello")
		var m struct{ Text, Room, Sid string }
		b.Expect("new_message").Decode(0, &m)
		if m.Text != "hello" || m.Room != "lobby" || m.Sid != a.ID() {
			t.Errorf("%+v", m)
		}
		synctest.Wait()
		a.None("new_message")
	})
}

func TestRefused(t *testing.T) {
	each(t, func(t *testing.T, opts ...chattest.Option) {
		hub := newHub(t, chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
			var auth struct{ Token string }
			if err := h.Decode(&auth); err != nil || auth.Token != "ann" {
				return chat.User{}, chat.Errorf(chat.Unauthorized, "no entry")
			}
			return chat.User{ID: "ann"}, nil
		}))
		with := func(more ...chattest.Option) []chattest.Option { return slices.Concat(opts, more) }
		chattest.Dial(t, hub, with(chattest.Auth(map[string]string{"token": "ann"}))...)
		var refused *chattest.DialError
		if _, err := chattest.TryDial(t, hub, opts...); !errors.As(err, &refused) || refused.Message != "no entry" || !bytes.Contains(refused.Data, []byte(`"UNAUTHORIZED"`)) {
			t.Error(err)
		}
		if _, err := chattest.TryDial(t, hub, with(chattest.Header("Origin", "http://evil.test"))...); !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
			t.Error(err)
		}
		if _, err := chattest.TryDial(t, hub, with(chattest.Namespace("/nowhere"))...); !errors.As(err, &refused) || refused.Message != "Invalid namespace" {
			t.Error(err)
		}
		if _, err := chattest.TryDial(t, hub, with(chattest.Query("sid", "x"))...); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || refused.Message == "" {
			t.Error(err)
		}
	})
}

func TestNamespace(t *testing.T) {
	each(t, func(t *testing.T, opts ...chattest.Option) {
		hub := newHub(t, chat.Namespace("/admin", echo()))
		c := chattest.Dial(t, hub, append(opts, chattest.Namespace("/admin"))...)
		if v := c.Call("echo", "x").Values(); v[0] != "x" {
			t.Error(v)
		}
		c.Close()
		if why := c.WaitClosed(); why != "io client disconnect" {
			t.Error(why)
		}
	})
}

func TestClosedByTheServer(t *testing.T) {
	each(t, func(t *testing.T, opts ...chattest.Option) {
		hub := newHub(t, chat.On("kick-me", func(_ context.Context, c *chat.Client, _ any) error {
			c.Disconnect()
			return nil
		}))
		c := chattest.Dial(t, hub, opts...)
		c.Emit("kick-me")
		if why := c.WaitClosed(); why != "io server disconnect" {
			t.Error(why)
		}
	})
}

func TestReconnectRecovers(t *testing.T) {
	each(t, func(t *testing.T, opts ...chattest.Option) {
		hub := newHub(t, chat.WithRooms("lobby"))
		c := chattest.Dial(t, hub, opts...)
		alert := func(text string) {
			if err := hub.Room("lobby").Emit("alert", text); err != nil {
				t.Error(err)
			}
		}
		alert("before")
		if m := c.Expect("alert"); m.Offset == "" || m.Len() != 1 {
			t.Errorf("offset %q, %d arguments", m.Offset, m.Len())
		}
		sid := c.ID()
		c.Drop()
		synctest.Wait()
		alert("while away")
		c.Reconnect()
		if v := c.Expect("alert").Values(); v[0] != "while away" || !c.Recovered() || c.ID() != sid {
			t.Error(v, c.Recovered(), c.ID(), sid)
		}
		pid, offset := c.Session()
		c.Drop()
		synctest.Wait()
		alert("again")
		other := chattest.Dial(t, hub, append(opts, chattest.Recover(pid, offset))...)
		if v := other.Expect("alert").Values(); v[0] != "again" || other.ID() != sid {
			t.Error(v)
		}
	})
}

func ExampleDial() {
	test := func(t *testing.T) {
		hub, err := chat.New(chat.WithRooms("lobby"))
		if err != nil {
			t.Fatal(err)
		}
		ann, bob := chattest.Dial(t, hub), chattest.Dial(t, hub)
		ann.Call("chat_message", "hello")
		var m struct{ Text string }
		bob.Expect("new_message").Decode(0, &m)
		fmt.Println(m.Text)
	}
	_ = test // the body of a test of yours
	// Output:
}
