package chat

import "sync"

// tracker counts running goroutines. A sync.WaitGroup does not serve, since its Add may not race with its
// Wait from zero.
type tracker struct {
	mu   sync.Mutex // guards what follows
	n    int
	shut bool
	zero chan struct{} // closed when n is 0; nil while nobody waits
}

// enter is false after the tracker was shut.
func (t *tracker) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shut {
		return false
	}
	t.n++
	return true
}

func (t *tracker) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.zero != nil {
		close(t.zero)
		t.zero = nil
	}
}

// shutDown makes every later enter fail, and returns a channel that is closed when all have left.
func (t *tracker) shutDown() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut = true
	if t.n == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if t.zero == nil {
		t.zero = make(chan struct{})
	}
	return t.zero
}
