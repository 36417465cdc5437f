package socketio_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

func tells(r engineio.Reason) socketio.Encoded {
	code := map[engineio.Reason]string{engineio.ReasonTooLarge: "TOO_LARGE", engineio.ReasonSlowConsumer: "SLOW_CONSUMER"}[r]
	enc, _ := socketio.Encode(map[string]string{"code": code, "message": string(r)})
	return enc
}

const (
	tooLarge = `["error",{"code":"TOO_LARGE","message":"payload too large"}]`
	tooSlow  = `["error",{"code":"SLOW_CONSUMER","message":"slow consumer"}]`
)

// Too large by one message, and by one and its attachments.
func TestFarewell(t *testing.T) {
	for name, send := range map[string]func(w *world){
		"text": func(w *world) { w.send("4" + strings.Repeat("x", 1_000_000)) },
		"attachments": func(w *world) {
			w.send(`452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
			w.sendBinary(make([]byte, 800))
			w.sendBinary(make([]byte, 200))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, &backend{farewell: tells}, func(w *world) {
				one := w.join()
				w.send("40/custom")
				w.expect(`40/custom,{"sid":"sid2"}`, `42/custom,["auth",{}]`)
				w.send("40/custom2")
				w.expect(`40/custom2,{"sid":"sid3"}`, `42/custom2,["auth",{}]`)
				w.send("41/custom2")
				send(w)
				synctest.Wait()
				got := w.taken()
				if len(got) == 3 && strings.HasPrefix(got[0], "42/") {
					got[0], got[1] = got[1], got[0]
				}
				if strings.Join(got, "\n") != "42"+tooLarge+"\n42/custom,"+tooLarge+"\nclosed" {
					w.Errorf("%q", got)
				}
				if r := one.reasons(); r != "[payload too large]" {
					w.Errorf("closed by %s", r)
				}
			})
		})
	}
}

// A client that has joined nothing is told nothing.
func TestNoFarewell(t *testing.T) {
	inBubble(t, &backend{farewell: tells}, func(w *world) {
		w.send("4" + strings.Repeat("x", 1_000_000))
		w.expect("closed")
	})
}

// A poller polls; the requests are served without a connection.
type poller struct {
	*world
	query string
}

func (w *world) poller() *poller {
	w.Helper()
	p := &poller{w, "EIO=4&transport=polling"}
	_, rest, _ := strings.Cut(p.get(), `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	p.query += "&sid=" + sid
	return p
}

func (p *poller) serve(r *http.Request) (int, string) {
	rec := httptest.NewRecorder()
	p.srv.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

func (p *poller) get() string {
	_, body := p.serve(httptest.NewRequest("GET", "/?"+p.query, nil))
	return body
}

func (p *poller) post(want int, body string, header ...string) {
	p.Helper()
	r := httptest.NewRequest("POST", "/?"+p.query, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if status, answer := p.serve(r); status != want {
		p.Errorf("POST: %d %s", status, answer)
	}
}

func (p *poller) wants(packets ...string) {
	p.Helper()
	if got := p.get(); got != strings.Join(packets, "\x1e") {
		p.Errorf("polled %q, want %q", got, packets)
	}
}

func (w *world) joinPolling() (*poller, *client) {
	w.Helper()
	p := w.poller()
	p.post(200, "40")
	synctest.Wait()
	c := w.b.last()
	p.wants(`40{"sid":"sid1"}`, `42["auth",{}]`)
	return p, c
}

func TestFarewellByPolling(t *testing.T) {
	inBubble(t, &backend{farewell: tells}, func(w *world) {
		p, c := w.joinPolling()
		c.emit("dropped", strings.Repeat("x", 900_000))
		c.emit("too much", strings.Repeat("x", 900_000))
		synctest.Wait()
		p.wants("42"+tooSlow, "1")
		synctest.Wait()
		if r := c.reasons(); r != "[slow consumer]" {
			w.Errorf("closed by %s", r)
		}
	})
}

func TestTooLargeByPolling(t *testing.T) {
	inBubble(t, &backend{farewell: tells}, func(w *world) {
		p, c := w.joinPolling()
		p.post(413, `451-["message",{"_placeholder":true,"num":0}]`+"\x1eb"+strings.Repeat("AAAA", 400))
		p.wants("42"+tooLarge, "1")
		synctest.Wait()
		if r := c.reasons(); r != "[payload too large]" {
			w.Errorf("closed by %s", r)
		}
	})
}

// What was queued before a Disconnect arrives before it, and it before the close, whether or not a GET waits.
func TestDisconnectFlushesPolling(t *testing.T) {
	for _, closing := range []bool{false, true} {
		for _, waits := range []bool{false, true} {
			inSubBubble(t, func(w *world) {
				p, c := w.joinPolling()
				want := []string{`42["error",{"code":"RATE_LIMITED"}]`, "41"}
				if closing {
					want = append(want, "1")
				}
				var got string
				done := make(chan struct{})
				get := func() {
					defer close(done)
					// A GET that waits is answered by what comes first, and the next by the rest.
					got = p.get()
					for strings.Count(got, "\x1e") < len(want)-1 {
						got += "\x1e" + p.get()
					}
				}
				if waits {
					go get()
					synctest.Wait()
				}
				c.emit("error", map[string]string{"code": "RATE_LIMITED"})
				c.link.Disconnect(closing)
				if !waits {
					go get()
				}
				<-done
				if got != strings.Join(want, "\x1e") {
					w.Errorf("polled %q, want %q", got, want)
				}
				synctest.Wait()
				if r := c.reasons(); r != "[server namespace disconnect]" {
					w.Errorf("closed by %s", r)
				}
				if !closing { // nothing is joined any more: the session ends by the connect timeout
					time.Sleep(10*time.Second + time.Millisecond)
					p.wants("1")
				}
			})
		}
	}
}

func inSubBubble(t *testing.T, f func(*world)) {
	t.Run("", func(t *testing.T) { inBubble(t, &backend{}, f) })
}

func TestRequestID(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		p, c := w.joinPolling()
		p.post(200, `42["one"]`+"\x1e"+`42["two"]`, "X-Request-Id", "abc")
		p.post(200, `42["three"]`)
		w.send("40")
		w.expect(`40{"sid":"sid2"}`, `42["auth",{}]`)
		w.send(`42["four"]`)
		w.expect()
		got := ""
		for _, e := range append(c.events, w.b.last().events...) {
			got += e.Name + ":" + e.RequestID + " "
		}
		if got != "one:abc two:abc three: four: " {
			w.Error(got)
		}
	})
}

// A session counts as pending until it has joined a namespace, and one that never does ends by its deadline.
func TestNeverConnected(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		pending := func(want int) {
			w.Helper()
			if n := w.srv.Pending(); n != want {
				w.Errorf("%d pending, want %d", n, want)
			}
		}
		p := w.poller()
		pending(2)
		w.join()
		pending(1)
		began := time.Now()
		p.wants("1")
		if d := time.Since(began); d != 10*time.Second {
			w.Errorf("after %v", d)
		}
		synctest.Wait()
		pending(0)
		if n := w.srv.Len(); n != 1 {
			w.Errorf("%d sessions", n)
		}
		other := dialRaw(w.T, w.srv)
		began = time.Now()
		for len(other.taken()) == 0 {
			pending(1)
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		if d := time.Since(began); d != 10*time.Second {
			w.Errorf("after %v", d)
		}
		pending(0)
	})
}
