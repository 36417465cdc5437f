package chat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

func TestNamespaceAlias(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport chattest.Option) {
		asked := make(chan string, 4)
		hub := newHub(t, chat.NamespaceAlias("/ws"), chat.NamespaceAlias("/v2"), chat.WithRooms("lobby"),
			chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
				asked <- h.Namespace
				var a struct{ User string }
				err := h.Decode(&a)
				return chat.User{ID: a.User}, err
			}),
			chat.OnRaw("echo", func(_ context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
				return append(e.Args.Values(), c.Namespace()), nil
			}),
			chat.OnCall("ask-all", func(ctx context.Context, c *chat.Client, _ string) (int, error) {
				replies, err := chat.CallAll[string](ctx, c.Room("lobby").Target().Except(chat.Clients(c.ID())), "your name?")
				for _, r := range replies {
					if r.Err != nil || r.Value == "" {
						return 0, fmt.Errorf("%+v", r)
					}
				}
				return len(replies), err
			}))
		var clients []*chattest.Client
		for _, name := range []string{"/", "/ws", "/v2"} {
			c := chattest.Dial(t, hub, transport, chattest.Namespace(name), chattest.Auth(object{"user": "u" + name}))
			c.Answer("your name?", func(chattest.Args) []any { return []any{name} })
			if n := <-asked; n != "/" {
				t.Errorf("auth is told %q", n)
			}
			clients = append(clients, c)
		}
		for i, c := range clients {
			// Acks, with binary; chat_message's, which has its place among the events; an error's.
			v := c.Call("echo", "x", []byte{1, 2}).Values()
			if len(v) != 3 || v[0] != "x" || !bytes.Equal(v[1].([]byte), []byte{1, 2}) || v[2] != "/" {
				t.Errorf("%v", v)
			}
			a := mustAsk(t, c, "chat_message", fmt.Sprint("from ", i))
			wantCode(t, ask(t, c, "nobody_knows"), chat.UnknownEvent)
			c.Emit("nobody_knows")
			wantError(t, c, chat.UnknownEvent)
			if a.Message.Seq != uint64(i+1) {
				t.Errorf("%+v", a.Message)
			}
			for j, other := range clients {
				if j == i {
					continue
				}
				if e := entryOf(t, other.Expect("new_message")); e.Text != fmt.Sprint("from ", i) || e.Seq != uint64(i+1) {
					t.Errorf("%+v", e)
				}
			}
			if r := mustAsk(t, c, "ask-all"); string(r.Result) != "2" {
				t.Errorf("%s", r.Result)
			}
			// Each is the other's, by whatever name the host asks.
			if hub.Client(c.ID()) == nil || hub.Of("/ws").Client(c.ID()) == nil || hub.Of("/v2").Client(c.ID()).Namespace() != "/" {
				t.Error("not found")
			}
		}
		if err := hub.Of("/ws").Emit("blob", []byte{7}, object{"b": []byte{8}}); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			var b []byte
			if m := c.Expect("blob"); m.Len() != 2 || m.Offset == "" {
				t.Errorf("%+v", m)
			} else if b, _ = m.Values()[0].([]byte); !bytes.Equal(b, []byte{7}) {
				t.Errorf("%v", b)
			}
		}
		if s := hub.Stats(); s.Clients != 3 || s.Rooms != 1 {
			t.Errorf("%+v", s)
		}
		hub.Client(clients[1].ID()).Disconnect()
		if why := clients[1].WaitClosed(); why != "io server disconnect" {
			t.Error(why)
		}
	})
}

// A session comes back by either name, and gets what it has missed under the one that it has now.
func TestRecoveryByAnAlias(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport chattest.Option) {
		hub := newHub(t, byUser(), chat.NamespaceAlias("/ws"), chat.WithRooms("r"))
		c := chattest.Dial(t, hub, transport, as("ann"))
		id := c.ID()
		for i, name := range []string{"/ws", "/", "/", "/ws", "/ws"} {
			pid, offset := c.Session()
			c.Drop()
			synctest.Wait()
			if err := hub.Room("r").Emit("missed", i, []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			if c = chattest.Dial(t, hub, transport, as("ann"), chattest.Namespace(name), chattest.Recover(pid, offset)); !c.Recovered() || c.ID() != id {
				t.Fatal("not recovered as", name)
			}
			var n int
			if c.Expect("missed").Decode(0, &n); n != i {
				t.Error(n)
			}
			c.None("missed")
		}
	})
}

// Clients of 1.x and 2.x, with one of 4.x, and all of it by one connection.
func TestAliasOfOldClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, chat.NamespaceAlias("/ws"), chat.WithRooms("r"), chat.OnRaw("echo", func(_ context.Context, _ *chat.Client, e *chat.Event) ([]any, error) {
			return e.Args.Values(), nil
		}), chat.OnCall("ask-me", func(ctx context.Context, c *chat.Client, _ string) (string, error) {
			return chat.Call[string](ctx, c, "q")
		}))
		at := serveInMemory(t, hub)
		old, modern := dialWire(t, at, "3", nil), dialWire(t, at, "4", nil)
		time.Sleep(time.Second) // with EIO=3 the open packet takes a moment
		old.send(t, "40/ws")
		modern.send(t, "40", "40/ws,")
		synctest.Wait()
		old.want(t, "40/ws")
		modern.want(t, "40{")
		modern.want(t, "40/ws,{")
		if n := hub.Stats().Clients; n != 4 { // an old client is in "/" whether it wants to or not
			t.Fatal(n)
		}
		old.send(t, `42/ws,1["chat_message","from the old one"]`, `42/ws,2["echo","x"]`, `42/ws,3["ask-me"]`)
		synctest.Wait()
		old.want(t, `43/ws,1[{"ok":true,"message":{`)
		old.want(t, `43/ws,2["x"]`)
		call := old.want(t, "42/ws,")
		for !strings.Contains(call, `["q"`) {
			call = old.want(t, "42/ws,")
		}
		old.send(t, "43"+strings.TrimSuffix(call[2:], `["q"]`)+`["answer"]`)
		synctest.Wait()
		old.want(t, `43/ws,3[{"ok":true,"result":"answer"}]`)
		for _, prefix := range []string{`42["new_message",{`, `42/ws,["new_message",{`} {
			text := modern.want(t, prefix)
			var args []json.RawMessage
			var e chat.Entry
			if json.Unmarshal([]byte(text[strings.Index(text, "["):]), &args) != nil || json.Unmarshal(args[1], &e) != nil || e.Text != "from the old one" || e.Namespace != "" && e.Namespace != "/" {
				t.Error(text)
			}
		}
		old.want(t, `42["new_message",{`) // by its other name it hears of it, too
		modern.send(t, `42/ws,1["chat_message","from the new one"]`)
		synctest.Wait()
		modern.want(t, `43/ws,1[{"ok":true`)
		for _, prefix := range []string{`42["new_message",{`, `42/ws,["new_message",{`} {
			if text := old.want(t, prefix); !strings.Contains(text, "from the new one") {
				t.Error(text)
			}
		}
		// To leave one name is not to leave the other.
		modern.send(t, "41/ws,")
		synctest.Wait()
		modern.send(t, `427["echo","still here"]`)
		synctest.Wait()
		modern.want(t, `437["still here"]`)
		if n := hub.Stats().Clients; n != 3 {
			t.Error(n)
		}
	})
}

func TestAliasesAreValidated(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string][]chat.Option{
		"/ws given twice":  {chat.NamespaceAlias("/ws"), chat.NamespaceAlias("/ws")},
		"/a given twice":   {chat.NamespaceAlias("/a"), chat.Namespace("/a")},
		"must begin with":  {chat.NamespaceAlias("ws")},
		"have 2 to 128":    {chat.NamespaceAlias("/")},
		"/b given twice":   {chat.Namespace("/a", chat.NamespaceAlias("/b")), chat.Namespace("/b")},
		"/c given twice":   {chat.Namespace("/a", chat.NamespaceAlias("/c")), chat.Namespace("/d", chat.NamespaceAlias("/c"))},
		"more than 255 al": manyAliases(256),
	} {
		if _, err := chat.New(opts...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	hub := newHub(t, manyAliases(255)...)
	chattest.Dial(t, hub, chattest.Namespace("/alias254"))
}

func manyAliases(n int) (opts []chat.Option) {
	for i := range n {
		opts = append(opts, chat.NamespaceAlias(fmt.Sprint("/alias", i)))
	}
	return opts
}
