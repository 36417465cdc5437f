package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// A migration takes the tables one version further. It only goes forward, and in steps that the version before can live with: what a
// program no longer needs goes in a later version than the one that stopped using it.
type migration struct {
	oldest int // the lowest version that a program must know to work with the tables after it
	sql    string
}

// migrations[i] makes version i+1.
var migrations = []migration{{1, `
CREATE TABLE rooms (
	id        INTEGER PRIMARY KEY,
	namespace TEXT NOT NULL,
	room      TEXT NOT NULL,
	last_seq  INTEGER NOT NULL DEFAULT 0, -- the last that was given
	first_seq INTEGER NOT NULL DEFAULT 1, -- the first that is kept
	UNIQUE (namespace, room)
) STRICT;

-- The log. Texts are as they stand now.
CREATE TABLE entries (
	room_id    INTEGER NOT NULL,
	seq        INTEGER NOT NULL,
	kind       TEXT NOT NULL,
	id         TEXT NOT NULL,
	user_id    TEXT NOT NULL,
	sid        TEXT NOT NULL,
	text       TEXT NOT NULL,
	ts         INTEGER NOT NULL, -- Unix time in ms
	message_id TEXT NOT NULL,
	reply_to   TEXT NOT NULL,
	meta       BLOB,
	deleted    INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (room_id, seq)
) STRICT, WITHOUT ROWID;

-- What has been saved. A key outlives its entry; from then on it has an end, and what a repeat is told of the entry.
CREATE TABLE message_keys (
	room_id    INTEGER NOT NULL,
	user_id    TEXT NOT NULL,
	message_id TEXT NOT NULL,
	seq        INTEGER NOT NULL,
	kind       TEXT,
	id         TEXT,
	ts         INTEGER,
	expires    INTEGER, -- Unix time in ms
	PRIMARY KEY (room_id, user_id, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_keys_expires ON message_keys (expires) WHERE expires IS NOT NULL;
`}}

// migrate takes the write lock before it looks, so that of two processes one does the work and the other finds it done.
func migrate(ctx context.Context, conn *sql.Conn) (err error) {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	done := context.WithoutCancel(ctx)
	defer func() {
		if err != nil {
			_, _ = conn.ExecContext(done, "ROLLBACK") // err says why
		}
	}()
	const table = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, oldest INTEGER NOT NULL, applied INTEGER NOT NULL) STRICT"
	if _, err := conn.ExecContext(ctx, table); err != nil {
		return err
	}
	var version, oldest int
	const current = "SELECT coalesce(max(version), 0), coalesce(max(oldest), 0) FROM schema_version"
	if err := conn.QueryRowContext(ctx, current).Scan(&version, &oldest); err != nil {
		return err
	}
	if oldest > len(migrations) {
		return fmt.Errorf("its tables are of version %d and need a program that knows version %d; this one knows %d", version, oldest, len(migrations))
	}
	for v := version + 1; v <= len(migrations); v++ {
		m := migrations[v-1]
		if _, err := conn.ExecContext(ctx, m.sql); err != nil {
			return fmt.Errorf("version %d of the tables: %w", v, err)
		}
		if _, err := conn.ExecContext(ctx, "INSERT INTO schema_version VALUES (?, ?, ?)", v, m.oldest, time.Now().UnixMilli()); err != nil {
			return err
		}
	}
	_, err = conn.ExecContext(done, "COMMIT")
	return err
}
