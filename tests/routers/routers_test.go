// Package routers tries a Hub under the routers and the middleware that applications have.
package routers

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleychat/chat"
)

func TestMain(m *testing.M) {
	// These tests wait, they do not compute: all of them at once.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// A poll waits for the next heartbeat, longer than every timeout of the host.
const (
	hostTimeout = 300 * time.Millisecond
	heartbeat   = 3 * hostTimeout
)

// client is what both transports can do.
type client interface {
	send(packet string)
	expect(prefix string) string
}

func newHub(t *testing.T) *chat.Hub {
	t.Helper()
	hub, err := chat.New(
		chat.WithHeartbeat(heartbeat, deadline),
		chat.WithRecovery(0, 0),
		chat.WithLogger(slog.New(slog.DiscardHandler)),
		chat.OnRaw("echo", func(_ context.Context, _ *chat.Client, e *chat.Event) ([]any, error) { return e.Args.Values(), nil }),
		chat.On("panic", func(context.Context, *chat.Client, any) error { panic("asked for") }),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return hub
}

// start serves the host with timeouts that are short for a page and far too short for a long poll.
func start(t *testing.T, handler http.Handler) (url string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = hostTimeout, hostTimeout
	srv.Config.IdleTimeout = time.Minute // or a POST could meet the close of the connection that it is sent on
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestRouters(t *testing.T) {
	t.Parallel()
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			url := start(t, h.mount(newHub(t)))
			t.Run("polling", func(t *testing.T) {
				t.Parallel()
				talk(t, poll(t, url+h.at))
			})
			t.Run("websocket", func(t *testing.T) {
				t.Parallel()
				talk(t, dial(t, url+h.at))
			})
			t.Run("panic", func(t *testing.T) {
				t.Parallel()
				panics(t, url)
				talk(t, poll(t, url+h.at))
			})
		})
	}
}

// talk connects, echoes, waits twice for longer than the host's timeouts, and survives a handler's panic.
func talk(t *testing.T, c client) {
	t.Helper()
	c.send("40")
	c.expect("40{")
	echoes(t, c, "small")
	for long := 0; long < 2; {
		began := time.Now()
		c.expect("2")
		if time.Since(began) > hostTimeout {
			long++
		}
		echoes(t, c, strings.Repeat("long enough for gzip ", 1000))
	}
	c.send(`420["panic"]`)
	if got := c.expect("430"); !strings.Contains(got, "INTERNAL") {
		t.Errorf("a panic was answered with %s", got)
	}
	echoes(t, c, "after a panic")
}

func echoes(t *testing.T, c client, text string) {
	t.Helper()
	c.send(`421["echo","` + text + `"]`)
	if got := c.expect("431"); got != `431["`+text+`"]` {
		t.Fatalf("echo of %.40q is %.60q", text, got)
	}
}

// panics checks that the host's own recoverer still works.
func panics(t *testing.T, url string) {
	t.Helper()
	res, err := http.Get(url + "/boom")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusInternalServerError {
		t.Errorf("a panic gave %d", res.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}

// opaque hides everything but the three methods of a response writer, as home-made middleware does.
func opaque(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
	})
}

// Behind middleware that hides the connection a WebSocket cannot be, which must be said; polling goes on.
func TestOpaqueMiddleware(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(opaque(newHub(t)))
	t.Cleanup(srv.Close)
	c := poll(t, srv.URL+"/socket.io/")
	c.send("40")
	c.expect("40{")
	echoes(t, c, "x")

	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/socket.io/?EIO=4&transport=websocket", nil)
	req.RequestURI = ""
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		req.Header.Set(k, v)
	}
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode < 400 {
		t.Errorf("a WebSocket that cannot be was answered with %d", res.StatusCode)
	}
	echoes(t, c, "y")
}
