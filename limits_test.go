package chat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// poller is a polling client by hand.
type poller struct {
	t    testing.TB
	http *http.Client
	sid  string
}

func (p *poller) do(method, body string) (status int, answer string, header http.Header) {
	p.t.Helper()
	url := "http://chat.test/socket.io/?transport=polling&EIO=4"
	if p.sid != "" {
		url += "&sid=" + p.sid
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, string(text), res.Header
}

// open makes a session, and joins the namespace where join says so.
func (p *poller) open(join string) {
	p.t.Helper()
	status, body, _ := p.do("GET", "")
	var open struct{ Sid string }
	if status != 200 || json.Unmarshal([]byte(body[1:]), &open) != nil {
		p.t.Fatal(status, body)
	}
	if p.sid = open.Sid; join == "" {
		return
	}
	if status, body, _ := p.do("POST", join); status != 200 {
		p.t.Fatal(status, body)
	}
	if _, body, _ := p.do("GET", ""); !strings.HasPrefix(body, "40{") {
		p.t.Fatal(body)
	}
}

func wantHits(t testing.TB, seen *limits, want ...chat.LimitHit) {
	t.Helper()
	synctest.Wait()
	got := seen.take()
	if len(got) != len(want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	for i, hit := range got {
		if hit.ClientID = ""; hit != want[i] {
			t.Errorf("%+v, want %+v", hit, want[i])
		}
	}
}

func TestPendingIsBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits chat.Limits
		status int
		hit    chat.LimitHit
	}{
		"in all":        {chat.Limits{Pending: 3}, 503, chat.LimitHit{Limit: "Pending", Step: chat.LimitRefused, Address: "192.0.2.1"}},
		"of an address": {chat.Limits{PendingPerAddress: 3}, 429, chat.LimitHit{Limit: "PendingPerAddress", Step: chat.LimitRefused, Per: chat.PerAddress, Address: "192.0.2.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var seen limits
				hub := newHub(t, chat.WithLimits(c.limits), chat.WithObserver(&seen), byUserOrNobody())
				crowd := func(want int) {
					t.Helper()
					synctest.Wait()
					if s := hub.Stats(); s.Pending != want {
						t.Fatalf("%d pending, want %d", s.Pending, want)
					}
				}
				refused := func() {
					t.Helper()
					for range 2 {
						res := get(t, hub, "GET", handshakeURL)
						if res.StatusCode != c.status || res.Header.Get("Retry-After") == "" {
							t.Fatal(res.StatusCode, res.Header)
						}
						wantHits(t, &seen, c.hit)
					}
				}
				for range 3 {
					if res := get(t, hub, "GET", handshakeURL); res.StatusCode != 200 {
						t.Fatal(res.StatusCode)
					}
				}
				crowd(3)
				refused()
				if c.limits.Pending == 0 { // others come in
					chattest.Dial(t, hub, chattest.RemoteAddr("192.0.2.9:1"))
					crowd(3)
				}
				before := hub.Stats().Sessions
				time.Sleep(11 * time.Second) // Timeouts.Connect ends those that never came
				crowd(0)
				if s := hub.Stats(); s.Sessions != before-3 || s.Limited[chat.LimitRefused] != 2 {
					t.Errorf("%+v", s)
				}
				// Who has joined does not count any more.
				for range 10 {
					chattest.Dial(t, hub)
					crowd(0)
				}
				for range 3 {
					if res := get(t, hub, "GET", handshakeURL); res.StatusCode != 200 {
						t.Fatal(res.StatusCode)
					}
				}
				refused()
			})
		})
	}
}

// Past Limits.Pending whoever has waited for a second makes room for those who come, and sooner who comes from where there are most.
func TestPendingMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen limits
		hub := newHub(t, chat.WithLimits(chat.Limits{Pending: 3, PendingPerAddress: 3}), chat.WithObserver(&seen), byUserOrNobody())
		at := serveInMemory(t, hub)
		in := dialWire(t, at, "4", nil) // has come in, and stays
		in.send(t, "40")
		synctest.Wait()
		in.want(t, "40{")
		for range 3 {
			if res := get(t, hub, "GET", handshakeURL); res.StatusCode != 200 {
				t.Fatal(res.StatusCode)
			}
		}
		time.Sleep(time.Second)
		var wires []*wire
		evicted := chat.LimitHit{Limit: "Pending", Step: chat.LimitDisconnect, Address: "192.0.2.1"}
		for i := range 3 {
			wires = append(wires, dialWire(t, at, "4", nil))
			wantHits(t, &seen, evicted)
			if s := hub.Stats(); s.Pending != 3 || s.Limited[chat.LimitDisconnect] != int64(i+1) || s.Limited[chat.LimitRefused] != 0 {
				t.Fatalf("%+v", s)
			}
		}
		// The address that has most yields to another at once, until that has as many.
		if res := get(t, hub, "GET", handshakeURL); res.StatusCode != 200 {
			t.Error("shut out by others:", res.StatusCode)
		}
		wantHits(t, &seen, chat.LimitHit{Limit: "Pending", Step: chat.LimitDisconnect, Address: "pipe"})
		if res := get(t, hub, "GET", handshakeURL); res.StatusCode != 503 {
			t.Error("one who has just come was sent away:", res.StatusCode)
		}
		wantHits(t, &seen, chat.LimitHit{Limit: "Pending", Step: chat.LimitRefused, Address: "192.0.2.1"})
		wires[1].send(t, "40")
		synctest.Wait()
		wires[1].want(t, "40{")
		time.Sleep(time.Second)
		chattest.Dial(t, hub)
		synctest.Wait()
		if !wires[0].isOver() || wires[1].isOver() || wires[2].isOver() || in.isOver() {
			t.Error("the wrong one has gone")
		}
		chattest.Dial(t, hub)
		for range 2 { // an address that was evicted from may come back
			if res := get(t, hub, "GET", handshakeURL); res.StatusCode != 200 {
				t.Fatal(res.StatusCode)
			}
		}
		synctest.Wait()
		if wires[1].isOver() || !wires[2].isOver() {
			t.Error("not the oldest")
		}
	})
}

// Past Limits.Upgrades a client stays on polling, and loses nothing.
func TestUpgradesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen limits
		hub := newHub(t, chat.WithLimits(chat.Limits{Upgrades: 1}), chat.WithObserver(&seen), chat.WithRooms("r"))
		at := serveInMemory(t, hub)
		client := at.client(t)
		one, two := &poller{t: t, http: client}, &poller{t: t, http: client}
		one.open("40")
		two.open("40")
		probe := func(p *poller) *wire { return dialWire(t, at, "4&sid="+p.sid, nil) }
		half := probe(one) // and says nothing: half open
		synctest.Wait()
		if n := hub.Stats().Upgrades; n != 1 {
			t.Errorf("%d upgrades", n)
		}
		refused := probe(two)
		synctest.Wait()
		if !refused.isOver() {
			t.Error("not refused")
		}
		wantHits(t, &seen, chat.LimitHit{Limit: "Upgrades", Step: chat.LimitRefused, Address: "pipe"})
		if status, _, _ := two.do("POST", `421["typing",{"room":"r","on":true}]`); status != 200 {
			t.Error(status)
		}
		if _, body, _ := two.do("GET", ""); !strings.Contains(body, `431[{"ok":true}]`) {
			t.Error(body)
		}
		time.Sleep(11 * time.Second) // Timeouts.Upgrade ends the half-open one
		synctest.Wait()
		if n := hub.Stats().Upgrades; n != 0 || !half.isOver() {
			t.Errorf("%d upgrades", n)
		}
		good := probe(two)
		good.send(t, "2probe")
		synctest.Wait()
		good.want(t, "3probe")
	})
}

// errorsSeen is an ErrorObserver.
type errorsSeen struct {
	mu    sync.Mutex
	codes []chat.Code
}

func (e *errorsSeen) ObserveError(_ context.Context, _ *chat.Client, code chat.Code, _ string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.codes = append(e.codes, code)
}

func (e *errorsSeen) want(t testing.TB, want ...chat.Code) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if fmt.Sprint(e.codes) != fmt.Sprint(want) {
		t.Errorf("observed %v, want %v", e.codes, want)
	}
}

func TestTooLargeAsThePageSeesIt(t *testing.T) {
	t.Parallel()
	big := `42["chat_message","` + strings.Repeat("x", 150_000) + `"]`
	t.Run("websocket", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var left ends
			var seen errorsSeen
			hub := newHub(t, byUser(), chat.WithLimits(chat.Limits{Payload: 100_000}), left.option(), chat.WithObserver(&seen), chat.WithRooms("r"), chat.Namespace("/other"))
			page := dialWire(t, serveInMemory(t, hub), "4", nil)
			page.send(t, `40{"user":"ann"}`, `40/other,{"user":"ann"}`)
			synctest.Wait()
			page.try(big)
			<-page.over
			page.want(t, `42["error",{"code":"TOO_LARGE"`)
			page.want(t, `42/other,["error",{"code":"TOO_LARGE"`)
			if page.code != 1009 {
				t.Error(page.code)
			}
			synctest.Wait()
			left.want(t, "ann", "payload too large")
			seen.want(t, chat.TooLarge, chat.TooLarge) // one for each namespace
			if s := hub.Stats(); s.Evicted["payload too large"] != 2 || s.Clients != 0 {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("polling", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var left ends
			var seen errorsSeen
			hub := newHub(t, byUser(), chat.WithLimits(chat.Limits{Payload: 100_000}), left.option(), chat.WithObserver(&seen), chat.WithRooms("r"))
			page := &poller{t: t, http: serveInMemory(t, hub).client(t)}
			page.open(`40{"user":"ann"}`)
			heard := make(chan string, 1)
			go func() {
				all := ""
				for !strings.Contains(all, "error") {
					status, body, _ := page.do("GET", "")
					if all += body; status != 200 {
						break
					}
				}
				heard <- all
			}()
			synctest.Wait()
			if status, body, _ := page.do("POST", big); status != http.StatusRequestEntityTooLarge {
				t.Error(status, body)
			}
			if body := <-heard; !strings.Contains(body, `42["error",{"code":"TOO_LARGE"`) || !strings.HasSuffix(body, "\x1e1") && !strings.HasSuffix(body, "\x1e6") {
				t.Errorf("%q", body)
			}
			synctest.Wait()
			left.want(t, "ann", "payload too large")
			seen.want(t, chat.TooLarge)
			if s := hub.Stats(); s.Evicted["payload too large"] != 1 {
				t.Errorf("%+v", s)
			}
		})
	})
}

func TestSlowConsumerAsThePageSeesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var left ends
		var seen errorsSeen
		hub := newHub(t, byUser(), chat.WithLimits(chat.Limits{Outbox: 20_000}), left.option(), chat.WithObserver(&seen), chat.WithRooms("r"))
		page := &poller{t: t, http: serveInMemory(t, hub).client(t)}
		page.open(`40{"user":"slow"}`)
		ann := chattest.Dial(t, hub, as("ann"))
		for i := range 3 { // while the page does not poll
			if s := hub.Stats(); i > 0 && (s.Outbox < i*9000 || s.OutboxDeepest < i*9000) {
				t.Errorf("%+v", s)
			}
			if err := hub.Room("r").Emit("n", i, strings.Repeat("x", 9000)); err != nil {
				t.Fatal(err)
			}
			ann.Expect("n")
			synctest.Wait()
		}
		status, body, _ := page.do("GET", "")
		if status != 200 || !strings.Contains(body, `42["error",{"code":"SLOW_CONSUMER"`) || strings.Contains(body, "xxx") {
			t.Errorf("%d %.300q", status, body)
		}
		synctest.Wait()
		left.want(t, "slow", "slow consumer")
		seen.want(t, chat.SlowConsumer)
		if s := hub.Stats(); s.Evicted["slow consumer"] != 1 || s.Clients != 1 || s.Outbox != 0 {
			t.Errorf("%+v", s)
		}
		mustAsk(t, ann, "chat_message", "still here")
	})
}

// Every other reason that OnDisconnect and observers are told.
func TestReasons(t *testing.T) {
	t.Parallel()
	for want, end := range map[string]func(t *testing.T, hub *chat.Hub, page *wire){
		"client namespace disconnect": func(t *testing.T, _ *chat.Hub, page *wire) { page.send(t, "41") },
		"transport close":             func(_ *testing.T, _ *chat.Hub, page *wire) { _ = page.conn.Close() },
		"parse error":                 func(t *testing.T, _ *chat.Hub, page *wire) { page.send(t, "4{nonsense") },
		"rate limited": func(t *testing.T, _ *chat.Hub, page *wire) {
			for range 4 {
				page.send(t, `42["leave_room",{"room":"r"}]`)
			}
		},
		"token expired":        func(*testing.T, *chat.Hub, *wire) { time.Sleep(time.Hour) },
		"revoked":              func(t *testing.T, hub *chat.Hub, _ *wire) { revoke(t, hub, "ann") },
		"server shutting down": func(t *testing.T, hub *chat.Hub, _ *wire) { shutDown(t, hub) },
		"payload too large":    func(_ *testing.T, _ *chat.Hub, page *wire) { page.try("42" + strings.Repeat("x", 20_000)) },
		"server namespace disconnect": func(t *testing.T, hub *chat.Hub, _ *wire) {
			if err := hub.To(chat.Users("ann")).Disconnect(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var left ends
				ts := newTokens(map[string]chat.User{"a": {ID: "ann", Expires: time.Now().Add(time.Hour)}})
				observed := make(chan string, 9)
				hub := newHub(t, chat.WithAuth(ts.auth), chat.WithRooms("r"), left.option(), chat.WithLimits(chat.Limits{Payload: 10_000}),
					chat.WithRates(chat.Rate{PerSecond: 0.001, Burst: 1, Strikes: 1}), chat.WithObserver(leftFunc(func(why string) { observed <- why })))
				page := dialWire(t, serveInMemory(t, hub), "4", nil)
				page.send(t, `40{"token":"a"}`)
				synctest.Wait()
				end(t, hub, page)
				synctest.Wait()
				left.want(t, "ann", want)
				if got := <-observed; got != want || len(observed) > 0 {
					t.Error(got)
				}
				evicted := int64(0)
				switch want {
				case "rate limited", "token expired", "revoked", "payload too large":
					evicted = 1
				}
				if s := hub.Stats(); s.Evicted[want] != evicted || s.Clients != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

type leftFunc func(why string)

func (f leftFunc) ObserveDisconnect(_ context.Context, _ *chat.Client, why string) { f(why) }

func TestStats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
			a := struct{ User string }{"old"}
			err := h.Decode(&a)
			return chat.User{ID: a.User}, err
		}), chat.WithRooms("r"), chat.Namespace("/other", chat.WithRooms("r")), chat.WithPresence(0))
		if s := hub.Stats(); fmt.Sprint(s) != fmt.Sprint(chat.Stats{Evicted: s.Evicted, Limited: s.Limited}) || len(s.Evicted) != 5 || len(s.Limited) != 3 {
			t.Errorf("%+v", s)
		}
		at := serveInMemory(t, hub)
		ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"), chattest.Namespace("/other"))
		old := dialWire(t, at, "3", nil)
		time.Sleep(time.Second)
		if s := hub.Stats(); s.Clients != 3 || s.Sessions != 3 || s.LegacyClients != 1 || s.Rooms != 2 || s.BytesIn == 0 || s.BytesOut == 0 || s.Outbox != 0 {
			t.Errorf("%+v", s)
		}
		_ = old.conn.Close()
		synctest.Wait()
		before := hub.Stats()
		mustAsk(t, ann, "chat_message", strings.Repeat("x", 5000))
		ann.Emit("typing", object{"on": true})
		if err := hub.Emit("alert", strings.Repeat("y", 3000)); err != nil {
			t.Fatal(err)
		}
		ann.Expect("alert")
		ann.Raw(`2/nowhere,["x"]`)
		synctest.Wait()
		s := hub.Stats()
		if s.Received-before.Received != 2 || s.Deliveries-before.Deliveries != 1 || s.Dropped-before.Dropped != 1 ||
			s.BytesIn-before.BytesIn < 5000 || s.BytesIn-before.BytesIn > 5500 || s.BytesOut-before.BytesOut < 8000 || s.BytesOut-before.BytesOut > 9000 || s.LegacyClients != 0 {
			t.Errorf("%+v, before %+v", s, before)
		}
		pid, offset := bob.Session()
		bob.Drop()
		synctest.Wait()
		if s := hub.Stats(); s.Clients != 1 || s.Rooms != 2 { // presence waits in the other
			t.Errorf("%+v", s)
		}
		if bob.Reconnect(); !bob.Recovered() {
			t.Error("not recovered")
		}
		chattest.Dial(t, hub, as("eve"), chattest.Namespace("/other"), chattest.Recover(pid, offset))
		chattest.Dial(t, hub, as("eve"), chattest.Recover("nonsense", "x"))
		if s := hub.Stats(); s.Recovered != 1 || s.NotRecovered != 1 || s.Clients != 4 {
			t.Errorf("%+v", s)
		}
	})
}

// What one client may have and do: it is answered, and the observer is told.
func TestLimitsOfEachClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen limits
		hub := newHub(t, byUser(), chat.WithRooms("r"), chat.WithObserver(&seen), chat.WithLimits(chat.Limits{
			Text: 3, Meta: 12, Depth: 3, RoomsPerClient: 2, Attachments: 1, Outbox: 20_000, Payload: 30_000,
		}))
		hit := chat.LimitHit{Step: chat.LimitRefused, Per: chat.PerClient, Namespace: "/", UserID: "ann"}
		of := func(limit, room string) chat.LimitHit {
			hit := hit
			hit.Limit, hit.Room = limit, room
			return hit
		}
		ann := chattest.Dial(t, hub, as("ann"))
		for name, c := range map[string]struct {
			event        string
			within, past any
			code         chat.Code
			limit        int
			hit          chat.LimitHit
		}{
			"text":  {"chat_message", "äöü", "äöü!", chat.TooLarge, 3, of("Text", "r")},
			"meta":  {"chat_message", object{"text": "x", "meta": object{"k": "1234"}}, object{"text": "x", "meta": object{"k": "12345"}}, chat.TooLarge, 12, of("Meta", "")},
			"depth": {"chat_message", object{"text": "x", "meta": object{"k": object{}}}, object{"text": "x", "meta": object{"k": []any{[]any{}}}}, chat.InvalidPayload, 0, of("Depth", "")},
			"rooms": {"join_room", object{"room": "second"}, object{"room": "third"}, chat.RateLimited, 2, of("RoomsPerClient", "third")},
		} {
			mustAsk(t, ann, c.event, c.within)
			wantHits(t, &seen)
			if a := ask(t, ann, c.event, c.past); a.OK || a.Error.Code != c.code || a.Error.Limit != c.limit {
				t.Errorf("%s: %+v", name, a)
			}
			wantHits(t, &seen, c.hit)
		}
		mustAsk(t, ann, "leave_room", object{"room": "second"})
		mustAsk(t, ann, "join_room", object{"room": "third"})
		if s := hub.Stats(); s.Limited[chat.LimitRefused] != 4 {
			t.Errorf("%+v", s)
		}
	})
}

// What ends a client: it is told that too.
func TestLimitsThatEndAClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pass  func(t *testing.T, hub *chat.Hub, page *wire)
		why   string
		limit string // of the LimitHit; empty: there is none
	}{
		"Payload": {func(_ *testing.T, _ *chat.Hub, page *wire) { page.try("42" + strings.Repeat("x", 30_000)) }, "payload too large", "Payload"},
		"Outbox": {func(t *testing.T, hub *chat.Hub, _ *wire) {
			if err := hub.Room("r").Emit("n", strings.Repeat("x", 30_000)); err != nil {
				t.Fatal(err)
			}
		}, "slow consumer", "Outbox"},
		"Attachments": {func(t *testing.T, _ *chat.Hub, page *wire) {
			page.send(t, `452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
		}, "parse error", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var left ends
				var seen limits
				hub := newHub(t, byUser(), chat.WithRooms("r"), left.option(), chat.WithObserver(&seen), chat.WithLimits(chat.Limits{Attachments: 1, Outbox: 20_000, Payload: 20_000}))
				page := dialWire(t, serveInMemory(t, hub), "4", nil)
				page.send(t, `40{"user":"ann"}`)
				synctest.Wait()
				page.send(t, `451-["e",{"_placeholder":true,"num":0}]`)
				page.writing.Lock()
				err := wsutil.WriteClientBinary(page.conn, []byte{1})
				page.writing.Unlock()
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				wantHits(t, &seen)
				c.pass(t, hub, page)
				synctest.Wait()
				left.want(t, "ann", c.why)
				if c.limit == "" {
					wantHits(t, &seen)
				} else {
					wantHits(t, &seen, chat.LimitHit{Limit: c.limit, Step: chat.LimitDisconnect, Per: chat.PerClient, Namespace: "/", UserID: "ann"})
				}
			})
		})
	}
}

// A client that sends more than its handlers take is not read from until they have, and loses nothing.
func TestInboxIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many, each = 40, 1000
		release, handled := make(chan struct{}), 0
		hub := newHub(t, byUser(), chat.WithLimits(chat.Limits{Inbox: 10 * each}), chat.On("e", func(_ context.Context, _ *chat.Client, text string) error {
			<-release
			if !strings.HasPrefix(text, fmt.Sprint(handled, ".")) {
				t.Errorf("%.10s after %d", text, handled)
			}
			handled++
			return nil
		}))
		page := dialWire(t, serveInMemory(t, hub), "4", nil)
		page.send(t, `40{"user":"ann"}`)
		synctest.Wait()
		go func() {
			for i := range many {
				page.try(fmt.Sprintf(`42["e","%d.%s"]`, i, strings.Repeat("x", each)))
			}
		}()
		synctest.Wait()
		if n := hub.Stats().Received; n < 8 || n > 20 {
			t.Errorf("%d events were read while none was handled", n)
		}
		close(release)
		synctest.Wait()
		if n := hub.Stats().Received; n != many || handled != many {
			t.Errorf("%d read, %d handled", n, handled)
		}
	})
}

// A client that does not read is given up when a write does not end.
func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var left ends
		hub := newHub(t, byUser(), left.option(), chat.WithTimeouts(chat.Timeouts{Write: 3 * time.Second}))
		p := serveInMemory(t, hub)
		d := ws.Dialer{NetDial: p.dial}
		conn, _, _, err := d.Dial(t.Context(), "ws://chat.test/socket.io/?EIO=4&transport=websocket") // the first packet is read along
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := wsutil.WriteClientText(conn, []byte(`40{"user":"ann"}`)); err != nil {
			t.Fatal(err)
		}
		if text, err := wsutil.ReadServerText(conn); err != nil || !strings.HasPrefix(string(text), "40") {
			t.Fatal(string(text), err)
		}
		settle(t, 10*time.Second) // nothing is written, so nothing hangs
		if err := hub.Emit("n", 1); err != nil {
			t.Fatal(err)
		}
		settle(t, 2*time.Second)
		left.want(t, "ann")
		settle(t, time.Second)
		left.want(t, "ann", "slow consumer")
	})
}
