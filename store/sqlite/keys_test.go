package sqlite_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/sqlite"
)

// crash is the file as it would be found if the process ended now.
func crash(t *testing.T, s *sqlite.Store, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "chat.db")
	sqlite.Hold(s, func() {
		for _, suffix := range []string{"", "-wal"} {
			content, err := os.ReadFile(path + suffix)
			if err == nil {
				err = os.WriteFile(to+suffix, content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	return to
}

func count(t *testing.T, path, what string) (n int) {
	t.Helper()
	if err := raw(t, path).QueryRowContext(t.Context(), "SELECT count(*) FROM "+what).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func wantRepeats(t *testing.T, s chat.Store, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		if a := save(t, s, message(i))[0]; !a.Repeated || a.Entry.Seq != uint64(i) || a.Entry.ID != message(i).ID {
			t.Errorf("the key of entry %d is not known: %+v", i, a)
		}
	}
}

// Keys are put off while nobody else writes, and known nevertheless: here, after a crash, after Close and by another process.
func TestKeysPutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	for i := 1; i <= 20; i++ {
		save(t, s, message(i))
	}
	if n, rows, behind := sqlite.Pending(s), count(t, path, "entry_keys"), count(t, path, "keys_behind"); n != 20 || rows != 0 || behind != 1 {
		t.Fatalf("%d keys are put off, %d are in the table, of %d rooms some lack; want 20, 0, 1", n, rows, behind)
	}
	wantRepeats(t, s, 20)
	crashed := crash(t, s, path)
	wantRepeats(t, open(t, crashed), 20)
	if rows, behind := count(t, crashed, "entry_keys"), count(t, crashed, "keys_behind"); rows != 20 || behind != 0 {
		t.Errorf("after a crash %d keys are in the table, and %d rooms lack some", rows, behind)
	}
	other := open(t, path)
	wantRepeats(t, other, 20)
	save(t, other, message(21))
	save(t, s, message(22))
	if n, rows := sqlite.Pending(s), count(t, path, "entry_keys"); n != 0 || rows != 22 {
		t.Errorf("beside another process %d keys are put off, %d are in the table", n, rows)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantRepeats(t, other, 22)
}

func TestKeysOfClosedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	save(t, s, message(1), message(2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if rows, behind := count(t, path, "entry_keys"), count(t, path, "keys_behind"); rows != 2 || behind != 0 {
		t.Errorf("%d keys are in the table, %d rooms lack some", rows, behind)
	}
}

// When many have been put off they go to the table in steps, and what comes meanwhile waits for the next turn.
func TestKeysLeaveInSteps(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	sqlite.PutOff(s, 10, 4, 0, false)
	for i, want := range []struct{ rows, behind int }{9: {4, 0}, 10: {8, 0}, 11: {10, 10}, 18: {10, 10}, 19: {14, 10}, 20: {18, 10}, 21: {20, 20}} {
		save(t, s, message(i+1))
		if want.rows == 0 {
			continue
		}
		var behind int
		if err := raw(t, path).QueryRowContext(t.Context(), "SELECT seq FROM keys_behind").Scan(&behind); err != nil {
			t.Fatal(err)
		}
		if rows, n := count(t, path, "entry_keys"), sqlite.Pending(s); rows != want.rows || behind != want.behind || n != i+1-rows {
			t.Errorf("after %d entries the table has %d keys and those to %d; %d are put off", i+1, rows, behind, n)
		}
		wantRepeats(t, open(t, crash(t, s, path)), i+1)
	}
}

func TestKeysCollide(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	sqlite.PutOff(s, 1000, 1000, 0, true)
	save(t, s, message(1), message(2), message(3))
	save(t, s, message(4))
	wantRepeats(t, s, 4)
	s = open(t, crash(t, s, path))
	sqlite.PutOff(s, 1000, 1000, 0, true)
	wantRepeats(t, s, 4)
}

// What goes takes the hash of its key along, whether that was put off or not.
func TestKeysOfRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	for _, most := range []int{1, 1000} {
		sqlite.PutOff(s, most, 10, 0, false)
		for i := 1; i <= 4; i++ {
			save(t, s, message(most+i))
		}
		if _, err := s.Trim(t.Context(), chat.TrimQuery{Namespace: "/", Room: "lobby", Keep: 2}); err != nil {
			t.Fatal(err)
		}
		if n := sqlite.Pending(s) + count(t, path, "entry_keys"); n != 2 {
			t.Errorf("%d hashes of two entries are kept", n)
		}
		if _, err := s.EraseUser(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		if n := sqlite.Pending(s) + count(t, path, "entry_keys"); n != 0 {
			t.Errorf("%d hashes of erased entries are kept", n)
		}
	}
}

// version1 is the program that knows version 1 of the tables only: its statements on the keys.
type version1 struct{ db *sql.DB }

func (v version1) do(t *testing.T, f func(conn *sql.Conn, room, first, last int64), room string) {
	t.Helper()
	conn, err := v.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	execute(t, conn, "BEGIN IMMEDIATE")
	execute(t, conn, "INSERT INTO rooms (namespace, room) VALUES ('/', ?) ON CONFLICT DO NOTHING", room)
	var id, first, last int64
	if err := conn.QueryRowContext(t.Context(), "SELECT id, first_seq, last_seq FROM rooms WHERE room = ?", room).Scan(&id, &first, &last); err != nil {
		t.Fatal(err)
	}
	f(conn, id, first, last)
	execute(t, conn, "COMMIT")
}

func execute(t *testing.T, conn *sql.Conn, query string, args ...any) int64 {
	t.Helper()
	r, err := conn.ExecContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%v in %s", err, query)
	}
	n, err := r.RowsAffected()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (v version1) append(t *testing.T, e chat.Entry) (seq int64, repeated bool) {
	t.Helper()
	v.do(t, func(conn *sql.Conn, room, _, last int64) {
		seq = last + 1
		if e.MessageID != "" && execute(t, conn, `INSERT INTO message_keys (room_id, user_id, message_id, seq) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT DO UPDATE SET seq = excluded.seq, kind = NULL, id = NULL, ts = NULL, expires = NULL WHERE expires <= ?5`,
			room, e.UserID, e.MessageID, seq, time.Now().UnixMilli()) == 0 {
			repeated = true
			if err := conn.QueryRowContext(t.Context(), `SELECT k.seq FROM message_keys k LEFT JOIN entries e ON e.room_id = k.room_id AND e.seq = k.seq
				WHERE k.room_id = ? AND k.user_id = ? AND k.message_id = ?`, room, e.UserID, e.MessageID).Scan(&seq); err != nil {
				t.Fatal(err)
			}
			return
		}
		execute(t, conn, `INSERT INTO entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to, meta, deleted)
			VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, '', NULL, 0)`, room, seq, e.Kind, e.ID, e.UserID, e.Text, time.Now().UnixMilli(), e.MessageID)
		execute(t, conn, "UPDATE rooms SET last_seq = ? WHERE id = ?", seq, room)
	}, e.Room)
	return seq, repeated
}

const v1Outlive = `UPDATE message_keys SET (kind, id, ts, expires) = (e.kind, e.id, e.ts, ?4) FROM entries e WHERE e.room_id = ?1 AND e.seq >= ?2 AND e.seq < ?3
	AND message_keys.room_id = e.room_id AND message_keys.user_id = e.user_id AND message_keys.message_id = e.message_id AND message_keys.seq = e.seq`

func (v version1) trim(t *testing.T, room string, keep int64) {
	t.Helper()
	v.do(t, func(conn *sql.Conn, id, first, last int64) {
		if end := last + 1 - keep; end > first {
			execute(t, conn, v1Outlive, id, first, end, time.Now().Add(chat.KeysKept).UnixMilli())
			execute(t, conn, "DELETE FROM entries WHERE room_id = ? AND seq >= ? AND seq < ?", id, first, end)
			execute(t, conn, "UPDATE rooms SET first_seq = ? WHERE id = ?", end, id)
		}
	}, room)
}

func (v version1) erase(t *testing.T, room, user string) {
	t.Helper()
	v.do(t, func(conn *sql.Conn, id, _, _ int64) {
		execute(t, conn, `UPDATE message_keys SET (kind, id, ts, expires) = (e.kind, e.id, e.ts, ?3) FROM entries e WHERE e.room_id = ?1 AND e.user_id = ?2
			AND message_keys.room_id = e.room_id AND message_keys.user_id = e.user_id AND message_keys.message_id = e.message_id AND message_keys.seq = e.seq`,
			id, user, time.Now().Add(chat.KeysKept).UnixMilli())
		execute(t, conn, `UPDATE entries SET user_id = '', sid = '', text = '', message_id = '', reply_to = '', meta = NULL, deleted = 1
			WHERE room_id = ? AND user_id = ?`, id, user)
	}, room)
}

// A file of version 1 opens, with its keys.
func TestVersion1File(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	db := raw(t, path)
	run(t, db, "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, oldest INTEGER NOT NULL, applied INTEGER NOT NULL) STRICT")
	run(t, db, sqlite.Version1)
	run(t, db, "INSERT INTO schema_version VALUES (1, 1, 0)")
	old := version1{db}
	for i := 1; i <= 10; i++ {
		old.append(t, message(i))
	}
	old.trim(t, "lobby", 6)
	s := open(t, path)
	wantRepeats(t, s, 10)
	if a := save(t, s, message(11))[0]; a.Repeated || a.Entry.Seq != 11 {
		t.Errorf("%+v", a)
	}
	if seq, repeated := old.append(t, message(11)); !repeated || seq != 11 {
		t.Errorf("the older program got %d, %v", seq, repeated)
	}
}

// The older program on a file of today's: it knows the keys, and what it removes is remembered.
func TestVersion1Program(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	save(t, s, message(1), message(2), message(3), message(4), message(5))
	old := version1{raw(t, path)}
	if seq, repeated := old.append(t, message(2)); !repeated || seq != 2 {
		t.Errorf("the older program got %d, %v", seq, repeated)
	}
	old.trim(t, "lobby", 2)
	wantRepeats(t, s, 5)
	old.erase(t, "lobby", "ann")
	wantRepeats(t, s, 5)
	var soonest, latest float64
	row := raw(t, path).QueryRowContext(t.Context(), "SELECT (min(expires) - ?1)/86400e3, (max(expires) - ?1)/86400e3 FROM message_keys", time.Now().UnixMilli())
	if err := row.Scan(&soonest, &latest); err != nil || soonest < 29.9 || latest > 30.1 {
		t.Errorf("keys expire in %f to %f days, %v", soonest, latest, err)
	}
}
