package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/parleychat/chat"
)

// Batches of many rooms, with keys that repeat and rooms that are new, from several stores at once: each key once, each room dense, whichever way a batch went.
func TestBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	const rooms, writers, batches = 7, 4, 60
	var mu sync.Mutex
	ids := map[string]string{} // of the first record, by room and key
	var all sync.WaitGroup
	for w := range writers {
		s := open(t, dsn)
		rng := rand.New(rand.NewPCG(uint64(w), 1))
		all.Go(func() {
			for n := range batches {
				var batch []chat.Entry
				for range 1 + rng.IntN(12) {
					e := message(n*1000 + rng.IntN(1000))
					e.Room = fmt.Sprint("room", rng.IntN(1+n*rooms/batches))
					e.ID = fmt.Sprint(w, "-", n, "-", len(batch))
					if e.MessageID = ""; rng.IntN(3) > 0 {
						e.MessageID = fmt.Sprint("k", n, "-", rng.IntN(40)) // among the writers, too
					}
					batch = append(batch, e)
				}
				saved, err := s.Append(t.Context(), batch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i, a := range saved {
					key := batch[i].Room + " " + batch[i].MessageID
					if first := ids[key]; batch[i].MessageID != "" && first != "" && first != a.Entry.ID {
						t.Errorf("%s is %s and %s", key, first, a.Entry.ID)
					}
					ids[key] = a.Entry.ID
					if a.Repeated == (a.Entry.ID == batch[i].ID) {
						t.Errorf("repeated %t, sent %s, got %s", a.Repeated, batch[i].ID, a.Entry.ID)
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	s := open(t, dsn)
	for r := range rooms {
		var last chat.Entry
		for after := uint64(0); ; {
			entries, more, err := s.Page(t.Context(), chat.PageQuery{Namespace: "/", Room: fmt.Sprint("room", r), After: &after, Limit: 200})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Seq != last.Seq+1 || e.Timestamp.Before(last.Timestamp) {
					t.Fatalf("%d of %v after %d of %v", e.Seq, e.Timestamp, last.Seq, last.Timestamp)
				}
				last = e
			}
			if !more {
				break
			}
			after = last.Seq
		}
	}
}

// What a store remembers of rooms does not outlive them: as where a backup of another time is restored under it.
func TestForgottenRooms(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s := open(t, dsn)
	for _, text := range []string{"a", "b", "c"} {
		e := message(1)
		e.Room, e.MessageID = text, ""
		save(t, s, e)
		save(t, s, e)
	}
	conn := connect(t, dsn)
	exec(t, conn, "UPDATE parley_chat.rooms SET room = 'x' WHERE room = 'a'; UPDATE parley_chat.rooms SET room = 'a' WHERE room = 'b'; UPDATE parley_chat.rooms SET room = 'b' WHERE room = 'x'")
	exec(t, conn, "UPDATE parley_chat.rooms SET last_seq = 10 WHERE room = 'b'; DELETE FROM parley_chat.rooms WHERE room = 'c'")
	batch := []chat.Entry{message(1), message(2), message(3)}
	for i, room := range []string{"a", "b", "c"} {
		batch[i].Room = room
	}
	for i, a := range save(t, s, batch...) {
		if want := []uint64{3, 11, 1}[i]; a.Entry.Seq != want || a.Entry.Room != batch[i].Room {
			t.Errorf("%s: %d, want %d", a.Entry.Room, a.Entry.Seq, want)
		}
	}
}
