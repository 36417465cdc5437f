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
var migrations = []migration{{1, version1}, {1, version2}, {1, version3}}

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

const version1 = `
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
`

const version2 = `
-- Where an entry is, by the hash of its room, user and message_id: rows of a fifth of the size. From here on message_keys has only what this cannot tell: the keys
-- that outlive their entries, those whose hash is another's, and those of programs that know version 1 only.
CREATE TABLE entry_keys (
	hash    INTEGER PRIMARY KEY,
	room_id INTEGER NOT NULL,
	seq     INTEGER NOT NULL
) STRICT;
CREATE TABLE key_salt (salt BLOB NOT NULL) STRICT;
INSERT INTO key_salt VALUES (randomblob(16));

-- Rooms whose entries after seq may not be in entry_keys yet.
CREATE TABLE keys_behind (
	room_id INTEGER PRIMARY KEY,
	seq     INTEGER NOT NULL
) STRICT;

-- A program that knows version 1 only looks for a key in message_keys, and expects one there when its entry goes. It reads the room's log for it.
CREATE TRIGGER version_1_adds_key BEFORE INSERT ON message_keys WHEN new.expires IS NULL AND NOT EXISTS
	(SELECT 1 FROM message_keys WHERE room_id = new.room_id AND user_id = new.user_id AND message_id = new.message_id)
BEGIN
	INSERT INTO message_keys (room_id, user_id, message_id, seq) SELECT room_id, user_id, message_id, seq FROM entries
		WHERE room_id = new.room_id AND user_id = new.user_id AND message_id = new.message_id ORDER BY seq LIMIT 1;
END;
CREATE TRIGGER version_1_removes_entry BEFORE DELETE ON entries WHEN old.message_id <> '' AND NOT EXISTS
	(SELECT 1 FROM message_keys WHERE room_id = old.room_id AND user_id = old.user_id AND message_id = old.message_id)
BEGIN
	INSERT INTO message_keys (room_id, user_id, message_id, seq, kind, id, ts, expires) VALUES
		(old.room_id, old.user_id, old.message_id, old.seq, old.kind, old.id, old.ts, (unixepoch() + 30 * 86400) * 1000);
END;
CREATE TRIGGER version_1_erases_entry BEFORE UPDATE OF message_id ON entries WHEN old.message_id <> '' AND new.message_id = '' AND NOT EXISTS
	(SELECT 1 FROM message_keys WHERE room_id = old.room_id AND user_id = old.user_id AND message_id = old.message_id)
BEGIN
	INSERT INTO message_keys (room_id, user_id, message_id, seq, kind, id, ts, expires) VALUES
		(old.room_id, old.user_id, old.message_id, old.seq, old.kind, old.id, old.ts, (unixepoch() + 30 * 86400) * 1000);
END;
`

const version3 = `
-- Of a user, or of a token.
CREATE TABLE revocations (
	user_id  TEXT NOT NULL,
	token_id TEXT NOT NULL,
	made     INTEGER NOT NULL, -- Unix time in ms
	expires  INTEGER NOT NULL,
	PRIMARY KEY (user_id, token_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_expires ON revocations (expires);

-- Sessions of clients whose process has shut down, until another takes them.
CREATE TABLE kept (
	key     TEXT NOT NULL PRIMARY KEY,
	value   BLOB NOT NULL,
	expires INTEGER NOT NULL
) STRICT;
CREATE INDEX kept_expires ON kept (expires);
`
