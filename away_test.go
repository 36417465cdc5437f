package chat

import (
	"context"
	"testing"
	"testing/synctest"
)

// hung is a store that never answers, whatever becomes of who asked.
type hung struct {
	Store
	released chan struct{}
}

func (s *hung) Append(context.Context, []Entry) ([]Appended, error) {
	<-s.released
	return nil, errUnavailable
}

// Senders that have given up are not kept in the queue of a log whose batch has no end: those who try again would fill the memory.
func TestGivenUpAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hung{NewMemoryStore(0, 0), make(chan struct{})}
		hub, err := New(WithStore(store))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = hub.Shutdown(t.Context()) }()
		defer close(store.released)
		for range 50 {
			if _, err := hub.Room("r").Post(t.Context(), Post{UserID: "ann", Text: "x"}); err == nil {
				t.Fatal("it was saved")
			}
		}
		j := &hub.core.journal
		j.mu.Lock()
		defer j.mu.Unlock()
		if n := len(j.logs[roomKey{"/", "r"}].queue); n > 1 {
			t.Errorf("%d entries wait for a batch whose senders have gone", n)
		}
	})
}
