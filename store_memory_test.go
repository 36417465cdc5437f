package chat_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
)

func TestMemoryStoreForgetsKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := chat.NewMemoryStore(0, 0)
		save := func(user, key string) chat.Appended {
			s, err := store.Append(t.Context(), []chat.Entry{{Namespace: "/", Room: "r", UserID: user, MessageID: key}})
			if err != nil {
				t.Fatal(err)
			}
			return s[0]
		}
		save("ann", "1")
		save("bob", "1")
		if n, err := store.(chat.Trimmer).Trim(t.Context(), chat.TrimQuery{Namespace: "/", Room: "r", Keep: 1}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := store.(chat.Eraser).EraseUser(t.Context(), "bob"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(chat.KeysKept - time.Millisecond)
		for _, user := range []string{"ann", "bob"} {
			if s := save(user, "1"); !s.Repeated || !s.Entry.Deleted {
				t.Errorf("%s, a moment before the end: %+v", user, s)
			}
		}
		time.Sleep(time.Millisecond)
		for i, user := range []string{"ann", "bob"} {
			if s := save(user, "1"); s.Repeated || s.Entry.Seq != uint64(i+3) {
				t.Errorf("%s, at the end: %+v", user, s)
			}
		}
	})
}

func TestMemoryStoreBoundsKeys(t *testing.T) {
	t.Parallel()
	store := chat.NewMemoryStore(0, 64<<10)
	save := func(i int, text string) chat.Appended {
		s, err := store.Append(t.Context(), []chat.Entry{{Namespace: "/", Room: "r", UserID: "ann", MessageID: fmt.Sprint(i), Text: text}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.(chat.Trimmer).Trim(t.Context(), chat.TrimQuery{Namespace: "/", Room: "r", Keep: 10}); err != nil {
			t.Fatal(err)
		}
		return s[0]
	}
	for i := range 1000 {
		save(i, "x")
	}
	if s := save(980, "x"); !s.Repeated || !s.Entry.Deleted {
		t.Errorf("a young key is not known: %+v", s)
	}
	if s := save(100, "x"); s.Repeated {
		t.Errorf("an old key is kept over the bound: %+v", s)
	}
	if s := save(2000, strings.Repeat("x", 56<<10)); s.Repeated {
		t.Error("a new entry is a repeat")
	}
	if entries, _, err := store.Page(t.Context(), chat.PageQuery{Namespace: "/", Room: "r", Limit: 100}); len(entries) != 10 || err != nil {
		t.Errorf("%d entries, %v: keys should have gone before entries", len(entries), err)
	}
}
