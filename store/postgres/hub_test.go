package postgres_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/store/postgres"
)

func hub(t *testing.T, s chat.Store) *chat.Hub {
	t.Helper()
	h, err := chat.New(chat.WithStore(s), chat.WithRooms("lobby"), chat.Namespace("/staff", chat.WithRooms("lobby")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

// What a transaction publishes reaches the members on every node, among the others' messages and in the log's order.
func TestHubs(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	conn := connect(t, dsn)
	hubs := []*chat.Hub{hub(t, open(t, dsn)), hub(t, open(t, dsn))}
	clients := []*chattest.Client{
		chattest.Dial(t, hubs[0], chattest.Timeout(patience)), chattest.Dial(t, hubs[1], chattest.Timeout(patience)),
	}
	staff := chattest.Dial(t, hubs[1], chattest.Namespace("/staff"), chattest.Timeout(patience))
	for _, c := range append(clients, staff) { // what is saved after its answer arrives live
		c.Call("join_room", map[string]string{"room": "lobby"})
	}
	publishIn(t, conn, false, chat.Post{Text: "never"})
	publishIn(t, conn, true, chat.Post{Text: "one", UserID: "shop"}, chat.Post{Text: "two", Meta: map[string]int{"order": 7}})
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := postgres.PublishTx(t.Context(), tx, "lobby", chat.Post{Text: "for staff"}, postgres.InNamespace("/staff")); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		expect(t, c, 1, "one")
		expect(t, c, 2, "two")
	}
	if _, err := hubs[0].Room("lobby").Post(t.Context(), chat.Post{Text: "three"}); err != nil {
		t.Fatal(err)
	}
	expect(t, clients[0], 3, "three")
	publishIn(t, connect(t, dsn), true, chat.Post{Text: "four"})
	for _, c := range clients {
		if c == clients[1] {
			expect(t, c, 3, "three")
		}
		expect(t, c, 4, "four")
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, staff, 1, "for staff")
}

func expect(t *testing.T, c *chattest.Client, seq uint64, text string) {
	t.Helper()
	var e chat.Entry
	c.Expect("new_message").Decode(0, &e)
	if e.Seq != seq || e.Text != text {
		t.Fatalf("%d %q, want %d %q", e.Seq, e.Text, seq, text)
	}
}

// An order and the message of it are there together, or neither is.
func ExamplePublishTx() {
	pool, err := pgxpool.New(context.Background(), "postgres://…")
	if err != nil {
		return
	}
	store, err := postgres.New(context.Background(), pool) // the tables, and the relay of this program's Hub
	if err != nil {
		return
	}
	hub, err := chat.New(chat.WithStore(store))
	if err != nil {
		return
	}
	http.Handle("/socket.io/", hub)
	http.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			var id string
			if err := tx.QueryRow(ctx, "INSERT INTO orders DEFAULT VALUES RETURNING id").Scan(&id); err != nil {
				return err
			}
			return postgres.PublishTx(ctx, tx, "orders", chat.Post{Text: "A new order", MessageID: "order-" + id, Meta: map[string]string{"order": id}})
		})
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
}
