package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parleychat/chat"
)

// columns of an entry after its place, as scanEntry reads them.
const columns = "kind, id, user_id, sid, text, ts, message_id, reply_to, meta, deleted"

// setLasts takes a JSON object of ids and seqs: a statement for each room would be a third of what a batch of many rooms executes.
const (
	setLasts  = "UPDATE rooms SET last_seq = j.value FROM json_each(?) AS j WHERE rooms.id = CAST(j.key AS INTEGER)"
	setBehind = "INSERT INTO keys_behind SELECT CAST(key AS INTEGER), value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"
)

// hashed takes a JSON array of hashes; CROSS JOIN is SQLite's way of saying which table is looked up for each row of which.
const hashed = "SELECT k.hash, k.room_id, k.seq FROM json_each(?) AS j CROSS JOIN entry_keys AS k ON k.hash = j.value"

// plainRows and hashRows are how many rows one statement inserts: beginning and ending one costs about as much as a row. Where such a statement might break off in the
// middle, SQLite keeps a copy of each page that it changes, unless it may roll back the whole transaction instead.
const plainRows, hashRows = 8, 32

// addPlain inserts messages that have no more than most.
func addPlain(rows int) string {
	return "INSERT OR ROLLBACK INTO entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to) VALUES " + values("(?, ?, ?, ?, ?, ?, ?, ?, ?, '')", rows)
}

func addHash(rows int) string {
	return "INSERT OR ROLLBACK INTO entry_keys (hash, room_id, seq) VALUES " + values("(?, ?, ?)", rows) + " ON CONFLICT DO NOTHING"
}

func values(row string, rows int) string {
	return strings.TrimSuffix(strings.Repeat(row+", ", rows), ", ")
}

// writer is the one connection that writes.
type writer struct {
	conn                              *sql.Conn
	begin, commit, rollback, version  *sql.Stmt
	roomByName, newRoom, setLasts     *sql.Stmt
	addKey, first, addEntry, addPlain *sql.Stmt
	addPlains                         *sql.Stmt
	roomByID, setFirst, young, doomed *sql.Stmt
	outlive, remove, erase, purge     *sql.Stmt
	hashed, hashedOne                 *sql.Stmt
	addHash, addHashes                *sql.Stmt
	removeHash, entryAt, anyExact     *sql.Stmt
	allBehind, setBehind, noneBehind  *sql.Stmt
	keyed, revoke, purgeRevoked       *sql.Stmt
	keep, takeKept, purgeKept         *sql.Stmt
	hashesFrom                        *sql.Stmt

	keys  keys
	plain []any                   // parameters of addPlain, of rows that are not inserted yet
	rooms map[roomName]*roomState // as they were at the end of the last transaction, while nobody else has written
	seen  int64                   // the file's data_version then; 0 where what is known of it must be read anew
	alone int                     // transactions since another has written
}

// roomsKept bounds writer.rooms.
const roomsKept = 10_000

func newWriter(ctx context.Context, conn *sql.Conn) (*writer, error) {
	w := &writer{conn: conn, alone: aloneAfter, keys: keys{hash: hashKey, most: keysPending, step: keysStep, after: aloneAfter, sieve: sieve{first: sieveFirst}}}
	if err := conn.QueryRowContext(ctx, "SELECT salt FROM key_salt").Scan(&w.keys.salt); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		stmt **sql.Stmt
		sql  string
	}{
		{&w.begin, "BEGIN IMMEDIATE"},
		{&w.commit, "COMMIT"},
		{&w.rollback, "ROLLBACK"},
		{&w.version, "PRAGMA data_version"},
		{&w.roomByName, "SELECT id, last_seq FROM rooms WHERE namespace = ? AND room = ?"},
		{&w.newRoom, "INSERT INTO rooms (namespace, room) VALUES (?, ?) RETURNING id"},
		{&w.setLasts, setLasts},
		{&w.addKey, `INSERT INTO message_keys (room_id, user_id, message_id, seq) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT DO UPDATE SET seq = excluded.seq, kind = NULL, id = NULL, ts = NULL, expires = NULL WHERE expires <= ?5`},
		{&w.first, `SELECT k.seq, k.kind, k.id, k.ts, k.expires, e.seq IS NOT NULL,
			coalesce(e.kind, ''), coalesce(e.id, ''), coalesce(e.user_id, ''), coalesce(e.sid, ''), coalesce(e.text, ''), coalesce(e.ts, 0),
			coalesce(e.message_id, ''), coalesce(e.reply_to, ''), e.meta, coalesce(e.deleted, 1)
			FROM message_keys k LEFT JOIN entries e ON e.room_id = k.room_id AND e.seq = k.seq
			WHERE k.room_id = ? AND k.user_id = ? AND k.message_id = ?`},
		{&w.addEntry, `INSERT INTO entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to, meta, deleted)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&w.addPlain, addPlain(1)}, {&w.addPlains, addPlain(plainRows)},
		{&w.hashed, hashed},
		{&w.hashesFrom, "SELECT hash FROM entry_keys WHERE hash >= ? ORDER BY hash LIMIT ?"},
		{&w.hashedOne, "SELECT room_id, seq FROM entry_keys WHERE hash = ?"},
		{&w.addHash, addHash(1)}, {&w.addHashes, addHash(hashRows)},
		{&w.removeHash, "DELETE FROM entry_keys WHERE hash = ? AND room_id = ? AND seq = ?"},
		{&w.entryAt, "SELECT seq, " + columns + " FROM entries WHERE room_id = ? AND seq = ?"},
		{&w.anyExact, "SELECT EXISTS (SELECT 1 FROM message_keys)"},
		{&w.allBehind, "SELECT room_id, seq FROM keys_behind ORDER BY room_id"},
		{&w.setBehind, setBehind},
		{&w.noneBehind, "DELETE FROM keys_behind"},
		{&w.keyed, "SELECT seq, kind, id, user_id, message_id, ts FROM entries WHERE room_id = ? AND seq > ? AND message_id <> '' ORDER BY seq LIMIT ?"},
		{&w.roomByID, "SELECT first_seq, last_seq FROM rooms WHERE id = ?"},
		{&w.setFirst, "UPDATE rooms SET first_seq = ?2 WHERE id = ?1"},
		{&w.young, "SELECT seq FROM entries WHERE room_id = ? AND seq >= ? AND seq < ? AND ts >= ? ORDER BY seq LIMIT 1"},
		{&w.doomed, "SELECT seq, kind, id, user_id, message_id, ts FROM entries WHERE room_id = ? AND seq >= ? AND seq < ? AND message_id <> '' ORDER BY seq"},
		{&w.outlive, `INSERT INTO message_keys (room_id, user_id, message_id, seq, kind, id, ts, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET kind = excluded.kind, id = excluded.id, ts = excluded.ts, expires = excluded.expires WHERE seq = excluded.seq`},
		{&w.remove, "DELETE FROM entries WHERE room_id = ? AND seq >= ? AND seq < ?"},
		{&w.erase, `UPDATE entries SET user_id = '', sid = '', text = '', message_id = '', reply_to = '', meta = NULL, deleted = 1
			WHERE room_id = ? AND seq = ? AND user_id = ?`},
		{&w.purge, `DELETE FROM message_keys WHERE (room_id, user_id, message_id) IN
			(SELECT room_id, user_id, message_id FROM message_keys WHERE expires <= ? LIMIT ?)`},
		{&w.revoke, revoke}, {&w.purgeRevoked, purgeRevoked},
		{&w.keep, keep}, {&w.takeKept, takeKept}, {&w.purgeKept, purgeKept},
	} {
		var err error
		if *p.stmt, err = conn.PrepareContext(ctx, p.sql); err != nil {
			return nil, fmt.Errorf("%w in %s", err, p.sql)
		}
	}
	return w, nil
}

// write runs f in a transaction. Its ctx has no end: see Store.
func (s *Store) write(ctx context.Context, f func(ctx context.Context, w *writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var w *writer
	select {
	case w = <-s.writer:
	case <-ctx.Done():
		return ctx.Err()
	}
	if w == nil {
		return errClosed
	}
	defer func() { s.writer <- w }()
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.transact(ctx, f)
}

func (w *writer) transact(ctx context.Context, f func(ctx context.Context, w *writer) error) (err error) {
	whole := context.WithoutCancel(ctx)
	if _, err := w.begin.ExecContext(whole); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			w.seen = 0
			_, _ = w.rollback.ExecContext(whole)
			panic(p)
		}
	}()
	if err = ctx.Err(); err == nil { // it may have ended while another process wrote
		err = w.look(whole)
	}
	if err == nil {
		err = f(whole, w)
	}
	if err == nil {
		_, err = w.commit.ExecContext(whole)
	}
	if err != nil {
		w.seen = 0
		_, _ = w.rollback.ExecContext(whole) // some errors have rolled back already
	}
	return err
}

// look forgets what it knows of the file where another connection has written since.
func (w *writer) look(ctx context.Context) error {
	var version int64
	if err := w.version.QueryRowContext(ctx).Scan(&version); err != nil {
		return err
	}
	if version == w.seen {
		if w.alone++; len(w.rooms) > roomsKept {
			w.rooms = make(map[roomName]*roomState)
		}
		return nil
	}
	if w.seen != 0 {
		w.alone = 0
	}
	w.rooms, w.seen = make(map[roomName]*roomState), version
	return w.loadKeys(ctx)
}

type roomName struct{ namespace, room string }

type roomState struct {
	id, last int64
	changed  bool
}

// Append is chat.Store's.
func (s *Store) Append(ctx context.Context, entries []chat.Entry) ([]chat.Appended, error) {
	if len(entries) == 0 {
		return nil, ctx.Err()
	}
	var out []chat.Appended
	err := s.write(ctx, func(ctx context.Context, w *writer) (err error) {
		out, err = w.appendAll(ctx, entries)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (w *writer) appendAll(ctx context.Context, entries []chat.Entry) ([]chat.Appended, error) {
	w.forgetPlain() // of a batch that broke off
	rooms := make([]*roomState, len(entries))
	for i := range entries {
		var err error
		if rooms[i], err = w.room(ctx, roomName{entries[i].Namespace, entries[i].Room}); err != nil {
			return nil, err
		}
	}
	hashes, places, err := w.hashes(ctx, entries, rooms)
	if err != nil {
		return nil, err
	}
	out := make([]chat.Appended, len(entries))
	now := time.Now().UTC().Truncate(time.Millisecond)
	var changed []*roomState
	for i, r := range rooms {
		p, hashed := places[hashes[i]]
		if !hashed {
			p, hashed = w.keys.pending[hashes[i]]
		}
		if out[i], err = w.append(ctx, r, entries[i], hashes[i], p, hashed, now); err != nil {
			return nil, err
		}
		if !out[i].Repeated && !r.changed {
			r.changed = true
			changed = append(changed, r)
		}
	}
	if err := w.insertPlain(ctx); err != nil {
		return nil, err
	}
	if err := w.saveLasts(ctx, changed); err != nil {
		return nil, err
	}
	if err := w.saveKeys(ctx); err != nil {
		return nil, err
	}
	return out, w.learnKeys(ctx, learnedFor*len(entries)+learnedLeast)
}

func (w *writer) saveLasts(ctx context.Context, rooms []*roomState) error {
	if len(rooms) == 0 {
		return nil
	}
	_, err := w.setLasts.ExecContext(ctx, jsonObject(rooms, func(r *roomState) (int64, int64) {
		r.changed = false
		return r.id, r.last
	}))
	return err
}

// jsonObject has a member of two numbers for each of list.
func jsonObject[T any](list []T, member func(T) (key, value int64)) string {
	object := []byte{'{'}
	for i, v := range list {
		if i > 0 {
			object = append(object, ',')
		}
		key, value := member(v)
		object = strconv.AppendInt(append(object, '"'), key, 10)
		object = strconv.AppendInt(append(object, '"', ':'), value, 10)
	}
	return string(append(object, '}'))
}

func (w *writer) room(ctx context.Context, name roomName) (*roomState, error) {
	if r := w.rooms[name]; r != nil {
		return r, nil
	}
	r := &roomState{}
	err := w.roomByName.QueryRowContext(ctx, name.namespace, name.room).Scan(&r.id, &r.last)
	if errors.Is(err, sql.ErrNoRows) {
		err = w.newRoom.QueryRowContext(ctx, name.namespace, name.room).Scan(&r.id)
	}
	if err == nil {
		w.rooms[roomName{strings.Clone(name.namespace), strings.Clone(name.room)}] = r
	}
	return r, err
}

// append saves e unless it has been; p is where an entry with the hash of its key is.
func (w *writer) append(ctx context.Context, r *roomState, e chat.Entry, hash int64, p place, hashed bool, now time.Time) (chat.Appended, error) {
	seq, byText := r.last+1, false
	if e.MessageID != "" {
		var first *chat.Entry
		var err error
		first, byText, err = w.known(ctx, r, &e, p, hashed, now)
		if err == nil && first != nil {
			return chat.Appended{Entry: *first, Repeated: true}, nil
		}
		if err == nil {
			err = w.newKey(ctx, place{r.id, seq}, &e, hash, byText, now)
		}
		if err != nil {
			return chat.Appended{}, err
		}
	}
	e.Seq, e.Timestamp = uint64(seq), now
	if len(e.Meta) == 0 {
		e.Meta = nil
	}
	r.last = seq
	err := w.insert(ctx, r.id, &e)
	if err == nil && byText {
		err = w.insertPlain(ctx) // firstByText looks for it
	}
	return chat.Appended{Entry: e}, err
}

func (w *writer) insert(ctx context.Context, room int64, e *chat.Entry) error {
	seq, ts := int64(e.Seq), e.Timestamp.UnixMilli()
	if e.Meta != nil || e.ReplyTo != "" || e.Deleted {
		_, err := w.addEntry.ExecContext(ctx, room, seq, e.Kind, e.ID, e.UserID, e.SID, e.Text, ts, e.MessageID, e.ReplyTo, []byte(e.Meta), e.Deleted)
		return err
	}
	w.plain = append(w.plain, room, seq, e.Kind, e.ID, e.UserID, e.SID, e.Text, ts, e.MessageID)
	if len(w.plain) < plainRows*plainColumns {
		return nil
	}
	_, err := w.addPlains.ExecContext(ctx, w.plain...)
	w.forgetPlain()
	return err
}

const plainColumns = 9 // parameters of a row of addPlain

// insertPlain inserts the rows that wait for others.
func (w *writer) insertPlain(ctx context.Context) error {
	defer w.forgetPlain()
	for row := range slices.Chunk(w.plain, plainColumns) {
		if _, err := w.addPlain.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) forgetPlain() {
	clear(w.plain)
	w.plain = w.plain[:0]
}

// scanEntry reads what stands before an entry's columns, and those.
func scanEntry(row interface{ Scan(...any) error }, e *chat.Entry, before ...any) error {
	var ts int64
	var meta []byte
	err := row.Scan(append(before, &e.Kind, &e.ID, &e.UserID, &e.SID, &e.Text, &ts, &e.MessageID, &e.ReplyTo, &meta, &e.Deleted)...)
	e.Timestamp, e.Meta = time.UnixMilli(ts).UTC(), meta
	return err
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}
