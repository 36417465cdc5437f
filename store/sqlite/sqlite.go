// Package sqlite keeps the rooms' logs in one SQLite file, with a driver in pure Go.
//
//	store, err := sqlite.Open(ctx, "chat.db")
//	…
//	defer store.Close() // after hub.Shutdown
//	hub, err := chat.New(chat.WithStore(store))
//
// The file is in WAL mode (beside it are FILE-wal and FILE-shm while it is open). Several processes of one machine may open it; a file system shared
// over a network will not do.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/parleychat/chat"
)

// A Store is a chat.Store, and a chat.Trimmer, chat.Eraser, chat.Exporter, chat.Revoker and chat.Keeper. One transaction writes at a time; readers never wait for it.
//
// A ctx that ends while a write waits for its turn leaves nothing saved. A transaction that has begun is not broken off: it is
// short, and what would be known of it after a break is nothing.
//
// While no other process writes to the file a Store remembers in about 2 bytes for each message key that there is, and 8 MiB at most, that most new keys are new.
type Store struct {
	writer  chan *writer // holds the one writer while nobody writes; closed by Close
	readers *sql.DB
	reads   readStatements
	takes   takes
	close   func() error
}

var (
	_ chat.Store    = (*Store)(nil)
	_ chat.Trimmer  = (*Store)(nil)
	_ chat.Eraser   = (*Store)(nil)
	_ chat.Exporter = (*Store)(nil)
	_ chat.Revoker  = (*Store)(nil)
	_ chat.Keeper   = (*Store)(nil)
)

// errClosed is what calls after Close return.
var errClosed = errors.New("sqlite: the store is closed")

// An Option changes how Open opens a file.
type Option interface{ apply(*settings) }

type settings struct {
	synchronous string
	busy        time.Duration
}

type optionFunc func(*settings)

func (f optionFunc) apply(s *settings) { f(s) }

// WithNormalSync saves without waiting for the disk at each commit (PRAGMA synchronous=NORMAL). The file stays whole and nothing is lost when the
// process is killed, but when the machine's power fails the last commits may be, although they were acked. Without it (FULL) an ack means that the entry is on the disk.
func WithNormalSync() Option { return optionFunc(func(s *settings) { s.synchronous = "NORMAL" }) }

// WithBusyTimeout is how long a write waits for another process that writes to the file; the default is 5 s.
func WithBusyTimeout(d time.Duration) Option { return optionFunc(func(s *settings) { s.busy = d }) }

// A batch of many rooms and senders changes a page for each: what it writes is pages, not rows. Pages of half the usual size still hold entries of 480 bytes
// in place. Only a new file gets them.
const pageSize = 2 << 10

// walSize is how large the WAL grows before it is written back into the file: a page that many batches have changed is written back once.
const walSize = 16 << 20

// connections that read; one that was not needed for a while is closed. Each keeps few pages in memory, since it forgets all of them when anything was written: what it reads
// a second time comes from the system's cache of the file.
const (
	readerConns = 4
	readerIdle  = 30 * time.Second
	readerCache = 512 // KB
)

// Open opens the file at path, makes it where there is none, and brings its tables up to date. A file
// that only a newer version of this package can work with is an error. ":memory:" is refused: that is what chat.NewMemoryStore is for.
func Open(ctx context.Context, path string, opts ...Option) (*Store, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("sqlite: %q is no path of a file", path)
	}
	set := settings{synchronous: "FULL", busy: 5 * time.Second}
	for _, o := range opts {
		o.apply(&set)
	}
	write, err := sql.Open("sqlite", dsn(path, &set, "rwc", fmt.Sprintf("page_size(%d)", pageSize),
		fmt.Sprintf("wal_autocheckpoint(%d)", walSize/pageSize), "journal_size_limit(67108864)", "cache_size(-8192)", "secure_delete(1)"))
	if err != nil {
		return nil, err
	}
	w, err := openWriter(ctx, write)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), write.Close())
	}
	read, err := sql.Open("sqlite", dsn(path, &set, "rw", "query_only(1)", fmt.Sprintf("cache_size(-%d)", readerCache)))
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	read.SetMaxOpenConns(readerConns)
	read.SetMaxIdleConns(readerConns)
	read.SetConnMaxIdleTime(readerIdle)
	s := &Store{writer: make(chan *writer, 1), readers: read}
	if err := s.reads.prepare(ctx, read); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), read.Close(), write.Close())
	}
	s.writer <- w
	s.close = sync.OnceValue(func() error {
		w := <-s.writer
		close(s.writer)
		_ = w.transact(context.Background(), func(ctx context.Context, w *writer) error { return w.flushKeys(ctx) }) // else Open does it
		return errors.Join(read.Close(), write.Close())                                                              // the last connection to close checkpoints the WAL
	})
	return s, nil
}

// Close waits for the write that is under way and closes the file. Calls after it are errors.
func (s *Store) Close() error { return s.close() }

// dsn is the driver's name of a file; its pragmas run on each new connection, in their order.
func dsn(path string, set *settings, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}}
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", set.busy.Milliseconds()))
	q.Add("_pragma", fmt.Sprintf("synchronous(%s)", set.synchronous))
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	escaped := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	return "file:" + escaped + "?" + q.Encode()
}

// openWriter puts the file into WAL mode and makes its tables.
func openWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if err := setWAL(ctx, conn); err != nil {
		return nil, err
	}
	if err := migrate(ctx, conn); err != nil {
		return nil, err
	}
	return newWriter(ctx, conn)
}

// setWAL tries again where two processes change the mode of a new file at once: SQLite answers one of them BUSY without waiting,
// since each holds a lock that the other needs.
func setWAL(ctx context.Context, conn *sql.Conn) error {
	for {
		var mode string
		err := conn.QueryRowContext(ctx, "PRAGMA journal_mode=WAL").Scan(&mode)
		if err == nil && mode != "wal" {
			return fmt.Errorf("the file cannot be in WAL mode but only in %q", mode)
		}
		if !busy(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func busy(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code()&0xff == lib.SQLITE_BUSY
}
