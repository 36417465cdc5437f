package simulation_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A trace is the log of what happened, of which the end is shown.
type trace struct {
	began time.Time

	mu    sync.Mutex // guards what follows
	lines []string
}

const (
	traceKept  = 4000 // lines; twice as many before the older half goes
	traceShown = 90   // TRACE=n says otherwise
)

func (tr *trace) note(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.lines) >= 2*traceKept {
		tr.lines = append(tr.lines[:0], tr.lines[traceKept:]...)
	}
	tr.lines = append(tr.lines, fmt.Sprintf("%8.3fs ", time.Since(tr.began).Seconds())+fmt.Sprintf(format, args...))
}

func (tr *trace) last(n int) string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return strings.Join(tr.lines[max(0, len(tr.lines)-n):], "\n")
}

// A failure is an invariant that does not hold.
type failure struct {
	seed      uint64
	invariant string
	what      string
	test      string
	trace     string
}

func (f *failure) Error() string {
	return fmt.Sprintf("seed %d: %s: %s\n%s\nrerun: SEED=%d go test ./tests/simulation -run '^%s$' -v", f.seed, f.invariant, f.what, f.trace, f.seed, f.test)
}

// Invariants, by the names that a failure has.
const (
	ackedOnce    = "1: an acked message is in the store exactly once, and the ack has its entry"
	keyOnce      = "2: no message_id is in the store twice"
	inOrder      = "3: a client's view is the store's order, nothing missing, nothing twice"
	recoveredAll = "4: a recovered session has missed nothing"
	holeTold     = "5: a hole is filled or told"
	neverFalse   = "6: never a false answer"
	nothingMore  = "7: who left a room, or lost it, gets nothing more of it"
	presentAll   = "10: who is in a room is what its pages are told"
	goesOn       = "8: what needs no store goes on, and every event is answered"
	cleanEnd     = "9: Shutdown ends everything"
)

func shown() int {
	if n, err := strconv.Atoi(os.Getenv("TRACE")); err == nil {
		return n
	}
	return traceShown
}
