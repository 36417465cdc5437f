package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"
)

// takesMost are taken by one transaction.
const takesMost = 256

// takes are the calls of Take that wait for the writer. Whichever gets it takes for the others too: after a restart all clients ask at once, and a
// transaction each would be a wait for the disk each.
type takes struct {
	mu      sync.Mutex // guards waiting
	waiting []*taking
}

type taking struct {
	ctx   context.Context
	key   string
	value []byte // once done is closed, as err is
	err   error
	done  chan struct{}
}

func (q *takes) add(t *taking) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, t)
}

// next are those that a transaction is to take.
func (q *takes) next() []*taking {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), takesMost)
	batch := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return batch
}

// leave tells whether t was still waiting.
func (q *takes) leave(t *taking) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, t)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}

// Take is chat.Keeper's. It writes only where there is something to be taken or removed.
func (s *Store) Take(ctx context.Context, key string) (value []byte, err error) {
	var there bool
	if err := s.reads.forTake.QueryRowContext(ctx, key, time.Now().UnixMilli()).Scan(&there); err != nil || !there {
		return nil, err
	}
	t := &taking{ctx: ctx, key: key, done: make(chan struct{})}
	s.takes.add(t)
	for {
		select {
		case <-t.done:
			return t.value, t.err
		case w := <-s.writer:
			if w == nil {
				return s.giveUp(t, errClosed)
			}
			s.takeFor(w)
		case <-ctx.Done():
			return s.giveUp(t, ctx.Err())
		}
	}
}

// errCut is for those whose transaction has panicked on another's goroutine.
var errCut = errors.New("sqlite: the call that was to take this has panicked")

// giveUp waits no longer, unless a transaction has begun that takes t.
func (s *Store) giveUp(t *taking, err error) ([]byte, error) {
	if s.takes.leave(t) {
		return nil, err
	}
	<-t.done
	return t.value, t.err
}

// takeFor takes what is waited for, and gives back the writer.
func (s *Store) takeFor(w *writer) {
	defer func() { s.writer <- w }()
	batch := s.takes.next()
	if len(batch) == 0 {
		return
	}
	err := errCut
	defer func() {
		for _, t := range batch {
			if err != nil {
				t.value, t.err = nil, err
			}
			close(t.done)
		}
	}()
	// It is for several callers, so that it does not end with the context of one.
	err = w.transact(context.Background(), func(ctx context.Context, w *writer) error { return w.take(ctx, batch) })
}

func (w *writer) take(ctx context.Context, batch []*taking) error {
	now := time.Now().UnixMilli()
	for _, t := range batch {
		if t.err = t.ctx.Err(); t.err != nil {
			continue // nobody would get it
		}
		err := w.takeKept.QueryRowContext(ctx, t.key, now).Scan(&t.value)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		case t.value == nil: // the driver's empty one
			t.value = []byte{}
		}
	}
	_, err := w.purgeKept.ExecContext(ctx, now, overStep)
	return err
}
