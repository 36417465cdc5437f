package main

import "sync"

// writers gives clients with something to write to one goroutine, which exists
// only while there are any. One is enough, since it never waits for a socket,
// and better than one a client or a processor: what is queued while it is busy
// elsewhere goes out with the same call, and calls are what costs.
type writers struct {
	// mu guards ready and running.
	mu      sync.Mutex
	ready   []*client
	running bool
}

// share is how many clients the writer takes at a time, so that the lock is
// taken less often.
const share = 16

func (w *writers) add(cs ...*client) {
	if len(cs) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready = append(w.ready, cs...)
	if !w.running {
		w.running = true
		go w.work()
	}
}

// take moves some clients to mine; nil ends the writer.
func (w *writers) take(mine []*client) []*client {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(share, len(w.ready))
	if n == 0 {
		w.running, w.ready = false, nil
		return nil
	}
	mine = append(mine, w.ready[:n]...)
	clear(w.ready[:n])
	w.ready = w.ready[n:]
	return mine
}

func (w *writers) work() {
	buf := buffers.Get().(*[4096]byte)
	defer buffers.Put(buf)
	var room [share]*client
	for {
		mine := w.take(room[:0])
		if mine == nil {
			return
		}
		for _, c := range mine {
			c.write(buf[:0])
		}
	}
}
