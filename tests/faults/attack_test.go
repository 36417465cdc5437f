package faults_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// A handler that waits for its client to leave sees it leave, however much the client has sent.
func TestHandlerWaitsForLeaving(t *testing.T) {
	ways(t, func(t *testing.T, p protocol, w way) {
		var waiting atomic.Int32
		wait := chat.On("wait", func(_ context.Context, c *chat.Client, _ any) error {
			waiting.Add(1)
			<-c.Context().Done()
			waiting.Add(-1)
			return nil
		})
		var s *site
		if w == overWS {
			s = newHastySite(t, wait) // nobody reads the connection then: it is the ping that fails
		} else {
			s = newSite(t, wait)
		}
		s.survives(t, 64*mega, func(t *testing.T) {
			bad := dial(t, s, p, w)
			bad.send(t, text4(`42["wait"]`))
			wantSoon(t, "the handler runs", func() bool { return waiting.Load() == 1 })
			fill(bad, w)
			if w == overWS {
				rawOf(bad).reset()
			} else {
				pollOf(bad).cancel()
			}
			wantSoon(t, "the handler has seen it leave", func() bool {
				_ = s.hub.Emit("tick", 1) // EIO=3 has no pings from the server: what fails is a write of anything else
				return waiting.Load() == 0
			})
			bad.close()
		})
	})
}

// fill sends events until the server reads no more, its inbox being full.
func fill(c *peer, w way) {
	events := make([]frame, 50)
	for i := range events {
		events[i] = text4(`42["echo","` + strings.Repeat("x", 10_000) + `"]`)
	}
	const stuck = 300 * time.Millisecond // that long without a byte taken
	for {
		if w == overPolling {
			poll := pollOf(c)
			ctx, cancel := context.WithTimeout(poll.ctx, 4*stuck)
			r, _ := http.NewRequestWithContext(ctx, http.MethodPost, poll.url(), strings.NewReader(encodePayload(c.p, events)))
			resp, err := poll.http.Do(r)
			if err == nil {
				_ = resp.Body.Close()
			}
			cancel()
			if err != nil || resp.StatusCode != http.StatusOK {
				return
			}
			continue
		}
		var b []byte
		for _, f := range events {
			b = append(b, wsFrame(fin|opText, f.data)...)
		}
		rawOf(c).mu.Lock()
		_ = rawOf(c).SetWriteDeadline(time.Now().Add(stuck))
		_, err := rawOf(c).Write(b)
		rawOf(c).mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Handlers that block hold up their own client, not the room, and no more memory than the inbox.
func TestBlockingHandlers(t *testing.T) {
	sockets(t, func(t *testing.T, p protocol) {
		release := make(chan struct{})
		var blocked atomic.Int32
		s := newSite(t, chat.OnMessage(func(_ context.Context, _ *chat.Client, m *chat.Entry) error {
			if m.Text == "block" {
				blocked.Add(1)
				<-release
			}
			return nil
		}))
		s.survives(t, 64*mega, func(t *testing.T) {
			bad := dial(t, s, p, overWS)
			chunk := bytes.Repeat(wsFrame(fin|opText, `421["chat_message","block"]`), 5000)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range 40 { // 200,000 messages; what the server does not read stays with the sender
					_ = rawOf(bad).SetWriteDeadline(time.Now().Add(patience))
					if _, err := rawOf(bad).Write(chunk); err != nil {
						return
					}
				}
			}()
			wantSoon(t, "one is blocked", func() bool { return blocked.Load() == 1 })
			for range 20 {
				s.exchange(t)
			}
			rawOf(bad).reset()
			<-done
			close(release)
			bad.close()
		})
	})
}

// A client that sends and never reads what it gets for it is cut off.
func TestSendsAndNeverReads(t *testing.T) {
	sockets(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, 1024*mega, func(t *testing.T) {
			before := s.hub.Stats()
			bad := dialWS(t, s.addr, p, "")
			_, _ = bad.write(text4("40"))
			wantSoon(t, "it is in", func() bool { return s.hub.Stats().Clients > before.Clients })
			chunk := bytes.Repeat(wsFrame(fin|opText, `421["echo","`+strings.Repeat("y", 1000)+`"]`), 60)
			var err error
			for range 2000 { // 120 MB
				if err = bad.raw(chunk); err != nil {
					break
				}
			}
			if err == nil {
				t.Error("it was not cut off")
			}
			bad.close()
		})
	})
}

func TestHalfOpenUpgrades(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, 64*mega, func(t *testing.T) {
			c := dial(t, s, p, overPolling)
			defer c.close()
			for i := range 500 {
				w := dialWS(t, s.addr, p, c.sid)
				switch i % 4 {
				case 0:
					_, _ = w.write(text4("2probe"))
				case 1:
					_, _ = w.write(text4("5"))
				case 2:
					_, _ = w.write(texts("2probe", "2probe", `42["echo"]`)...)
				}
				if i%5 == 0 {
					w.reset()
				} else {
					w.close()
				}
			}
			c.alive(t)
		})
	})
}

// Two upgrades race, beside a POST and a GET: one of them wins at most, and the session lives.
func TestUpgradesRace(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, 64*mega, func(t *testing.T) {
			for range 20 {
				raceUpgrades(t, s, p)
			}
		})
	})
}

func raceUpgrades(t *testing.T, s *site, p protocol) {
	c := dial(t, s, p, overPolling)
	w := pollOf(c)
	var all sync.WaitGroup
	var won atomic.Int32
	for range 4 {
		all.Go(func() {
			up, resp, err := tryWS(s.addr, p.query(), c.sid)
			if err != nil {
				return
			}
			defer up.close()
			if resp.StatusCode != http.StatusSwitchingProtocols {
				return // two GETs have ended the session
			}
			up.p = p
			_, _ = up.write(texts("2probe", "5", `427["echo","raced"]`)...)
			for {
				frames, err := up.read()
				if err != nil {
					return
				}
				for _, f := range frames {
					if strings.HasPrefix(f.data, "437[") {
						won.Add(1)
						return // and leaves: the session ends
					}
				}
			}
		})
	}
	all.Go(func() { _, _, _ = w.post(encodePayload(p, texts(`428["echo"]`))) })
	all.Go(func() { _, _, _ = w.do("GET", w.url(), "", nil) })
	all.Wait()
	c.close()
	if n := won.Load(); n > 1 {
		t.Errorf("%d upgrades of one session", n)
	}
}

// A POST whose body comes in drips ends with the session, and holds nobody up.
func TestTrickledPost(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newHastySite(t)
		s.survives(t, 4*mega, func(t *testing.T) {
			c := dial(t, s, p, overPolling)
			defer c.close()
			drip := begin(t, s.addr, "POST", pollOf(c).url(), "4", 500_000)
			defer func() { _ = drip.Close() }()
			wantSoon(t, "the server has had enough", func() bool {
				_, err := drip.Write([]byte("2"))
				return err != nil
			})
			c.closed(t)
		})
	})
}

// Nor does Shutdown wait for the rest of a body, which may take as long as the heartbeat allows.
func TestShutdownDuringPost(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newEmptySite(t)
		c := dial(t, s, p, overPolling)
		posts := begin(t, s.addr, "POST", pollOf(c).url(), "4", 100)
		defer func() { _ = posts.Close() }()
		wantSoon(t, "the POST is there", func() bool {
			status, _, err := pollOf(c).do("POST", pollOf(c).url(), "", strings.NewReader(encodePayload(p, texts("6"))))
			return err == nil && status == 400 // and has closed the session
		})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}

// One client's CONNECTs whose auth takes its time gather no goroutines, and end with the client.
func TestConnectsWithSlowAuth(t *testing.T) {
	ways(t, func(t *testing.T, p protocol, w way) {
		var asking, most atomic.Int32
		s := newSite(t, chat.Namespace("/slow", chat.WithAuth(func(ctx context.Context, _ *chat.Handshake) (chat.User, error) {
			most.Store(max(most.Load(), asking.Add(1)))
			<-ctx.Done()
			asking.Add(-1)
			return chat.User{}, ctx.Err()
		})))
		s.survives(t, 64*mega, func(t *testing.T) {
			bad := dial(t, s, p, w)
			for range 20 {
				var frames []frame
				for range 100 {
					frames = append(frames, texts("40/slow,", "41/slow,")...)
				}
				bad.send(t, frames...)
			}
			wantSoon(t, "auth is asked", func() bool { return most.Load() > 0 })
			bad.alive(t)
			bad.close()
			wantSoon(t, "no auth is under way", func() bool { return asking.Load() == 0 })
		})
		if n := most.Load(); n > 100 {
			t.Errorf("%d at once", n)
		}
	})
}

// A history of long messages comes in pages that fit, whoever asks.
func TestHistoryOfLongMessages(t *testing.T) {
	ways(t, func(t *testing.T, p protocol, w way) {
		s := newEmptySite(t)
		c := dial(t, s, p, w)
		const messages = 40 // 48 KB each
		for range messages {
			if _, err := s.hub.Room("lobby").Post(t.Context(), chat.Post{Text: strings.Repeat("<", 8000)}); err != nil {
				t.Fatal(err)
			}
			c.expect(t, `42["new_message"`) // before the next: all at once are too many
			c.in.clear()
		}
		for _, ask := range []string{`"after":0`, `"before":41`, `"limit":200`} {
			c.send(t, text4(`421["history",{"limit":200,`+ask+`}]`))
			answer := c.expect(t, `431[{"ok":true`).data
			if n := strings.Count(answer, `"seq":`); n == 0 || !strings.Contains(answer, `"more":true`) {
				t.Errorf("%s: %d entries, %s", ask, n, answer[len(answer)-100:])
			}
			if first := strings.Contains(answer, `"seq":1,`); first != (ask == `"after":0`) {
				t.Errorf("%s: the wrong end of the page", ask)
			}
			c.in.clear()
		}
		c.alive(t)
	})
}

// A client that answers no calls may be cut off; it does not gather memory, nor hold up anybody.
func TestCallsNotAnswered(t *testing.T) {
	sockets(t, func(t *testing.T, p protocol) {
		clients := make(chan *chat.Client, 1)
		s := newSite(t, chat.On("me", func(_ context.Context, c *chat.Client, _ any) error {
			clients <- c
			return nil
		}))
		s.survives(t, 64*mega, func(t *testing.T) {
			mute := dial(t, s, p, overWS)
			mute.send(t, text4(`42["me"]`))
			c := <-clients
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var calls sync.WaitGroup
			for range 1500 {
				calls.Go(func() {
					if _, err := chat.Call[string](ctx, c, "answer me"); err == nil {
						t.Error("answered")
					}
				})
			}
			wantSoon(t, "a call is out", func() bool { return mute.in.has("42") })
			s.exchange(t)
			if p == legacy {
				mute.closed(t)
			}
			cancel()
			calls.Wait()
			mute.close()
		})
	})
}
