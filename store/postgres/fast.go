package postgres

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parleychat/chat"
)

// saveNew saves a batch of which nothing was saved before, in one statement and so in one round trip. Rows are locked by the update in the order of $1, which are ids
// ascending, as the other way does it. The time is of the last lock, so that it ascends with seq. Where a room is not what was remembered of it, or a key is there
// already, of an entry or of one that is gone, a constraint ends the statement, and nothing is saved.
const saveNew = `WITH r AS (
		UPDATE parley_chat.rooms r SET last_seq = r.last_seq + q.n
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS q (id, namespace, room, n, i)
		WHERE r.id = q.id AND r.namespace = q.namespace AND r.room = q.room
		RETURNING q.i, r.last_seq - q.n AS base, clock_timestamp() AS at),
	b AS MATERIALIZED (SELECT count(*) AS n, array_agg(base ORDER BY i) AS base, date_trunc('milliseconds', max(at)) AS ts FROM r),
	e AS (
		INSERT INTO parley_chat.entries (ts, room_id, seq, kind, id, user_id, sid, text, message_id, reply_to, meta, deleted)
		SELECT b.ts, x.room_id, CASE WHEN b.n = cardinality($1::bigint[]) AND NOT EXISTS (SELECT FROM parley_chat.message_keys k
				WHERE k.room_id = x.room_id AND k.user_id = x.user_id AND k.message_id = x.message_id) THEN b.base[x.i] + x.place END,
			x.kind, x.id, x.user_id, x.sid, x.text, x.message_id, x.reply_to, x.meta, x.deleted
		FROM b, unnest($5::bigint[], $6::int[], $7::int[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::bytea[],
			$16::bool[]) AS x (room_id, i, place, kind, id, user_id, sid, text, message_id, reply_to, meta, deleted))
	SELECT base, ts FROM b`

// known is what a Store remembers: the ids of rooms, which never change, and that keys were repeated a moment ago.
type known struct {
	mu  sync.Mutex // guards ids
	ids map[roomName]int64

	repeats atomic.Int64 // batches that look for keys first
}

const (
	idsKept = 100_000
	// lookAfter is how many batches look for keys first after one that had a key again: who comes back repeats what was not acked, and a
	// batch that ends at a key is saved twice.
	lookAfter = 32
)

func (k *known) learn(rooms map[roomName]*roomState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ids == nil || len(k.ids) > idsKept {
		k.ids = make(map[roomName]int64, len(rooms))
	}
	for name, r := range rooms {
		k.ids[name] = r.id
	}
}

func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids = nil
}

// errLook says that a batch is to be saved the other way, and that nothing of it is.
var errLook = errors.New("postgres: keys or rooms have to be looked up")

// fresh is a batch on its way through saveNew.
type fresh struct {
	*batch
	rooms []freshRoom // by id
	at    map[roomName]int
	place []int
	bases []int64
	now   time.Time
}

type freshRoom struct {
	name  roomName
	id, n int64
}

// newFresh is nil where the batch repeats itself or a room is not known.
func (k *known) newFresh(b *batch) *fresh {
	if k.repeats.Load() > 0 {
		k.repeats.Add(-1)
		return nil
	}
	f := &fresh{batch: b, rooms: make([]freshRoom, len(b.rooms)), at: make(map[roomName]int, len(b.rooms)), place: make([]int, len(b.entries))}
	k.mu.Lock()
	for i, name := range b.rooms {
		f.rooms[i] = freshRoom{name: name, id: k.ids[name]}
	}
	k.mu.Unlock()
	slices.SortFunc(f.rooms, func(x, y freshRoom) int { return int(min(max(x.id-y.id, -1), 1)) })
	if f.rooms[0].id == 0 {
		return nil
	}
	for i := range f.rooms {
		f.at[f.rooms[i].name] = i
	}
	keyed := 0
	for i := range b.entries {
		e := &b.entries[i]
		r := &f.rooms[f.at[roomName{e.Namespace, e.Room}]]
		r.n++
		f.place[i] = int(r.n)
		if e.MessageID != "" {
			keyed++
		}
	}
	if keyed > len(b.keys.index) {
		return nil
	}
	return f
}

// appendNew tries to save a batch as one of which nothing was saved before.
func (s *Store) appendNew(ctx context.Context, conn *pgx.Conn, b *batch) ([]chat.Appended, error) {
	f := s.known.newFresh(b)
	if f == nil {
		return nil, errLook
	}
	if dead(conn.PgConn().Conn()) {
		_ = conn.Close(ctx) // it is dead
		return nil, errAgain{errors.New("postgres: the connection was lost")}
	}
	began := false
	q := &pgx.Batch{}
	q.Queue(begin).Exec(func(pgconn.CommandTag) error { began = true; return nil })
	q.Queue(settings)
	q.Queue(saveNew, f.params()...).QueryRow(func(row pgx.Row) error { return row.Scan(&f.bases, &f.now) })
	err := commit(ctx, conn, q)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == uniqueViolation:
		s.known.repeats.Store(lookAfter)
		return nil, errLook
	case errors.As(err, &pg) && pg.Code == notNullViolation:
		s.known.forget()
		return nil, errLook
	case brokenOff(err), err != nil && pgconn.SafeToRetry(err):
		return nil, errAgain{err}
	case errors.As(err, &pg) && pg.Severity == "FATAL" && !began: // its last word, and answers come in order: it has not begun
		return nil, errAgain{err}
	case err != nil: // it may be saved or not
		return nil, err
	}
	return f.saved(), nil
}

// Codes of PostgreSQL, Appendix A.
const (
	notNullViolation = "23502"
	uniqueViolation  = "23505"
)

func (f *fresh) saved() []chat.Appended {
	saved := make([]chat.Appended, len(f.entries))
	now := f.now.UTC()
	for i, e := range f.entries {
		e.Seq = uint64(f.bases[f.at[roomName{e.Namespace, e.Room}]]) + uint64(f.place[i])
		e.Timestamp = now
		saved[i].Entry = e
	}
	return saved
}

func (f *fresh) params() []any {
	n := len(f.rooms)
	ids, namespaces, names, counts := make([]int64, n), make([]string, n), make([]string, n), make([]int64, n)
	for i, r := range f.rooms {
		ids[i], namespaces[i], names[i], counts[i] = r.id, r.name.namespace, r.name.room, r.n
	}
	n = len(f.entries)
	rooms, index, place := make([]int64, n), make([]int32, n), make([]int32, n)
	for i := range f.entries {
		at := f.at[roomName{f.entries[i].Namespace, f.entries[i].Room}]
		rooms[i], index[i], place[i] = f.rooms[at].id, int32(at)+1, int32(f.place[i])
	}
	texts, metas, deleted := contents(n, func(i int) *chat.Entry { return &f.entries[i] })
	return append(append([]any{ids, namespaces, names, counts, rooms, index, place}, texts...), metas, deleted)
}

// contents are the columns that come from entries alone: kind, id, user_id, sid, text, message_id, reply_to; meta; deleted.
func contents(n int, entry func(i int) *chat.Entry) (texts []any, metas [][]byte, deleted []bool) {
	var columns [7][]string
	for c := range columns {
		columns[c] = make([]string, n)
	}
	metas, deleted = make([][]byte, n), make([]bool, n)
	for i := range n {
		e := entry(i)
		for c, text := range [...]string{e.Kind, e.ID, e.UserID, e.SID, e.Text, e.MessageID, e.ReplyTo} {
			columns[c][i] = text
		}
		metas[i], deleted[i] = e.Meta, e.Deleted
	}
	for c := range columns {
		texts = append(texts, columns[c])
	}
	return texts, metas, deleted
}
