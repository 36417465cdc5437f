package chat

import (
	"context"
	"slices"
	"time"
)

const (
	readersMost = 4
	readPage    = 200
	fillMost    = 1000             // entries of a hole; a larger one is told, since it would overflow outboxes
	doubtLasts  = 30 * time.Second // after an append of unknown end: a transaction of a server that was cut off may be saved later than the deadline
	retryFirst  = 100 * time.Millisecond
	retryMost   = 5 * time.Second
	watchPause  = time.Second
)

// Reading on: a log is read from the store, beginning after the last entry delivered, when an append's end is unknown, when an entry was saved
// with a hole before it, and when a Watcher says that it has grown.

// startReadersLocked begins a reader, where there is work for another.
func (j *journal) startReadersLocked() {
	if len(j.reads) > 0 && j.readers < readersMost && j.tasks.enter() {
		j.readers++
		go j.reader()
	}
}

func (j *journal) reader() {
	defer j.tasks.leave()
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.reads) > 0 && j.life.Err() == nil {
		l := j.reads[0]
		j.reads[0] = nil
		j.reads = j.reads[1:]
		if l.listed = false; l.busy { // with what has arrived; scheduled again after that
			continue
		}
		l.busy, l.behind = true, false
		j.mu.Unlock()
		err := j.readOn(l)
		j.mu.Lock()
		j.readLocked(l, err)
		j.catchLocked(l)
		j.scheduleLocked(l)
		j.mu.Unlock()
		j.hub.engine.Help()
		j.mu.Lock()
	}
	j.readers--
}

// readLocked ends a log's turn after a read.
func (j *journal) readLocked(l *roomLog, err error) {
	now := time.Now()
	l.busy, l.used, l.turn = false, now, err == nil
	var answer error
	if err != nil {
		j.failed(j.life, err, "namespace", l.space.name, "room", l.name)
		answer = errUnavailable
		l.behind = l.known.Load()
		for _, a := range l.queue { // it would have to wait for this
			a.fail(errUnavailable)
		}
		l.queue = nil
	}
	for _, w := range l.waiters {
		w <- answer
	}
	l.waiters = nil
	if err != nil || now.Before(l.doubt) {
		j.againLocked(l)
	} else {
		l.retry = 0
		l.stopWaiting()
	}
}

// againLocked has a log read again after a pause that grows.
func (j *journal) againLocked(l *roomLog) {
	l.retry = min(max(2*l.retry, retryFirst), retryMost)
	j.readAfterLocked(l, l.retry)
}

// readAfterLocked has a log read after a pause.
func (j *journal) readAfterLocked(l *roomLog, pause time.Duration) {
	l.stopWaiting()
	if j.life.Err() != nil {
		return
	}
	l.waits = time.AfterFunc(pause, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.logs[roomKey{l.space.name, l.name}] == l {
			l.waits, l.behind = nil, l.known.Load()
			j.scheduleLocked(l)
		}
	})
}

func (l *roomLog) stopWaiting() {
	if l.waits != nil {
		l.waits.Stop()
		l.waits = nil
	}
}

// readOn finds out the end of a log, or reads what comes after it and delivers that. The log is the caller's, by busy.
func (j *journal) readOn(l *roomLog) error {
	ctx, cancel := context.WithTimeout(j.life, j.hub.set.timeouts.Store)
	defer cancel()
	if !l.known.Load() {
		_, last, err := j.bounds(ctx, l.space.name, l.name)
		if err == nil {
			l.begin(last)
		}
		return err
	}
	err := j.fill(ctx, l)
	if err != nil && (len(l.held) == 0 || time.Since(l.since) < j.hub.set.timeouts.Store) {
		return err
	}
	for i := range l.held { // the store no longer has what is missing, or has not said it in time
		l.deliverOne(&l.held[i], true)
	}
	l.held = nil
	return err
}

// fill delivers what the store has after the end.
func (j *journal) fill(ctx context.Context, l *roomLog) error {
	for n := 0; ; {
		after := l.cursor()
		entries, more, err := j.page(ctx, PageQuery{Namespace: l.space.name, Room: l.name, After: &after, Limit: readPage})
		if err != nil {
			return err
		}
		for i := range entries {
			l.deliverOne(l.heldOr(&entries[i]), true)
		}
		if n == 0 && len(entries) > 0 && j.hub.nodes != nil {
			j.tellGrown(l)
		}
		if !more || len(entries) == 0 {
			return nil
		}
		if n += len(entries); n >= fillMost {
			return j.skip(ctx, l)
		}
	}
}

// skip gives up a hole that is too large: it is told, and what is written from now on is delivered.
func (j *journal) skip(ctx context.Context, l *roomLog) error {
	_, last, err := j.bounds(ctx, l.space.name, l.name)
	if err != nil {
		return err
	}
	for i := range l.held {
		last = min(last, l.held[i].Entry.Seq-1)
	}
	l.space.mu.Lock()
	defer l.space.mu.Unlock()
	if last > l.end {
		l.tellLocked()
		l.end = last
	}
	return nil
}

// heldOr is the entry with the sender who waits for it, if there is one.
func (l *roomLog) heldOr(e *Entry) *appended {
	for i := range l.held {
		if h := l.held[i]; h.Entry.Seq == e.Seq {
			l.held = slices.Delete(l.held, i, i+1)
			h.Entry, h.text = *e, nil
			return &h
		}
	}
	return &appended{Appended: &Appended{Entry: *e}}
}

func (l *roomLog) cursor() uint64 {
	l.space.mu.Lock()
	defer l.space.mu.Unlock()
	return l.end
}

// begin sets the end of a log of which nothing was delivered.
func (l *roomLog) begin(last uint64) {
	l.space.mu.Lock()
	defer l.space.mu.Unlock()
	if !l.known.Load() {
		l.end = last
		l.known.Store(true)
	}
}

// watch runs a Watcher's Watch until Shutdown.
func (j *journal) watch(w Watcher) {
	defer j.tasks.leave()
	for j.life.Err() == nil {
		err := j.watchOnce(w)
		if j.life.Err() == nil {
			j.hub.log().Error("chat: the store's Watch has ended", "error", err)
			sleep(j.life, watchPause)
		}
	}
}

func (j *journal) watchOnce(w Watcher) (err error) {
	defer recovered("the store", &err)
	return w.Watch(j.life, j.grown)
}

// grown has logs read on: one, a namespace's, or all.
func (j *journal) grown(namespace, room string) {
	if room == "" {
		j.readOnWhere(func(key roomKey, _ *roomLog) bool { return namespace == "" || namespace == key.namespace })
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if l := j.logs[roomKey{namespace, room}]; l != nil {
		l.behind = true
		j.scheduleLocked(l)
	}
}

// readOnWhere has those logs read on.
func (j *journal) readOnWhere(these func(roomKey, *roomLog) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, l := range j.logs {
		if these(key, l) {
			l.behind = true
			j.scheduleLocked(l)
		}
	}
}
