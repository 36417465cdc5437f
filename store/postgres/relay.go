package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/storekit"
)

// What one transaction takes from the outbox at most: others write to the same rooms between two.
const (
	relayRows  = 200
	relayBytes = 4 << 20
)

const (
	makeRelay = "INSERT INTO parley_chat.relay DEFAULT VALUES ON CONFLICT DO NOTHING" // somebody has truncated all tables
	// Who relays holds this row: first of all, before rows of the outbox and then rooms, so that nobody waits in a circle.
	lockRelay = "SELECT batches FROM parley_chat.relay FOR NO KEY UPDATE"
	tryRelay  = lockRelay + " SKIP LOCKED"
	takeFrom  = "SELECT o.id, o.kind, o.namespace, o.room, o.entry_id, o.user_id, o.message_id, o.text, o.reply_to, o.meta FROM parley_chat.outbox o "
	take      = `WITH t AS MATERIALIZED (SELECT id, octet_length(text) + coalesce(octet_length(meta), 0) AS size FROM parley_chat.outbox
			WHERE error IS NULL ORDER BY id LIMIT $1),
		s AS MATERIALIZED (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM t)
		` + takeFrom + "WHERE o.id IN (SELECT id FROM s WHERE before < $2) ORDER BY o.id FOR UPDATE OF o SKIP LOCKED"
	takeUsers   = takeFrom + "WHERE o.user_id = $1 AND o.error IS NULL ORDER BY o.id LIMIT $2 FOR UPDATE"
	drop        = "DELETE FROM parley_chat.outbox WHERE id = ANY ($1::bigint[])"
	dropAside   = "DELETE FROM parley_chat.outbox WHERE user_id = $1 AND error IS NOT NULL"
	setAside    = "UPDATE parley_chat.outbox SET error = $2 WHERE id = $1"
	setBatches  = "UPDATE parley_chat.relay SET batches = $1"
	tellRelayed = "SELECT pg_notify('" + channel + "', $1)"
)

// relayed is what became of a batch of the outbox.
type relayed struct {
	busy  bool    // another relays
	ids   []int64 // the rows taken, also where they could not be saved
	n     int64   // the batch's number, where rooms have grown
	rooms []roomName
	saved int
}

// relayOnce saves the rows of the outbox that come next as entries, in the transaction that deletes them: each is relayed once, whatever dies. With a user it takes
// that user's rows and saves tombstones, of which nobody ever sees more.
func relayOnce(ctx context.Context, conn *pgx.Conn, limit int, user string) (r relayed, err error) {
	err = retry(ctx, func() error {
		r = relayed{}
		err := r.try(ctx, conn, limit, user)
		rollback(ctx, conn)
		if brokenOff(err) && !conn.IsClosed() {
			return errAgain{err}
		}
		return err
	})
	return r, err
}

func (r *relayed) try(ctx context.Context, conn *pgx.Conn, limit int, user string) error {
	if err := r.lock(ctx, conn, user != ""); err != nil || r.busy {
		return err
	}
	entries, err := r.take(ctx, conn, limit, user)
	if err != nil || len(entries) == 0 {
		return err
	}
	w := newWork(newBatch(entries))
	if err := w.look(ctx, conn, &pgx.Batch{}); err != nil {
		return err
	}
	if len(w.rooms) < len(w.batch.rooms) {
		return w.makeRooms(ctx, conn)
	}
	w.number()
	r.saved = len(w.seqs)
	for name, state := range w.rooms {
		if state.changed {
			r.rooms = append(r.rooms, name)
		}
	}
	return w.write(ctx, conn, func(q *pgx.Batch) {
		if user != "" {
			w.erase(q, user)
		}
		q.Queue(drop, r.ids)
		if r.saved > 0 {
			q.Queue(setBatches, r.n)
			q.Queue(tellRelayed, toldOf(r.n, r.rooms))
		}
	})
}

// lock begins the transaction. It has a round trip of its own, since what comes after must see what was committed before the lock was there.
func (r *relayed) lock(ctx context.Context, conn *pgx.Conn, wait bool) error {
	q, query := beginning(), tryRelay
	if wait {
		q.Queue(makeRelay)
		query = lockRelay
	}
	q.Queue(query).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&r.n)
		if r.n++; errors.Is(err, pgx.ErrNoRows) {
			r.busy = true
			return nil
		}
		return err
	})
	return conn.SendBatch(ctx, q).Close()
}

func (r *relayed) take(ctx context.Context, conn *pgx.Conn, limit int, user string) (entries []chat.Entry, err error) {
	query, args := take, []any{limit, relayBytes}
	if user != "" {
		query, args = takeUsers, []any{user, limit}
	}
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	var id int64
	var e chat.Entry
	var meta []byte
	to := []any{&id, &e.Kind, &e.Namespace, &e.Room, &e.ID, &e.UserID, &e.MessageID, &e.Text, &e.ReplyTo, &meta}
	_, err = pgx.ForEachRow(rows, to, func() error {
		e.Meta = slices.Clone(meta)
		if user != "" {
			e.Text, e.ReplyTo, e.Meta = "", "", nil
		}
		r.ids, entries = append(r.ids, id), append(entries, e)
		return nil
	})
	return entries, err
}

// erase makes tombstones of what the same transaction has saved.
func (w *work) erase(q *pgx.Batch, user string) {
	rooms, seqs := make([]int64, len(w.seqs)), make([]int64, len(w.seqs))
	for j, i := range w.seqs {
		e := &w.saved[i].Entry
		rooms[j], seqs[j] = w.rooms[roomName{e.Namespace, e.Room}].id, int64(e.Seq)
	}
	q.Queue(eraseKeys, user, rooms, seqs, chat.KeysKept.Seconds())
	q.Queue(erase, user, rooms, seqs)
}

// eraseOutbox makes tombstones of what a user's transactions have published and no relay has taken yet. A relay at work is waited for.
func (s *Store) eraseOutbox(ctx context.Context, userID string) (n int, err error) {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer pooled.Release()
	if _, err := pooled.Exec(ctx, dropAside, userID); err != nil {
		return 0, err
	}
	for {
		r, err := relayOnce(ctx, pooled.Conn(), storekit.Step, userID)
		if err != nil || len(r.ids) == 0 {
			return n, err
		}
		n += r.saved
	}
}

// unsavable tells that a row cannot be saved, now or later: its data, a constraint, a size or a trigger of the host's is the reason, and no other row need have it.
// What another transaction may have been the reason of has been tried again by then.
func unsavable(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (slices.Contains([]string{"22", "23", "54"}, e.Code[:min(2, len(e.Code))]) || e.Code == "P0001")
}

// payloadMost is what PostgreSQL lets a notification have, in bytes.
const payloadMost = 7999

// told is the payload of a notification after a relay; that of a published message is empty.
type told struct {
	Batch int64       `json:"batch"`
	Rooms [][2]string `json:"rooms,omitempty"` // namespace and room; none: they would be too many
}

func toldOf(n int64, rooms []roomName) string {
	t := told{Batch: n}
	for _, r := range rooms {
		t.Rooms = append(t.Rooms, [2]string{r.namespace, r.room})
	}
	payload, err := json.Marshal(t)
	if err != nil || len(payload) > payloadMost {
		payload, _ = json.Marshal(told{Batch: n}) // a number
	}
	return strings.ToValidUTF8(string(payload), "\ufffd")
}
