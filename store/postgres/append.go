package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parleychat/chat"
)

const (
	begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
	// A node that vanishes between its two round trips must not hold its rooms' locks until TCP gives up. A plan is made once for a connection and not for each
	// batch, which costs more than the work does, and goes by the indexes, since it may be of the time when the tables were small.
	settings = `SELECT set_config('idle_in_transaction_session_timeout', '10s', true), set_config('plan_cache_mode', 'force_generic_plan', true),
		set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true)`
	// Rows are locked in the order of their ids, so that two batches of the same rooms cannot wait for each other.
	lockRooms = `SELECT id, namespace, room, last_seq FROM parley_chat.rooms
		WHERE (namespace, room) IN (SELECT * FROM unnest($1::text[], $2::text[])) ORDER BY id FOR NO KEY UPDATE`
	makeRooms = `INSERT INTO parley_chat.rooms (namespace, room)
		SELECT * FROM unnest($1::text[], $2::text[]) ORDER BY 1, 2 ON CONFLICT DO NOTHING`
	clock = "SELECT date_trunc('milliseconds', clock_timestamp())"
	// A key is that of an entry, or outlives it in message_keys, where programs that know version 3 at most have put those of all entries. OFFSET 0 keeps the planner from
	// joining whole tables where its statistics are of the time when they were small.
	findKeys = `SELECT q.i, coalesce(k.ended, false), r.id, coalesce(own.seq, k.seq), coalesce(k.kind, ''), coalesce(k.id, ''), coalesce(k.ts, 'epoch'), e.seq IS NOT NULL,
			coalesce(e.kind, ''), coalesce(e.id, ''), coalesce(e.user_id, ''), coalesce(e.sid, ''), coalesce(e.text, ''), coalesce(e.ts, 'epoch'),
			coalesce(e.message_id, ''), coalesce(e.reply_to, ''), e.meta, coalesce(e.deleted, true)
		FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[]) AS q (i, namespace, room, user_id, message_id)
		JOIN parley_chat.rooms r ON r.namespace = q.namespace AND r.room = q.room
		LEFT JOIN LATERAL (SELECT seq FROM parley_chat.entries e
			WHERE e.room_id = r.id AND e.user_id = q.user_id AND e.message_id = q.message_id AND e.message_id <> '' OFFSET 0) own ON true
		LEFT JOIN LATERAL (SELECT *, coalesce(k.expires <= clock_timestamp(), false) AS ended FROM parley_chat.message_keys k
			WHERE own.seq IS NULL AND k.room_id = r.id AND k.user_id = q.user_id AND k.message_id = q.message_id OFFSET 0) k ON true
		LEFT JOIN LATERAL (SELECT * FROM parley_chat.entries e WHERE e.room_id = r.id AND e.seq = coalesce(own.seq, k.seq) OFFSET 0) e ON true
		WHERE own.seq IS NOT NULL OR k.seq IS NOT NULL`
	dropKeys = `DELETE FROM parley_chat.message_keys k USING unnest($1::bigint[], $2::text[], $3::text[]) AS q (room_id, user_id, message_id)
		WHERE k.room_id = q.room_id AND k.user_id = q.user_id AND k.message_id = q.message_id`
	save = `WITH e AS (
			INSERT INTO parley_chat.entries (ts, room_id, seq, kind, id, user_id, sid, text, message_id, reply_to, meta, deleted)
			SELECT $1::timestamptz, * FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
				$10::text[], $11::bytea[], $12::bool[]))
		UPDATE parley_chat.rooms r SET last_seq = q.last_seq FROM unnest($13::bigint[], $14::bigint[]) AS q (id, last_seq) WHERE r.id = q.id`
)

// Append is chat.Store's. It takes one round trip where nothing of the batch was saved before and its rooms are known, and else two more: the first locks the
// rooms' rows and looks for the keys, the second writes and commits. Whoever writes to a room holds its row, so that a seq is given in the order of commit and no hole is left by what is rolled back.
func (s *Store) Append(ctx context.Context, entries []chat.Entry) (saved []chat.Appended, err error) {
	if err := ctx.Err(); err != nil || len(entries) == 0 {
		return nil, err
	}
	b := newBatch(entries)
	err = retry(ctx, func() error {
		saved, err = s.appendOnce(ctx, b)
		return err
	})
	if err != nil {
		return nil, err
	}
	return saved, nil
}

func (s *Store) appendOnce(ctx context.Context, b *batch) ([]chat.Appended, error) {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer pooled.Release()
	conn := pooled.Conn()
	defer rollback(ctx, conn)
	if saved, err := s.appendNew(ctx, conn, b); !errors.Is(err, errLook) {
		return saved, err
	}
	rollback(ctx, conn)
	w := newWork(b)
	if err := w.look(ctx, conn, beginning()); err != nil {
		if brokenOff(err) || ctx.Err() == nil && conn.IsClosed() { // by the server, as when it is restarted; nothing has been written
			return nil, errAgain{err}
		}
		return nil, err
	}
	if len(w.rooms) < len(b.rooms) {
		return nil, b.makeRooms(ctx, conn)
	}
	s.known.learn(w.rooms)
	w.number()
	if len(w.seqs) == 0 {
		return w.saved, nil
	}
	if err := w.write(ctx, conn, nil); brokenOff(err) {
		return nil, errAgain{err}
	} else if err != nil { // it may be saved or not: to try again could make a repeat of what nobody has been told
		return nil, err
	}
	return w.saved, nil
}

// beginning are the statements that begin a transaction, of an append or of a relay.
func beginning() *pgx.Batch {
	q := &pgx.Batch{}
	q.Queue(begin)
	q.Queue(settings)
	return q
}

// makeRooms gives the transaction up for another try, with the rooms made: another that makes the same would be waited for to its end.
func (b *batch) makeRooms(ctx context.Context, conn *pgx.Conn) error {
	rollback(ctx, conn)
	if _, err := conn.Exec(ctx, makeRooms, b.namespaces, b.names); err != nil && !brokenOff(err) {
		return err
	}
	return errAgain{errors.New("postgres: a room is not there although it was made")}
}

// rollback ends a transaction that has not come to its end. The pool drops a connection that still has one.
func rollback(ctx context.Context, conn *pgx.Conn) {
	if pg := conn.PgConn(); pg.IsClosed() || pg.TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, "ROLLBACK")
}

type roomName struct{ namespace, room string }

type keyName struct {
	roomName
	user, message string
}

func keyOf(e *chat.Entry) keyName {
	return keyName{roomName{e.Namespace, e.Room}, e.UserID, e.MessageID}
}

// batch is what is asked: cleaned entries, and their rooms and keys, each once.
type batch struct {
	entries           []chat.Entry
	rooms             []roomName
	namespaces, names []string
	keys              keyParams
	keyIndex          map[keyName]int // of the first entry that has it
}

type keyParams struct {
	index                              []int32
	namespaces, rooms, users, messages []string
}

func newBatch(entries []chat.Entry) *batch {
	b := &batch{entries: make([]chat.Entry, len(entries)), keyIndex: make(map[keyName]int)}
	for i, e := range entries {
		for _, text := range []*string{&e.Kind, &e.Namespace, &e.Room, &e.ID, &e.UserID, &e.SID, &e.Text, &e.MessageID, &e.ReplyTo} {
			*text = clean(*text)
		}
		if len(e.Meta) == 0 {
			e.Meta = nil
		}
		b.entries[i] = e
		b.rooms = append(b.rooms, roomName{e.Namespace, e.Room})
		key := keyOf(&e)
		if _, again := b.keyIndex[key]; e.MessageID == "" || again {
			continue
		}
		b.keyIndex[key] = i
		k := &b.keys
		k.index, k.namespaces, k.rooms = append(k.index, int32(i)), append(k.namespaces, e.Namespace), append(k.rooms, e.Room)
		k.users, k.messages = append(k.users, e.UserID), append(k.messages, e.MessageID)
	}
	slices.SortFunc(b.rooms, func(x, y roomName) int {
		return 2*strings.Compare(x.namespace, y.namespace) + strings.Compare(x.room, y.room)
	})
	b.rooms = slices.Compact(b.rooms)
	for _, r := range b.rooms {
		b.namespaces, b.names = append(b.namespaces, r.namespace), append(b.names, r.room)
	}
	return b
}

type roomState struct {
	id, last int64
	changed  bool
}

// work is one try of a batch.
type work struct {
	*batch
	rooms map[roomName]*roomState
	now   time.Time
	found map[int]chat.Entry // first records, by the index of the entry that repeats
	saved []chat.Appended

	dropRooms              []int64 // keys that have ended
	dropUsers, dropMessage []string
	seqs                   []int // indexes of what is saved anew
}

func newWork(b *batch) *work {
	return &work{batch: b, rooms: make(map[roomName]*roomState, len(b.rooms))}
}

// look sends q, which begins the transaction unless that was done before; it locks the rooms and reads what stands under the keys. Each statement sees what was committed before it began, so that the
// last one sees what the batches have written that the lock was waited for.
func (w *work) look(ctx context.Context, conn *pgx.Conn, q *pgx.Batch) error {
	q.Queue(lockRooms, w.namespaces, w.names).Query(func(rows pgx.Rows) error {
		var name roomName
		var r roomState
		_, err := pgx.ForEachRow(rows, []any{&r.id, &name.namespace, &name.room, &r.last}, func() error {
			state := r
			w.rooms[name] = &state
			return nil
		})
		return err
	})
	q.Queue(clock).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&w.now)
		w.now = w.now.UTC()
		return err
	})
	if k := &w.keys; len(k.index) > 0 {
		q.Queue(findKeys, k.index, k.namespaces, k.rooms, k.users, k.messages).Query(w.readKeys)
	}
	return conn.SendBatch(ctx, q).Close()
}

func (w *work) readKeys(rows pgx.Rows) error {
	defer rows.Close()
	w.found = make(map[int]chat.Entry)
	for rows.Next() {
		var i int32
		var ended, kept bool
		var room int64
		var first chat.Entry
		var kind, id string
		var ts time.Time
		if err := scanEntry(rows, &first, &i, &ended, &room, &first.Seq, &kind, &id, &ts, &kept); err != nil {
			return err
		}
		asked := &w.entries[i]
		if ended {
			w.dropRooms = append(w.dropRooms, room)
			w.dropUsers, w.dropMessage = append(w.dropUsers, asked.UserID), append(w.dropMessage, asked.MessageID)
			continue
		}
		first.Namespace, first.Room = asked.Namespace, asked.Room
		if !kept {
			first.Kind, first.ID, first.Timestamp = kind, id, ts.UTC()
			first.UserID, first.MessageID = asked.UserID, asked.MessageID
		}
		w.found[int(i)] = first
	}
	return rows.Err()
}

// number gives each entry its place, or the first record where it repeats one.
func (w *work) number() {
	w.saved = make([]chat.Appended, len(w.entries))
	for i, e := range w.entries {
		if e.MessageID != "" {
			first := w.keyIndex[keyOf(&e)]
			if record, ok := w.found[first]; ok {
				w.saved[i] = chat.Appended{Entry: record, Repeated: true}
				continue
			}
			if first < i {
				w.saved[i] = chat.Appended{Entry: w.saved[first].Entry, Repeated: true}
				continue
			}
		}
		r := w.rooms[roomName{e.Namespace, e.Room}]
		r.last++
		r.changed = true
		e.Seq, e.Timestamp = uint64(r.last), w.now
		w.saved[i].Entry = e
		w.seqs = append(w.seqs, i)
	}
}

// write saves what is new, adds what more is to be done in the transaction (nil: nothing), and commits.
func (w *work) write(ctx context.Context, conn *pgx.Conn, more func(*pgx.Batch)) error {
	q := &pgx.Batch{}
	if len(w.dropRooms) > 0 {
		q.Queue(dropKeys, w.dropRooms, w.dropUsers, w.dropMessage)
	}
	var ids, lasts []int64
	for _, r := range w.rooms {
		if r.changed {
			ids, lasts = append(ids, r.id), append(lasts, r.last)
		}
	}
	if len(w.seqs) > 0 {
		q.Queue(save, append(w.columns(), ids, lasts)...)
	}
	if more != nil {
		more(q)
	}
	return commit(ctx, conn, q)
}

// commit sends q, and COMMIT after it. Where a transaction has failed before, PostgreSQL answers that by ROLLBACK and no error.
func commit(ctx context.Context, conn *pgx.Conn, q *pgx.Batch) error {
	answer := ""
	q.Queue("COMMIT").Query(func(rows pgx.Rows) error {
		rows.Close()
		answer = rows.CommandTag().String()
		return rows.Err()
	})
	err := conn.SendBatch(ctx, q).Close()
	if err == nil && answer != "COMMIT" {
		return fmt.Errorf("postgres: the commit was answered with %q", answer)
	}
	return err
}

// columns are the entries of save's parameters.
func (w *work) columns() []any {
	n := len(w.seqs)
	rooms, seqs := make([]int64, n), make([]int64, n)
	for j, i := range w.seqs {
		e := &w.saved[i].Entry
		rooms[j], seqs[j] = w.rooms[roomName{e.Namespace, e.Room}].id, int64(e.Seq)
	}
	texts, metas, deleted := contents(n, func(j int) *chat.Entry { return &w.saved[w.seqs[j]].Entry })
	return append(append([]any{w.now, rooms, seqs}, texts...), metas, deleted)
}
