package main

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(attackAs) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// TestHostile is the short form: all attacks of a kind at once, a tenth of their numbers. The machine is shared with other tests, which is why the way in is narrower, so that floods meet its bound, and why the CPU of a
// delivery is left to the long form, where there are samples enough.
func TestHostile(t *testing.T) {
	s := siege{lasts: 6 * time.Second, quiet: 3 * time.Second, warm: 3 * time.Second, scale: 0.1, members: 26, pages: 4, connects: 10, pace: 40 * time.Millisecond, patience: pingMost, together: true, times: 1, out: t.Output()}
	if err := hostile(s, t.TempDir(), ""); err != nil {
		t.Fatal(err)
	}
}
