package redis

import (
	"testing"
	"time"
)

// A reader pauses where a pause brings entries together, and soon notices when that begins, or ends.
func TestHurried(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		name  string
		every time.Duration // an answer
		came  int
		want  bool
	}{
		{"an entry in 10 ms", 10 * time.Millisecond, 1, false},
		{"an entry in 2 ms", 2 * time.Millisecond, 1, true},
		{"five at a time, with the pause", 11 * time.Millisecond, 5, true},
		{"two at a time, with the pause", 11 * time.Millisecond, 2, false},
		{"none", time.Second, 0, false},
	} {
		r := &reader{got: now, gap: gapMost}
		if !c.want {
			r.gap = 0
		}
		got := !c.want
		for i := 1; i <= 20; i++ {
			r.came = c.came
			got = r.hurried(now.Add(time.Duration(i) * c.every))
		}
		if got != c.want {
			t.Errorf("%s: %v, a gap of %v", c.name, got, r.gap)
		}
	}
	r := &reader{got: now, gap: time.Millisecond, came: 1}
	if r.hurried(now.Add(time.Hour)) {
		t.Error("hurried after an hour")
	}
	if r.gap > gapMost {
		t.Errorf("a gap of %v", r.gap)
	}
}
