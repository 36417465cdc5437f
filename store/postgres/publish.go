package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parleychat/chat"
)

// What a message that is published may have at most, in bytes. The outbox checks the same.
const (
	nameMost = 128 // of a namespace, a room, a message_id, a reply_to
	userMost = 1024
	textMost = 1 << 20
	metaMost = 16 << 10
)

// The notification goes out with the commit, and once for any number of messages of a transaction. The statement asks for no right but to insert.
const publish = `WITH published AS (
		INSERT INTO parley_chat.outbox (namespace, room, entry_id, user_id, text, message_id, reply_to, meta)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8))
	SELECT pg_notify('` + channel + `', '')`

// A PublishOption is an option of PublishTx and PublishSQLTx.
type PublishOption interface{ applyPublish(*publishing) }

type publishing struct{ namespace string }

type publishOption func(*publishing)

func (f publishOption) applyPublish(p *publishing) { f(p) }

// InNamespace publishes in a namespace of that name; the default is "/".
func InNamespace(name string) PublishOption {
	return publishOption(func(p *publishing) { p.namespace = name })
}

// PublishTx writes a message in the host's own transaction. It is saved in the room's log and delivered, as by chat.Room.Post, if and only if tx commits,
// also when the process ends right after the commit. Until then nobody sees it, and it holds up nobody: neither the room nor other transactions that publish.
//
// After the commit a relay gives the message its Seq and Timestamp: every Hub with a Store on the database relays (see Store.Watch), usually within
// milliseconds. Without such a Hub the messages wait in the table parley_chat.outbox. Messages of one transaction keep their order, and a
// message published after another transaction has committed comes after that one's; of transactions side by side either may come first. A message whose
// (namespace, room, UserID, MessageID) has been saved before is dropped: the first record stands.
//
// It takes no Store, only the tables: postgres.New or Open must have run on the database once, or the error is PostgreSQL's undefined_table (42P01). The role needs
// USAGE on the schema parley_chat and INSERT on its table outbox, no more.
//
// An error that is a *chat.Error (InvalidPayload, TooLarge) comes before anything is sent to the database, so that tx can go on: the room's name, the text, which must
// not be empty, the lengths of MessageID and ReplyTo (128 bytes), of UserID (1024 bytes), and Meta, which must encode as JSON, are checked. A Hub's Limits are the Hub's and are not asked
// here; a text may have 1 MiB and Meta 16 KiB. After any other error PostgreSQL takes no more statements in tx.
// It notifies, so that tx cannot be one for PREPARE TRANSACTION.
func PublishTx(ctx context.Context, tx pgx.Tx, room string, p chat.Post, opts ...PublishOption) error {
	args, err := publishArgs(room, p, opts)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, publish, args...)
	return publishError(err)
}

// PublishSQLTx is PublishTx for database/sql, with any driver for PostgreSQL.
func PublishSQLTx(ctx context.Context, tx *sql.Tx, room string, p chat.Post, opts ...PublishOption) error {
	args, err := publishArgs(room, p, opts)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, publish, args...)
	return publishError(err)
}

func publishError(err error) error {
	var e *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && e.Code == "42P01":
		return fmt.Errorf("postgres: publish: the tables are not there, or of an earlier version; postgres.New makes them: %w", err)
	}
	return fmt.Errorf("postgres: publish: %w", err)
}

// publishArgs checks a message and makes publish's parameters.
func publishArgs(room string, p chat.Post, opts []PublishOption) ([]any, error) {
	o := publishing{namespace: "/"}
	for _, opt := range opts {
		opt.applyPublish(&o)
	}
	if !validNamespace(o.namespace) {
		return nil, chat.Errorf(chat.InvalidPayload, "%q is not a namespace's name", o.namespace)
	}
	if !validRoom(room) {
		return nil, chat.Errorf(chat.InvalidPayload, "%q is not a room's name", room)
	}
	for _, text := range []*string{&p.Text, &p.UserID, &p.MessageID, &p.ReplyTo} {
		*text = clean(*text)
	}
	switch {
	case p.Text == "":
		return nil, chat.Errorf(chat.InvalidPayload, "text must not be empty")
	case len(p.Text) > textMost:
		return nil, tooLarge("text", textMost)
	case len(p.UserID) > userMost:
		return nil, chat.Errorf(chat.InvalidPayload, "the user's id must have at most %d bytes", userMost)
	case len(p.MessageID) > nameMost || len(p.ReplyTo) > nameMost:
		return nil, chat.Errorf(chat.InvalidPayload, "message_id and reply_to must have at most %d bytes", nameMost)
	}
	meta, err := metaArg(p.Meta)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return []any{o.namespace, room, id.String(), p.UserID, p.Text, p.MessageID, p.ReplyTo, meta}, nil
}

func tooLarge(what string, limit int) error {
	return &chat.Error{Code: chat.TooLarge, Message: what + " is too long", Data: map[string]any{"limit": limit}}
}

// metaArg is the JSON of a Post's Meta, or nil, which a driver may not make of an empty []byte.
func metaArg(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	meta, err := json.Marshal(v)
	switch {
	case err != nil:
		return nil, chat.Errorf(chat.InvalidPayload, "meta: %v", err)
	case !utf8.Valid(meta):
		return nil, chat.Errorf(chat.InvalidPayload, "meta is not UTF-8")
	case len(meta) > metaMost:
		return nil, tooLarge("meta", metaMost)
	}
	return meta, nil
}

// validNamespace is what chat.Namespace takes, and "/".
func validNamespace(name string) bool {
	return strings.HasPrefix(name, "/") && len(name) <= nameMost && !strings.ContainsAny(name, ",?\"\\\x00") && utf8.ValidString(name)
}

// validRoom is what the Hub takes: 1 to 128 bytes of ASCII letters, digits and . _ : -
func validRoom(name string) bool {
	if name == "" || len(name) > nameMost {
		return false
	}
	for _, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > ':') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
