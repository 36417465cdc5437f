package chat_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

func TestNewRefusesConflicts(t *testing.T) {
	t.Parallel()
	nothing := func(context.Context, *chat.Client, string) error { return nil }
	for name, opts := range map[string][]chat.Option{
		"two handlers for event":  {chat.On("a", nothing), chat.On("a", nothing)},
		"reserved by the protoco": {chat.On("disconnect", nothing)},
		"is not an origin":        {chat.WithOrigins("example.com")},
		"is not a room":           {chat.WithRooms("with space")},
		"heartbeat interval":      {chat.WithHeartbeat(0, time.Second)},
		"Limits.Outbox":           {chat.WithLimits(chat.Limits{Outbox: -1})},
		"option of the whole Hub": {chat.Namespace("/a", chat.WithOrigins("https://a.example"))},
		"must begin with a slash": {chat.Namespace("a")},
		"/a given twice":          {chat.Namespace("/a"), chat.Namespace("/a")},
		"WithAuth given twice":    {byUser(), byUser()},
		"WithLogger: nil":         {chat.WithLogger(nil)},
		"must not be negative":    {chat.WithGrace(-1)},
		"that is a Trimmer":       {chat.WithStore(onlyStore{}), chat.WithRetention(0, keepAll)},
		"WithRetention needs":     {chat.WithRetention(0, nil)},
		"WithRetention given":     {chat.WithRetention(0, keepAll), chat.WithRetention(0, keepAll)},
	} {
		if _, err := chat.New(opts...); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func get(t *testing.T, h http.Handler, method, url string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

const handshakeURL = "http://chat.example/any/where/?EIO=4&transport=polling"

func TestOrigins(t *testing.T) {
	t.Parallel()
	const listed, wild = "https://app.example", "*"
	for _, tt := range []struct {
		allow, origin string
		status        int
		header        string
		credentials   string
	}{
		{"", "", 200, "", ""},
		{"", "http://chat.example", 200, "http://chat.example", "true"},
		{"", "https://CHAT.example", 200, "https://CHAT.example", "true"}, // behind TLS that ends elsewhere
		{"", "http://evil.example", 403, "", ""},
		{"", "http://chat.example.evil.example", 403, "", ""},
		{"", "http://chat.example:8080", 403, "", ""},
		{"", "null", 403, "", ""},
		{listed, listed, 200, listed, "true"},
		{listed, "http://app.example", 403, "", ""},
		{listed, "https://app.example.evil.example", 403, "", ""},
		{wild, "http://evil.example", 200, "*", ""},
	} {
		var opts []chat.Option
		if tt.allow != "" {
			opts = append(opts, chat.WithOrigins(tt.allow))
		}
		hub := newHub(t, opts...)
		header := []string{}
		if tt.origin != "" {
			header = append(header, "Origin", tt.origin)
		}
		res := get(t, hub, "GET", handshakeURL, header...)
		h := res.Header
		if res.StatusCode != tt.status || h.Get("Access-Control-Allow-Origin") != tt.header || h.Get("Access-Control-Allow-Credentials") != tt.credentials {
			t.Errorf("%+v: %d %v", tt, res.StatusCode, h)
		}
		ws := append([]string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}, header...)
		if res := get(t, hub, "GET", strings.Replace(handshakeURL, "polling", "websocket", 1), ws...); (res.StatusCode == 403) != (tt.status == 403) {
			t.Errorf("WebSocket %+v: %d", tt, res.StatusCode)
		}
		pre := append([]string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type"}, header...)
		if tt.origin != "" {
			res := get(t, hub, "OPTIONS", handshakeURL, pre...)
			if ok := res.StatusCode == 204 && res.Header.Get("Access-Control-Allow-Origin") == tt.header; ok != (tt.status == 200) {
				t.Errorf("preflight %+v: %d %v", tt, res.StatusCode, res.Header)
			}
		}
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		started, release := make(chan struct{}), make(chan struct{})
		hub := newHub(t, chat.WithRooms("r"), chat.OnCall("slow", func(context.Context, *chat.Client, string) (string, error) {
			close(started)
			<-release
			return "done", nil
		}))
		a, b := chattest.Dial(t, hub), chattest.Dial(t, hub)
		answer := make(chan string, 1)
		go func() {
			var v struct{ Result string }
			a.Call("slow", "x").Decode(0, &v)
			answer <- v.Result
		}()
		<-started
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			done <- hub.Shutdown(ctx)
		}()
		synctest.Wait()
		if res := get(t, hub, "GET", handshakeURL); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Error("a handshake while draining:", res.StatusCode)
		}
		var hint struct {
			After int `json:"reconnect_after_ms"`
		}
		if b.Expect("server_draining").Decode(0, &hint); hint.After <= 0 {
			t.Error(hint)
		}
		if why := b.WaitClosed(); why != "transport close" { // it is to come back
			t.Error(why)
		}
		close(release)
		if got := <-answer; got != "done" {
			t.Errorf("in-flight call answered %q", got)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := hub.Emit("x"); !errors.Is(err, chat.ErrClosed) {
			t.Error(err)
		}
		if _, err := hub.Room("r").Post(t.Context(), chat.Post{Text: "x"}); err == nil {
			t.Error("a post after Shutdown")
		}
		if err := hub.Shutdown(t.Context()); err != nil {
			t.Error("again:", err)
		}
	})
}

func TestShutdownPastItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub, err := chat.New(quiet, chat.On("stuck", func(ctx context.Context, _ *chat.Client, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		if err != nil {
			t.Fatal(err)
		}
		c := chattest.Dial(t, hub)
		c.Emit("stuck")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := hub.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.WaitClosed()
		if err := hub.Shutdown(t.Context()); err != nil {
			t.Error("again:", err)
		}
	})
}

func TestSlowConsumerHarmsNobody(t *testing.T) {
	t.Parallel()
	reason := make(chan string, 1)
	hub := newHub(t, byUser(), chat.WithRooms("r"), chat.WithLimits(chat.Limits{Outbox: 64 << 10}),
		chat.OnDisconnect(func(_ context.Context, c *chat.Client, why string) {
			if c.User().ID == "slow" {
				reason <- why
			}
		}))
	ann := chattest.Dial(t, hub, as("ann"))
	slow := dialAndStopReading(t, hub, "slow")
	defer slow.Close()
	text := strings.Repeat("x", 4000)
	for i := 0; ; i++ {
		if err := hub.Room("r").Emit("n", i, text); err != nil {
			t.Fatal(err)
		}
		ann.Expect("n")
		select {
		case why := <-reason:
			if why != "slow consumer" || hub.Stats().Evicted["slow consumer"] != 1 {
				t.Fatal(why, hub.Stats())
			}
			return
		default:
		}
		if i > 100_000 {
			t.Fatal("nobody was evicted")
		}
	}
}

func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	snippet := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindSubmatch(readme)
	if snippet == nil {
		t.Fatal("no snippet in the README")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, snippet[1], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", os.DevNull, file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// dialAndStopReading connects a client by hand over a real socket, and reads nothing from then on.
func dialAndStopReading(t *testing.T, hub *chat.Hub, user string) io.Closer {
	t.Helper()
	srv := httptest.NewServer(hub)
	t.Cleanup(srv.Close)
	c := dialRaw(t, srv.Listener.Addr().String())
	c.send(t, `40{"user":"`+user+`"}`)
	c.expect(t, "40")
	return c
}
