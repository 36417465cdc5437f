package chat

import (
	"sync"
	"time"
)

// seldom is for log lines that strangers can bring about, or that come again and again while something is away: one a second.
type seldom struct {
	mu     sync.Mutex // innermost
	told   time.Time
	untold int
}

// now tells whether it is time for a line, and how many were left out.
func (s *seldom) now() (untold int, now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := time.Now(); t.Sub(s.told) >= time.Second {
		untold, s.told, s.untold = s.untold, t, 0
		return untold, true
	}
	s.untold++
	return 0, false
}
