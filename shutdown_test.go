package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// drain begins a Shutdown that may take so long; its error comes when it is over.
func drain(hub *chat.Hub, within time.Duration) <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		done <- hub.Shutdown(ctx)
	}()
	return done
}

// hint is the text of a server_draining.
func hint(t testing.TB, text string) time.Duration {
	t.Helper()
	var args []json.RawMessage
	var h struct {
		After int64 `json:"reconnect_after_ms"`
	}
	if err := json.Unmarshal([]byte(text[strings.Index(text, "["):]), &args); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(args[1], &h); err != nil {
		t.Fatal(err)
	}
	return time.Duration(h.After) * time.Millisecond
}

// Clients are closed one after the other, each a second before its hint says.
func TestDrainPace(t *testing.T) {
	t.Parallel()
	const many = 200
	for name, c := range map[string]struct {
		pace         int
		within, last time.Duration // the last one's turn
	}{
		"by default":             {0, time.Minute, time.Second},
		"slower":                 {20, time.Minute, 10 * time.Second},
		"by a short deadline":    {20, 5 * time.Second, 4 * time.Second},
		"by a very short one":    {0, 100 * time.Millisecond, 80 * time.Millisecond},
		"without a deadline too": {100, 0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var opts []chat.Option
				if c.pace > 0 {
					opts = append(opts, chat.WithDrainPace(c.pace))
				}
				hub := newHub(t, opts...)
				at := serveInMemory(t, hub)
				pages := make([]*wire, many)
				closed := make(chan time.Duration, many)
				hints := map[*wire]time.Duration{}
				for i := range pages {
					pages[i] = dialWire(t, at, "4", nil)
					pages[i].send(t, "40")
				}
				synctest.Wait()
				begin := time.Now()
				for _, p := range pages {
					go func() {
						<-p.over
						closed <- time.Since(begin)
					}()
				}
				within := c.within
				if within == 0 {
					within = 1000 * time.Hour // the pace alone counts
				}
				done := drain(hub, within)
				synctest.Wait()
				seen := map[time.Duration]bool{}
				for _, p := range pages {
					hints[p] = hint(t, p.want(t, `42["server_draining"`))
					seen[hints[p]] = true
					if hints[p] < time.Second || hints[p] > c.last+time.Second {
						t.Errorf("hint %v", hints[p])
					}
				}
				if min := many; c.last > many*time.Millisecond && len(seen) < min {
					t.Errorf("%d different hints for %d clients", len(seen), many)
				}
				const tick = 20 * time.Millisecond
				for i := range many {
					turn, at := c.last*time.Duration(i)/many, <-closed
					if at < turn || at > turn+2*tick {
						t.Fatalf("closed after %v, its turn was at %v", at, turn)
					}
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				for _, p := range pages {
					if p.code != 1001 { // going away
						t.Fatal(p.code)
					}
				}
				if s := hub.Stats(); s.Clients != 0 || s.Cut != 0 || s.Sessions != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Until its turn a client chats on, also with those who are gone by then; what it has sent when its turn comes is saved and acked before the close.
func TestDrainChatsOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithDrainPace(1), chat.WithRooms("r"), chat.WithStore(store))
		pages := []*chattest.Client{}
		for i := range 4 {
			pages = append(pages, chattest.Dial(t, hub, as(fmt.Sprint("u", i)), chattest.Timeout(20*time.Second)))
		}
		mustAsk(t, pages[0], "chat_message", "before")
		done := drain(hub, time.Minute)
		texts := []string{"before"}
		for turn := range 4 {
			synctest.Wait()
			var here []*chattest.Client
			for _, p := range pages {
				if hub.Client(p.ID()) != nil {
					here = append(here, p)
				}
			}
			if len(here) != 3-turn {
				t.Fatalf("%d clients in turn %d", len(here), turn)
			}
			for _, p := range here {
				text := fmt.Sprint(p.ID(), " in turn ", turn)
				mustAsk(t, p, "chat_message", text)
				texts = append(texts, text)
			}
			if len(here) == 1 { // its last one is on its way to the store when its turn comes
				store.onAppend(func(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
					time.Sleep(3 * time.Second)
					return store.Store.Append(ctx, e)
				})
				time.Sleep(900 * time.Millisecond)
				mustAsk(t, here[0], "chat_message", "in flight")
				texts = append(texts, "in flight")
				if why := here[0].WaitClosed(); why != "transport close" {
					t.Error(why)
				}
				break
			}
			time.Sleep(time.Second)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		entries, _, err := store.Page(context.Background(), chat.PageQuery{Namespace: "/", Room: "r", Limit: 99})
		if err != nil || len(entries) != len(texts) {
			t.Fatalf("%d entries, want %d: %v", len(entries), len(texts), err)
		}
		for i, e := range entries {
			if e.Text != texts[i] {
				t.Errorf("entry %d is %q, want %q", i, e.Text, texts[i])
			}
		}
	})
}

// A connection in several namespaces has one turn, one hint, and is closed when what came by it is handled in all of them.
func TestDrainOfSeveralNamespaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := chat.OnCall("slow", func(context.Context, *chat.Client, string) (string, error) {
			time.Sleep(5 * time.Second)
			return "done", nil
		})
		store := newSharedStore()
		opts := []chat.Option{byUser(), chat.WithDrainPace(1), chat.WithStore(store), chat.WithRooms("r"), slow, chat.NamespaceAlias("/ws"), chat.Namespace("/a", slow, chat.WithRooms("r")), chat.Namespace("/b", slow)}
		hub := newHub(t, opts...)
		at := serveInMemory(t, hub)
		both, other := dialWire(t, at, "4", nil), dialWire(t, at, "4", nil)
		other.send(t, `40{"user":"bob"}`)
		names := []string{"/a,", "/b,", "", "/ws,"}
		for _, name := range names {
			both.send(t, "40"+name+`{"user":"ann"}`)
		}
		synctest.Wait()
		var pid struct{ Sid, Pid string }
		if err := json.Unmarshal([]byte(both.want(t, "40/a,")[len("40/a,"):]), &pid); err != nil {
			t.Fatal(err)
		}
		both.send(t, `421["chat_message",{"text":"own","room":"r"}]`)
		for i, name := range names {
			both.send(t, fmt.Sprintf(`42%s5%d["slow","x"]`, name, i))
		}
		begin := time.Now()
		done := drain(hub, time.Minute)
		synctest.Wait()
		hints, offset := map[time.Duration]bool{}, ""
		for _, name := range names {
			text := both.want(t, "42"+name+`["server_draining"`)
			hints[hint(t, text)] = true
			if name == "/a," { // the last event there
				offset = strings.Trim(text[strings.LastIndex(text, ","):], `,"]`)
			}
		}
		if len(hints) != 1 {
			t.Errorf("hints %v", hints)
		}
		<-both.over
		if d := time.Since(begin); d < 5*time.Second || d > 6*time.Second {
			t.Errorf("closed after %v", d)
		}
		for i, name := range names {
			both.want(t, fmt.Sprintf(`43%s5%d[{"ok":true,"result":"done"}]`, name, i))
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		// All its sessions were kept, not the first one only.
		second := newHub(t, opts...)
		again := chattest.Dial(t, second, as("ann"), chattest.Namespace("/a"), chattest.Recover(pid.Pid, offset))
		if !again.Recovered() || again.ID() != pid.Sid {
			t.Error("not recovered")
		}
	})
}

// Who wants to come into a further namespace meanwhile hears nothing, and keeps its turn.
func TestDrainAndAnotherNamespace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, chat.WithDrainPace(1), chat.Namespace("/b"))
		at := serveInMemory(t, hub)
		pages := []*wire{dialWire(t, at, "4", nil), dialWire(t, at, "4", nil), dialWire(t, at, "3", nil), dialWire(t, at, "3", nil)}
		late := dialWire(t, at, "4", nil) // in no namespace
		for _, p := range pages[:2] {
			p.send(t, "40")
		}
		time.Sleep(time.Second) // the old ones come in by themselves
		done, begin := drain(hub, time.Minute), time.Now()
		closed := make(chan time.Duration, len(pages))
		synctest.Wait()
		for _, p := range pages {
			p.want(t, `42["server_draining"`)
			p.try("40/b,") // the first is over
			go func() {
				<-p.over
				closed <- time.Since(begin)
			}()
		}
		late.send(t, "40/b,")
		synctest.Wait()
		if !late.isOver() {
			t.Error("nothing of it has a turn, and it is still there")
		}
		for i := range pages {
			if d, turn := <-closed, time.Duration(i)*time.Second; d < turn || d > turn+time.Second/2 {
				t.Errorf("closed after %v, want %v", d, turn)
			}
		}
		for _, p := range pages {
			for _, answer := range []string{"40/b", "44/b"} {
				if text, ok := p.take(answer); ok {
					t.Errorf("answered %q", text)
				}
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestHealthAndReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &brokenStore{Store: chat.NewMemoryStore(0, 0)}
		hub := newHub(t, chat.WithStore(store), chat.WithRooms("r"), chat.WithDrainPace(1), chat.Namespace("/other"))
		want := func(status int, text string) {
			t.Helper()
			res := get(t, hub.Ready(), "GET", "/readyz")
			var a struct{ Status string }
			if err := json.NewDecoder(res.Body).Decode(&a); err != nil || res.StatusCode != status || a.Status != text || (res.Header.Get("Retry-After") == "") != (status == 200) || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %q %v, want %d %q; %v", res.StatusCode, a.Status, err, status, text, res.Header)
			}
			if res := get(t, hub.Health(), "GET", "/healthz"); res.StatusCode != 200 {
				t.Fatal("not alive:", res.StatusCode)
			}
		}
		want(200, "ready")
		asked := 0
		store.set(func() error { asked++; return errors.New("disk full") })
		want(200, "ready") // an answer is good for a second
		time.Sleep(time.Second)
		for range 3 {
			want(503, "store unavailable")
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		store.set(func() error { time.Sleep(10 * time.Second); return context.DeadlineExceeded }) // it hangs
		time.Sleep(time.Second)
		want(503, "store unavailable")
		store.set(nil)
		time.Sleep(time.Second)
		want(200, "ready")

		a, b := chattest.Dial(t, hub), chattest.Dial(t, hub)
		done := drain(hub, time.Minute)
		synctest.Wait()
		want(503, "draining")
		// Nobody new comes in: by a handshake of either transport, or into another namespace of a connection that is there.
		for _, url := range []string{handshakeURL, strings.Replace(handshakeURL, "EIO=4", "EIO=3", 1), strings.Replace(handshakeURL, "polling", "websocket", 1)} {
			res := get(t, hub, "GET", url, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
			if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %v", url, res.StatusCode, res.Header)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a.WaitClosed()
		b.WaitClosed()
		want(503, "draining")
	})
}

// stuck are clients whose handlers end with their context only.
func stuck(t testing.TB, hub *chat.Hub, many int) (pages []*chattest.Client) {
	t.Helper()
	for range many {
		pages = append(pages, chattest.Dial(t, hub, chattest.Timeout(time.Hour)))
		pages[len(pages)-1].Emit("stuck")
	}
	synctest.Wait()
	return pages
}

func onStuck() chat.Option {
	return chat.On("stuck", func(ctx context.Context, _ *chat.Client, _ any) error {
		<-ctx.Done()
		return ctx.Err()
	})
}

func TestCutIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var left ends
		hub := newHub(t, onStuck(), byUserOrNobody(), left.option(), chat.Namespace("/other"))
		pages := stuck(t, hub, 3)
		fine := chattest.Dial(t, hub)
		begin := time.Now()
		done := drain(hub, 10*time.Second)
		if why := fine.WaitClosed(); why != "transport close" || time.Since(begin) > time.Second {
			t.Error(why, time.Since(begin))
		}
		err := <-done
		if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "cut off 3 clients") || d > 11*time.Second {
			t.Error(err, d)
		}
		for _, p := range pages {
			p.WaitClosed()
		}
		if s := hub.Stats(); s.Cut != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// byUserOrNobody lets everybody in.
func byUserOrNobody() chat.Option {
	return chat.WithAuth(func(context.Context, *chat.Handshake) (chat.User, error) { return chat.User{}, nil })
}

// A second Shutdown waits for the first; where its own time is over before, it cuts it short.
func TestShutdownTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, onStuck())
		pages := stuck(t, hub, 2)
		begin := time.Now()
		first := drain(hub, time.Hour)
		time.Sleep(time.Minute)
		second := drain(hub, time.Second)
		if err := <-second; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := <-first; err != nil { // nothing is left that it could wait for
			t.Error(err)
		}
		if d := time.Since(begin); d != time.Minute+time.Second {
			t.Errorf("after %v", d)
		}
		for _, p := range pages {
			p.WaitClosed()
		}
		if s := hub.Stats(); s.Cut != 2 {
			t.Errorf("%+v", s)
		}
		// And a third one has nothing to do.
		if err := hub.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, chat.WithDrainPace(1))
		for range 5 {
			chattest.Dial(t, hub)
		}
		begin := time.Now()
		first, second := drain(hub, time.Minute), drain(hub, time.Hour)
		for _, done := range []<-chan error{first, second} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(begin); d < 4*time.Second || d > 6*time.Second {
			t.Errorf("after %v", d)
		}
	})
}
