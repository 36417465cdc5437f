package chat_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
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

func TestRatesAreValidated(t *testing.T) {
	t.Parallel()
	ok := chat.Rate{PerSecond: 1}
	for name, rates := range map[string][]chat.Rate{
		"no such Scope":           {{Per: "room", PerSecond: 1}},
		"no such Counted":         {{Count: "tears", PerSecond: 1}},
		"a client connects once":  {{Count: chat.Connects, PerSecond: 1}},
		"only Events have a name": {{Count: chat.Bytes, Event: "x", PerSecond: 1}},
		"reserved by the protoco": {{Event: "disconnect", PerSecond: 1}},
		"PerSecond must be more":  {{}},
		"must not be negative":    {{PerSecond: 1, Burst: -1}},
		"must come back within":   {{PerSecond: 1e-6}},
		"client events: given tw": {ok, ok},
		`user "x" events: given`:  {{Per: chat.PerUser, Event: "x", PerSecond: 1}, ok, {Per: chat.PerUser, Event: "x", PerSecond: 2, Burst: 9}},
	} {
		for _, opt := range []chat.Option{chat.WithRates(rates...), chat.Namespace("/n", chat.WithRates(rates...))} {
			if _, err := chat.New(opt); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := chat.New(chat.WithRates(ok), chat.WithRates(ok)); err == nil {
		t.Error("the same rate by two options is no error")
	}
	newHub(t, chat.WithRates(ok, chat.Rate{Per: chat.PerUser, PerSecond: 1}, chat.Rate{Event: "x", PerSecond: 1}), chat.Namespace("/n", chat.WithRates(ok)))
}

// limits is an observer.
type limits struct {
	mu   sync.Mutex
	hits []chat.LimitHit
}

func (l *limits) ObserveLimit(_ context.Context, hit chat.LimitHit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hits = append(l.hits, hit)
}

func (l *limits) take() []chat.LimitHit {
	l.mu.Lock()
	defer l.mu.Unlock()
	hits := l.hits
	l.hits = nil
	return hits
}

// wantSteps takes what was observed.
func (l *limits) wantSteps(t testing.TB, want ...chat.LimitStep) {
	t.Helper()
	var steps []chat.LimitStep
	for _, hit := range l.take() {
		steps = append(steps, hit.Step)
	}
	if !slices.Equal(steps, want) {
		t.Fatalf("observed %q, want %q", steps, want)
	}
}

type refusal struct {
	OK    bool
	Error struct {
		Code         chat.Code
		Message      string
		Event        string
		RetryAfterMS int64 `json:"retry_after_ms"`
	}
}

func (r *refusal) retry() time.Duration {
	return time.Duration(r.Error.RetryAfterMS) * time.Millisecond
}

const (
	rateStrikes  = 3
	rateCoolDown = 5 * time.Second
)

// rateOf is two at once and one more every half second; of Bytes so many times the bytes of one event.
func rateOf(per chat.Scope, count chat.Counted) chat.Rate {
	r := chat.Rate{Per: per, Count: count, PerSecond: 2, Burst: 2, Strikes: rateStrikes, CoolDown: rateCoolDown}
	if count == chat.Bytes {
		r.PerSecond, r.Burst = 2*probeBytes, 2*probeBytes+probeSlack
	}
	return r
}

// An event has probeBytes, but for its ack's id and what it takes to hold it; probeSlack is more than those of three, and less than comes back in a millisecond.
const (
	probeBytes = 100_000
	probeSlack = 150
)

var probeText = strings.Repeat("x", probeBytes-len(`"",`)-len(`["probe"]`)-24)

// probes are what each Counted counts, and the next of them for a client.
var probes = map[chat.Counted]func(t testing.TB, c *chattest.Client, n int) refusal{
	chat.Events: probe,
	chat.Bytes:  probe,
	chat.Joins: func(t testing.TB, c *chattest.Client, n int) (r refusal) {
		t.Helper()
		c.Call("join_room", object{"room": fmt.Sprint("r", n)}).Decode(0, &r)
		return r
	},
}

func probe(t testing.TB, c *chattest.Client, _ int) (r refusal) {
	t.Helper()
	c.Call("probe", probeText).Decode(0, &r)
	return r
}

func onProbe() chat.Option {
	return chat.On("probe", func(context.Context, *chat.Client, string) error { return nil })
}

// Every scope with everything that a client does: each step with its answer, who else is concerned, and how it ends.
func TestRateSteps(t *testing.T) {
	t.Parallel()
	for _, per := range []chat.Scope{chat.PerClient, chat.PerUser, chat.PerAddress} {
		for count, next := range probes {
			for name, transport := range map[string][]chattest.Option{"websocket": nil, "polling": {chattest.Polling()}} {
				t.Run(fmt.Sprint(per, "/", count, "/", name), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { testRateSteps(t, rateOf(per, count), next, transport) })
				})
			}
		}
	}
}

func testRateSteps(t *testing.T, rate chat.Rate, next func(testing.TB, *chattest.Client, int) refusal, transport []chattest.Option) {
	var seen limits
	left := make(chan string, 1)
	hub := newHub(t, byUser(), onProbe(), chat.WithRates(rate), chat.WithObserver(&seen),
		chat.OnDisconnect(func(_ context.Context, _ *chat.Client, why string) { left <- why }))
	dial := func(user, address string) *chattest.Client {
		return chattest.Dial(t, hub, append([]chattest.Option{as(user), chattest.RemoteAddr(address + ":1")}, transport...)...)
	}
	c := dial("ann", "192.0.2.1")
	n := 0
	do := func() refusal {
		t.Helper()
		n++
		return next(t, c, n)
	}
	passes := func() {
		t.Helper()
		if r := do(); !r.OK {
			t.Fatalf("%+v", r)
		}
	}
	refused := func(retry time.Duration, steps ...chat.LimitStep) {
		t.Helper()
		r := do()
		if r.OK || r.Error.Code != chat.RateLimited || r.retry() != retry {
			t.Fatalf("%+v, want to wait for %v", r, retry)
		}
		seen.wantSteps(t, steps...)
	}
	passes()
	passes()
	refused(500*time.Millisecond, chat.LimitRefused)
	time.Sleep(499 * time.Millisecond)
	refused(time.Millisecond, chat.LimitRefused)
	time.Sleep(time.Millisecond)
	passes()
	refused(rateCoolDown, chat.LimitRefused, chat.LimitCoolDown)
	time.Sleep(rateCoolDown - time.Millisecond)
	refused(time.Millisecond, chat.LimitRefused)
	time.Sleep(time.Millisecond)
	passes() // the cool-down is over
	passes()

	refused(500*time.Millisecond, chat.LimitRefused)
	refused(500*time.Millisecond, chat.LimitRefused)
	refused(rateCoolDown, chat.LimitRefused, chat.LimitCoolDown)
	// Others are concerned by the cool-down as far as they are counted together.
	for _, o := range []struct {
		user, address string
		same          bool
	}{
		{"ann", "192.0.2.2", rate.Per == chat.PerUser},
		{"ben", "192.0.2.1", rate.Per == chat.PerAddress},
		{"ben", "192.0.2.2", false},
	} {
		other := dial(o.user, o.address)
		if r := next(t, other, 0); r.OK == o.same {
			t.Errorf("%s of %s: %+v", o.user, o.address, r)
		}
		seen.take()
		other.Close()
		<-left
	}
	spent := 0
	if rate.Per != chat.PerClient {
		spent = 1 // by the one who is counted together with her
	}
	for range rateStrikes - 1 - spent {
		refused(rateCoolDown, chat.LimitRefused)
	}
	refused(rateCoolDown, chat.LimitRefused, chat.LimitDisconnect)
	if why := c.WaitClosed(); why != "io server disconnect" {
		t.Error(why)
	}
	if why := <-left; why != "rate limited" {
		t.Error(why)
	}
	synctest.Wait()
	s := hub.Stats()
	if s.Limited[chat.LimitDisconnect] != 1 || s.Limited[chat.LimitCoolDown] != 2 || s.Limited[chat.LimitRefused] != 10 || s.Evicted["rate limited"] != 1 {
		t.Errorf("%v %v", s.Limited, s.Evicted)
	}
	c = dial("ann", "192.0.2.1") // her page connects again
	if rate.Per == chat.PerClient {
		passes()
		return
	}
	refused(rateCoolDown, chat.LimitRefused)
	time.Sleep(rateCoolDown)
	passes()
}

func TestLimitHitsTellWho(t *testing.T) {
	t.Parallel()
	var seen limits
	hub := newHub(t, byUser(), chat.WithObserver(&seen), chat.Namespace("/n", byUser(), onProbe(),
		chat.WithRates(chat.Rate{Per: chat.PerUser, Event: "probe", PerSecond: 1e-4, Burst: 1})))
	c := chattest.Dial(t, hub, as("ann"), chattest.RemoteAddr("[2001:db8::7]:1"), chattest.Namespace("/n"))
	probe(t, c, 0)
	probe(t, c, 0)
	want := chat.LimitHit{
		Limit: "rate", Step: chat.LimitRefused, Per: chat.PerUser, Namespace: "/n", Event: "probe", UserID: "ann", ClientID: c.ID(), Address: "2001:db8::7",
	}
	if got := seen.take(); len(got) != 1 || got[0] != want {
		t.Fatalf("%+v", got)
	}
}

// An event without an ack is answered by the event "error"; none of those refused gets to a handler.
func TestRateWithoutAck(t *testing.T) {
	t.Parallel()
	got := make(chan string, 100)
	hub := newHub(t, chat.WithRates(chat.Rate{PerSecond: 1e-4, Burst: 2, Strikes: 2, CoolDown: time.Minute}),
		chat.On("a", func(_ context.Context, _ *chat.Client, v string) error { got <- v; return nil }))
	c := chattest.Dial(t, hub)
	for i := range 6 { // the last one ends it
		c.Emit("a", fmt.Sprint(i))
	}
	for i := range 4 { // and then it is disconnected
		var e struct {
			Code  chat.Code
			Event string
			Retry int64 `json:"retry_after_ms"`
		}
		c.Expect("error").Decode(0, &e)
		if e.Code != chat.RateLimited || e.Event != "a" || e.Retry < 9_000_000 || e.Retry > 10_000_000 {
			t.Fatalf("number %d: %+v", i, e)
		}
	}
	if why := c.WaitClosed(); why != "io server disconnect" {
		t.Error(why)
	}
	c.None("error")
	eventually(t, func() bool { return hub.Stats().Clients == 0 && len(got) >= 2 }) // what was let through is handled after the end, too
	if len(got) != 2 {
		t.Errorf("%d got through", len(got))
	}
}

// A rate of one event leaves the others alone; one of all events counts them together; what is refused by one rate is not counted by the other, and the
// answer has the longer wait.
func TestRatesTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithRooms("r"), onProbe(), chat.WithRates(
			chat.Rate{Event: "chat_message", PerSecond: 5, Burst: 10, Strikes: 1000},
			chat.Rate{Per: chat.PerUser, PerSecond: 1, Burst: 15, Strikes: 1000},
		))
		c := chattest.Dial(t, hub, as("ann"))
		message := func() (r refusal) {
			c.Call("chat_message", object{"text": "x"}).Decode(0, &r)
			return r
		}
		for range 10 {
			if r := message(); !r.OK {
				t.Fatalf("%+v", r)
			}
		}
		for range 20 {
			if r := message(); r.retry() != 200*time.Millisecond {
				t.Fatalf("%+v", r)
			}
		}
		for range 5 {
			if r := probe(t, c, 0); !r.OK {
				t.Fatalf("%+v", r)
			}
		}
		if r := probe(t, c, 0); r.retry() != time.Second {
			t.Fatalf("%+v", r)
		}
		if r := message(); r.retry() != time.Second {
			t.Fatalf("%+v", r)
		}
		time.Sleep(time.Second)
		if r := message(); !r.OK {
			t.Fatalf("%+v", r)
		}
	})
}

// An event over its rate is answered before those that wait for their handlers.
func TestRateAnswersAtOnce(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hub := newHub(t, chat.WithRates(chat.Rate{Event: "fast", PerSecond: 1e-4, Burst: 1}),
		chat.On("slow", func(context.Context, *chat.Client, any) error { <-release; return nil }),
		chat.On("fast", func(context.Context, *chat.Client, any) error { return nil }))
	c := chattest.Dial(t, hub)
	c.Emit("slow")
	c.Emit("fast")
	wantCode(t, ask(t, c, "fast"), chat.RateLimited)
	close(release)
}

// Rooms that the client is in already, the host's own subscriptions and rooms by name that are none are not counted; what the policy refuses is.
func TestJoinsCounted(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithRooms("a", "b"), chat.WithRates(chat.Rate{Count: chat.Joins, PerSecond: 1e-4, Burst: 2}),
		chat.OnConnect(func(ctx context.Context, c *chat.Client) {
			if err := c.Join(ctx, "c", "d"); err != nil {
				t.Error(err)
			}
		}),
		chat.WithRoomPolicy(chat.RoomPolicy{Join: func(_ context.Context, _ *chat.Client, room string) error {
			if room == "closed" {
				return chat.Errorf(chat.Forbidden, "closed")
			}
			return nil
		}}))
	c := chattest.Dial(t, hub)
	for range 5 {
		join(t, c, "a")
		join(t, c, "d")
		wantCode(t, ask(t, c, "join_room", object{"room": "no name"}), chat.InvalidPayload)
	}
	wantCode(t, ask(t, c, "join_room", object{"room": "closed"}), chat.Forbidden)
	join(t, c, "e")
	wantCode(t, ask(t, c, "join_room", object{"room": "f"}), chat.RateLimited)
	mustAsk(t, c, "leave_room", object{"room": "a"})
	wantCode(t, ask(t, c, "join_room", object{"room": "a"}), chat.RateLimited)
	join(t, c, "b")
}

// refusedDial wants a connection to be refused, by connect_error (status 0) or by HTTP.
func refusedDial(t testing.TB, hub *chat.Hub, status int, opts ...chattest.Option) (retry time.Duration) {
	t.Helper()
	_, err := chattest.TryDial(t, hub, opts...)
	var refused *chattest.DialError
	if !errors.As(err, &refused) || refused.Status != status {
		t.Fatalf("%v, want status %d", err, status)
	}
	if status != 0 {
		return 0
	}
	var data struct {
		Code  chat.Code
		Retry int64 `json:"retry_after_ms"`
	}
	if err := json.Unmarshal(refused.Data, &data); err != nil || data.Code != chat.RateLimited || refused.Message != "too many connects" {
		t.Fatalf("%+v", refused)
	}
	return time.Duration(data.Retry) * time.Millisecond
}

func TestConnectsOfAnAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var seen limits
		hub := newHub(t, chat.WithObserver(&seen), chat.WithRates(rateOf(chat.PerAddress, chat.Connects)),
			chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
				asked++
				return chat.User{}, chat.Errorf(chat.Unauthorized, "no")
			}))
		for range 2 { // refused by auth: they count
			if _, err := chattest.TryDial(t, hub); err == nil {
				t.Fatal("let in")
			}
		}
		for i := range rateStrikes {
			retry := 500 * time.Millisecond
			if i == rateStrikes-1 {
				retry = rateCoolDown
			}
			if got := refusedDial(t, hub, 0); got != retry {
				t.Fatalf("number %d: %v", i, got)
			}
		}
		if asked != 2 {
			t.Errorf("auth was asked %d times", asked)
		}
		seen.wantSteps(t, chat.LimitRefused, chat.LimitRefused, chat.LimitRefused, chat.LimitCoolDown)
		time.Sleep(1500 * time.Millisecond)
		refusedDial(t, hub, 429)
		refusedDial(t, hub, 429, chattest.Polling())
		res := get(t, hub, "GET", handshakeURL) // of the same address, by httptest
		if res.StatusCode != 429 || res.Header.Get("Retry-After") != "4" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		seen.wantSteps(t, chat.LimitRefused, chat.LimitRefused, chat.LimitRefused)
		if _, err := chattest.TryDial(t, hub, chattest.RemoteAddr("192.0.2.2:1")); err == nil || asked != 3 {
			t.Error(err, asked)
		}
		time.Sleep(rateCoolDown - 1500*time.Millisecond)
		if _, err := chattest.TryDial(t, hub); err == nil || asked != 4 {
			t.Error(err, asked)
		}
	})
}

// One host has a whole /64 of IPv6, and is one address.
func TestConnectsOfAPrefix(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithRates(chat.Rate{Per: chat.PerAddress, Count: chat.Connects, PerSecond: 1e-4, Burst: 2}))
	chattest.Dial(t, hub, chattest.RemoteAddr("[2001:db8:0:1::1]:1"))
	chattest.Dial(t, hub, chattest.RemoteAddr("[2001:db8:0:1:ffff::1]:1"))
	refusedDial(t, hub, 0, chattest.RemoteAddr("[2001:db8:0:1::2]:1"))
	chattest.Dial(t, hub, chattest.RemoteAddr("[2001:db8:0:2::1]:1"))
}

// The same for the limits that are of an address; who is told of them is told the address itself.
func TestLimitsOfAPrefix(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen limits
		trust := chat.WithTrustedProxies("192.0.2.1") // whom httptest's requests come from
		hub := newHub(t, trust, chat.WithObserver(&seen), chat.WithLimits(chat.Limits{ClientsPerAddress: 2, PendingPerAddress: 2}))
		chattest.Dial(t, hub, chattest.RemoteAddr("[2001:db8:0:1::1]:1"))
		chattest.Dial(t, hub, chattest.RemoteAddr("[2001:db8:0:1:ffff::1]:1"))
		_, err := chattest.TryDial(t, hub, chattest.RemoteAddr("[2001:db8:0:1::2]:1"))
		wantRefused(t, err, chat.RateLimited)
		wantHits(t, &seen, chat.LimitHit{Limit: "ClientsPerAddress", Step: chat.LimitRefused, Per: chat.PerAddress, Namespace: "/", Address: "2001:db8:0:1::2"})
		chattest.Dial(t, hub, chattest.RemoteAddr("[2001:db8:0:2::1]:1"))
		for i, status := range []int{200, 200, 429} {
			address := fmt.Sprintf("2001:db8:0:3::%d", i)
			if res := get(t, hub, "GET", handshakeURL, "X-Forwarded-For", address); res.StatusCode != status {
				t.Errorf("number %d: %d", i, res.StatusCode)
			}
		}
		wantHits(t, &seen, chat.LimitHit{Limit: "PendingPerAddress", Step: chat.LimitRefused, Per: chat.PerAddress, Address: "2001:db8:0:3::2"})
	})
}

func TestConnectsOfAUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithRates(rateOf(chat.PerUser, chat.Connects)))
		n := 0
		from := func(user string) []chattest.Option {
			n++
			return []chattest.Option{as(user), chattest.RemoteAddr(fmt.Sprintf("192.0.2.%d:1", n))}
		}
		for range 2 {
			chattest.Dial(t, hub, from("ann")...)
		}
		if got := refusedDial(t, hub, 0, from("ann")...); got != 500*time.Millisecond {
			t.Fatal(got)
		}
		chattest.Dial(t, hub, from("ben")...)
		time.Sleep(500 * time.Millisecond)
		chattest.Dial(t, hub, from("ann")...)
		for i := range 20 { // no handshake is refused: who it is comes after it
			got := refusedDial(t, hub, 0, from("ann")...)
			if i > 0 && got != rateCoolDown {
				t.Fatalf("number %d: %v", i, got)
			}
		}
		if s := hub.Stats(); s.Limited[chat.LimitCoolDown] != 1 || s.Limited[chat.LimitDisconnect] == 0 || s.Clients != 4 {
			t.Errorf("%+v", s)
		}
	})
}

// Who asks again and again by a connection that is there already is cut off.
func TestConnectsByOneConnection(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"4", "3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			hub := newHub(t, chat.Namespace("/n", chat.WithRates(chat.Rate{
				Per: chat.PerAddress, Count: chat.Connects, PerSecond: 1e-4, Burst: 1, Strikes: 2, CoolDown: time.Minute,
			})))
			srv := httptest.NewServer(hub)
			t.Cleanup(srv.Close)
			c := dialVersion(t, srv.Listener.Addr().String(), version)
			if version == "4" {
				c.send(t, "40")
			}
			c.expect(t, "40")
			c.send(t, "40/n,")
			c.expect(t, "40/n")
			for range 4 {
				c.send(t, "41/n,")
				c.send(t, "40/n,")
				if got := c.expect(t, "44/n"); !strings.Contains(got, "RATE_LIMITED") || !strings.Contains(got, "retry_after_ms") {
					t.Fatal(got)
				}
			}
			c.expectEnd(t)
			if s := hub.Stats().Limited; s[chat.LimitRefused] != 4 || s[chat.LimitCoolDown] != 1 || s[chat.LimitDisconnect] != 1 {
				t.Error(s)
			}
			res := get(t, hub, "GET", strings.Replace(handshakeURL, "EIO=4", "EIO="+version, 1))
			if res.StatusCode != 200 { // httptest's address is another one
				t.Error(res.StatusCode)
			}
		})
	}
}

func dialVersion(t testing.TB, addr, version string) *rawConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, br, _, err := ws.Dial(ctx, "ws://"+addr+"/socket.io/?transport=websocket&EIO="+version)
	if err != nil {
		t.Fatal(err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &rawConn{Conn: conn, r: br}
	c.expect(t, "0{")
	return c
}

// expectEnd reads until the server closes.
func (c *rawConn) expectEnd(t testing.TB) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		if _, _, err := wsutil.ReadServerData(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("it is still open")
		} else if err != nil {
			return
		}
	}
}

// On the wire: each answer as it stands, the last one before the disconnect. Clients of 1.x and 2.x hear the same.
func TestRateOnTheWire(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"4", "3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			left := make(chan string, 1)
			hub := newHub(t, onProbe(), chat.WithRates(chat.Rate{Event: "probe", PerSecond: 1e-4, Burst: 1, Strikes: 2, CoolDown: time.Minute}),
				chat.OnDisconnect(func(_ context.Context, _ *chat.Client, why string) { left <- why }))
			srv := httptest.NewServer(hub)
			t.Cleanup(srv.Close)
			c := dialVersion(t, srv.Listener.Addr().String(), version)
			if version == "4" {
				c.send(t, "40")
			}
			c.expect(t, "40")
			c.send(t, `421["probe","x"]`)
			c.expect(t, `431[{"ok":true}]`)
			for i, packet := range []string{`422["probe","x"]`, `42["probe","x"]`, `424["probe","x"]`, `42["probe","x"]`} {
				c.send(t, packet)
				want := []string{`432[{"ok":false,`, `42["error",`, `434[{"ok":false,`, `42["error",`}[i]
				got := c.expect(t, "4")
				if !strings.HasPrefix(got, want) || !strings.Contains(got, `"code":"RATE_LIMITED"`) || !strings.Contains(got, `"retry_after_ms":`) {
					t.Fatalf("%s, want %s…", got, want)
				}
			}
			if got := c.expect(t, "4"); got != "41" {
				t.Error(got)
			}
			if why := <-left; why != "rate limited" {
				t.Error(why)
			}
		})
	}
}

// What came in together with the event that ended a client is dropped without a word.
func TestFloodAfterTheDisconnect(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"4", "3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			hub := newHub(t, onProbe(), chat.WithRates(chat.Rate{Event: "probe", PerSecond: 1e-4, Burst: 1, Strikes: 2, CoolDown: time.Minute}))
			srv := httptest.NewServer(hub)
			t.Cleanup(srv.Close)
			c := dialVersion(t, srv.Listener.Addr().String(), version)
			if version == "4" {
				c.send(t, "40")
			}
			c.expect(t, "40")
			var flood bytes.Buffer
			for range 500 {
				if err := wsutil.WriteClientText(&flood, []byte(`42["probe","x"]`)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.Write(flood.Bytes()); err != nil {
				t.Fatal(err)
			}
			errors := 0
			for ; c.expect(t, "4") != "41"; errors++ {
			}
			_ = c.Close()
			eventually(t, func() bool { return hub.Stats().Sessions == 0 }) // all has been read
			if s := hub.Stats().Limited; errors != 4 || s[chat.LimitRefused] != 4 || s[chat.LimitCoolDown] != 1 || s[chat.LimitDisconnect] != 1 {
				t.Error(errors, s)
			}
		})
	}
}

// A connection that recovers goes on with its bucket and its strikes; a new one has new ones, but its user and its address have not.
func TestRecoveryKeepsTheBucket(t *testing.T) {
	t.Parallel()
	for _, per := range []chat.Scope{chat.PerClient, chat.PerUser, chat.PerAddress} {
		t.Run(string(per), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var seen limits
				hub := newHub(t, byUser(), onProbe(), chat.WithObserver(&seen), chat.WithRates(rateOf(per, chat.Events)))
				c := chattest.Dial(t, hub, as("ann"))
				wait := func(want time.Duration) {
					t.Helper()
					if r := probe(t, c, 0); r.retry() != want {
						t.Fatalf("%+v, want %v", r, want)
					}
				}
				again := func() {
					t.Helper()
					c.Reconnect()
					if !c.Recovered() {
						t.Fatal("not recovered")
					}
				}
				wait(0)
				wait(0)
				for range rateStrikes - 1 {
					again()
					wait(500 * time.Millisecond)
				}
				again()
				wait(rateCoolDown)
				for range rateStrikes {
					again()
					wait(rateCoolDown)
				}
				if why := c.WaitClosed(); why != "io server disconnect" {
					t.Fatal(why)
				}
				pid, offset := c.Session()
				c = chattest.Dial(t, hub, as("ann"), chattest.Recover(pid, offset))
				if c.Recovered() {
					t.Fatal("recovered after the disconnect")
				}
				if per == chat.PerClient {
					wait(0)
				} else {
					wait(rateCoolDown)
				}
			})
		})
	}
}

// A user without an id of auth's is a client.
func TestRateOfAnAnonymousUser(t *testing.T) {
	t.Parallel()
	hub := newHub(t, onProbe(), chat.WithRates(chat.Rate{Per: chat.PerUser, PerSecond: 1e-4, Burst: 1}, chat.Rate{Per: chat.PerUser, Count: chat.Connects, PerSecond: 1e-4, Burst: 1}))
	for range 3 {
		c := chattest.Dial(t, hub)
		if r := probe(t, c, 0); !r.OK {
			t.Fatalf("%+v", r)
		}
		if r := probe(t, c, 0); r.OK {
			t.Fatal("passed")
		}
	}
}

func TestRatesOfANamespaceAreItsOwn(t *testing.T) {
	t.Parallel()
	rate := chat.WithRates(chat.Rate{Per: chat.PerUser, PerSecond: 1e-4, Burst: 1})
	hub := newHub(t, byUser(), onProbe(), rate, chat.Namespace("/same", onProbe(), rate), chat.Namespace("/free", onProbe()))
	for namespace, times := range map[string]int{"/": 1, "/same": 1, "/free": 10} {
		c := chattest.Dial(t, hub, as("ann"), chattest.Namespace(namespace))
		for range times {
			if r := probe(t, c, 0); !r.OK {
				t.Fatalf("%s: %+v", namespace, r)
			}
		}
		if r := probe(t, c, 0); r.OK != (namespace == "/free") {
			t.Errorf("%s: %+v", namespace, r)
		}
	}
}

// A flood does not flood the log: one line for what begins, one for each step.
func TestRatesInTheLog(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	hub, err := chat.New(chat.WithLogger(log), byUser(), onProbe(), chat.WithRates(chat.Rate{Event: "probe", PerSecond: 1e-4, Burst: 1, Strikes: 50, CoolDown: time.Minute}))
	if err != nil {
		t.Fatal(err)
	}
	c := chattest.Dial(t, hub, as("ann"))
	for range 101 {
		probe(t, c, 0)
	}
	c.WaitClosed()
	if err := hub.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(text.String()) {
		if strings.Contains(line, "chat: rate limited") {
			for _, part := range []string{"client_id=" + c.ID(), "user_id=ann", "remote=192.0.2.1", "per=client", "event=probe"} {
				if !strings.Contains(line, part) {
					t.Errorf("no %s in %s", part, line)
				}
			}
			_, level, _ := strings.Cut(line, "level=")
			_, step, _ := strings.Cut(line, "step=")
			got = append(got, strings.Fields(level)[0]+" "+strings.Fields(step)[0])
		}
	}
	if want := []string{"DEBUG refused", "WARN cool-down", "DEBUG refused", "WARN disconnect"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What Limits refuse is counted and observed like what rates refuse.
func TestLimitsAreObserved(t *testing.T) {
	t.Parallel()
	var seen limits
	hub := newHub(t, byUser(), chat.WithObserver(&seen), chat.WithLimits(chat.Limits{ClientsPerUser: 1, ClientsPerAddress: 2, RoomsPerClient: 1, LegacyClients: 1}))
	want := func(want chat.LimitHit) {
		t.Helper()
		want.Step = chat.LimitRefused
		if got := seen.take(); len(got) != 1 || got[0] != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	dial := func(user, address string) (*chattest.Client, error) {
		return chattest.TryDial(t, hub, as(user), chattest.RemoteAddr(address+":1"))
	}
	c, _ := dial("ann", "192.0.2.1")
	if _, err := dial("ann", "192.0.2.2"); err == nil {
		t.Fatal("a second one of ann")
	}
	want(chat.LimitHit{Limit: "ClientsPerUser", Per: chat.PerUser, Namespace: "/", UserID: "ann", Address: "192.0.2.2"})
	_, _ = dial("ben", "192.0.2.1")
	if _, err := dial("cid", "192.0.2.1"); err == nil {
		t.Fatal("a third one of the address")
	}
	want(chat.LimitHit{Limit: "ClientsPerAddress", Per: chat.PerAddress, Namespace: "/", UserID: "cid", Address: "192.0.2.1"})
	join(t, c, "a")
	wantCode(t, ask(t, c, "join_room", object{"room": "b"}), chat.RateLimited)
	want(chat.LimitHit{Limit: "RoomsPerClient", Per: chat.PerClient, Namespace: "/", Room: "b", UserID: "ann", ClientID: c.ID()})
	legacy := strings.Replace(handshakeURL, "EIO=4", "EIO=3", 1)
	if res := get(t, hub, "GET", legacy); res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	if res := get(t, hub, "GET", legacy); res.StatusCode != 503 {
		t.Fatal(res.StatusCode)
	}
	want(chat.LimitHit{Limit: "LegacyClients", Address: "192.0.2.1"})
	if n := hub.Stats().Limited[chat.LimitRefused]; n != 4 {
		t.Error(n)
	}
}
