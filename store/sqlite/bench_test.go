package sqlite_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/sqlite"
)

var sizes = []int{1, 16, 64}

// perEntry reports the time of one entry beside that of a batch.
func perEntry(b *testing.B, size int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/entry")
}

func BenchmarkAppend(b *testing.B) {
	for _, sync := range []string{"full", "normal"} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/%d", sync, size), func(b *testing.B) {
				var opts []sqlite.Option
				if sync == "normal" {
					opts = append(opts, sqlite.WithNormalSync())
				}
				s := open(b, filepath.Join(b.TempDir(), "chat.db"), opts...)
				batch, n := make([]chat.Entry, size), 0
				for b.Loop() {
					for i := range batch {
						n++
						batch[i] = message(n)
					}
					if _, err := s.Append(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
				}
				perEntry(b, size)
			})
		}
	}
}

// BenchmarkAppendBusy is a busy Hub's: each of 200 users has written two messages, in 50 rooms, with keys in no order.
func BenchmarkAppendBusy(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "chat.db"))
	batch, n := make([]chat.Entry, 400), 0
	for b.Loop() {
		for i := range batch {
			n++
			sum := sha256.Sum256(fmt.Append(nil, n))
			batch[i] = message(n)
			batch[i].Room, batch[i].UserID = fmt.Sprint("room", n%50), fmt.Sprintf("anon:%022d", n%200)
			batch[i].SID, batch[i].MessageID, batch[i].Text = fmt.Sprintf("%020d", n%200), hex.EncodeToString(sum[:18]), fmt.Sprintf("%-64d", n)
		}
		if _, err := s.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	perEntry(b, len(batch))
}

// BenchmarkBare is what the same rows cost without a store: no keys, no rooms, nothing looked up.
func BenchmarkBare(b *testing.B) {
	for _, sync := range []string{"FULL", "NORMAL"} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/%d", sync, size), func(b *testing.B) {
				path := filepath.Join(b.TempDir(), "chat.db")
				open(b, path)
				db := raw(b, path+"?_pragma=synchronous("+sync+")")
				db.SetMaxOpenConns(1)
				stmt, err := db.PrepareContext(b.Context(), `INSERT INTO entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to, meta)
					VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
				if err != nil {
					b.Fatal(err)
				}
				defer stmt.Close()
				n := 0
				for b.Loop() {
					tx, err := db.Begin()
					if err != nil {
						b.Fatal(err)
					}
					for range size {
						n++
						e := message(n)
						if _, err := tx.Stmt(stmt).Exec(n, e.Kind, e.ID, e.UserID, e.SID, e.Text, time.Now().UnixMilli(), e.MessageID, e.ReplyTo, nil); err != nil {
							b.Fatal(err)
						}
					}
					if err := tx.Commit(); err != nil {
						b.Fatal(err)
					}
				}
				perEntry(b, size)
			})
		}
	}
}

// BenchmarkPage reads 50 entries at changing places of a room that has a million.
func BenchmarkPage(b *testing.B) {
	path := filepath.Join(b.TempDir(), "chat.db")
	s := open(b, path)
	if _, err := s.Append(b.Context(), []chat.Entry{message(1)}); err != nil {
		b.Fatal(err)
	}
	run(b, raw(b, path), `INSERT INTO entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to)
		WITH RECURSIVE g (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM g WHERE n < 1000000)
		SELECT 1, n, 'message', 'id', 'ann', 'sid', 'a text of a usual length, as people write them', 0, '', '' FROM g`)
	for _, name := range []string{"after", "before"} {
		b.Run(name, func(b *testing.B) {
			n := uint64(0)
			for b.Loop() {
				n = (n + 314159) % 999900
				after, before := n, n+51
				q := chat.PageQuery{Namespace: "/", Room: "lobby", Before: &before, Limit: 50}
				if name == "after" {
					q.After, q.Before = &after, nil
				}
				entries, _, err := s.Page(b.Context(), q)
				if err != nil || len(entries) != 50 || entries[0].Seq != n+1 {
					b.Fatal(len(entries), err)
				}
			}
		})
	}
}
