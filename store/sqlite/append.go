package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/parleychat/chat"
)

// columns of an entry after its place, as scanEntry reads them.
const columns = "kind, id, user_id, sid, text, ts, message_id, reply_to, meta, deleted"

// setLasts takes a JSON object of ids and seqs: a statement for each room would be a third of what a batch of many rooms executes.
const setLasts = "UPDATE rooms SET last_seq = j.value FROM json_each(?) AS j WHERE rooms.id = CAST(j.key AS INTEGER)"

// writer is the one connection that writes.
type writer struct {
	conn                              *sql.Conn
	begin, commit, rollback, version  *sql.Stmt
	roomByName, newRoom, setLasts     *sql.Stmt
	addKey, first, addEntry           *sql.Stmt
	roomByID, setFirst, young, doomed *sql.Stmt
	outlive, remove, erase, purge     *sql.Stmt

	rooms map[roomName]*roomState // as they were at the end of the last transaction, while nobody else has written
	seen  int64                   // the file's data_version then
}

// roomsKept bounds writer.rooms.
const roomsKept = 10_000

func newWriter(ctx context.Context, conn *sql.Conn) (*writer, error) {
	w := &writer{conn: conn}
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
		{&w.first, `SELECT k.seq, k.kind, k.id, k.ts, e.seq IS NOT NULL,
			coalesce(e.kind, ''), coalesce(e.id, ''), coalesce(e.user_id, ''), coalesce(e.sid, ''), coalesce(e.text, ''), coalesce(e.ts, 0),
			coalesce(e.message_id, ''), coalesce(e.reply_to, ''), e.meta, coalesce(e.deleted, 1)
			FROM message_keys k LEFT JOIN entries e ON e.room_id = k.room_id AND e.seq = k.seq
			WHERE k.room_id = ? AND k.user_id = ? AND k.message_id = ?`},
		{&w.addEntry, `INSERT INTO entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to, meta, deleted)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&w.roomByID, "SELECT first_seq, last_seq FROM rooms WHERE id = ?"},
		{&w.setFirst, "UPDATE rooms SET first_seq = ?2 WHERE id = ?1"},
		{&w.young, "SELECT seq FROM entries WHERE room_id = ? AND seq >= ? AND seq < ? AND ts >= ? ORDER BY seq LIMIT 1"},
		{&w.doomed, "SELECT seq, kind, id, user_id, message_id, ts FROM entries WHERE room_id = ? AND seq >= ? AND seq < ? AND message_id <> '' ORDER BY seq"},
		{&w.outlive, `UPDATE message_keys SET kind = ?5, id = ?6, ts = ?7, expires = ?8
			WHERE room_id = ?1 AND user_id = ?2 AND message_id = ?3 AND seq = ?4`},
		{&w.remove, "DELETE FROM entries WHERE room_id = ? AND seq >= ? AND seq < ?"},
		{&w.erase, `UPDATE entries SET user_id = '', sid = '', text = '', message_id = '', reply_to = '', meta = NULL, deleted = 1
			WHERE room_id = ? AND seq = ? AND user_id = ?`},
		{&w.purge, `DELETE FROM message_keys WHERE (room_id, user_id, message_id) IN
			(SELECT room_id, user_id, message_id FROM message_keys WHERE expires <= ? LIMIT ?)`},
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
			w.rooms = nil
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
		w.rooms = nil
		_, _ = w.rollback.ExecContext(whole) // some errors have rolled back already
	}
	return err
}

// look forgets the rooms where another connection has written since.
func (w *writer) look(ctx context.Context) error {
	var version int64
	if err := w.version.QueryRowContext(ctx).Scan(&version); err != nil {
		return err
	}
	if version != w.seen || w.rooms == nil || len(w.rooms) > roomsKept {
		w.rooms, w.seen = make(map[roomName]*roomState), version
	}
	return nil
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
	out := make([]chat.Appended, len(entries))
	err := s.write(ctx, func(ctx context.Context, w *writer) error {
		now := time.Now().UTC().Truncate(time.Millisecond)
		var changed []*roomState
		for i := range entries {
			r, err := w.room(ctx, roomName{entries[i].Namespace, entries[i].Room})
			if err != nil {
				return err
			}
			if out[i], err = w.append(ctx, r, entries[i], now); err != nil {
				return err
			}
			if !out[i].Repeated && !r.changed {
				r.changed = true
				changed = append(changed, r)
			}
		}
		return w.saveLasts(ctx, changed)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (w *writer) saveLasts(ctx context.Context, rooms []*roomState) error {
	if len(rooms) == 0 {
		return nil
	}
	list := []byte{'{'}
	for i, r := range rooms {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(append(list, '"'), r.id, 10)
		list = strconv.AppendInt(append(list, '"', ':'), r.last, 10)
		r.changed = false
	}
	_, err := w.setLasts.ExecContext(ctx, string(append(list, '}')))
	return err
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

func (w *writer) append(ctx context.Context, r *roomState, e chat.Entry, now time.Time) (chat.Appended, error) {
	seq := r.last + 1
	if e.MessageID != "" {
		added, err := affected(w.addKey.ExecContext(ctx, r.id, e.UserID, e.MessageID, seq, now.UnixMilli()))
		if err != nil {
			return chat.Appended{}, err
		}
		if added == 0 {
			first, err := w.firstRecord(ctx, r, &e)
			return chat.Appended{Entry: first, Repeated: true}, err
		}
	}
	e.Seq, e.Timestamp = uint64(seq), now
	var meta any
	if len(e.Meta) > 0 {
		meta = []byte(e.Meta)
	} else {
		e.Meta = nil
	}
	_, err := w.addEntry.ExecContext(ctx, r.id, seq, e.Kind, e.ID, e.UserID, e.SID, e.Text, now.UnixMilli(), e.MessageID, e.ReplyTo, meta, e.Deleted)
	r.last = seq
	return chat.Appended{Entry: e}, err
}

// firstRecord is what a repeat of e is told: the entry as it stands, or the stub of one that was removed.
func (w *writer) firstRecord(ctx context.Context, r *roomState, e *chat.Entry) (chat.Entry, error) {
	first := chat.Entry{Namespace: e.Namespace, Room: e.Room}
	var kind, id sql.NullString
	var ts sql.NullInt64
	var kept bool
	row := w.first.QueryRowContext(ctx, r.id, e.UserID, e.MessageID)
	if err := scanEntry(row, &first, &first.Seq, &kind, &id, &ts, &kept); err != nil {
		return first, err
	}
	if !kept {
		first.Kind, first.ID, first.Timestamp = kind.String, id.String, time.UnixMilli(ts.Int64).UTC()
		first.UserID, first.MessageID = e.UserID, e.MessageID
	}
	return first, nil
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
