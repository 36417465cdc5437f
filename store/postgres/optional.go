package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/storekit"
)

// trimStep is how many entries one transaction removes: others get in between two.
const trimStep = 1000

const (
	roomsOf    = "SELECT id FROM parley_chat.rooms WHERE namespace = $1 AND (room = $2 OR $2 = '') ORDER BY id"
	roomsAfter = "SELECT room FROM parley_chat.rooms WHERE namespace = $1 AND room > $2 ORDER BY room LIMIT $3"
	lockRoom   = "SELECT first_seq, last_seq FROM parley_chat.rooms WHERE id = $1 FOR NO KEY UPDATE"
	lockByID   = "SELECT id FROM parley_chat.rooms WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE"
	young      = "SELECT seq FROM parley_chat.entries WHERE room_id = $1 AND seq >= $2 AND seq < $3 AND ts >= $4 ORDER BY seq LIMIT 1"
	remove     = "DELETE FROM parley_chat.entries WHERE room_id = $1 AND seq >= $2 AND seq < $3"
	setFirst   = "UPDATE parley_chat.rooms SET first_seq = $2 WHERE id = $1"
	outlive    = `INSERT INTO parley_chat.message_keys AS k (room_id, user_id, message_id, seq, kind, id, ts, expires)
		SELECT e.room_id, e.user_id, e.message_id, e.seq, e.kind, e.id, e.ts, clock_timestamp() + make_interval(secs => $4) FROM parley_chat.entries e`
	asGone = ` ON CONFLICT (room_id, user_id, message_id) DO UPDATE SET kind = excluded.kind, id = excluded.id, ts = excluded.ts, expires = excluded.expires
		WHERE k.seq = excluded.seq`
	trimKeys  = outlive + " WHERE e.room_id = $1 AND e.seq >= $2 AND e.seq < $3 AND e.message_id <> ''" + asGone
	erased    = "unnest($2::bigint[], $3::bigint[]) AS q (room_id, seq)"
	isErased  = "e.room_id = q.room_id AND e.seq = q.seq AND e.user_id = $1"
	eraseKeys = outlive + ", " + erased + " WHERE " + isErased + " AND e.message_id <> ''" + asGone
	erase     = `UPDATE parley_chat.entries e SET user_id = '', sid = '', text = '', message_id = '', reply_to = '', meta = NULL, deleted = true
		FROM ` + erased + " WHERE " + isErased
	purge = `DELETE FROM parley_chat.message_keys WHERE (room_id, user_id, message_id) IN
		(SELECT room_id, user_id, message_id FROM parley_chat.message_keys WHERE expires <= clock_timestamp() LIMIT $1 FOR UPDATE SKIP LOCKED)`
	roomByID = "SELECT namespace, room FROM parley_chat.rooms WHERE id = $1"
)

// Trim is chat.Trimmer's. It also removes the keys, revocations and kept values whose time has come, of all rooms.
func (s *Store) Trim(ctx context.Context, q chat.TrimQuery) (removed int, err error) {
	rows, err := s.pool.Query(ctx, roomsOf, clean(q.Namespace), clean(q.Room))
	if err != nil {
		return 0, err
	}
	rooms, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, err
	}
	for _, id := range rooms {
		for more := true; more; {
			var n int64
			err := s.transact(ctx, func(tx pgx.Tx) (err error) {
				n, more, err = trim(ctx, tx, id, q)
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

// Rooms is chat.Trimmer's.
func (s *Store) Rooms(ctx context.Context, namespace, after string, limit int) ([]string, error) {
	rows, err := s.pool.Query(ctx, roomsAfter, clean(namespace), clean(after), max(limit, 0))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// trim is one step of a room; more says that there may be another.
func trim(ctx context.Context, tx pgx.Tx, id int64, q chat.TrimQuery) (n int64, more bool, err error) {
	var first, last int64
	if err := tx.QueryRow(ctx, lockRoom, id).Scan(&first, &last); err != nil {
		return 0, false, err
	}
	step := min(first+trimStep, last+1)
	end := first // of what goes, exclusive
	if !q.Before.IsZero() {
		err := tx.QueryRow(ctx, young, planned, id, first, step, msUp(q.Before)).Scan(&end)
		if errors.Is(err, pgx.ErrNoRows) {
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
	if _, err := tx.Exec(ctx, trimKeys, planned, id, first, end, chat.KeysKept.Seconds()); err != nil {
		return 0, false, err
	}
	tag, err := tx.Exec(ctx, remove, planned, id, first, end)
	if err != nil {
		return 0, false, err
	}
	_, err = tx.Exec(ctx, setFirst, id, end)
	return tag.RowsAffected(), end == step && end <= last, err
}

// msUp is the first whole millisecond that is not before t, so that ts < msUp(t) means the same as the time being before t.
func msUp(t time.Time) time.Time { return t.Add(time.Millisecond - 1).Truncate(time.Millisecond) }

// purge removes the keys, revocations and values whose time has come.
func (s *Store) purge(ctx context.Context) error {
	now := time.Now()
	for _, p := range []struct {
		query string
		args  []any
	}{{purge, []any{trimStep}}, {purgeRevoked, []any{now, trimStep}}, {purgeKept, []any{now, trimStep}}} {
		for n := int64(trimStep); n == trimStep; {
			tag, err := s.pool.Exec(ctx, p.query, p.args...)
			if err != nil {
				return err
			}
			n = tag.RowsAffected()
		}
	}
	return nil
}

// EraseUser is chat.Eraser's. There is no index by user: it reads the whole table, beside other readers and writers. PostgreSQL itself keeps what was
// erased until vacuum, and in its write-ahead log and backups. Of what PublishTx has published and no relay has taken it makes tombstones, too; what is in a
// transaction that has not committed is not there yet, and stays.
func (s *Store) EraseUser(ctx context.Context, userID string) (n int, err error) {
	userID = clean(userID)
	if userID == "" {
		return 0, ctx.Err()
	}
	// First the outbox: what is relayed meanwhile is either an entry by then, or a tombstone.
	if n, err = s.eraseOutbox(ctx, userID); err != nil {
		return n, err
	}
	err = s.written(ctx, userID, func(found []storekit.Written) error {
		var done int64
		err := s.transact(ctx, func(tx pgx.Tx) (err error) {
			done, err = eraseStepOf(ctx, tx, userID, found)
			return err
		})
		if err == nil {
			n += int(done)
		}
		return err
	})
	if err != nil {
		return n, err
	}
	return n, s.purge(ctx)
}

func eraseStepOf(ctx context.Context, tx pgx.Tx, userID string, found []storekit.Written) (int64, error) {
	rooms, seqs := make([]int64, len(found)), make([]int64, len(found))
	for i := range found {
		rooms[i], seqs[i] = found[i].Room, int64(found[i].Entry.Seq)
	}
	if _, err := tx.Exec(ctx, lockByID, rooms); err != nil { // as who writes and trims does, in the same order
		return 0, err
	}
	if _, err := tx.Exec(ctx, eraseKeys, planned, userID, rooms, seqs, chat.KeysKept.Seconds()); err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, erase, planned, userID, rooms, seqs)
	return tag.RowsAffected(), err
}

// ExportUser is chat.Exporter's. Like EraseUser it reads the whole table. What waits in the outbox is no entry yet, and is left out.
func (s *Store) ExportUser(ctx context.Context, userID string, yield func(chat.Entry) error) error {
	return s.written(ctx, clean(userID), storekit.Export(func(room int64, e *chat.Entry) error {
		return s.pool.QueryRow(ctx, roomByID, room).Scan(&e.Namespace, &e.Room)
	}, yield))
}

// written calls f with what a user wrote, some at a time and with no connection held.
func (s *Store) written(ctx context.Context, userID string, f func([]storekit.Written) error) error {
	return storekit.EachWritten(ctx, userID, func(last storekit.Written) ([]storekit.Written, error) {
		rows, err := s.pool.Query(ctx, written, planned, last.Room, int64(last.Entry.Seq), userID, storekit.Step)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		return storekit.Collect(rows, func(w *storekit.Written) error { return scanEntry(rows, &w.Entry, &w.Room, &w.Entry.Seq) })
	}, f)
}
