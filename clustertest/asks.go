package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

// asked gives two nodes, the second of which answers.
func (c *check) asked(answer func(ctx context.Context, question []byte) ([]byte, error)) (a, b *recorder) {
	c.Helper()
	a, b = c.node(), c.node()
	b.answer = answer
	c.joinAs(a)
	c.joinAs(b)
	c.join(0)
	return a, b
}

func echo(_ context.Context, question []byte) ([]byte, error) {
	return slices.Concat([]byte("echo "), question), nil
}

var askTests = []test{
	{"a question is answered", func(c *check) {
		a, b := c.asked(echo)
		for _, question := range [][]byte{{}, octets(), bytes.Repeat([]byte("long "), 1<<18)} {
			got, err := a.cluster.Ask(c.ctx(), b.self.Tag, question)
			if want, _ := echo(c.Context(), question); err != nil || !bytes.Equal(got, want) {
				c.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
			}
		}
	}},
	{"an empty answer", func(c *check) {
		a, b := c.asked(func(context.Context, []byte) ([]byte, error) { return nil, nil })
		if got, err := a.cluster.Ask(c.ctx(), b.self.Tag, []byte("?")); err != nil || len(got) != 0 {
			c.Errorf("%q, %v", got, err)
		}
	}},
	{"questions at the same time, both ways", func(c *check) {
		a, b := c.asked(echo)
		a.answer = echo
		var all sync.WaitGroup
		for i := range 100 {
			from, to := a, b
			if i%2 == 1 {
				from, to = b, a
			}
			all.Go(func() {
				got, err := from.cluster.Ask(c.ctx(), to.self.Tag, fmt.Append(nil, i))
				if want := fmt.Sprint("echo ", i); err != nil || string(got) != want {
					c.Errorf("%q, %v; want %q", got, err, want)
				}
			})
		}
		all.Wait()
	}},
	{"a slow answer holds up no other", func(c *check) {
		release := make(chan struct{})
		a, b := c.asked(func(ctx context.Context, question []byte) ([]byte, error) {
			if string(question) == "slow" {
				select {
				case <-release:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return question, nil
		})
		slow := make(chan error, 1)
		go func() {
			_, err := a.cluster.Ask(c.ctx(), b.self.Tag, []byte("slow"))
			slow <- err
		}()
		_, err := a.cluster.Ask(c.ctx(), b.self.Tag, []byte("quick"))
		c.must(err)
		c.must(a.cluster.Publish(c.ctx(), []chat.Publication{{Data: []byte("x")}}))
		b.untilCount(0, 1)
		close(release)
		c.must(<-slow)
	}},
	{"nobody to ask", func(c *check) {
		nodes := c.join(2)
		a, b := nodes[0], nodes[1]
		start := time.Now()
		for _, tag := range []string{"nobody", "", a.self.Tag} {
			if _, err := a.cluster.Ask(c.ctx(), tag, []byte("?")); !errors.Is(err, chat.ErrNoNode) {
				c.Errorf("Ask of %q: %v", tag, err)
			}
		}
		c.leave(b)
		a.until("Down", func() bool { return len(a.downs) == 1 })
		if _, err := a.cluster.Ask(c.ctx(), b.self.Tag, []byte("?")); !errors.Is(err, chat.ErrNoNode) {
			c.Errorf("Ask of one that left: %v", err)
		}
		if took := time.Since(start); took > 2*time.Second {
			c.Errorf("that took %v", took)
		}
	}},
	{"an answer that is an error", func(c *check) {
		a, b := c.asked(func(context.Context, []byte) ([]byte, error) { return nil, errors.New("it went wrong: \x00é") })
		_, err := a.cluster.Ask(c.ctx(), b.self.Tag, []byte("?"))
		if err == nil || !strings.Contains(err.Error(), "it went wrong: \x00é") || errors.Is(err, chat.ErrNoNode) {
			c.Errorf("Ask: %v", err)
		}
	}},
	{"Ask ends with its context", func(c *check) {
		a, b := c.asked(func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(c.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := a.cluster.Ask(ctx, b.self.Tag, []byte("?")); !errors.Is(err, context.DeadlineExceeded) {
			c.Errorf("Ask: %v", err)
		}
		canceled, cancel := context.WithCancel(c.Context())
		cancel()
		if _, err := a.cluster.Ask(canceled, b.self.Tag, []byte("?")); !errors.Is(err, context.Canceled) {
			c.Errorf("Ask: %v", err)
		}
	}},
}
