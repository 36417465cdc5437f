package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A migration takes the tables one version further. It only goes forward, and in steps that the version before can live with, since nodes of both run
// side by side: first what is new is added, and what no program needs any more goes in a later version than the one that stopped using it.
type migration struct {
	oldest int // the lowest version that a program must know to work with the tables after it
	sql    string
}

// migrations[i] makes version i+1.
var migrations = []migration{{1, `
CREATE TABLE parley_chat.rooms (
	id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	namespace text COLLATE "C" NOT NULL,
	room      text COLLATE "C" NOT NULL,
	last_seq  bigint NOT NULL DEFAULT 0, -- the last that was given
	first_seq bigint NOT NULL DEFAULT 1, -- the first that is kept
	UNIQUE (namespace, room)
) WITH (fillfactor = 50); -- each batch updates a row, in place where its page has room

-- The log. Texts are as they stand now.
CREATE TABLE parley_chat.entries (
	room_id    bigint NOT NULL,
	seq        bigint NOT NULL,
	kind       text NOT NULL,
	id         text COLLATE "C" NOT NULL,
	user_id    text COLLATE "C" NOT NULL,
	sid        text NOT NULL,
	text       text NOT NULL,
	ts         timestamptz NOT NULL,
	message_id text COLLATE "C" NOT NULL,
	reply_to   text NOT NULL,
	meta       bytea, -- JSON byte for byte, which neither json (no NUL) nor jsonb (its own order) would keep
	deleted    boolean NOT NULL DEFAULT false,
	PRIMARY KEY (room_id, seq)
);

-- What has been saved. A key outlives its entry; from then on it has an end, and what a repeat is told of the entry. See version 4.
CREATE TABLE parley_chat.message_keys (
	room_id    bigint NOT NULL,
	user_id    text COLLATE "C" NOT NULL,
	message_id text COLLATE "C" NOT NULL,
	seq        bigint NOT NULL,
	kind       text,
	id         text,
	ts         timestamptz,
	expires    timestamptz,
	PRIMARY KEY (room_id, user_id, message_id)
);
CREATE INDEX message_keys_expires ON parley_chat.message_keys (expires) WHERE expires IS NOT NULL;
`}, {1, `
-- Messages of the hosts' own transactions, until a relay gives them their place in the log. What is checked here the log can hold, and a Hub deliver,
-- whoever writes the row.
CREATE TABLE parley_chat.outbox (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	kind       text NOT NULL DEFAULT 'message',
	namespace  text COLLATE "C" NOT NULL CHECK (namespace ~ '^/' AND octet_length(namespace) <= 128),
	room       text COLLATE "C" NOT NULL CHECK (room ~ '^[A-Za-z0-9._:-]{1,128}$'),
	entry_id   text COLLATE "C" NOT NULL CHECK (octet_length(entry_id) BETWEEN 1 AND 128),
	user_id    text COLLATE "C" NOT NULL DEFAULT '' CHECK (octet_length(user_id) <= 1024),
	text       text NOT NULL CHECK (octet_length(text) BETWEEN 1 AND 1048576),
	message_id text COLLATE "C" NOT NULL DEFAULT '' CHECK (octet_length(message_id) <= 128),
	reply_to   text NOT NULL DEFAULT '' CHECK (octet_length(reply_to) <= 128),
	meta       bytea CHECK (meta IS NULL OR octet_length(meta) <= 16384 AND convert_from(meta, 'UTF8')::json IS NOT NULL),
	error      text -- why it could not be saved: the row is set aside. NULL again: it is tried again
);

-- How many batches have been relayed. Its row is locked by who relays, one at a time, so that the rows of a transaction keep their order.
CREATE TABLE parley_chat.relay (
	one     boolean PRIMARY KEY DEFAULT true CHECK (one),
	batches bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO parley_chat.relay DEFAULT VALUES;
`}, {1, `
-- Of a user, or of a token.
CREATE TABLE parley_chat.revocations (
	user_id  text COLLATE "C" NOT NULL DEFAULT '',
	token_id text COLLATE "C" NOT NULL DEFAULT '',
	made     timestamptz NOT NULL,
	expires  timestamptz NOT NULL,
	PRIMARY KEY (user_id, token_id)
);
CREATE INDEX revocations_expires ON parley_chat.revocations (expires);

-- Sessions of clients whose node has shut down, until another takes them.
CREATE TABLE parley_chat.kept (
	key     text COLLATE "C" PRIMARY KEY,
	value   bytea NOT NULL,
	expires timestamptz NOT NULL
);
CREATE INDEX kept_expires ON parley_chat.kept (expires);
`}, {1, `
-- An entry's key is in the entry itself, and in message_keys only when it outlives that, or was put there by a program that knows version 3 at most. Such a program finds no
-- keys of entries that a later one has saved: where one is sent to it again this index lets it save nothing.
CREATE UNIQUE INDEX entries_key ON parley_chat.entries (room_id, user_id, message_id) WHERE message_id <> '';
`}}

// migrationLock is a number that others will not take for an advisory lock: "parley" in bytes.
const migrationLock = 0x7061726c6579

// migrate lets one node at a time look and work; the others find it done.
func (s *Store) migrate(ctx context.Context, known []migration) error {
	return s.transact(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
		var encoding string
		var there bool
		const look = "SELECT current_setting('server_encoding'), to_regclass('parley_chat.schema_version') IS NOT NULL"
		if err := tx.QueryRow(ctx, look).Scan(&encoding, &there); err != nil {
			return err
		}
		if encoding != "UTF8" {
			return fmt.Errorf("the database's encoding is %s; texts need UTF8", encoding)
		}
		if !there { // IF NOT EXISTS alone would need rights that a role need not have when all is there
			const first = `CREATE SCHEMA IF NOT EXISTS parley_chat;
				CREATE TABLE parley_chat.schema_version (version int PRIMARY KEY, oldest int NOT NULL, applied timestamptz NOT NULL DEFAULT now())`
			if _, err := tx.Exec(ctx, first); err != nil {
				return err
			}
		}
		return forward(ctx, tx, known)
	})
}

func forward(ctx context.Context, tx pgx.Tx, known []migration) error {
	var version, oldest int
	const current = "SELECT coalesce(max(version), 0), coalesce(max(oldest), 0) FROM parley_chat.schema_version"
	if err := tx.QueryRow(ctx, current).Scan(&version, &oldest); err != nil {
		return err
	}
	if oldest > len(known) {
		return fmt.Errorf("the tables are of version %d and need a program that knows version %d; this one knows %d", version, oldest, len(known))
	}
	for v := version + 1; v <= len(known); v++ {
		m := known[v-1]
		if _, err := tx.Exec(ctx, m.sql); err != nil {
			return fmt.Errorf("version %d of the tables: %w", v, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO parley_chat.schema_version (version, oldest) VALUES ($1, $2)", v, m.oldest); err != nil {
			return err
		}
	}
	return nil
}
