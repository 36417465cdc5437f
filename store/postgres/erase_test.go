package postgres_test

import (
	"fmt"
	"testing"

	"github.com/parleychat/chat"
)

// What a user's transactions have published is erased before a relay takes it; its keys are known.
func TestEraseOutbox(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	save(t, s, message(0)) // of ann, with a key
	posts := []chat.Post{{Text: "secret", UserID: "ann", MessageID: "k0"}, {Text: "bob's", UserID: "bob"}}
	for i := range 600 { // more than a step
		posts = append(posts, chat.Post{Text: "secret", UserID: "ann", MessageID: fmt.Sprint("o", i), Meta: "secret"}, chat.Post{Text: "secret", UserID: "ann"})
	}
	publishIn(t, conn, true, posts...)
	if n, err := s.EraseUser(t.Context(), ""); n != 0 || err != nil {
		t.Errorf("nobody's: %d, %v", n, err)
	}
	if n, err := s.EraseUser(t.Context(), "ann"); n != 1201 || err != nil {
		t.Errorf("%d are erased, %v", n, err)
	}
	if n := outboxRows(t, conn); n != 1 {
		t.Errorf("%d rows are left", n)
	}
	w := watch(t, s)
	publishIn(t, conn, true, chat.Post{Text: "secret", UserID: "ann", MessageID: "o7"})
	eventually(t, "the outbox empty", func() bool { return outboxRows(t, conn) == 0 && w.told("/ lobby") > 0 })
	log := logOf(t, s, "lobby")
	if len(log) != 1202 || log[1201].Text != "bob's" {
		t.Fatalf("%d entries", len(log))
	}
	for _, e := range log[:1201] {
		if !e.Deleted || e.Text != "" || e.UserID != "" || e.MessageID != "" || e.Meta != nil || e.ID == "" {
			t.Fatalf("%+v", e)
		}
	}
	// With a Watch at work: whoever takes a message first, its text goes.
	publishIn(t, conn, true, posts[2:]...)
	for i := range posts {
		posts[i].MessageID += "again"
	}
	publishIn(t, conn, true, posts[2:]...)
	n := w.told("/ lobby")
	if _, err := s.EraseUser(t.Context(), "ann"); err != nil {
		t.Error(err)
	}
	if n := outboxRows(t, conn); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	for _, e := range logOf(t, s, "lobby") {
		if e.Text == "secret" || e.UserID == "ann" {
			t.Fatalf("%+v", e)
		}
	}
	eventually(t, "grown", func() bool { return w.told("/ lobby") > n })
}
