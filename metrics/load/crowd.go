package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A phase is what the crowd does for a while, in seconds of the plan.
type phase struct {
	name     string
	from, to float64
}

// A crowd is the clients of the plan.
type crowd struct {
	addr   string
	n      int
	second time.Duration
	begin  time.Time
	phases []phase

	mu      sync.Mutex // guards members
	members []*client
	rest    sync.WaitGroup // of goroutines
}

func newCrowd(addr string, n int, second time.Duration) *crowd {
	return &crowd{addr: addr, n: n, second: second}
}

// run does the plan. Who is in the middle of something when it ends is cut off.
func (w *crowd) run(ctx context.Context) ([]phase, error) {
	ctx, stop := context.WithCancel(ctx)
	defer w.rest.Wait()
	defer w.closeAll()
	defer stop()
	w.begin = time.Now()
	talk, silence := context.WithCancel(ctx)
	defer silence()
	for _, step := range []struct {
		name    string
		seconds float64
		do      func(context.Context) error
	}{
		{"quiet", 8, w.gather},
		{"load", 12, func(context.Context) error { w.rest.Go(func() { w.talk(talk) }); return nil }},
		{"slow store", 6, w.slowStore},
		{"flood", 10, w.flood},
		{"slow readers", 12, w.slowReaders},
		{"reconnects", 8, w.reconnect},
		{"quiet", 6, func(context.Context) error { silence(); return nil }},
	} {
		begin := time.Now()
		p := phase{name: step.name, from: float64(begin.Sub(w.begin)) / float64(w.second)}
		phaseCtx, end := context.WithDeadline(ctx, begin.Add(time.Duration(step.seconds*float64(w.second))))
		err := step.do(phaseCtx)
		<-phaseCtx.Done()
		end()
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
		p.to = float64(time.Since(w.begin)) / float64(w.second)
		w.phases = append(w.phases, p)
	}
	return w.phases, nil
}

// gather connects everybody, over three seconds.
func (w *crowd) gather(ctx context.Context) error {
	for range w.n {
		c, err := dial(ctx, w.addr, "", "", false)
		if err != nil {
			return err
		}
		w.members = append(w.members, c)
		w.rest.Go(c.read)
		pause(ctx, 3*w.second/time.Duration(w.n))
	}
	return nil
}

// talk sends what a lively room does: 40 messages a second, no client more than its rate allows, and some other events.
func (w *crowd) talk(ctx context.Context) {
	text := strings.Repeat("x", 2000)
	for i := 0; ctx.Err() == nil; i++ {
		c := w.member(i)
		_ = c.emit(i+1, "chat_message", text) // who is just being cut off says nothing
		switch {
		case i%8 == 0:
			_ = c.emit(0, "typing", map[string]any{"room": room, "on": true})
		case i%8 == 1:
			_ = c.emit(i+1, "history", map[string]any{"room": room, "limit": 20})
		case i%8 == 2:
			_ = c.emit(0, "cursor", map[string]int{"x": i})
		case i%20 == 3:
			_ = c.emit(0, fmt.Sprint("made-up-", i), nil)
		}
		pause(ctx, w.second/40)
	}
}

func (w *crowd) member(i int) *client {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.members[i%len(w.members)]
}

// slowStore makes the store slow until the phase ends.
func (w *crowd) slowStore(ctx context.Context) error {
	if err := w.setDelay(60 * time.Millisecond); err != nil {
		return err
	}
	<-ctx.Done()
	return w.setDelay(storeDelay)
}

func (w *crowd) setDelay(d time.Duration) error {
	res, err := http.Post("http://"+w.addr+"/store?delay="+d.String(), "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// flood is one client that sends 200 messages a second, and comes back when it is sent away.
func (w *crowd) flood(ctx context.Context) error {
	for ctx.Err() == nil {
		c, err := dial(ctx, w.addr, "", "", false)
		if err != nil {
			pause(ctx, w.second/2) // refused, or the phase is over
			continue
		}
		w.rest.Go(c.read)
		for i := 1; ctx.Err() == nil && c.emit(i, "chat_message", "buy") == nil; i++ {
			pause(ctx, w.second/200)
		}
		_ = c.conn.Close() // read ends by it
	}
	return nil
}

// slowReaders are eight clients that join and read nothing.
func (w *crowd) slowReaders(ctx context.Context) error {
	var slow []*client
	for range 8 {
		c, err := dial(ctx, w.addr, "", "", true)
		if err != nil {
			return err
		}
		slow = append(slow, c)
		pause(ctx, w.second/3) // so that their outboxes do not overflow at the same moment
	}
	<-ctx.Done()
	for _, c := range slow {
		_ = c.conn.Close() // the server has cut it off
	}
	return nil
}

// reconnect cuts everybody off at once; all come back within a second, and each fifth remembers nothing of its session but its name.
func (w *crowd) reconnect(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range w.members {
		_ = c.conn.Close() // read ends by it
		<-c.ended
		pid, offset := c.session()
		if i%5 == 0 {
			offset = "forgotten"
		}
		back, err := dial(ctx, w.addr, pid, offset, false)
		if err != nil {
			return err
		}
		w.members[i] = back
		w.rest.Go(back.read)
	}
	return nil
}

func (w *crowd) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.members {
		_ = c.conn.Close() // read ends by it
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
