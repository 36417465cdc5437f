package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/postgres"
)

// patience is for what comes after at most two looks of a relay.
const patience = 20 * time.Second

// eventually waits for a condition that the database holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
			t.FailNow()
		}
	}
}

// watcher is a Watch at work, and the rooms that it was told of.
type watcher struct {
	mu    sync.Mutex
	rooms map[string]int
	end   context.CancelFunc
	done  chan struct{}
	err   error // read after done
}

func watch(t *testing.T, s *postgres.Store) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{rooms: make(map[string]int), end: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = s.Watch(ctx, func(namespace, room string) {
			w.mu.Lock()
			w.rooms[namespace+" "+room]++
			w.mu.Unlock()
		})
	}()
	t.Cleanup(func() {
		w.end()
		<-w.done
	})
	eventually(t, "the first call of grown", func() bool { return w.told(" ") > 0 })
	return w
}

func (w *watcher) told(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rooms[name]
}

// stop ends the Watch, which is still at work.
func (w *watcher) stop(t *testing.T) {
	t.Helper()
	w.end()
	if <-w.done; !errors.Is(w.err, context.Canceled) {
		t.Errorf("Watch: %v", w.err)
	}
}

// lost waits for the Watch to end by itself.
func (w *watcher) lost(t *testing.T) {
	t.Helper()
	if <-w.done; w.err == nil || errors.Is(w.err, context.Canceled) {
		t.Errorf("Watch of a connection that was cut: %v", w.err)
	}
}

// publishIn publishes in a transaction of its own and commits it, or not.
func publishIn(t *testing.T, conn *pgx.Conn, commit bool, posts ...chat.Post) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range posts {
		if err := postgres.PublishTx(t.Context(), tx, "lobby", p); err != nil {
			t.Fatal(err)
		}
	}
	if end := tx.Commit; commit {
		err = end(t.Context())
	} else {
		err = tx.Rollback(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// logOf is the whole log of a room of "/", checked to be dense.
func logOf(t *testing.T, s *postgres.Store, room string) (all []chat.Entry) {
	t.Helper()
	for after, more := uint64(0), true; more; {
		var page []chat.Entry
		var err error
		page, more, err = s.Page(t.Context(), chat.PageQuery{Namespace: "/", Room: room, After: &after, Limit: 200})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if after++; e.Seq != after {
				t.Fatalf("seq %d in place %d", e.Seq, after)
			}
		}
		all = append(all, page...)
	}
	return all
}

func textsOf(entries []chat.Entry) string {
	texts := make([]string, len(entries))
	for i, e := range entries {
		texts[i] = e.Text
	}
	return strings.Join(texts, " ")
}

func outboxRows(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM parley_chat.outbox").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPublish(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	w := watch(t, s)
	publishIn(t, conn, false, chat.Post{Text: "never"})
	before := time.Now().Add(-time.Second)
	publishIn(t, conn, true, chat.Post{Text: "one\x00", UserID: "ann", MessageID: "k1", ReplyTo: "r", Meta: map[string]int{"a": 1}}, chat.Post{Text: "two"},
		chat.Post{Text: "again", UserID: "ann", MessageID: "k1"}, chat.Post{Text: "bob's", UserID: "bob", MessageID: "k1"})
	eventually(t, "grown", func() bool { return w.told("/ lobby") > 0 })
	publishIn(t, conn, true, chat.Post{Text: "three"}, chat.Post{Text: "again", UserID: "ann", MessageID: "k1"})
	eventually(t, "the outbox empty", func() bool { return outboxRows(t, conn) == 0 })
	log := logOf(t, s, "lobby")
	if got := textsOf(log); got != "one\ufffd two bob's three" {
		t.Fatalf("%q", got)
	}
	e := log[0]
	if e.Kind != chat.KindMessage || len(e.ID) != 36 || e.UserID != "ann" || e.MessageID != "k1" || e.ReplyTo != "r" || string(e.Meta) != `{"a":1}` ||
		e.SID != "" || e.Deleted || e.Timestamp.Before(before) || e.Timestamp.After(time.Now().Add(time.Second)) || e.Timestamp.Nanosecond()%1e6 != 0 {
		t.Errorf("%+v", e)
	}
	if log[1].Meta != nil || log[1].ID == e.ID {
		t.Errorf("%+v", log[1])
	}
	if a := save(t, s, e)[0]; !a.Repeated || a.Entry.Seq != 1 { // the key is that of an Append
		t.Errorf("%+v", a)
	}
}

func TestPublishSQL(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s := open(t, dsn)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for i, commit := range []bool{true, false, true} {
		tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable})
		if err != nil {
			t.Fatal(err)
		}
		p := chat.Post{Text: fmt.Sprint(i)}
		if i == 0 {
			p.Meta = []string{"\u0000", `\`}
		}
		if err := postgres.PublishSQLTx(t.Context(), tx, "lobby", p, postgres.InNamespace("/staff")); err != nil {
			t.Fatal(err)
		}
		if err := map[bool]func() error{true: tx.Commit, false: tx.Rollback}[commit](); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, s)
	eventually(t, "grown", func() bool { return w.told("/staff lobby") > 0 })
	log, _, err := s.Page(t.Context(), chat.PageQuery{Namespace: "/staff", Room: "lobby", Limit: 10})
	if err != nil || textsOf(log) != "0 2" || string(log[0].Meta) != `["\u0000","\\"]` || log[1].Meta != nil {
		t.Errorf("%+v, %v", log, err)
	}
}

func TestPublishChecks(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	conn := connect(t, dsn)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 129)
	for name, c := range map[string]struct {
		room string
		post chat.Post
		code chat.Code
		opts []postgres.PublishOption
	}{
		"no room":         {"", chat.Post{Text: "x"}, chat.InvalidPayload, nil},
		"a room of words": {"a b", chat.Post{Text: "x"}, chat.InvalidPayload, nil},
		"a room's @":      {"a@", chat.Post{Text: "x"}, chat.InvalidPayload, nil},
		"a long room":     {long, chat.Post{Text: "x"}, chat.InvalidPayload, nil},
		"no text":         {"lobby", chat.Post{}, chat.InvalidPayload, nil},
		"a long text":     {"lobby", chat.Post{Text: strings.Repeat("x", 1<<20+1)}, chat.TooLarge, nil},
		"a long key":      {"lobby", chat.Post{Text: "x", MessageID: long}, chat.InvalidPayload, nil},
		"a key of NULs":   {"lobby", chat.Post{Text: "x", MessageID: strings.Repeat("\x00", 43)}, chat.InvalidPayload, nil},
		"a long reply_to": {"lobby", chat.Post{Text: "x", ReplyTo: long}, chat.InvalidPayload, nil},
		"a long user":     {"lobby", chat.Post{Text: "x", UserID: strings.Repeat("x", 1025)}, chat.InvalidPayload, nil},
		"no JSON":         {"lobby", chat.Post{Text: "x", Meta: make(chan int)}, chat.InvalidPayload, nil},
		"a long meta":     {"lobby", chat.Post{Text: "x", Meta: strings.Repeat("x", 16<<10)}, chat.TooLarge, nil},
		"a namespace":     {"lobby", chat.Post{Text: "x"}, chat.InvalidPayload, []postgres.PublishOption{postgres.InNamespace("staff")}},
	} {
		err := postgres.PublishTx(t.Context(), tx, c.room, c.post, c.opts...)
		var e *chat.Error
		if !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The transaction goes on after those; after this it does not.
	err = postgres.PublishTx(t.Context(), tx, "lobby", chat.Post{Text: "x"})
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != "42P01" {
		t.Errorf("without tables: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What is just not too much can be saved, with the longest keys.
	s := open(t, dsn)
	most := chat.Post{
		Text: strings.Repeat("x", 1<<20), UserID: random(1024), MessageID: random(128), ReplyTo: random(128), Meta: strings.Repeat("x", 16<<10-2),
	}
	for range 10 { // more than one transaction relays
		most.MessageID = random(128)
		publishIn(t, conn, true, most)
	}
	watch(t, s)
	eventually(t, "ten long messages", func() bool { return outboxRows(t, conn) == 0 })
	if log := logOf(t, s, "lobby"); len(log) != 10 || len(log[9].Text) != 1<<20 || len(log[9].UserID) != 1024 {
		t.Errorf("%d entries", len(log))
	}
}

// random is text that does not compress.
func random(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := make([]byte, n)
	seed.Lock()
	defer seed.Unlock()
	for i := range b {
		seed.x ^= seed.x << 13
		seed.x ^= seed.x >> 7
		seed.x ^= seed.x << 17
		b[i] = letters[seed.x%64]
	}
	return string(b)
}

var seed = struct {
	sync.Mutex
	x uint64
}{x: 88172645463325252}

// publisher is the address of the database in the process that TestKilled starts.
const publisher = "PARLEY_TEST_PUBLISHER"

// publishAndDie publishes, commits, and is gone at once.
func publishAndDie(dsn string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err == nil {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			return postgres.PublishTx(ctx, tx, "lobby", chat.Post{Text: "a last word", UserID: "ann"})
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func TestKilled(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s := open(t, dsn)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		cmd := osexec.CommandContext(t.Context(), program, "-test.run=^$")
		cmd.Env = append(os.Environ(), publisher+"="+dsn)
		out, err := cmd.CombinedOutput()
		var exit *osexec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the publisher: %v\n%s", err, out)
		}
	}
	if log := logOf(t, s, "lobby"); len(log) != 0 {
		t.Fatalf("%d entries before anybody relays", len(log))
	}
	w := watch(t, s)
	eventually(t, "grown", func() bool { return w.told("/ lobby") > 0 })
	if log := logOf(t, s, "lobby"); textsOf(log) != "a last word a last word" {
		t.Errorf("%q", textsOf(log))
	}
}

// A role that may only insert publishes; what its transaction has open holds up nobody.
func TestPublishRights(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)

	role := roleOf(t, conn)
	exec(t, conn, "GRANT USAGE ON SCHEMA parley_chat TO "+role+"; GRANT INSERT ON parley_chat.outbox TO "+role)
	publishers := []*pgx.Conn{}
	for range 2 {
		publishers = append(publishers, connect(t, strings.Replace(dsn, "//postgres@", "//"+role+"@", 1)))
	}
	tx, err := publishers[0].Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := postgres.PublishTx(t.Context(), tx, "lobby", chat.Post{Text: "long", UserID: "ann", MessageID: "k1"}); err != nil {
		t.Fatal(err)
	}
	watch(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.Append(ctx, []chat.Entry{message(1)}); err != nil { // the same room, and even the same key
		t.Errorf("Append beside a transaction that publishes: %v", err)
	}
	publishIn(t, publishers[1], true, chat.Post{Text: "short", UserID: "ann", MessageID: "k2"})
	eventually(t, "the other's message", func() bool { return len(logOf(t, s, "lobby")) == 2 })
	if err := postgres.PublishTx(t.Context(), tx, "lobby", chat.Post{Text: "the end"}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the long transaction's", func() bool { return outboxRows(t, conn) == 0 })
	if got := textsOf(logOf(t, s, "lobby")); got != "text 1 short the end" {
		t.Errorf("%q", got)
	}
}
