package engineio

import (
	"net/http"
	"strings"
	"testing"
)

func TestBytes(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.handle, o.cfg.GzipFrom = echo, 0 })
	// A client may have read what is counted a moment later.
	counted := func(ok func(in, out int64) bool) (in, out int64) {
		t.Helper()
		waitFor(t, func() bool {
			in, out = b.srv.Bytes()
			return ok(in, out)
		})
		return in, out
	}
	q := b.open(4, "")
	_, open := counted(func(in, out int64) bool { return in == 0 && out > 50 })
	b.post(q, "4hello").want(t, 200, "ok")
	b.get(q).want(t, 200, "4hello")
	counted(func(in, out int64) bool { return in == 6 && out == open+6 })
	c := b.openWS(4)
	in, out := counted(func(in, out int64) bool { return in == 6 && out >= open+6+50 })
	c.send("4" + strings.Repeat("x", 999))
	c.want("4" + strings.Repeat("x", 999))
	b.close()
	if _, after := b.srv.Bytes(); after < out+1004 {
		t.Errorf("%d out", after-out)
	}
	if after, _ := b.srv.Bytes(); after != in+1008 {
		t.Errorf("%d in", after-in)
	}
}

func TestOutboxes(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.open(4, "")
	one := b.peer()
	b.open(4, "")
	two := b.peer()
	p := textPacket("hello")
	one.s.Send(p)
	one.s.Send(p)
	two.s.Send(p)
	if bytes, deepest := b.srv.Outboxes(); bytes != 3*p.Size() || deepest != 2*p.Size() {
		t.Errorf("%d, %d; a packet has %d", bytes, deepest, p.Size())
	}
	one.s.Close(ReasonSlowConsumer) // without a farewell nothing is left in its queue
	waitFor(t, func() bool {
		bytes, _ := b.srv.Outboxes()
		return bytes == p.Size()
	})
	one.s.Abort(ReasonForced)
	if bytes, deepest := b.srv.Outboxes(); bytes != p.Size() || deepest != p.Size() {
		t.Errorf("%d, %d after the end of one", bytes, deepest)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	ids := make(chan string, 10)
	b := start(t, func(o *setup) {
		o.handle = func(p *peer, _ string) error {
			ids <- p.s.RequestID()
			return nil
		}
	})
	q := b.open(4, "")
	post := func(id, body string) {
		t.Helper()
		r, _ := http.NewRequest("POST", "http://test/engine.io/?"+q, strings.NewReader(body))
		if id != "" {
			r.Header.Set("X-Request-Id", id)
		}
		resp, err := b.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	want := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := receive(t, ids); got != w {
				t.Errorf("id %q, want %q", got, w)
			}
		}
	}
	post("abc", "4x\x1ebYnl0ZXM=")
	want("abc", "abc")
	post("", "4x")
	want("")
	post(strings.Repeat("x", 129), "4x")
	want("")
	post("last", "4x")
	want("last")
	c := b.probe(q)
	c.send("5", "4x")
	want("")
}
