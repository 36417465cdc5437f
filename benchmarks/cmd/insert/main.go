// Command insert is the bare loop beside which the log's throughput is held: it inserts the rows that the
// library would save, one batch a transaction, with no keys and nothing looked up. It has a table of its own,
// which is made as the library's table of entries is, in the same file or database. Prints JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/load"
	"github.com/parleychat/chat/benchmarks/internal/proc"
)

func main() {
	db := flag.String("db", "", "sqlite:FILE or postgres://…, where the library's tables are")
	batch := flag.Int("batch", 100, "rows in one transaction")
	rooms := flag.Int("rooms", 50, "rooms that the rows go to in turn")
	each := flag.Bool("each", false, "PostgreSQL: a statement a row, sent together, and not one for all")
	dbProcess := flag.Int("dbpid", 0, "the process of the database's server")
	warm := flag.Duration("warm", time.Second, "before the measurement")
	limit := flag.Duration("time", 4*time.Second, "of the measurement")
	flag.Parse()
	if err := run(*db, *each, *batch, *rooms, *dbProcess, *warm, *limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A table takes batches of rows.
type table interface {
	insert(ctx context.Context, rows []row) error
	close() error
}

func run(db string, each bool, batch, rooms, dbProcess int, warm, limit time.Duration) (err error) {
	ctx := context.Background()
	var t table
	var from int
	if path, ok := strings.CutPrefix(db, "sqlite:"); ok {
		t, from, err = openSQLite(ctx, path)
	} else {
		t, from, err = openPostgres(ctx, db, each)
	}
	if err != nil {
		return err
	}
	loop := &loop{table: t, rows: make([]row, max(batch, 1)), next: from, rooms: rooms}
	if _, err := loop.run(ctx, warm); err != nil {
		return err
	}
	cpu0, db0, err := used(dbProcess)
	if err != nil {
		return err
	}
	start := time.Now()
	n, err := loop.run(ctx, limit)
	if err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	cpu1, db1, err := used(dbProcess)
	if err != nil {
		return err
	}
	r := load.Inserted{Rows: n, Batch: batch, PerSecond: float64(n) / took, Micros: perRow(cpu1-cpu0, n), DBMicros: perRow(db1-db0, n)}
	if err := t.close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func used(dbProcess int) (own, db time.Duration, err error) {
	if own, err = proc.Self(); err == nil && dbProcess != 0 {
		db, err = proc.Family(dbProcess)
	}
	return own, db, err
}

func perRow(d time.Duration, n int) float64 {
	return float64(d) / float64(time.Microsecond) / float64(n)
}

// loop makes rows and inserts them.
type loop struct {
	table table
	rows  []row
	next  int // how many rows there are
	rooms int
}

func (l *loop) run(ctx context.Context, limit time.Duration) (n int, err error) {
	for end := time.Now().Add(limit); time.Now().Before(end); n += len(l.rows) {
		now := time.Now().Truncate(time.Millisecond)
		for i := range l.rows {
			l.rows[i] = newRow(l.next, l.rooms, now)
			l.next++
		}
		if err := l.table.insert(ctx, l.rows); err != nil {
			return n, err
		}
	}
	return n, nil
}

// row is what an entry of the throughput run has.
type row struct {
	room, seq                                     int64
	kind, id, user, sid, text, messageID, replyTo string
	at                                            time.Time
}

func newRow(n, rooms int, now time.Time) row {
	return row{
		room: int64(n%rooms) + 1, seq: int64(n/rooms) + 1,
		kind: "message", id: load.Key(n), user: users[n%len(users)], sid: users[n%len(users)][5:25],
		text: fmt.Sprintf("%-64d", n), messageID: load.Key(n + 1<<40), at: now,
	}
}

// users have ids of the length that the library gives to anonymous ones.
var users = func() (out [200]string) {
	for i := range out {
		out[i] = "anon:" + strings.ReplaceAll(load.Key(i), "-", "")[:22]
	}
	return out
}()
