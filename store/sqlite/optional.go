package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/storekit"
)

// trimStep is how many entries one transaction removes: others get in between two.
const trimStep = 1000

// Trim is chat.Trimmer's. It also removes the keys, revocations and kept values whose time has come, of all rooms.
func (s *Store) Trim(ctx context.Context, q chat.TrimQuery) (removed int, err error) {
	rooms, err := s.roomsOf(ctx, q.Namespace, q.Room)
	if err != nil {
		return 0, err
	}
	for _, id := range rooms {
		for more := true; more; {
			var n int64
			err := s.write(ctx, func(ctx context.Context, w *writer) (err error) {
				n, more, err = w.trim(ctx, id, q)
				return err
			})
			if err != nil {
				return removed, err
			}
			removed += int(n)
		}
	}
	return removed, s.purge(ctx)
}

func (s *Store) roomsOf(ctx context.Context, namespace, room string) ([]int64, error) {
	rows, err := s.reads.roomsOf.QueryContext(ctx, namespace, room)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return storekit.Collect(rows, func(id *int64) error { return rows.Scan(id) })
}

// Rooms is chat.Trimmer's.
func (s *Store) Rooms(ctx context.Context, namespace, after string, limit int) ([]string, error) {
	rows, err := s.reads.roomsAfter.QueryContext(ctx, namespace, after, max(limit, 0))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return storekit.Collect(rows, func(name *string) error { return rows.Scan(name) })
}

// trim is one step of a room; more says that there may be another.
func (w *writer) trim(ctx context.Context, id int64, q chat.TrimQuery) (n int64, more bool, err error) {
	var first, last int64
	if err := w.roomByID.QueryRowContext(ctx, id).Scan(&first, &last); err != nil {
		return 0, false, err
	}
	step := min(first+trimStep, last+1)
	end := first // of what goes, exclusive
	if !q.Before.IsZero() {
		err := w.young.QueryRowContext(ctx, id, first, step, msUp(q.Before)).Scan(&end)
		if errors.Is(err, sql.ErrNoRows) {
			end = step
		} else if err != nil {
			return 0, false, err
		}
	}
	if q.Keep > 0 {
		end = max(end, last+1-int64(q.Keep))
	}
	if end = min(end, step); end <= first {
		return 0, false, nil
	}
	if err := w.outliveRange(ctx, id, first, end); err != nil {
		return 0, false, err
	}
	if n, err = affected(w.remove.ExecContext(ctx, id, first, end)); err != nil {
		return 0, false, err
	}
	_, err = w.setFirst.ExecContext(ctx, id, end)
	return n, end == step && end <= last, err
}

// msUp is the first whole millisecond that is not before t, so that ts < msUp(t) means the same as the time being before t.
func msUp(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// gone is what a key must tell once its entry cannot.
type gone struct {
	room, seq, ts             int64
	kind, id, user, messageID string
}

func (w *writer) outliveRange(ctx context.Context, id, first, end int64) error {
	rows, err := w.doomed.QueryContext(ctx, id, first, end)
	if err != nil {
		return err
	}
	all, err := scanGone(rows, id)
	if err != nil {
		return err
	}
	expires := time.Now().Add(chat.KeysKept).UnixMilli()
	for _, g := range all {
		if err := w.outliveOne(ctx, g, expires); err != nil {
			return err
		}
	}
	return nil
}

func scanGone(rows *sql.Rows, room int64) (all []gone, err error) {
	defer rows.Close()
	for rows.Next() {
		g := gone{room: room}
		if err := rows.Scan(&g.seq, &g.kind, &g.id, &g.user, &g.messageID, &g.ts); err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

func (w *writer) outliveOne(ctx context.Context, g gone, expires int64) error {
	w.keys.exact = true
	if _, err := w.outlive.ExecContext(ctx, g.room, g.user, g.messageID, g.seq, g.kind, g.id, g.ts, expires); err != nil {
		return err
	}
	return w.dropKey(ctx, place{g.room, g.seq}, g.user, g.messageID)
}

// purge removes the keys, revocations and values whose time has come.
func (s *Store) purge(ctx context.Context) error {
	for more := true; more; {
		err := s.write(ctx, func(ctx context.Context, w *writer) error {
			more = false
			for _, p := range []*sql.Stmt{w.purge, w.purgeRevoked, w.purgeKept} {
				n, err := affected(p.ExecContext(ctx, time.Now().UnixMilli(), trimStep))
				if err != nil {
					return err
				}
				more = more || n == trimStep
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// EraseUser is chat.Eraser's. What it erases is overwritten in the file (PRAGMA secure_delete); the WAL holds it until SQLite has written that
// over, at the latest when the last process closes the file. There is no index by user: it reads the whole table, beside other readers and writers.
func (s *Store) EraseUser(ctx context.Context, userID string) (n int, err error) {
	err = s.written(ctx, userID, func(found []storekit.Written) error {
		done := 0
		err := s.write(ctx, func(ctx context.Context, w *writer) error {
			expires := time.Now().Add(chat.KeysKept).UnixMilli()
			for i := range found {
				did, err := w.eraseOne(ctx, &found[i], expires)
				if err != nil {
					return err
				}
				done += int(did)
			}
			return nil
		})
		if err == nil {
			n += done
		}
		return err
	})
	if err != nil {
		return n, err
	}
	return n, s.purge(ctx)
}

func (w *writer) eraseOne(ctx context.Context, f *storekit.Written, expires int64) (int64, error) {
	seq := int64(f.Entry.Seq)
	n, err := affected(w.erase.ExecContext(ctx, f.Room, seq, f.Entry.UserID))
	if err != nil || n == 0 || f.Entry.MessageID == "" {
		return n, err
	}
	return n, w.outliveOne(ctx, gone{
		room: f.Room, seq: seq, ts: f.Entry.Timestamp.UnixMilli(),
		kind: f.Entry.Kind, id: f.Entry.ID, user: f.Entry.UserID, messageID: f.Entry.MessageID,
	}, expires)
}

// ExportUser is chat.Exporter's. Like EraseUser it reads the whole table.
func (s *Store) ExportUser(ctx context.Context, userID string, yield func(chat.Entry) error) error {
	return s.written(ctx, userID, storekit.Export(func(room int64, e *chat.Entry) error {
		return s.reads.roomByID.QueryRowContext(ctx, room).Scan(&e.Namespace, &e.Room)
	}, yield))
}

// written calls f with what a user wrote, some at a time and with no connection held.
func (s *Store) written(ctx context.Context, userID string, f func([]storekit.Written) error) error {
	return storekit.EachWritten(ctx, userID, func(last storekit.Written) ([]storekit.Written, error) {
		rows, err := s.reads.written.QueryContext(ctx, last.Room, int64(last.Entry.Seq), userID, storekit.Step)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		return storekit.Collect(rows, func(w *storekit.Written) error { return scanEntry(rows, &w.Entry, &w.Room, &w.Entry.Seq) })
	}, f)
}
