package redis

import (
	"context"
	"errors"
	"time"

	"github.com/parleychat/chat"
)

const (
	waitMost    = time.Hour
	answersMost = 1000 // at the same time; more are refused
)

// asks is who waits for answers, and how many are being given. Cluster.mu guards it.
type asks struct {
	number  uint64
	waiting map[uint64]*question
	there   map[string]bool // tags, as told to the handler
	giving  int
}

type question struct {
	tag   string
	reply chan reply // holds the one that comes
}

type reply struct {
	data []byte
	err  error
}

// Ask implements chat.Cluster.
func (c *Cluster) Ask(ctx context.Context, tag string, data []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	number, q, err := c.waitFor(tag)
	if err != nil {
		return nil, err
	}
	defer c.forget(number)
	var wait time.Duration
	if end, ok := ctx.Deadline(); ok {
		wait = max(time.Until(end), time.Millisecond)
	}
	if err := c.db.Publish(ctx, c.keys.to+tag, appendQuestion(c.self.Tag, number, wait, data)).Err(); err != nil {
		return nil, err
	}
	select {
	case r := <-q.reply:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.ctx.Done():
		return nil, errLeft
	}
}

func (c *Cluster) waitFor(tag string) (uint64, *question, error) {
	if _, err := c.leased(); err != nil {
		return 0, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asks.there[tag] {
		return 0, nil, chat.ErrNoNode
	}
	q := &question{tag: tag, reply: make(chan reply, 1)}
	c.asks.number++
	c.asks.waiting[c.asks.number] = q
	return c.asks.number, q, nil
}

func (c *Cluster) forget(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asks.waiting, number)
}

// answering lets a node be asked.
func (c *Cluster) answering(tag string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asks.there[tag] = true
}

// unanswered ends the questions to a node that is gone.
func (c *Cluster) unanswered(tag string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asks.there, tag)
	for number, q := range c.asks.waiting {
		if q.tag == tag {
			delete(c.asks.waiting, number)
			q.reply <- reply{err: chat.ErrNoNode}
		}
	}
}

func (c *Cluster) answered(well bool, b []byte) error {
	number, data, err := readNumber(b)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.asks.waiting[number]
	if q == nil {
		return nil // too late
	}
	delete(c.asks.waiting, number)
	if well {
		q.reply <- reply{data: data}
	} else {
		q.reply <- reply{err: errors.New(string(data))}
	}
	return nil
}

// asked answers another node's question.
func (c *Cluster) asked(tag string, b []byte) error {
	number, wait, data, err := readQuestion(b)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.left {
		c.mu.Unlock()
		return nil
	}
	if c.asks.giving >= answersMost {
		c.mu.Unlock()
		c.reply(tag, number, nil, errors.New("chat/redis: too many questions at once"))
		return nil
	}
	c.asks.giving++
	c.mu.Unlock()
	c.tasks.Go(func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.asks.giving--
		}()
		ctx := c.ctx
		if wait > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, wait)
			defer cancel()
		}
		answer, err := c.h.Answer(ctx, data)
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) { // nobody waits any more
			c.reply(tag, number, answer, err)
		}
	})
	return nil
}

func (c *Cluster) reply(tag string, number uint64, answer []byte, err error) {
	kind := byte(kindAnswered)
	if err != nil {
		kind, answer = kindRefused, []byte(err.Error())
	}
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	if err := c.db.Publish(ctx, c.keys.to+tag, appendAnswer(kind, c.self.Tag, number, answer)).Err(); err != nil && c.ctx.Err() == nil {
		c.log.Warn("chat/redis: an answer was not sent", "to", tag, "error", err)
	}
}
