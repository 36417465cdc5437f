package chat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// logs are lines of all levels, as JSON.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logs) handler(level slog.Level) slog.Handler {
	return slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level})
}

func (l *logs) option() chat.Option { return chat.WithLogger(slog.New(l.handler(slog.LevelDebug))) }

// of gives the lines of a request.
func (l *logs) of(t testing.TB, id string) (lines []object) {
	t.Helper()
	for line := range strings.Lines(l.text()) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err, line)
		}
		if o["request_id"] == id {
			lines = append(lines, o)
		}
	}
	return lines
}

// delivery is the line of a message's delivery among those of a request.
func (l *logs) delivery(t testing.TB, id, event string) object {
	t.Helper()
	for _, line := range l.of(t, id) {
		if line["msg"] == "chat: delivered" && line["event"] == event {
			return line
		}
	}
	t.Fatalf("request %s has delivered no %s:\n%s", id, event, l.text())
	return nil
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	var seen string
	h := chat.RequestIDs(chat.RequestIDs(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = chat.RequestID(r.Context()) })))
	long := strings.Repeat("x", 128)
	for sent, kept := range map[string]bool{"abc-1": true, long: true, long + "x": false, "": false, "a b": false, "a\x01": false, "ä": false, "~!\"{}": true} {
		res := get(t, h, "GET", "/", "X-Request-Id", sent)
		if seen == "" || seen != res.Header.Get("X-Request-Id") || (seen == sent) != kept {
			t.Errorf("%q: %q, answered %q", sent, seen, res.Header.Get("X-Request-Id"))
		}
	}
	first := seen
	if get(t, h, "GET", "/"); seen == first || len(seen) != 16 {
		t.Errorf("%q and %q", first, seen)
	}
	if id := chat.RequestID(context.Background()); id != "" {
		t.Error(id)
	}
}

func TestLogHandler(t *testing.T) {
	t.Parallel()
	var l logs
	log := slog.New(chat.LogHandler(chat.LogHandler(l.handler(slog.LevelInfo)))).With("host", 1)
	hub := newHub(t, byUser(), chat.On("say", func(ctx context.Context, _ *chat.Client, _ any) error {
		log.InfoContext(ctx, "said")
		log.Debug("not at this level")
		return nil
	}))
	c := chattest.Dial(t, hub, as("ann"), chattest.Header("X-Request-Id", "hs1"))
	mustAsk(t, c, "say")
	h := chat.RequestIDs(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { log.InfoContext(r.Context(), "posted") }))
	get(t, h, "POST", "/", "X-Request-Id", "post1")
	log.Info("by nobody")
	said, posted := l.of(t, "hs1"), l.of(t, "post1")
	if len(said) != 1 || said[0]["client_id"] != c.ID() || said[0]["user_id"] != "ann" || said[0]["host"] != 1.0 {
		t.Errorf("%v", said)
	}
	if len(posted) != 1 || posted[0]["client_id"] != nil || strings.Count(l.text(), "request_id") != 2 || strings.Contains(l.text(), "not at") {
		t.Error(l.text())
	}
}

// One id finds a message from what caused it to its delivery.
func TestRequestToDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l logs
		hub := newHub(t, byUser(), l.option(), chat.WithRooms("r"), chat.WithStore(newHookedStore()),
			chat.OnConnect(func(_ context.Context, c *chat.Client) { _ = c.Emit("welcome", "secret of "+c.User().ID) }))
		mux := http.NewServeMux()
		mux.Handle("/socket.io/", hub)
		mux.HandleFunc("POST /say", func(w http.ResponseWriter, r *http.Request) {
			e, err := hub.Room("r").Post(r.Context(), chat.Post{Text: "secret of the host"})
			if err == nil {
				err = hub.Room("r").WithContext(r.Context()).Emit("alert", "secret alert")
			}
			if err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, e.ID)
		})
		site := chat.RequestIDs(mux)
		ann := chattest.Dial(t, site, as("ann"), chattest.Header("X-Request-Id", "hs-ann"))
		bob := chattest.Dial(t, site, as("bob"), chattest.Header("X-Request-Id", "hs-bob"), chattest.Polling())

		// What is for one client.
		ann.Expect("welcome")
		if line := l.delivery(t, "hs-ann", "welcome"); line["client_id"] != ann.ID() || line["user_id"] != "ann" {
			t.Errorf("%v", line)
		}

		// A POST of the host's.
		r := httptest.NewRequest("POST", "http://chat.test/say", nil)
		r.Header.Set("X-Request-Id", "post-1")
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		bob.Expect("alert")
		synctest.Wait()
		line := l.delivery(t, "post-1", "new_message")
		if line["message_id"] != w.Body.String() || line["room"] != "r" || line["clients"] != 2.0 || line["seq"] != 1.0 || line["level"] != "DEBUG" || line["client_id"] != nil {
			t.Errorf("%v", line)
		}
		if line := l.delivery(t, "post-1", "alert"); line["room"] != "r" || line["message_id"] != nil {
			t.Errorf("%v", line)
		}

		// A page's message, by its handshake.
		a := mustAsk(t, ann, "chat_message", "secret of ann")
		line = l.delivery(t, "hs-ann", "new_message")
		if line["message_id"] != a.Message.ID || line["client_id"] != ann.ID() || line["user_id"] != "ann" || line["clients"] != 1.0 {
			t.Errorf("%v", line)
		}
		if !slices.ContainsFunc(l.of(t, "hs-ann"), func(o object) bool {
			return o["msg"] == "chat: connected" && o["client_id"] == ann.ID() && o["user_id"] == "ann"
		}) {
			t.Error(l.text())
		}
		// By polling each POST has an id of its own, here the one of the client's header.
		b := mustAsk(t, bob, "chat_message", "secret of bob")
		if line = l.delivery(t, "hs-bob", "new_message"); line["message_id"] != b.Message.ID {
			t.Errorf("%v", line)
		}
		ann.Close()
		synctest.Wait()
		if lines := l.of(t, "hs-ann"); lines[len(lines)-1]["msg"] != "chat: disconnected" {
			t.Errorf("%v", lines)
		}
		if strings.Contains(l.text(), "secret") {
			t.Error("the log has what was said:\n" + l.text())
		}
	})
}

// The id of a POST that brings an event is the event's, in handlers, observers and log lines, with whatever the handshake had.
func TestRequestOfAPollingPost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		version string
		wrap    func(http.Handler) http.Handler
		sent    string
		want    string // empty: made
	}{
		"of its own":          {"4", func(h http.Handler) http.Handler { return h }, "post-7", "post-7"},
		"behind RequestIDs":   {"4", chat.RequestIDs, "post-7", "post-7"},
		"made by RequestIDs":  {"4", chat.RequestIDs, "", ""},
		"an old client's":     {"3", func(h http.Handler) http.Handler { return h }, "post-7", "post-7"},
		"none":                {"4", func(h http.Handler) http.Handler { return h }, "", "hs-1"},
		"one that is no good": {"4", func(h http.Handler) http.Handler { return h }, strings.Repeat("x", 200), "hs-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var l logs
				got := make(chan string, 1)
				hub := newHub(t, l.option(), chat.WithRooms("r"), chat.On("who", func(ctx context.Context, _ *chat.Client, _ any) error {
					got <- chat.RequestID(ctx)
					return nil
				}))
				client := serveInMemory(t, c.wrap(hub)).client(t)
				var answered string // of the last request
				do := func(method, sid, body, id string) string {
					url := "http://chat.test/socket.io/?transport=polling&EIO=" + c.version
					if sid != "" {
						url += "&sid=" + sid
					}
					r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					if id != "" {
						r.Header.Set("X-Request-Id", id)
					}
					res, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					defer res.Body.Close()
					answered = res.Header.Get("X-Request-Id")
					text, err := io.ReadAll(res.Body)
					if err != nil || res.StatusCode != 200 {
						t.Fatal(res.StatusCode, string(text), err)
					}
					return string(text)
				}
				var open struct{ Sid string }
				body := do("GET", "", "", "hs-1")
				if err := json.NewDecoder(strings.NewReader(body[strings.Index(body, "{"):])).Decode(&open); err != nil {
					t.Fatal(err)
				}
				packet := func(text string) string {
					if c.version == "3" {
						return fmt.Sprintf("%d:%s", len(text), text)
					}
					return text
				}
				if c.version == "4" {
					do("POST", open.Sid, "40", "hs-1")
				}
				do("GET", open.Sid, "", "hs-1")
				do("POST", open.Sid, packet(`42["who"]`), c.sent)
				want := func() string {
					if c.want == "" {
						return answered
					}
					return c.want
				}
				if id := <-got; id != want() || id == "" {
					t.Errorf("%q, want %q", id, want())
				}
				do("POST", open.Sid, packet(`42["chat_message","secret"]`), c.sent)
				synctest.Wait()
				l.delivery(t, want(), "new_message")
				if c.sent != c.want && len(l.of(t, c.sent)) > 0 || strings.Contains(l.text(), "secret") {
					t.Error(l.text())
				}
			})
		})
	}
}

// Whatever goes wrong with a message, no line of any level has what it says.
func TestNoTextInTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const secret = "hunter2"
		var l logs
		store := &brokenStore{Store: chat.NewMemoryStore(0, 0)}
		hub := newHub(t, byUser(), l.option(), chat.WithRooms("r"), chat.WithStore(store), chat.WithLimits(chat.Limits{Text: 500, Payload: 20_000, Depth: 5, Outbox: 30_000}),
			chat.WithRates(chat.Rate{PerSecond: 0.001, Burst: 15, Strikes: 2}),
			chat.OnMessage(func(_ context.Context, _ *chat.Client, m *chat.Entry) error {
				if m.ReplyTo == "no" {
					return chat.Errorf(chat.Rejected, "not that")
				}
				return nil
			}),
			chat.On("fails", func(context.Context, *chat.Client, string) error { return errors.New("host's own") }),
			chat.On("panics", func(_ context.Context, _ *chat.Client, text string) error { panic("host's own") }))
		ann := chattest.Dial(t, hub, chattest.Auth(object{"user": "ann", "token": secret, "device": secret}), chattest.Query("token", secret), chattest.Header("Cookie", "session="+secret))
		bob := chattest.Dial(t, hub, as("bob"))
		mustAsk(t, ann, "chat_message", object{"text": secret, "meta": object{secret: secret}, "message_id": "m1"})
		mustAsk(t, ann, "chat_message", object{"text": secret, "message_id": "m1"})
		ask(t, ann, "chat_message", object{"text": secret, "reply_to": "no"})
		ask(t, ann, "chat_message", object{"text": 7, "x": secret})
		ask(t, ann, "chat_message", strings.Repeat(secret, 500))
		ask(t, ann, "fails", secret)
		ask(t, ann, "panics", secret)
		ask(t, ann, "nobody_knows", secret)
		ask(t, ann, "chat_message", json.RawMessage(`[[[[[[["`+secret+`"]]]]]]]`))
		store.set(func() error { return errors.New("disk full") })
		ask(t, ann, "chat_message", secret)
		store.set(func() error { panic("nil map") })
		ask(t, ann, "chat_message", secret)
		store.set(nil)
		if err := hub.Emit("alert", secret); err != nil {
			t.Fatal(err)
		}
		if r := refresh(t, ann, secret); r.OK {
			t.Error(r)
		}
		for range 30 {
			bob.Emit("chat_message", secret)
		}
		synctest.Wait()
		ann.Emit("chat_message", strings.Repeat(secret, 10_000))
		ann.WaitClosed()
		synctest.Wait()
		_, _ = chattest.TryDial(t, hub, chattest.Auth(object{"token": secret}))
		for _, want := range []string{"chat: delivered", "chat: store failed", "chat: panic", "chat: handler failed", "chat: rate limited", "payload too large", "connect refused"} {
			if !strings.Contains(l.text(), want) {
				t.Errorf("no line says %q", want)
			}
		}
		for line := range strings.Lines(l.text()) {
			if strings.Contains(line, secret) {
				t.Error(line)
			}
		}
	})
}

func TestWithTrafficLog(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]bool{slog.LevelInfo: true, slog.LevelDebug: false, slog.LevelInfo - 1: false, slog.LevelWarn: true} {
		var l logs
		hub := newHub(t, chat.WithLogger(slog.New(l.handler(slog.LevelInfo))), chat.WithTrafficLog(level), chat.WithRooms("r"))
		c := chattest.Dial(t, hub)
		mustAsk(t, c, "chat_message", "x")
		if got := strings.Contains(l.text(), "chat: delivered") && strings.Contains(l.text(), "chat: connected"); got != want {
			t.Errorf("%v: %v\n%s", level, got, l.text())
		}
	}
	if _, err := chat.New(chat.Namespace("/a", chat.WithTrafficLog(0))); err == nil {
		t.Error("it is an option of the whole Hub")
	}
}

// A refusal is found by whom and what it is about: a user whom auth has named, a room.
func TestRefusalsAreFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l logs
		store := &brokenStore{Store: chat.NewMemoryStore(0, 0)}
		hub := newHub(t, l.option(), chat.WithStore(store), byUser(), chat.WithLimits(chat.Limits{ClientsPerUser: 1, RoomsPerClient: 1}),
			chat.OnAny(func(context.Context, *chat.Client, *chat.Event) ([]any, error) { panic("nil map") }))
		ann := chattest.Dial(t, hub, as("ann"))
		join(t, ann, "lobby")
		ask(t, ann, "join_room", object{"room": "attic"})
		_, _ = chattest.TryDial(t, hub, as("ann"))
		ask(t, ann, strings.Repeat("long", 500), nil)
		store.set(func() error { return errors.New("disk full") })
		for range 5 {
			ask(t, ann, "history", object{"room": "lobby"})
		}
		synctest.Wait()
		for _, want := range [][]string{
			{"chat: event refused", `"room":"attic"`, `"user_id":"ann"`}, {"chat: connect refused", `"user_id":"ann"`}, {"chat: limit", `"limit":"ClientsPerUser"`, `"user_id":"ann"`},
			{"chat: panic", `"client_id":"` + ann.ID()}, {"chat: store failed", `"room":"lobby"`},
		} {
			n := 0
			for line := range strings.Lines(l.text()) {
				if !slices.ContainsFunc(want, func(part string) bool { return !strings.Contains(line, part) }) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d lines have %q", n, want)
			}
		}
		if strings.Contains(l.text(), strings.Repeat("long", 100)) {
			t.Error("an event's name is as long as its page likes")
		}
		if t.Failed() {
			t.Log(l.text())
		}
	})
}
