package chat_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// tokens are those that an issuer has given out, and what was asked about them.
type tokens struct {
	mu    sync.Mutex
	users map[string]chat.User
	asked []chat.Handshake
	slow  func(ctx context.Context) // nil: auth takes no time
}

func newTokens(users map[string]chat.User) *tokens {
	ts := &tokens{users: map[string]chat.User{}}
	for token, u := range users {
		ts.put(token, u)
	}
	return ts
}

func (ts *tokens) put(token string, u chat.User) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.users[token] = u
}

func (ts *tokens) delay(f func(ctx context.Context)) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.slow = f
}

func (ts *tokens) auth(ctx context.Context, h *chat.Handshake) (chat.User, error) {
	var a struct{ Token string }
	if err := h.Decode(&a); err != nil {
		return chat.User{}, err
	}
	ts.mu.Lock()
	u, ok := ts.users[a.Token]
	ts.asked = append(ts.asked, *h)
	slow := ts.slow
	ts.mu.Unlock()
	if slow != nil {
		slow(ctx)
	}
	switch {
	case a.Token == "panic":
		panic("no such thing as a token")
	case !ok:
		return chat.User{}, chat.Errorf(chat.Unauthorized, "no such token")
	}
	return u, nil
}

func withToken(token string) chattest.Option { return chattest.Auth(object{"token": token}) }

// ends are the reasons that OnDisconnect was told, by user.
type ends struct {
	mu  sync.Mutex
	why map[string][]string
}

func (e *ends) option() chat.Option {
	return chat.OnDisconnect(func(_ context.Context, c *chat.Client, why string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.why == nil {
			e.why = map[string][]string{}
		}
		e.why[c.User().ID] = append(e.why[c.User().ID], why)
	})
}

func (e *ends) want(t testing.TB, user string, why ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.why[user], why) {
		t.Errorf("%s left for %q, want %q", user, e.why[user], why)
	}
}

// wantError takes an event "error".
func wantError(t testing.TB, c *chattest.Client, code chat.Code) {
	t.Helper()
	var e struct{ Code chat.Code }
	if c.Expect("error").Decode(0, &e); e.Code != code {
		t.Fatalf("error %q, want %q", e.Code, code)
	}
}

// wantRefused wants a connect_error of that code.
func wantRefused(t testing.TB, err error, code chat.Code) {
	t.Helper()
	var refused *chattest.DialError
	if !errors.As(err, &refused) || !strings.Contains(string(refused.Data), fmt.Sprintf(`"code":%q`, code)) {
		t.Fatalf("%v, want %s", err, code)
	}
}

// wantEndOfToken is what a page hears at the end of its token.
func wantEndOfToken(t testing.TB, c *chattest.Client) {
	t.Helper()
	wantError(t, c, chat.TokenExpired)
	if why := c.WaitClosed(); why != "io server disconnect" {
		t.Error(why)
	}
}

type refreshed struct {
	OK        bool
	ExpiresAt string `json:"expires_at"`
	Error     struct{ Code chat.Code }
}

func refresh(t testing.TB, c *chattest.Client, token any) (r refreshed) {
	t.Helper()
	c.Call("refresh_auth", object{"token": token}).Decode(0, &r)
	return r
}

// eachTransport runs f over both, in a bubble.
func eachTransport(t *testing.T, f func(t *testing.T, transport chattest.Option)) {
	t.Parallel()
	for name, opt := range map[string]chattest.Option{"websocket": chattest.Timeout(5 * time.Second), "polling": chattest.Polling()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { f(t, opt) })
		})
	}
}

func TestTokenExpires(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport chattest.Option) {
		var left ends
		end := time.Now().Add(10 * time.Minute)
		ts := newTokens(map[string]chat.User{"a": {ID: "ann", Expires: end}, "b": {ID: "bob"}})
		hub := newHub(t, chat.WithAuth(ts.auth), chat.WithRooms("r"), left.option())
		ann, bob := chattest.Dial(t, hub, withToken("a"), transport), chattest.Dial(t, hub, withToken("b"), transport)
		time.Sleep(9*time.Minute - time.Second)
		ann.None("auth_expiring")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		var notice struct {
			At time.Time `json:"expires_at"`
		}
		if ann.Expect("auth_expiring").Decode(0, &notice); !notice.At.Equal(end) {
			t.Error(notice)
		}
		time.Sleep(58 * time.Second)
		mustAsk(t, ann, "chat_message", "the last one")
		time.Sleep(2 * time.Second)
		wantEndOfToken(t, ann)
		synctest.Wait()
		ann.None("auth_expiring") // once
		left.want(t, "ann", "token expired")
		if s := hub.Stats(); s.Evicted["token expired"] != 1 || s.Clients != 1 {
			t.Errorf("%+v", s)
		}
		if _, err := chattest.TryDial(t, hub, withToken("a"), transport); true {
			wantRefused(t, err, chat.TokenExpired)
		}
		time.Sleep(2 * time.Hour)
		bob.None("auth_expiring") // a token without an end has none
		mustAsk(t, bob, "chat_message", "still here")
	})
}

// How long before its end a client hears of it.
func TestWhenTokensAreExpiring(t *testing.T) {
	t.Parallel()
	const never = 100 * 365 * 24 * time.Hour
	for name, c := range map[string]struct{ issued, expires, warned time.Duration }{
		"a minute before":              {-time.Second, time.Hour, time.Hour - time.Minute},
		"a quarter of its life":        {-20 * time.Second, time.Minute, 40 * time.Second},
		"a quarter of what is left":    {0, 40 * time.Second, 30 * time.Second},
		"at once, in its last quarter": {-time.Hour, 30 * time.Second, 0},
		"issued later than it ends":    {time.Hour, time.Minute, time.Minute},
		"in ten thousand years":        {-time.Hour, never, never},
		"a fraction of a second":       {-time.Second, 100 * time.Millisecond, 0},
		"issued two centuries ago":     {-2 * never, time.Hour, time.Hour - time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				u := chat.User{ID: "ann", Expires: begin.Add(c.expires)}
				if c.expires == never {
					u.Expires = begin.AddDate(10_000, 0, 0)
				}
				if c.issued != 0 {
					u.Issued = begin.Add(c.issued)
				}
				hub := newHub(t, chat.WithAuth(newTokens(map[string]chat.User{"a": u}).auth))
				ann := chattest.Dial(t, hub, withToken("a"), chattest.Timeout(2*time.Hour))
				if c.expires == never {
					time.Sleep(6 * time.Hour)
					ann.None("auth_expiring")
					if r := refresh(t, ann, "a"); !r.OK || !strings.HasPrefix(r.ExpiresAt, "12000-01-01T") {
						t.Errorf("%+v", r)
					}
					return
				}
				ann.Expect("auth_expiring")
				if d := time.Since(begin); d != c.warned {
					t.Errorf("told after %v, want %v", d, c.warned)
				}
				wantEndOfToken(t, ann)
				if d := time.Since(begin); d != c.expires {
					t.Errorf("ended after %v, want %v", d, c.expires)
				}
			})
		})
	}
}

func TestTokenInThePast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ts := newTokens(map[string]chat.User{
			"now": {ID: "ann", Expires: time.Now()}, "long ago": {ID: "ann", Expires: time.Unix(1, 0)}, "before": {ID: "ann", Expires: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)},
		})
		hub := newHub(t, chat.WithAuth(ts.auth))
		for token := range ts.users {
			_, err := chattest.TryDial(t, hub, withToken(token))
			wantRefused(t, err, chat.TokenExpired)
		}
		if n := hub.Stats().Clients; n != 0 {
			t.Error(n)
		}
	})
}

func TestRefreshAuth(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport chattest.Option) {
		var left ends
		begin := time.Now()
		user := func(life time.Duration) chat.User {
			return chat.User{ID: "ann", Name: life.String(), Expires: begin.Add(life)}
		}
		ts := newTokens(map[string]chat.User{"1": user(time.Hour), "2": user(2 * time.Hour), "3": user(3 * time.Hour), "old": user(time.Second), "eve": {ID: "eve"}, "nobody": {}})
		hub := newHub(t, chat.WithAuth(ts.auth), left.option())
		ann := chattest.Dial(t, hub, withToken("1"), transport)
		id := ann.ID()
		time.Sleep(time.Hour - 30*time.Second)
		ann.Expect("auth_expiring")
		for _, token := range []string{"2", "3"} { // two in a row
			if r := refresh(t, ann, token); !r.OK || r.ExpiresAt != ts.users[token].Expires.Format("2006-01-02T15:04:05.000Z07:00") {
				t.Fatalf("%+v", r)
			}
		}
		if u := hub.Client(id).User(); u.Name != "3h0m0s" || ann.ID() != id {
			t.Errorf("%+v", u)
		}
		for _, c := range []struct {
			token any
			want  chat.Code
		}{
			{"old", chat.TokenExpired}, {"eve", chat.Forbidden}, {"nobody", chat.Forbidden}, {"no such", chat.Unauthorized}, {"", chat.Unauthorized},
			{nil, chat.Unauthorized}, {7, chat.InvalidPayload}, {object{"token": "3"}, chat.InvalidPayload}, {"panic", chat.Internal},
		} {
			if r := refresh(t, ann, c.token); r.OK || r.Error.Code != c.want {
				t.Errorf("%v: %+v, want %s", c.token, r, c.want)
			}
		}
		wantCode(t, ask(t, ann, "refresh_auth"), chat.InvalidPayload)
		wantCode(t, ask(t, ann, "refresh_auth", "3"), chat.InvalidPayload)

		// A refusal changes nothing: it ends when the last good one does.
		time.Sleep(90 * time.Minute)
		ann.None("auth_expiring")
		time.Sleep(30*time.Minute - 30*time.Second)
		ann.Expect("auth_expiring")
		time.Sleep(time.Minute)
		wantEndOfToken(t, ann)
		synctest.Wait()
		left.want(t, "ann", "token expired")

		ts.mu.Lock()
		defer ts.mu.Unlock()
		h := ts.asked[1]
		if !h.Refresh || string(h.Auth) != `{"token":"2"}` || h.RemoteAddr != "192.0.2.1:1234" || h.Namespace != "/" || h.Protocol != 5 || h.Query == nil || h.Header == nil || h.Cookie("x") != "" {
			t.Errorf("%+v", h)
		}
		if ts.asked[0].Refresh {
			t.Error("a connect is no refresh")
		}
	})
}

func TestRefreshToATokenWithoutAnEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ts := newTokens(map[string]chat.User{"a": {ID: "ann", Expires: time.Now().Add(time.Minute)}, "for ever": {ID: "ann"}, "b": {ID: "ann", Expires: time.Now().Add(time.Hour)}})
		hub := newHub(t, chat.WithAuth(ts.auth), chat.WithRooms("r"))
		ann := chattest.Dial(t, hub, withToken("a"))
		if r := refresh(t, ann, "for ever"); !r.OK || r.ExpiresAt != "" {
			t.Errorf("%+v", r)
		}
		time.Sleep(10 * time.Minute)
		ann.None("auth_expiring")
		if r := refresh(t, ann, "b"); !r.OK { // and back to one with an end
			t.Errorf("%+v", r)
		}
		time.Sleep(time.Hour)
		ann.Expect("auth_expiring")
		wantEndOfToken(t, ann)
	})
}

func TestRefreshWithoutAuth(t *testing.T) {
	t.Parallel()
	c := chattest.Dial(t, newHub(t))
	wantCode(t, ask(t, c, "refresh_auth", object{"token": "x"}), chat.UnknownEvent)
}

// The token ends while auth thinks about the next: that comes too late.
func TestTokenExpiresDuringARefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var left ends
		ts := newTokens(map[string]chat.User{"a": {ID: "ann", Expires: time.Now().Add(time.Minute)}, "b": {ID: "ann", Expires: time.Now().Add(time.Hour)}})
		hub := newHub(t, chat.WithAuth(ts.auth), left.option())
		ann := chattest.Dial(t, hub, withToken("a"))
		time.Sleep(59 * time.Second)
		ts.delay(func(context.Context) { time.Sleep(2 * time.Second) })
		ann.Emit("refresh_auth", object{"token": "b"})
		ann.Expect("auth_expiring")
		wantEndOfToken(t, ann)
		time.Sleep(2 * time.Hour)
		left.want(t, "ann", "token expired")
		if s := hub.Stats(); s.Clients != 0 || s.Evicted["token expired"] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// The refresh and the end come at the same instant: whoever is first, a page that was told that its refresh is good stays.
func TestRefreshAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 200
		end := time.Now().Add(time.Minute)
		ts := newTokens(map[string]chat.User{"a": {ID: "ann", Expires: end}, "b": {ID: "ann", Expires: end.Add(time.Hour)}})
		hub := newHub(t, chat.WithAuth(ts.auth), chat.WithLimits(chat.Limits{ClientsPerUser: -1}))
		at := serveInMemory(t, hub)
		pages := make([]*wire, many)
		for i := range pages {
			pages[i] = dialWire(t, at, "4", nil)
			pages[i].send(t, `40{"token":"a"}`)
		}
		synctest.Wait()
		ts.delay(func(context.Context) { time.Sleep(time.Until(end)) })
		for _, p := range pages {
			p.want(t, "40{")
			p.send(t, `427["refresh_auth",{"token":"b"}]`)
		}
		time.Sleep(time.Until(end))
		synctest.Wait()
		stayed := 0
		for _, p := range pages {
			answer := p.want(t, "437[")
			_, ended := p.take("41")
			if good := strings.Contains(answer, `"ok":true`); good == ended {
				t.Errorf("answered %s, and ended: %v", answer, ended)
			}
			if !ended {
				stayed++
			}
		}
		if n := hub.Stats().Clients; n != stayed {
			t.Errorf("%d clients, want %d", n, stayed)
		}
		t.Logf("%d of %d stayed", stayed, many)
	})
}
