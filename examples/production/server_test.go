package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/metrics"
)

// serve is everything of the binary but its port.
func serve(t *testing.T, env map[string]string) http.Handler {
	t.Helper()
	h, _ := serveHub(t, env)
	return h
}

func serveHub(t *testing.T, env map[string]string) (http.Handler, *chat.Hub) {
	t.Helper()
	cfg, err := fromEnv(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	who, err := newAuth(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(who.close)
	watch := metrics.New(metrics.Events("whoami"))
	hub, err := newHub(cfg, chat.NewMemoryStore(0, 0), who, watch)
	if err != nil {
		t.Fatal(err)
	}
	endAfter(t, hub)
	return handler(cfg, hub, who, watch), hub
}

func endAfter(t *testing.T, hub *chat.Hub) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}

func signed(t *testing.T, id string, roles ...string) string {
	t.Helper()
	s, err := gojwt.NewWithClaims(gojwt.SigningMethodHS256, gojwt.MapClaims{
		"sub": id, "name": strings.ToUpper(id), "roles": roles, "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func request(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Who is revoked is out, by the Hub and by the API, and the one who revokes is not.
func TestRevoke(t *testing.T) {
	t.Parallel()
	h := serve(t, map[string]string{"JWT_SECRET": secret})
	admin := "Bearer " + signed(t, "root", "admin")
	for name, c := range map[string]struct {
		query, bearer string
		status        int
	}{
		"without a token":  {"user=ann", "", 401},
		"without the role": {"user=ann", "Bearer " + signed(t, "ann", "ops"), 403},
		"of nobody":        {"", admin, 400},
		"of both":          {"user=ann&token=1", admin, 400},
	} {
		var header []string
		if c.bearer != "" {
			header = []string{"Authorization", c.bearer}
		}
		if w := request(h, "POST", "/api/revoke?"+c.query, header...); w.Code != c.status {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	token := signed(t, "ann")
	dial := chattest.Auth(map[string]string{"token": token})
	ann, bob := chattest.Dial(t, h, dial), chattest.Dial(t, h, chattest.Auth(map[string]string{"token": signed(t, "bob")}))
	if w := request(h, "POST", "/api/revoke?user=ann", "Authorization", admin); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"status":"revoked"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if why := ann.WaitClosed(); why != "io server disconnect" {
		t.Error(why)
	}
	if _, err := chattest.TryDial(t, h, dial); err == nil {
		t.Error("ann is back")
	}
	if w := request(h, "GET", "/api/rooms", "Authorization", "Bearer "+token); w.Code != 401 {
		t.Errorf("the API: %d", w.Code)
	}
	if w := request(h, "GET", "/api/rooms", "Authorization", admin); w.Code != 200 {
		t.Errorf("who has revoked: %d", w.Code)
	}
	bob.Call("chat_message", "still here")
}

func TestBroadcast(t *testing.T) {
	t.Parallel()
	h := serve(t, map[string]string{"JWT_SECRET": secret, "BROADCAST_ROLE": "ops", "ALLOWED_ORIGINS": "https://app.example.com"})
	ann := chattest.Dial(t, h, chattest.Auth(map[string]string{"token": signed(t, "ann")}))
	bearer := "Bearer " + signed(t, "ops", "ops")
	for name, c := range map[string]struct {
		target string
		header []string
		status int
		body   string
	}{
		"without a token":    {"/api/broadcast?message=hi", nil, 401, `"UNAUTHORIZED"`},
		"with a wrong one":   {"/api/broadcast?message=hi", []string{"Authorization", "Bearer x"}, 401, `"UNAUTHORIZED"`},
		"without the role":   {"/api/broadcast?message=hi", []string{"Authorization", "Bearer " + signed(t, "ann")}, 403, `"FORBIDDEN"`},
		"without a message":  {"/api/broadcast", []string{"Authorization", bearer}, 400, `"INVALID_PAYLOAD"`},
		"with a long one":    {"/api/broadcast?message=" + strings.Repeat("x", maxAlert+1), []string{"Authorization", bearer}, 400, `"INVALID_PAYLOAD"`},
		"from another site":  {"/api/broadcast?message=hi", []string{"Authorization", bearer, "Origin", "https://stranger.example"}, 403, ""},
		"from a listed site": {"/api/broadcast?message=listed", []string{"Authorization", bearer, "Origin", "https://app.example.com"}, 200, `{"status":"broadcast_sent"}`},
	} {
		w := request(h, "POST", c.target, c.header...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, c.status, c.body)
		}
	}
	var alert struct{ Message string }
	ann.Expect("alert").Decode(0, &alert)
	if alert.Message != "listed" {
		t.Errorf("alert %+v", alert)
	}
	ann.Call("whoami", nil) // all that was sent has come
	ann.None("alert")
}

func TestRooms(t *testing.T) {
	t.Parallel()
	h := serve(t, map[string]string{"JWT_SECRET": secret})
	if w := request(h, "GET", "/api/rooms"); w.Code != 401 {
		t.Errorf("without a token: %d", w.Code)
	}
	for range 2 {
		chattest.Dial(t, h, chattest.Auth(map[string]string{"token": signed(t, "ann")}))
	}
	chattest.Dial(t, h, chattest.Auth(map[string]string{"token": signed(t, "bob")}))
	w := request(h, "GET", "/api/rooms", "Authorization", "Bearer "+signed(t, "ann"), "X-Request-Id", "id-1")
	if got := strings.TrimSpace(w.Body.String()); got != `{"rooms":[{"room":"chat","users":2}]}` {
		t.Errorf("%d %s", w.Code, got)
	}
	if got := w.Header().Get("X-Request-Id"); got != "id-1" {
		t.Errorf("request id %q", got)
	}
}

// Pages name the path, or the path as a namespace, or neither.
func TestPathsAndNamespaces(t *testing.T) {
	t.Parallel()
	h := serve(t, map[string]string{"AUTH": "none"})
	under := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/ws" + r.URL.Path
		h.ServeHTTP(w, r)
	})
	plain := chattest.Dial(t, h)
	path := chattest.Dial(t, under, chattest.Polling())
	alias := chattest.Dial(t, h, chattest.Namespace("/ws"))
	plain.Call("chat_message", "to all")
	for _, c := range []*chattest.Client{path, alias} {
		var m chat.Entry
		if c.Expect("new_message").Decode(0, &m); m.Text != "to all" || m.Room != room {
			t.Errorf("%+v", m)
		}
	}
}

// The handshake tells both times to the client, which gives up after their sum; nginx's times are above it.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	h := serve(t, map[string]string{"AUTH": "none"})
	for _, mount := range []string{"/socket.io/", "/ws/socket.io/"} {
		w := request(h, "GET", mount+"?EIO=4&transport=polling")
		var open struct {
			SID          string
			PingInterval int
			PingTimeout  int
		}
		text, ok := strings.CutPrefix(w.Body.String(), "0") // Engine.IO's open packet
		if err := json.Unmarshal([]byte(text), &open); w.Code != 200 || !ok || err != nil || open.SID == "" {
			t.Errorf("%s: %d %s: no handshake: %v", mount, w.Code, w.Body, err)
		}
		if open.PingInterval != 10_000 || open.PingTimeout != 5_000 {
			t.Errorf("%s: a ping every %d ms, %d ms for the answer", mount, open.PingInterval, open.PingTimeout)
		}
	}
}

// What X-Forwarded-For says is believed where a trusted proxy says it, and nowhere else.
func TestAddress(t *testing.T) {
	t.Parallel()
	const forged = "203.0.113.9"
	for name, c := range map[string]struct {
		proxies, peer, want string
	}{
		"a stranger":                       {"", "198.51.100.7:1234", "198.51.100.7:1234"},
		"a proxy of a private network":     {"", "10.89.77.2:1234", forged},
		"the proxy that is named":          {"10.89.77.2", "10.89.77.2:1234", forged},
		"a neighbour of the one named":     {"10.89.77.2", "10.89.77.3:1234", "10.89.77.3:1234"},
		"loopback, where a proxy is named": {"10.89.77.2", "127.0.0.1:1234", "127.0.0.1:1234"},
	} {
		cfg, err := fromEnv(func(name string) string { return map[string]string{"AUTH": "none", "TRUSTED_PROXIES": c.proxies}[name] })
		if err != nil {
			t.Fatal(err)
		}
		seen := make(chan string, 1)
		hub, err := newHub(cfg, chat.NewMemoryStore(0, 0), auth{options: []chat.Option{
			chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
				seen <- h.RemoteAddr
				return chat.User{ID: "ann"}, nil
			}),
		}}, metrics.New())
		if err != nil {
			t.Fatal(err)
		}
		endAfter(t, hub)
		chattest.Dial(t, hub, chattest.RemoteAddr(c.peer), chattest.Header("X-Forwarded-For", forged))
		if got := <-seen; got != c.want {
			t.Errorf("%s: the address is %s, want %s", name, got, c.want)
		}
	}
}

func TestAnybody(t *testing.T) {
	t.Parallel()
	h := serve(t, map[string]string{"AUTH": "none"})
	who := func(opts ...chattest.Option) chat.Member {
		var a struct{ Result chat.Member }
		chattest.Dial(t, h, opts...).Call("whoami", nil).Decode(0, &a)
		return a.Result
	}
	one, two := who(), who()
	if one.Name != "anonymous" || one.UserID == "" || one.UserID == two.UserID {
		t.Errorf("%+v, %+v", one, two)
	}
	if u := who(chattest.Header("X-User-ID", "ann")); u != (chat.Member{UserID: "ann", Name: "ann"}) {
		t.Errorf("%+v", u)
	}
	if u := who(chattest.Auth(map[string]string{"name": " Ben ", "device": "d"})); u.Name != "Ben" {
		t.Errorf("%+v", u)
	}
	if _, err := chattest.TryDial(t, h, chattest.Auth(map[string]string{"name": strings.Repeat("x", 33)})); err == nil {
		t.Error("a name of 33 characters was taken")
	}
	for _, target := range []string{"/api/rooms", "/api/auth"} {
		if w := request(h, "GET", target); w.Code != 200 {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

func TestTokenIsAskedFor(t *testing.T) {
	t.Parallel()
	h := serve(t, map[string]string{"JWT_SECRET": secret})
	_, err := chattest.TryDial(t, h, chattest.Header("X-User-ID", "ann"))
	var refused *chattest.DialError
	if !errors.As(err, &refused) || !strings.Contains(string(refused.Data), "UNAUTHORIZED") {
		t.Errorf("%v", err)
	}
	var a struct{ Result chat.Member }
	chattest.Dial(t, h, chattest.Auth(map[string]string{"token": signed(t, "ann")})).Call("whoami", nil).Decode(0, &a)
	if a.Result != (chat.Member{UserID: "ann", Name: "ANN"}) {
		t.Errorf("%+v", a.Result)
	}
}

// Ten messages at once, then five a second.
func TestMessageRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ann := chattest.Dial(t, serve(t, map[string]string{"AUTH": "none"}))
		say := func() (ok bool, retry time.Duration) {
			var a struct {
				OK    bool
				Error struct {
					Code  chat.Code
					Retry int64 `json:"retry_after_ms"`
				}
			}
			ann.Call("chat_message", "hello").Decode(0, &a)
			if !a.OK && a.Error.Code != chat.RateLimited {
				t.Errorf("%+v", a.Error)
			}
			return a.OK, time.Duration(a.Error.Retry) * time.Millisecond
		}
		for i := range 10 {
			if ok, _ := say(); !ok {
				t.Fatalf("message %d of the burst was refused", i+1)
			}
		}
		for range 3 {
			ok, retry := say()
			if ok || retry <= 0 || retry > 200*time.Millisecond {
				t.Fatalf("past the burst: ok %v, retry after %v", ok, retry)
			}
			time.Sleep(retry)
			if ok, _ := say(); !ok {
				t.Fatalf("refused %v later, as it was asked", retry)
			}
		}
	})
}

func TestObserved(t *testing.T) {
	t.Parallel()
	h := serve(t, map[string]string{"AUTH": "none"})
	chattest.Dial(t, h).Call("chat_message", "hello")
	body := request(h, "GET", "/metrics").Body.String()
	for _, series := range []string{"socketio_connections_total", `socketio_messages_received_total`} {
		if !strings.Contains(body, series) {
			t.Errorf("/metrics has no %s", series)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if w := request(h, "GET", path); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Between the Hub's end and its own the HTTP server answers, so that the proxy goes elsewhere and nobody takes the node for dead.
func TestDrained(t *testing.T) {
	t.Parallel()
	h, hub := serveHub(t, map[string]string{"AUTH": "none"})
	ann := chattest.Dial(t, h)
	if err := hub.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ann.Expect("server_draining")
	if why := ann.WaitClosed(); why != "transport close" {
		t.Errorf("closed by %q: the client would stay away", why)
	}
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/readyz", 503}, {"GET", "/healthz", 200}, {"GET", "/metrics", 200}, {"GET", "/api/auth", 200},
		{"GET", "/socket.io/?EIO=4&transport=polling", 503}, {"POST", "/api/broadcast?message=hi", 503},
	} {
		w := request(h, c.method, c.target)
		if w.Code != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.target, w.Code, c.status)
		}
		if strings.HasPrefix(c.target, "/socket.io/") && w.Header().Get("Retry-After") == "" {
			t.Error("a handshake is refused without Retry-After")
		}
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	h := serve(t, map[string]string{"AUTH": "none"})
	w := request(h, "GET", "/")
	if w.Code == http.StatusServiceUnavailable {
		if !strings.Contains(w.Body.String(), "npm --prefix") {
			t.Errorf("not built, and it does not say how: %s", w.Body)
		}
		return // TestBrowser fails
	}
	if w.Code != 200 || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'self'") || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, db := range []string{"mysql://x", "sqlite:/no/such/folder/chat.db", "postgres://127.0.0.1:1/x"} {
		if _, _, err := open(ctx, db); err == nil {
			t.Errorf("%q was opened", db)
		}
	}
}

// ack is what an ack may have.
type ack struct {
	OK      bool
	Message chat.Entry
	Entries []chat.Entry
	Error   json.RawMessage
}
