package simulation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// polling is requests to a handler: one GET at a time, and one POST with all that is to be sent.
type polling struct {
	h      http.Handler
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex // guards what follows
	wake *sync.Cond
	sid  string
	out  []string
	log  []byte // all that was ever answered
}

const separator = "\x1e"

func openPolling(h http.Handler, work *sync.WaitGroup) *polling {
	c := &polling{h: h}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.wake = sync.NewCond(&c.mu)
	work.Go(c.post)
	return c
}

// do is one request; what is answered to one that was cut is lost.
func (c *polling) do(method, body string) (string, bool) {
	query := url.Values{"transport": {"polling"}}
	c.mu.Lock()
	if c.sid != "" {
		query.Set("sid", c.sid)
	}
	c.mu.Unlock()
	r := newRequest(method, query).WithContext(c.ctx)
	if body != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	c.h.ServeHTTP(w, r)
	c.mu.Lock()
	c.log = append(c.log, w.body.String()...)
	c.mu.Unlock()
	return w.body.String(), c.ctx.Err() == nil && w.status == http.StatusOK
}

func (c *polling) read(arrived func(text string) bool) {
	for {
		body, ok := c.do(http.MethodGet, "")
		if !ok {
			return
		}
		for text := range strings.SplitSeq(body, separator) {
			c.opened(text)
			if !arrived(text) {
				return
			}
		}
	}
}

// opened takes the session's id.
func (c *polling) opened(text string) {
	if data, ok := strings.CutPrefix(text, "0"); ok {
		var open struct{ Sid string }
		_ = json.Unmarshal([]byte(data), &open)
		c.mu.Lock()
		c.sid = open.Sid
		c.mu.Unlock()
	}
}

func (c *polling) write(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, text)
	c.wake.Signal()
}

func (c *polling) post() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && c.ctx.Err() == nil {
			c.wake.Wait()
		}
		body := strings.Join(c.out, separator)
		c.out = nil
		c.mu.Unlock()
		if c.ctx.Err() != nil {
			return
		}
		if _, ok := c.do(http.MethodPost, body); !ok {
			c.cut()
		}
	}
}

func (c *polling) wrote(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.log, []byte(text))
}

func (c *polling) cut() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake.Signal()
}

// recorder is the http.ResponseWriter of a request.
type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(p []byte) (int, error) { return w.body.Write(p) }
