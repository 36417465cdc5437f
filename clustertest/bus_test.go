package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/clustertest"
)

// history is a handler that writes down what it is told.
type history struct {
	mu    sync.Mutex
	lines []string
}

func (h *history) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *history) Joined(name string) { h.add("joined %s", name) }
func (h *history) Up(n chat.Node)     { h.add("up %s", n.Name) }
func (h *history) Down(n chat.Node)   { h.add("down %s", n.Name) }
func (h *history) Away(error)         { h.add("away") }
func (h *history) Back()              { h.add("back") }
func (h *history) Receive(stream int, all ...[]byte) {
	for _, data := range all {
		h.add("%d %s", stream, data)
	}
}
func (h *history) History(stream int, all ...[]byte) {
	for _, data := range all {
		h.add("past %d %s", stream, data)
	}
}
func (h *history) Lost(stream int)      { h.add("lost %d", stream) }
func (h *history) Signaled(data []byte) { h.add("signal %s", data) }
func (h *history) Answer(_ context.Context, question []byte) ([]byte, error) {
	return question, nil
}

// is checks what was written since it was last asked, when all is still.
func (h *history) is(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.lines, want) {
		t.Errorf("%q, want %q", h.lines, want)
	}
	h.lines = nil
}

func (h *history) forget() {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = nil
}

func joined(t *testing.T, b *clustertest.Bus, tag string) (chat.Cluster, *history) {
	t.Helper()
	c, h := b.Node(), &history{}
	if err := c.Join(chat.Node{Tag: tag}, h); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Leave(context.Background()) }) // one that is cut off says so
	return c, h
}

func publish(t *testing.T, c chat.Cluster, stream int, data ...string) {
	t.Helper()
	var ps []chat.Publication
	for _, d := range data {
		ps = append(ps, chat.Publication{Stream: stream, Data: []byte(d)})
	}
	if err := c.Publish(t.Context(), ps); err != nil {
		t.Error(err)
	}
}

// inBubble gives a Bus with the nodes a and b.
func inBubble(t *testing.T, f func(t *testing.T, bus *clustertest.Bus, a, b chat.Cluster, ha, hb *history)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus := clustertest.NewBus(2)
		a, ha := joined(t, bus, "a")
		b, hb := joined(t, bus, "b")
		ha.is(t, "joined a.1", "up b.1")
		hb.is(t, "joined b.1", "up a.1")
		f(t, bus, a, b, ha, hb)
	})
}

func TestCutShort(t *testing.T) {
	inBubble(t, func(t *testing.T, bus *clustertest.Bus, a, b chat.Cluster, ha, hb *history) {
		bus.Cut("a")
		publish(t, b, 1, "x", "y")
		b.Signal([]byte("s"))
		a.Signal([]byte("s"))
		ha.is(t, "away")
		done := make(chan struct{})
		go func() {
			defer close(done)
			publish(t, a, 1, "z")
		}()
		time.Sleep(bus.Lease - 1)
		hb.is(t, "1 x", "1 y")
		bus.Heal("a")
		<-done
		ha.is(t, "1 x", "1 y", "back", "1 z")
		hb.is(t, "1 z")
		time.Sleep(2 * bus.Lease)
		hb.is(t)
	})
}

func TestCutLong(t *testing.T) {
	inBubble(t, func(t *testing.T, bus *clustertest.Bus, a, b chat.Cluster, ha, hb *history) {
		if err := a.Mark(t.Context(), []chat.Mark{{Key: "k", Field: "f"}}); err != nil {
			t.Fatal(err)
		}
		bus.Cut("a")
		publish(t, b, 0, "x")
		time.Sleep(bus.Lease)
		hb.is(t, "0 x", "down a.1")
		if marks, err := b.Marks(t.Context(), "k"); err != nil || len(marks) > 0 {
			t.Errorf("marks %v, %v", marks, err)
		}
		if _, err := b.Ask(t.Context(), "a", nil); !errors.Is(err, chat.ErrNoNode) {
			t.Error(err)
		}
		bus.Heal("a")
		ha.is(t, "away", "joined a.2", "0 x", "back")
		hb.is(t, "up a.2")
	})
}

func TestAskOfOneCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, bus *clustertest.Bus, a, b chat.Cluster, ha, hb *history) {
		bus.Cut("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Ask(ctx, "a", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := a.Ask(ctx, "b", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := b.Ask(t.Context(), "a", nil); !errors.Is(err, chat.ErrNoNode) {
			t.Error(err)
		}
		hb.is(t, "down a.1")
		time.AfterFunc(time.Second, func() { bus.Heal("a") })
		if got, err := a.Ask(t.Context(), "b", []byte("?")); err != nil || string(got) != "?" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestTrimAndLose(t *testing.T) {
	inBubble(t, func(t *testing.T, bus *clustertest.Bus, a, b chat.Cluster, ha, hb *history) {
		bus.Cut("a")
		publish(t, b, 0, "x")
		publish(t, b, 1, "y")
		bus.Trim(0)
		publish(t, b, 0, "z")
		bus.Heal("a")
		ha.is(t, "away", "lost 0", "1 y", "0 z", "back")
		hb.forget()
		bus.Lose(1, 2)
		publish(t, b, 1, "p", "q", "r")
		bus.Lose(0, 1, "b")
		publish(t, b, 0, "s", "t")
		ha.is(t, "1 r", "0 s", "0 t")
		hb.is(t, "1 r", "0 t")
	})
}

func TestKill(t *testing.T) {
	inBubble(t, func(t *testing.T, bus *clustertest.Bus, a, b chat.Cluster, ha, hb *history) {
		bus.Kill("a")
		bus.Kill("a")
		publish(t, b, 0, "x")
		ha.is(t)
		hb.is(t, "0 x")
		if err := a.Publish(t.Context(), nil); !errors.Is(err, clustertest.ErrLeft) {
			t.Error(err)
		}
		if got := bus.Tags(); !slices.Equal(got, []string{"a", "b"}) {
			t.Error(got)
		}
		time.Sleep(bus.Lease)
		hb.is(t, "down a.1")
		if got := bus.Tags(); !slices.Equal(got, []string{"b"}) {
			t.Error(got)
		}
	})
}

func TestFail(t *testing.T) {
	inBubble(t, func(t *testing.T, bus *clustertest.Bus, a, b chat.Cluster, ha, hb *history) {
		bus.Fail("a", 1)
		if err := a.Publish(t.Context(), []chat.Publication{{Data: []byte("x")}}); err == nil {
			t.Error("no error")
		}
		publish(t, a, 0, "x")
		hb.is(t, "0 x", "0 x")
	})
}

func TestCutAll(t *testing.T) {
	inBubble(t, func(t *testing.T, bus *clustertest.Bus, a, b chat.Cluster, ha, hb *history) {
		bus.CutAll()
		_, hc := joined(t, bus, "c")
		time.Sleep(2 * bus.Lease)
		hc.is(t, "away")
		bus.HealAll()
		ha.is(t, "away", "joined a.2", "down b.1", "back", "up b.2", "up c.1")
		hb.is(t, "away", "joined b.2", "down a.1", "up a.2", "back", "up c.1")
		hc.is(t, "joined c.1", "up a.2", "up b.2", "back")
	})
}

func TestLeaveWhileCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, bus *clustertest.Bus, a, b chat.Cluster, ha, hb *history) {
		bus.Cut("a")
		if err := a.Leave(t.Context()); !errors.Is(err, clustertest.ErrCut) {
			t.Error(err)
		}
		bus.Heal("a")
		hb.is(t)
		time.Sleep(bus.Lease)
		hb.is(t, "down a.1")
	})
}
