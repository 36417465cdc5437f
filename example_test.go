package chat_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/parleychat/chat"
)

// The Hub is mounted on the host's own mux, at whatever path its pages use.
func ExampleNew() {
	hub, err := chat.New(chat.WithOrigins("https://app.example.com"), chat.WithRooms("lobby"))
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second}
	// ListenAndServe, and at the end: the Hub first, then the server.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = hub.Shutdown(ctx)
	_ = server.Shutdown(ctx)
}

// Identity comes from the host: a cookie, a header, or the page's auth object.
func ExampleWithAuth() {
	users := map[string]string{"token-of-ann": "ann"}
	_, _ = chat.New(chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
		var auth struct{ Token string }
		if err := h.Decode(&auth); err != nil {
			return chat.User{}, err
		}
		id, ok := users[auth.Token]
		if !ok {
			return chat.User{}, chat.Errorf(chat.Unauthorized, "please sign in")
		}
		return chat.User{ID: id}, nil
	}))
}

// A typed handler decodes what the page emits; it reaches everybody else by the client.
func ExampleOn() {
	type Cursor struct{ X, Y int }
	_, _ = chat.New(chat.On("cursor", func(_ context.Context, c *chat.Client, p Cursor) error {
		return c.Room("board").Except(chat.Clients(c.ID())).Emit("cursor", c.User().ID, p)
	}))
}

// What OnCall returns answers the page's ack.
func ExampleOnCall() {
	_, _ = chat.New(chat.OnCall("shout", func(_ context.Context, _ *chat.Client, text string) (string, error) {
		return strings.ToUpper(text), nil // {"ok":true,"result":"HELLO"}
	}))
}

// A gate sees each message before it is saved.
func ExampleOnMessage() {
	_, _ = chat.New(chat.OnMessage(func(_ context.Context, _ *chat.Client, m *chat.Entry) error {
		if strings.Contains(m.Text, "spam") {
			return chat.Errorf(chat.Rejected, "no advertising here")
		}
		m.Text = strings.TrimSpace(m.Text)
		return nil
	}))
}

// Middleware wraps every handler of a namespace.
func ExampleUse() {
	_, _ = chat.New(chat.Use(func(next chat.Handler) chat.Handler {
		return func(ctx context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
			began := time.Now()
			defer func() { fmt.Println(e.Name, time.Since(began)) }()
			return next(ctx, c, e)
		}
	}))
}

// A namespace has handlers, rooms and an auth of its own.
func ExampleNamespace() {
	staff := func(context.Context, *chat.Handshake) (chat.User, error) { return chat.User{ID: "boss"}, nil }
	hub, _ := chat.New(chat.Namespace("/admin", chat.WithAuth(staff)))
	_ = hub.Of("/admin").Emit("report", map[string]int{"online": hub.Stats().Clients})
}

// An emit goes to everybody whom the selectors name, from any goroutine.
func ExampleHub_To() {
	hub, _ := chat.New()
	_ = hub.To(chat.Users("ann"), chat.Rooms("ops")).Except(chat.Rooms("muted")).Emit("alert", "Deploy at noon")
}

// What is posted is in the room's log, with a place in its order; what is emitted is not.
func ExampleRoom_Post() {
	hub, _ := chat.New()
	entry, err := hub.Room("lobby").Post(context.Background(), chat.Post{Text: "Welcome", UserID: "host"})
	fmt.Println(entry.Seq, entry.Text, err)
	// Output: 1 Welcome <nil>
}

// A call waits for the ack of one client.
func ExampleCall() {
	hub, _ := chat.New(chat.On("rename", func(ctx context.Context, c *chat.Client, name string) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		sure, err := chat.Call[bool](ctx, c, "confirm", "Rename to "+name+"?")
		if err != nil || !sure {
			return err
		}
		return c.Hub().Emit("renamed", name)
	}))
	_ = hub
}

func ExampleCallAll() {
	hub, _ := chat.New()
	replies, err := chat.CallAll[string](context.Background(), hub.Room("quiz").Target(), "answer?")
	fmt.Println(len(replies), err)
	// Output: 0 <nil>
}
