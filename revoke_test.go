package chat_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// wantRevoked is what a page hears whose access ends.
func wantRevoked(t testing.TB, c *chattest.Client) {
	t.Helper()
	m := c.Expect("error")
	if e, _ := m.Args.Values()[0].(map[string]any); e["code"] != string(chat.Unauthorized) || len(e) != 2 {
		t.Fatalf("%v, want a code and a message alone", e)
	}
	if why := c.WaitClosed(); why != "io server disconnect" {
		t.Error(why)
	}
}

func revoke(t testing.TB, hub *chat.Hub, user string) {
	t.Helper()
	if err := hub.Revoke(t.Context(), user); err != nil {
		t.Fatal(err)
	}
}

func revokeToken(t testing.TB, hub *chat.Hub, id string) {
	t.Helper()
	if err := hub.RevokeToken(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var left ends
		now := time.Now()
		ts := newTokens(map[string]chat.User{
			"a": {ID: "ann", Issued: now.Add(-time.Hour)}, "a2": {ID: "ann", Issued: now.Add(-time.Second)}, "a3": {ID: "ann"}, "b": {ID: "bob", Issued: now},
		})
		hub := newHub(t, chat.WithAuth(ts.auth), left.option(), chat.WithTokenLife(time.Hour), chat.WithRooms("r"), chat.Namespace("/admin", left.option()))
		pages := []*chattest.Client{
			chattest.Dial(t, hub, withToken("a")), chattest.Dial(t, hub, withToken("a2"), chattest.Polling()),
			chattest.Dial(t, hub, withToken("a3"), chattest.Namespace("/admin")),
		}
		both := dialWire(t, serveInMemory(t, hub), "4", nil) // in two namespaces by one connection, as two users
		both.send(t, `40{"token":"a"}`, `40/admin,{"token":"b"}`)
		bob := chattest.Dial(t, hub, withToken("b"))
		away := chattest.Dial(t, hub, withToken("a2"))
		away.Drop()
		synctest.Wait()

		revoke(t, hub, "ann")
		for _, c := range pages {
			wantRevoked(t, c)
		}
		synctest.Wait()
		both.want(t, `42["error",{"code":"UNAUTHORIZED"`)
		both.want(t, "41")
		if _, ok := both.take("41/admin,"); ok || both.isOver() {
			t.Error("bob was ended too")
		}
		left.want(t, "ann", "transport close", "revoked", "revoked", "revoked", "revoked")
		left.want(t, "bob")
		if s := hub.Stats(); s.Evicted["revoked"] != 4 || s.Clients != 2 {
			t.Errorf("%+v", s)
		}
		mustAsk(t, bob, "chat_message", "still here")

		// Nobody comes back, by whatever way, with a token of before.
		pid, offset := away.Session()
		for _, token := range []string{"a", "a2", "a3"} {
			for _, opts := range [][]chattest.Option{{}, {chattest.Namespace("/admin")}, {chattest.Recover(pid, offset)}} {
				_, err := chattest.TryDial(t, hub, append(opts, withToken(token))...)
				wantRefused(t, err, chat.Unauthorized)
			}
		}
		// With one of after she does, and recovers nothing of what she was.
		time.Sleep(time.Millisecond)
		ts.put("new", chat.User{ID: "ann", Issued: time.Now()})
		again := chattest.Dial(t, hub, withToken("new"), chattest.Recover(pid, offset))
		if again.Recovered() {
			t.Error("recovered")
		}
		for _, token := range []string{"a", "a3"} {
			if r := refresh(t, again, token); r.OK || r.Error.Code != chat.Unauthorized {
				t.Errorf("%+v", r)
			}
		}
		// When all tokens of then have expired the revocation is forgotten.
		time.Sleep(time.Hour)
		chattest.Dial(t, hub, withToken("a3"))
	})
}

func TestRevokeToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ts := newTokens(map[string]chat.User{"1": {ID: "ann", TokenID: "t1"}, "2": {ID: "ann", TokenID: "t2"}, "3": {ID: "bob", TokenID: "t1"}, "4": {ID: "cid"}})
		hub := newHub(t, chat.WithAuth(ts.auth))
		one, two, three, four := chattest.Dial(t, hub, withToken("1")), chattest.Dial(t, hub, withToken("2")), chattest.Dial(t, hub, withToken("3")), chattest.Dial(t, hub, withToken("4"))
		away := chattest.Dial(t, hub, withToken("1"))
		pid, offset := away.Session()
		away.Drop()
		synctest.Wait()
		revokeToken(t, hub, "t1")
		wantRevoked(t, one)
		wantRevoked(t, three) // whoever comes with it
		mustAsk(t, two, "typing", object{"on": false, "room": join(t, two, "r").Room})
		mustAsk(t, four, "leave_room", object{"room": "r"})
		if r := refresh(t, two, "1"); r.OK || r.Error.Code != chat.Unauthorized {
			t.Errorf("%+v", r)
		}
		_, err := chattest.TryDial(t, hub, withToken("1"))
		wantRefused(t, err, chat.Unauthorized)
		if again := chattest.Dial(t, hub, withToken("2"), chattest.Recover(pid, offset)); again.Recovered() {
			t.Error("a session of the revoked token was recovered")
		}
		// A client that has another token by now is not that token's any more.
		ts.put("5", chat.User{ID: "ann", TokenID: "t5"})
		if r := refresh(t, two, "5"); !r.OK {
			t.Fatalf("%+v", r)
		}
		revokeToken(t, hub, "t2")
		mustAsk(t, two, "leave_room", object{"room": "r"})
		revokeToken(t, hub, "t5")
		wantRevoked(t, two)
	})
}

func TestRevokeRefusesNothing(t *testing.T) {
	t.Parallel()
	hub := newHub(t)
	for _, err := range []error{hub.Revoke(t.Context(), ""), hub.RevokeToken(t.Context(), "")} {
		var e *chat.Error
		if !errors.As(err, &e) || e.Code != chat.InvalidPayload {
			t.Error(err)
		}
	}
	if _, err := chat.New(chat.WithTokenLife(0)); err == nil {
		t.Error("a life of nothing")
	}
	chattest.Dial(t, hub) // who has no id and no token is revoked by neither
}

// Revoke comes while auth thinks, and while the room policy does that a recovery asks after auth: who is on the way in then does not arrive.
func TestRevokeOnTheWayIn(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]bool{"user": false, "token": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var policy func()
				ts := newTokens(map[string]chat.User{"a": {ID: "ann", TokenID: "t", Issued: time.Now()}})
				hub := newHub(t, chat.WithAuth(ts.auth), chat.WithRoomPolicy(chat.RoomPolicy{Join: func(context.Context, *chat.Client, string) error {
					if policy != nil {
						policy()
					}
					return nil
				}}))
				end := func() {
					if token {
						revokeToken(t, hub, "t")
					} else {
						revoke(t, hub, "ann")
					}
				}
				ann := chattest.Dial(t, hub, withToken("a"))
				join(t, ann, "r")
				pid, offset := ann.Session()
				ann.Drop()
				synctest.Wait()
				policy = end
				_, err := chattest.TryDial(t, hub, withToken("a"), chattest.Recover(pid, offset))
				var refused *chattest.DialError
				if !errors.As(err, &refused) || refused.Message != "io server disconnect" {
					t.Error(err)
				}
				ts.put("a", chat.User{ID: "eve", TokenID: "e", Issued: time.Now()})
				ts.delay(func(context.Context) { revoke(t, hub, "eve") })
				_, err = chattest.TryDial(t, hub, withToken("a"))
				wantRefused(t, err, chat.Unauthorized)
				if s := hub.Stats(); s.Clients != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Connects, refreshes and revocations at once: whoever is revoked is out in the end.
func TestRevokeRaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 100
		ts := newTokens(nil)
		hub := newHub(t, chat.WithAuth(ts.auth))
		at := serveInMemory(t, hub)
		var all sync.WaitGroup
		for i := range many {
			ts.put(fmt.Sprint("old", i), chat.User{ID: fmt.Sprint("u", i), Issued: time.Now(), TokenID: fmt.Sprint("t", i)})
			ts.put(fmt.Sprint("new", i), chat.User{ID: fmt.Sprint("u", i), Issued: time.Now(), TokenID: fmt.Sprint("n", i)})
			in, out := dialWire(t, at, "4", nil), dialWire(t, at, "4", nil)
			in.send(t, fmt.Sprintf(`40{"token":"old%d"}`, i))
			synctest.Wait()
			in.want(t, "40{")
			all.Go(func() { in.send(t, fmt.Sprintf(`42["refresh_auth",{"token":"new%d"}]`, i)) })
			all.Go(func() { out.send(t, fmt.Sprintf(`40{"token":"new%d"}`, i)) })
			all.Go(func() {
				if i%2 == 0 {
					revokeToken(t, hub, fmt.Sprint("n", i))
				} else {
					revoke(t, hub, fmt.Sprint("u", i))
				}
			})
		}
		all.Wait()
		synctest.Wait()
		for i := range many {
			infos, err := hub.To(chat.Users(fmt.Sprint("u", i))).Clients(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, info := range infos {
				c := hub.Client(info.ID)
				if u := c.User(); i%2 == 1 || u.TokenID == fmt.Sprint("n", i) {
					t.Errorf("still here: %+v", u)
				}
			}
		}
	})
}

func TestRevokeInHandlersAndHooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var left ends
		hub := newHub(t, byUser(), left.option(),
			chat.On("me", func(ctx context.Context, c *chat.Client, _ any) error { return c.Hub().Revoke(ctx, c.User().ID) }),
			chat.OnDisconnect(func(ctx context.Context, c *chat.Client, _ string) {
				if err := c.Hub().Revoke(ctx, c.User().ID); err != nil {
					t.Error(err)
				}
			}),
			chat.OnConnect(func(ctx context.Context, c *chat.Client) {
				if c.User().ID == "at once" {
					if err := c.Hub().Revoke(ctx, "at once"); err != nil {
						t.Error(err)
					}
				}
			}))
		ann := chattest.Dial(t, hub, as("ann"))
		ann.Emit("me")
		wantRevoked(t, ann)
		wantRevoked(t, chattest.Dial(t, hub, as("at once")))
		synctest.Wait()
		left.want(t, "ann", "revoked")
		left.want(t, "at once", "revoked")
	})
}

func TestShutdownAtOnceWithRevoke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 50
		hub := newHub(t, byUser(), chat.WithDrainPace(many), chat.WithStore(newRevokerStore()))
		clients := make([]*chattest.Client, many)
		for i := range clients {
			clients[i] = chattest.Dial(t, hub, as(fmt.Sprint("u", i)))
		}
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				revoke(t, hub, fmt.Sprint("u", many-1-i)) // those whose turn is last
			})
		}
		for range 2 {
			all.Go(func() { shutDown(t, hub) })
		}
		all.Wait()
		ended := 0
		for _, c := range clients {
			if c.WaitClosed() == "io server disconnect" {
				ended++
			}
		}
		if s := hub.Stats(); int64(ended) != s.Evicted["revoked"] || ended == 0 || ended == many || s.Clients != 0 || s.Cut != 0 {
			t.Errorf("%d ended, %+v", ended, s)
		}
		revoke(t, hub, "somebody") // of what is shut down: nobody is there, and it is kept
	})
}

// revokerStore is a Revoker that several Hubs share.
type revokerStore struct {
	chat.Store
	mu    sync.Mutex
	kept  []chat.Revocation
	asked int
	fail  func() error
}

func newRevokerStore() *revokerStore { return &revokerStore{Store: chat.NewMemoryStore(0, 0)} }

func (s *revokerStore) failing(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

func (s *revokerStore) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		return nil
	}
	return s.fail()
}

func (s *revokerStore) Revoke(_ context.Context, r chat.Revocation) error {
	if err := s.failed(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, r)
	return nil
}

func (s *revokerStore) Revocations(_ context.Context, now time.Time) (all []chat.Revocation, err error) {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	if err := s.failed(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.kept {
		if now.Before(r.Until) {
			all = append(all, r)
		}
	}
	return all, nil
}

func TestRevocationsOfTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRevokerStore()
		ts := newTokens(map[string]chat.User{"a": {ID: "ann"}, "b": {ID: "bob", TokenID: "t"}, "c": {ID: "cid"}})
		opts := []chat.Option{chat.WithAuth(ts.auth), chat.WithStore(store), chat.WithTokenLife(time.Hour)}
		first := newHub(t, opts...)
		revoke(t, first, "ann")
		if r := store.kept[0]; r.UserID != "ann" || r.TokenID != "" || !r.At.Equal(time.Now()) || !r.Until.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("%+v", r)
		}
		// Another node, or the same after a restart, knows before it lets in the first client.
		second := newHub(t, opts...)
		_, err := chattest.TryDial(t, second, withToken("a"))
		wantRefused(t, err, chat.Unauthorized)
		for range 5 {
			chattest.Dial(t, second, withToken("b"))
		}
		if store.asked != 1 {
			t.Errorf("asked %d times", store.asked)
		}
		// What is revoked elsewhere holds within some 10 s. (Whoever is in already stays until the token ends.)
		revokeToken(t, first, "t")
		time.Sleep(10 * time.Second)
		chattest.Dial(t, second, withToken("c")) // has it ask
		synctest.Wait()
		_, err = chattest.TryDial(t, second, withToken("b"))
		wantRefused(t, err, chat.Unauthorized)
		// It is forgotten with the tokens.
		time.Sleep(time.Hour)
		chattest.Dial(t, second, withToken("a"))
	})
}

func TestRevocationsOfAStoreThatFails(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() error{"error": func() error { return errors.New("disk full") }, "panic": func() error { panic("nil map") }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newRevokerStore()
				store.failing(f)
				hub := newHub(t, byUser(), chat.WithStore(store))
				_, err := chattest.TryDial(t, hub, as("bob"))
				wantRefused(t, err, chat.Unavailable) // who is revoked is not known
				store.failing(nil)
				ann := chattest.Dial(t, hub, as("ann"))

				// Once it is known, a failure keeps nobody out; and a revocation that the store does not take holds here.
				store.failing(f)
				time.Sleep(time.Minute)
				chattest.Dial(t, hub, as("bob"))
				if err := hub.Revoke(t.Context(), "ann"); err == nil {
					t.Error("no error")
				}
				wantRevoked(t, ann)
				_, err = chattest.TryDial(t, hub, as("ann"))
				wantRefused(t, err, chat.Unauthorized)
				store.failing(nil)
				time.Sleep(time.Minute)
				chattest.Dial(t, hub, as("bob"))
				synctest.Wait()
				_, err = chattest.TryDial(t, hub, as("ann"))
				wantRefused(t, err, chat.Unauthorized)
			})
		})
	}
}
