package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/pgtest"
	"github.com/parleychat/chat/store/postgres"
	"github.com/parleychat/chat/store/sqlite"
)

// A backend is a server's program and what it keeps its log in.
type backend interface {
	server() (*server, error)
	restart(crash bool, away time.Duration) error   // of the database
	log(rooms []string) (map[string][]entry, error) // read from the database itself; nil where there is none
	lasting() bool
	close() error
}

// openBackend knows sqlite, postgres and memory (all: examples/durable), node and node-keys (both: peer/).
func openBackend(name, dir string) (backend, error) {
	switch name {
	case "sqlite":
		return sqliteBackend{dir}, nil
	case "postgres":
		pg, err := pgtest.Start()
		if err != nil {
			return nil, err
		}
		return &postgresBackend{dir: dir, pg: pg}, nil
	case "memory":
		return memoryBackend{dir}, nil
	case "node":
		return nodeBackend{}, nil
	case "node-keys":
		return nodeBackend{env: []string{"PEER_KEYS=1"}}, nil
	}
	return nil, fmt.Errorf("there is no backend %q", name)
}

func durable(dir, db string) (*server, error) {
	path, err := build(dir)
	return &server{name: path, args: []string{"-db", db}}, err
}

var errNoDatabase = errors.New("there is no database to stop")

type sqliteBackend struct{ dir string }

func (b sqliteBackend) file() string { return filepath.Join(b.dir, "chat.db") }

func (b sqliteBackend) server() (*server, error)          { return durable(b.dir, "sqlite:"+b.file()) }
func (b sqliteBackend) restart(bool, time.Duration) error { return errNoDatabase }
func (b sqliteBackend) lasting() bool                     { return true }
func (b sqliteBackend) close() error                      { return nil }

func (b sqliteBackend) log(rooms []string) (map[string][]entry, error) {
	s, err := sqlite.Open(context.Background(), b.file())
	if err != nil {
		return nil, err
	}
	log, err := readLog(s, rooms)
	return log, errors.Join(err, s.Close())
}

type postgresBackend struct {
	dir string
	mu  sync.Mutex // one restart at a time
	pg  *pgtest.Server
}

func (b *postgresBackend) server() (*server, error) { return durable(b.dir, b.pg.DSN("postgres")) }
func (b *postgresBackend) lasting() bool            { return true }
func (b *postgresBackend) close() error             { return b.pg.Close() }

func (b *postgresBackend) restart(crash bool, away time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	stop := b.pg.Stop
	if crash {
		stop = b.pg.Kill
	}
	if err := stop(); err != nil {
		return err
	}
	time.Sleep(away)
	return b.pg.Serve()
}

func (b *postgresBackend) log(rooms []string) (map[string][]entry, error) {
	s, err := postgres.Open(context.Background(), b.pg.DSN("postgres"))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return readLog(s, rooms)
}

// memoryBackend cannot pass a run with kills: it shows that the test finds what is lost.
type memoryBackend struct{ dir string }

func (b memoryBackend) server() (*server, error)               { return durable(b.dir, "memory") }
func (memoryBackend) restart(bool, time.Duration) error        { return errNoDatabase }
func (memoryBackend) lasting() bool                            { return true }
func (memoryBackend) log([]string) (map[string][]entry, error) { return nil, nil }
func (memoryBackend) close() error                             { return nil }

type nodeBackend struct{ env []string }

func (b nodeBackend) server() (*server, error) {
	return &server{name: "node", args: []string{"peer/server.mjs"}, env: b.env}, nil
}
func (nodeBackend) restart(bool, time.Duration) error        { return errNoDatabase }
func (nodeBackend) lasting() bool                            { return false }
func (nodeBackend) log([]string) (map[string][]entry, error) { return nil, nil }
func (nodeBackend) close() error                             { return nil }

// readLog reads rooms from their start.
func readLog(s chat.Store, rooms []string) (map[string][]entry, error) {
	log := map[string][]entry{}
	for _, room := range rooms {
		log[room] = nil
		for after, more := uint64(0), true; more; {
			var page []chat.Entry
			var err error
			page, more, err = s.Page(context.Background(), chat.PageQuery{Namespace: "/", Room: room, After: &after, Limit: 500})
			if err != nil {
				return nil, err
			}
			for _, e := range page {
				log[room] = append(log[room], entry{Seq: e.Seq, ID: e.ID, User: e.UserID, Message: e.MessageID, At: e.Timestamp.UnixMilli()})
				after = e.Seq
			}
		}
	}
	return log, nil
}
