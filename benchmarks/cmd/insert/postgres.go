package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresTable inserts by one prepared statement a batch, from arrays, which
// is a transaction by itself: one round trip.
type postgresTable struct{ conn *pgx.Conn }

const insertArrays = `INSERT INTO bare (ts, room_id, seq, kind, id, user_id, sid, text, message_id, reply_to)
	SELECT $1::timestamptz, * FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])`

func openPostgres(ctx context.Context, dsn string, each bool) (table, int, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, 0, err
	}
	// Without the library's index of message keys.
	const made = `CREATE TABLE IF NOT EXISTS bare (LIKE parley_chat.entries INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (room_id, seq))`
	if _, err := conn.Exec(ctx, made); err != nil {
		return nil, 0, err
	}
	var n int
	err = conn.QueryRow(ctx, "SELECT count(*) FROM bare").Scan(&n)
	if each {
		return pipelinedTable{postgresTable{conn}}, n, err
	}
	return postgresTable{conn}, n, err
}

func (t postgresTable) insert(ctx context.Context, rows []row) error {
	rooms, seqs := make([]int64, len(rows)), make([]int64, len(rows))
	var texts [7][]string
	for c := range texts {
		texts[c] = make([]string, len(rows))
	}
	for i := range rows {
		r := &rows[i]
		rooms[i], seqs[i] = r.room, r.seq
		for c, text := range [...]string{r.kind, r.id, r.user, r.sid, r.text, r.messageID, r.replyTo} {
			texts[c][i] = text
		}
	}
	_, err := t.conn.Exec(ctx, insertArrays, rows[0].at, rooms, seqs, texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6])
	return err
}

// pipelinedTable inserts by one prepared statement a row, all of a batch and
// its transaction sent at once.
type pipelinedTable struct{ postgresTable }

const insertRow = `INSERT INTO bare (ts, room_id, seq, kind, id, user_id, sid, text, message_id, reply_to)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

func (t pipelinedTable) insert(ctx context.Context, rows []row) error {
	q := &pgx.Batch{}
	q.Queue("BEGIN")
	for i := range rows {
		r := &rows[i]
		q.Queue(insertRow, r.at, r.room, r.seq, r.kind, r.id, r.user, r.sid, r.text, r.messageID, r.replyTo)
	}
	q.Queue("COMMIT")
	return t.conn.SendBatch(ctx, q).Close()
}

func (t postgresTable) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return t.conn.Close(ctx)
}
