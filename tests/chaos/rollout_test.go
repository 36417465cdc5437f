package main

import (
	"testing"
	"time"
)

// The short form of the restart under load.
func TestRollout(t *testing.T) {
	for _, store := range []string{"postgres", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			r := &rollout{name: "rollout-" + store, backend: store, clients: 200, rate: 20, restarts: 1, steady: 3 * time.Second, nodes: 1, seed: seedOf(t)}
			if _, err := r.conduct(t.Output(), false); err != nil {
				t.Error(err)
			}
		})
	}
}
