package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// channel is where it is notified, with the commit, that something was published or relayed.
const channel = "parley_chat"

const (
	pollEvery   = 2 * time.Second        // what a notification that does not come delays at most
	pollSoon    = 200 * time.Millisecond // where one is known to be due, or another node is at work
	stepTimeout = 15 * time.Second       // of what is asked of the server at once; a server that is silent for so long is gone
	hangUpMost  = 5 * time.Second
)

// The number of batches, whether something is to be relayed.
const lookOut = "SELECT (SELECT batches FROM parley_chat.relay), EXISTS (SELECT FROM parley_chat.outbox WHERE error IS NULL)"

// Watch is chat.Watcher's: it relays what PublishTx has published, beside the Watches of other nodes, and calls grown with the rooms that any node has relayed to.
//
// It listens for notifications on one connection, made with the settings of the pool and not taken from it, and relays on the same. It also looks by itself, every
// 2 seconds, so that a lost notification, or a pooler of connections that does not pass them on, only delays. It returns an error when the connection is lost, and
// also, as the only way to tell of them, after messages that cannot be saved: those are set aside (column error of parley_chat.outbox has the reason; set to NULL it is tried
// again), and all others go on.
func (s *Store) Watch(ctx context.Context, grown func(namespace, room string)) error {
	conn, err := s.dial(ctx)
	if err == nil {
		w := &watch{conn: conn, grown: grown}
		err = w.run(ctx)
		hangUp(ctx, conn)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("postgres: watch: %w", err)
}

// dial opens a connection as the pool would.
func (s *Store) dial(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	pool := s.pool.Config()
	c := pool.ConnConfig
	if pool.BeforeConnect != nil {
		if err := pool.BeforeConnect(ctx, c); err != nil {
			return nil, err
		}
	}
	c.OnNotification = nil // pgx keeps them for WaitForNotification only without it
	// A wait that ends must not cancel the query that comes next, as a host's handler might.
	c.BuildContextWatcherHandler = func(pg *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: pg.Conn()}
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	if pool.AfterConnect != nil {
		if err := pool.AfterConnect(ctx, conn); err != nil {
			hangUp(ctx, conn)
			return nil, err
		}
	}
	return conn, nil
}

// hangUp closes a connection and waits for what pgx does in the background to close a broken one.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpMost)
	defer cancel()
	_ = conn.Close(ctx)
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// watch is one Watch. All of it runs on its goroutine.
type watch struct {
	conn  *pgx.Conn
	grown func(namespace, room string)

	batches  tally
	missed   int64     // a number that no notification has told of yet
	missedAt time.Time // when that was first seen
	next     time.Time // to look again
}

func (w *watch) run(ctx context.Context) error {
	var refused *pgconn.PgError
	if err := w.step(ctx, w.listen); err != nil && (!errors.As(err, &refused) || w.conn.IsClosed()) {
		return err
	}
	for first := true; ; first = false {
		var waiting bool
		err := w.step(ctx, func(ctx context.Context) (err error) {
			waiting, err = w.look(ctx, first)
			return err
		})
		if err == nil && waiting {
			err = w.relay(ctx)
		}
		if err == nil {
			err = w.wait(ctx)
		}
		if err != nil {
			return err
		}
	}
}

func (w *watch) step(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return f(ctx)
}

func (w *watch) listen(ctx context.Context) error {
	_, err := w.conn.Exec(ctx, "LISTEN "+channel)
	return err
}

// look asks whether there is something to relay, and whether others have relayed what no notification has told of: a number that is still unknown when its
// notification should have been here.
func (w *watch) look(ctx context.Context, first bool) (waiting bool, err error) {
	var batches *int64
	if err := w.conn.QueryRow(ctx, lookOut).Scan(&batches, &waiting); err != nil {
		return false, err
	}
	if batches == nil {
		batches = new(int64)
		if _, err := w.conn.Exec(ctx, makeRelay); err != nil {
			return false, err
		}
	}
	now := time.Now()
	w.next = now.Add(pollEvery)
	switch n := *batches; {
	case first || n < w.batches.upTo: // the latter in a database that was set back
		w.batches, w.missed = tally{upTo: n}, 0
		w.grown("", "")
	case n == w.batches.upTo:
		w.missed = 0
	case w.missed > w.batches.upTo && now.Sub(w.missedAt) >= pollSoon:
		w.batches.skip(w.missed)
		w.missed = 0
		w.grown("", "")
		if n > w.batches.upTo {
			w.next = now
		}
	case w.missed > w.batches.upTo:
		w.next = w.missedAt.Add(pollSoon)
	default:
		w.missed, w.missedAt = n, now
		w.next = now.Add(pollSoon)
	}
	return waiting, nil
}

// relay empties the outbox. What fails for its data is taken row by row, to find the one at fault.
func (w *watch) relay(ctx context.Context) error {
	var aside []error
	for limit, single := relayRows, 0; ; {
		var r relayed
		err := w.step(ctx, func(ctx context.Context) (err error) {
			r, err = relayOnce(ctx, w.conn, limit, "")
			return err
		})
		switch {
		case unsavable(err) && len(r.ids) > 1:
			limit, single = 1, len(r.ids)
			continue
		case unsavable(err) && len(r.ids) == 1:
			aside = append(aside, fmt.Errorf("message %d of the outbox cannot be saved and is set aside: %w", r.ids[0], err))
			if err := w.step(ctx, func(ctx context.Context) error { return w.setAside(ctx, r.ids[0], err) }); err != nil {
				return errors.Join(append(aside, err)...)
			}
		case err != nil:
			return errors.Join(append(aside, err)...)
		case r.busy:
			w.next = time.Now().Add(pollSoon)
			return errors.Join(aside...)
		case len(r.ids) == 0:
			return errors.Join(aside...)
		case r.saved > 0 && w.batches.add(r.n):
			for _, name := range r.rooms {
				w.grown(name.namespace, name.room)
			}
		}
		if single--; single <= 0 {
			limit = relayRows
		}
	}
}

func (w *watch) setAside(ctx context.Context, id int64, why error) error {
	_, err := w.conn.Exec(ctx, setAside, id, clean(why.Error()))
	return err
}

// wait returns when something was published, and when it is time to look in any case.
func (w *watch) wait(ctx context.Context) error {
	pause, cancel := context.WithDeadline(ctx, w.next)
	defer cancel()
	for {
		n, err := w.conn.WaitForNotification(pause)
		switch {
		case err == nil && n.Payload == "":
			cancel() // and on without waiting, through those that are here
		case err == nil:
			w.told(n.Payload)
		case ctx.Err() != nil:
			return ctx.Err()
		case pause.Err() != nil && !w.conn.IsClosed():
			return nil
		default:
			return err
		}
	}
}

// told takes a notification of a relay, its own too.
func (w *watch) told(payload string) {
	var t told
	if err := json.Unmarshal([]byte(payload), &t); err != nil { // of a later version
		w.grown("", "")
		return
	}
	if !w.batches.add(t.Batch) {
		return
	}
	for _, r := range t.Rooms {
		w.grown(r[0], r[1])
	}
	if len(t.Rooms) == 0 {
		w.grown("", "")
	}
}

// tally is a set of numbers: all up to one, and some after it.
type tally struct {
	upTo  int64
	ahead map[int64]bool
}

// add tells whether n is new.
func (t *tally) add(n int64) bool {
	if n <= t.upTo || t.ahead[n] {
		return false
	}
	if t.ahead == nil {
		t.ahead = make(map[int64]bool)
	}
	t.ahead[n] = true
	t.join()
	return true
}

// skip adds all up to n.
func (t *tally) skip(n int64) {
	for m := range t.ahead {
		if m <= n {
			delete(t.ahead, m)
		}
	}
	t.upTo = max(t.upTo, n)
	t.join()
}

func (t *tally) join() {
	for t.ahead[t.upTo+1] {
		t.upTo++
		delete(t.ahead, t.upTo)
	}
}
