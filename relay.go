package chat

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	relayBatch   = 512      // publications at once
	relayBytes   = 1 << 20  // of theirs, about
	relayMarks   = 1000     // at once
	relayHolds   = 16 << 20 // bytes of what may be lost, while the cluster is away
	relayFirst   = 50 * time.Millisecond
	relayPause   = time.Second // between two tries, at most
	relayTimeout = 5 * time.Second
)

// relay is what is on its way to the cluster: one batch at a time, in the order in which it came. A batch that failed is published again, with the numbers that it has.
type relay struct {
	nodes *nodes

	mu      sync.Mutex // guards what follows; innermost, but for the tracker's
	queue   []relayed
	bytes   int
	numbers []uint64 // of the last publication of each stream
	marks   map[markKey]Mark
	busy    bool
	idle    []chan struct{} // closed when there is nothing left
	dropped atomic.Int64
}

type markKey struct{ key, field string }

// relayed is one publication.
type relayed struct {
	Publication
	done chan<- struct{} // gets a value when it is published; nil: nobody waits, and it may be lost when there is too much
}

// add queues a notice and gives it its number. Where done is nil it may be dropped: its number is used up then, so that others know of the loss.
func (r *relay) add(stream int, notice []byte, done chan<- struct{}) (number uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.startLocked()
	return r.queueLocked(stream, notice, done)
}

// addEntry is add for an entry that is delivered here without waiting: past the bound it uses up its number too, and the others read the store.
func (r *relay) addEntry(stream int, notice []byte, done chan<- struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.startLocked()
	if r.bytes > relayHolds {
		r.numbers[stream]++
		done <- struct{}{}
		return
	}
	r.queueLocked(stream, notice, done)
}

func (r *relay) queueLocked(stream int, notice []byte, done chan<- struct{}) (number uint64) {
	r.numbers[stream]++
	number = r.numbers[stream]
	if done == nil && r.bytes > relayHolds {
		r.dropped.Add(1)
		return number
	}
	numberNotice(notice, number)
	r.queue = append(r.queue, relayed{Publication{stream, notice}, done})
	r.bytes += len(notice)
	return number
}

// addAll queues notices, for each of which done gets a value when it is published. Where nobody publishes the caller tries that itself, until ctx ends:
// one goroutine fewer to wake.
func (r *relay) addAll(ctx context.Context, ps []Publication, done chan<- struct{}) {
	r.mu.Lock()
	for _, p := range ps {
		r.queueLocked(p.Stream, p.Data, done)
	}
	mine := r.enterLocked()
	r.mu.Unlock()
	if !mine {
		return
	}
	marks, batch := r.take()
	if err := r.try(ctx, marks, batch); err == nil {
		if marks, batch = r.take(); len(marks)+len(batch) == 0 {
			r.nodes.tasks.leave()
			return
		}
	}
	go r.work(marks, batch)
}

// mark queues marks; of the same key and field the last one counts.
func (r *relay) mark(marks ...Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range marks {
		r.marks[markKey{m.Key, m.Field}] = m
	}
	r.startLocked()
}

func (r *relay) startLocked() {
	if r.enterLocked() {
		go r.work(nil, nil)
	}
}

// enterLocked makes the caller the one that publishes, where nobody is.
func (r *relay) enterLocked() bool {
	if r.busy || !r.nodes.tasks.enter() {
		return false
	}
	r.busy = true
	return true
}

// work publishes what was taken, and then until there is nothing left.
func (r *relay) work(marks []Mark, batch []relayed) {
	defer r.nodes.tasks.leave()
	growStack(1)
	for {
		for pause := relayFirst; r.try(r.nodes.life, marks, batch) != nil; pause = min(2*pause, relayPause) {
			if r.nodes.life.Err() != nil {
				r.mu.Lock()
				r.busy = false
				r.mu.Unlock()
				return
			}
			sleep(r.nodes.life, pause)
		}
		if marks, batch = r.take(); len(marks)+len(batch) == 0 {
			return
		}
	}
}

// try publishes. Marks go first: who reads them after a publication has come must find what it says.
func (r *relay) try(ctx context.Context, marks []Mark, batch []relayed) error {
	if len(marks) > 0 {
		if err := r.call(ctx, "mark", func(ctx context.Context) error { return r.nodes.of.Mark(ctx, marks) }); err != nil {
			return err
		}
	}
	if len(batch) == 0 {
		return nil
	}
	ps := make([]Publication, len(batch))
	for i := range batch {
		ps[i] = batch[i].Publication
	}
	if err := r.call(ctx, "publish", func(ctx context.Context) error { return r.nodes.of.Publish(ctx, ps) }); err != nil {
		return err
	}
	for i := range batch {
		if batch[i].done != nil {
			batch[i].done <- struct{}{}
		}
	}
	return nil
}

func (r *relay) call(ctx context.Context, what string, f func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	err := r.nodes.call(within, f)
	if err != nil && ctx.Err() == nil {
		r.nodes.failed(what, err)
	}
	return err
}

func (r *relay) take() (marks []Mark, batch []relayed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, m := range r.marks {
		if len(marks) == relayMarks {
			break
		}
		marks = append(marks, m)
		delete(r.marks, k)
	}
	if len(r.marks) > 0 { // all of them before what was queued with them
		return marks, nil
	}
	n, size := 0, 0
	for n < len(r.queue) && n < relayBatch && size < relayBytes {
		size += len(r.queue[n].Data)
		n++
	}
	batch = slices.Clone(r.queue[:n])
	clear(r.queue[:n])
	r.queue = r.queue[n:]
	r.bytes -= size
	if len(r.queue) == 0 {
		r.queue = nil
	}
	if len(marks) == 0 && len(batch) == 0 {
		r.busy = false
		for _, c := range r.idle {
			close(c)
		}
		r.idle = nil
	}
	return marks, batch
}

// flushed is closed when what is queued now is published.
func (r *relay) flushed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(chan struct{})
	if !r.busy {
		close(c)
	} else {
		r.idle = append(r.idle, c)
	}
	return c
}

// counters are up to where each stream's numbers go.
func (r *relay) counters() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.numbers)
}

var errNotPublished = errors.New("chat: the cluster has not taken it yet")

// publish queues a notice and waits until the cluster has taken it. After an error it may still come to that.
func (r *relay) publish(ctx context.Context, stream int, notice []byte) error {
	done := make(chan struct{}, 1)
	r.add(stream, notice, done)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.Join(errNotPublished, context.Cause(ctx))
	case <-r.nodes.life.Done():
		return ErrClosed
	}
}
