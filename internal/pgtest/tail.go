//go:build unix

package pgtest

import (
	"bufio"
	"strings"
	"sync"
)

// tail keeps the last lines of a log.
type tail struct {
	ready chan struct{} // closed by the line that says so

	mu    sync.Mutex // guards lines
	lines []string
}

const tailLines = 100

func (t *tail) read(in *bufio.Scanner) {
	in.Buffer(nil, 1<<20)
	said := false
	for in.Scan() {
		t.mu.Lock()
		t.lines = append(t.lines, in.Text())
		t.lines = t.lines[max(0, len(t.lines)-tailLines):]
		t.mu.Unlock()
		if !said && isReady(in.Text()) {
			said = true
			close(t.ready)
		}
	}
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
