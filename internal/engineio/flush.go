package engineio

import (
	"errors"
	"math"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A flusher writes the queues of a server's WebSocket sessions. It has goroutines, at most one a processor,
// only while there is a session with something to write. None of them ever waits for a connection: what a
// connection does not take at once is left to a goroutine of that session.
type flusher struct {
	gate *gate

	mu         sync.Mutex // guards all below, and Session.nextDirt; taken after a session's mu, never before it
	head, tail *Session
	n          int
	workers    int
}

// add takes a session that has been marked dirty.
func (f *flusher) add(s *Session) {
	f.mu.Lock()
	f.linkLocked(s)
	f.hireLocked()
	f.mu.Unlock()
}

// addAll takes the sessions of list up to the first of another server, and says how many those were. helped: the caller is about to help.
func (f *flusher) addAll(list []*Session, helped bool) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n < len(list) && &list[n].srv.flush == f {
		f.linkLocked(list[n])
		n++
	}
	if !helped || f.n >= backlog {
		f.hireLocked()
	}
	return n
}

func (f *flusher) linkLocked(s *Session) {
	if f.tail == nil {
		f.head = s
	} else {
		f.tail.nextDirt = s
	}
	f.tail = s
	f.n++
}

const (
	// share is how many sessions a worker takes at a time.
	share = 8
	// backlog is how many waiting sessions call for one more worker. It is large: what is sent while a worker
	// is at it goes out with the same writes, and writes are what costs.
	backlog = 256
)

func (f *flusher) hire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hireLocked()
}

func (f *flusher) hireLocked() {
	for f.shortLocked() {
		f.workers++
		f.gate.add()
		go f.work()
	}
}

// shortLocked tells whether one more worker is wanted.
func (f *flusher) shortLocked() bool {
	return f.n > 0 && f.workers < min(1+f.n/backlog, runtime.GOMAXPROCS(0))
}

// help makes the caller's goroutine a worker, where one is wanted, for what waits now. A goroutine that is begun for that wakes a thread, and what
// many small sends cost most is waking.
func (f *flusher) help() {
	f.mu.Lock()
	n := f.n
	if !f.shortLocked() {
		f.mu.Unlock()
		return
	}
	f.workers++
	f.gate.add()
	f.mu.Unlock()
	if f.write(n) {
		f.gate.done()
	} else { // others have sent meanwhile
		go f.work()
	}
}

// take moves up to share sessions into list. Where there are none the worker does not count any more.
func (f *flusher) take(list []*Session) []*Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(list) < share && f.head != nil {
		s := f.head
		f.head, s.nextDirt = s.nextDirt, nil
		list = append(list, s)
		f.n--
	}
	if f.head == nil {
		f.tail = nil
	}
	if len(list) == 0 {
		f.workers--
	}
	return list
}

func (f *flusher) work() {
	// Whoever is about to send goes first: what they send to the same sessions is written with the same calls.
	runtime.Gosched()
	f.write(math.MaxInt)
	f.gate.done()
}

// write is a worker's work. It is false after most sessions, with some that are waiting still.
func (f *flusher) write(most int) bool {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	for had := 0; ; had += len(w.list) {
		if had >= most && f.waiting() {
			return false
		}
		w.list = f.take(w.list[:0])
		if len(w.list) == 0 {
			return true
		}
		for i, s := range w.list {
			w.flush(s)
			w.list[i] = nil
		}
	}
}

func (f *flusher) waiting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head != nil
}

// now writes the queue of a session that has been marked dirty from the caller's goroutine.
func (f *flusher) now(s *Session) {
	w := workers.Get().(*worker)
	w.flush(s)
	workers.Put(w)
}

// A worker is what one goroutine of a flusher works with.
type worker struct {
	list []*Session
	buf  []byte
	n    int
	err  error
	try  func(fd uintptr) bool // bound once
}

const (
	workerBuf = 64 << 10
	loopBuf   = 16 << 10
)

var workers = sync.Pool{New: func() any {
	w := &worker{buf: make([]byte, 0, workerBuf), list: make([]*Session, 0, share)}
	w.try = func(fd uintptr) bool {
		w.n, w.err = tryWrite(fd, w.buf)
		return true
	}
	return w
}}

var loopBufs = sync.Pool{New: func() any {
	b := make([]byte, 0, loopBuf)
	return &b
}}

// flush writes what s has queued, up to the worker's buffer, with one call that does not wait.
func (w *worker) flush(s *Session) {
	s.mu.Lock()
	s.dirty = false
	c := s.ws
	if s.writing || len(s.queue) == 0 || s.state.Load() == stateClosed {
		s.mu.Unlock()
		return
	}
	s.writing = true
	s.pins++
	if c.raw == nil {
		s.mu.Unlock()
		s.srv.gate.run(s.writeLoop)
		return
	}
	w.buf = s.fillLocked(w.buf[:0])
	s.mu.Unlock()

	w.n, w.err = 0, nil
	if err := c.raw.Write(w.try); err != nil {
		w.err = err
	}
	s.srv.out.Add(int64(w.n))

	s.mu.Lock()
	s.wroteLocked(w.n)
	switch {
	case w.err != nil && !wouldBlock(w.err):
		s.writing = false
		s.abortLocked(ReasonTransportError)
		s.unpinLocked()
	case w.n < len(w.buf):
		s.mu.Unlock()
		s.srv.gate.run(s.writeLoop)
		return
	default:
		if s.wroteAllLocked() {
			s.dirty = true
			s.mu.Unlock()
			s.srv.flush.add(s)
			return
		}
	}
	s.mu.Unlock()
}

// fillLocked puts what is queued into buf, up to its capacity.
func (s *Session) fillLocked(buf []byte) []byte {
	off := s.sent
	for _, p := range s.queue {
		buf = p.appendWire(buf, off, s.mode)
		if len(buf) == cap(buf) {
			break
		}
		off = 0
	}
	return buf
}

// wroteAllLocked ends a turn of writing. It reports whether there is more to write.
func (s *Session) wroteAllLocked() (more bool) {
	s.writing = false
	if len(s.queue) > 0 && s.state.Load() != stateClosed {
		more = true
	} else if s.state.Load() == stateClosing && !s.end.asking {
		s.ws.finishLocked()
	}
	s.unpinLocked()
	return more
}

// writeLoop writes the queue of a session whose connection does not take it at once, until it is empty.
func (s *Session) writeLoop() {
	c := s.ws
	b := loopBufs.Get().(*[]byte)
	defer loopBufs.Put(b)
	for {
		s.mu.Lock()
		if s.cut {
			s.cutLocked()
		}
		if len(s.queue) == 0 || s.state.Load() == stateClosed {
			// Before another writer can come, which would meet the deadline.
			_ = c.conn.SetWriteDeadline(time.Time{})
			s.wroteAllLocked()
			s.mu.Unlock()
			return
		}
		buf := s.fillLocked((*b)[:0])
		s.mu.Unlock()

		_ = c.conn.SetWriteDeadline(time.Now().Add(s.srv.cfg.WriteTimeout))
		n, err := c.conn.Write(buf)
		s.srv.out.Add(int64(n))

		s.mu.Lock()
		s.wroteLocked(n)
		if err != nil {
			s.abortLocked(writeFailure(err))
		}
		s.mu.Unlock()
	}
}

func writeFailure(err error) Reason {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ReasonSlowConsumer
	}
	return ReasonTransportError
}

func wouldBlock(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
}
