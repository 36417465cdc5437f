package chat_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/clustertest"
)

// A ring is nodes that pass requests on to each other; as a handler it gives each request to the next one.
type ring struct {
	t       *testing.T
	bus     *clustertest.Bus
	hubs    []*chat.Hub
	servers []*httptest.Server
	turn    atomic.Int64
	passed  func(node int, r *http.Request) // is shown what other nodes pass on
}

func (r *ring) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.hubs[int(r.turn.Add(1))%len(r.hubs)].ServeHTTP(w, req)
}

var ringKey = bytes.Repeat([]byte("key "), 8)

const forwardedHeader = "X-Chat-Forwarded"

func newRing(t *testing.T, nodes int, opts ...chat.Option) *ring {
	t.Helper()
	r := &ring{t: t, bus: clustertest.NewBus(4)}
	store := shared{chat.NewMemoryStore(0, 0)}
	for i := range nodes {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if r.passed != nil && req.Header.Get(forwardedHeader) != "" {
				r.passed(i, req)
			}
			r.hubs[i].ServeHTTP(w, req)
		}))
		address := "http://" + s.Listener.Addr().String()
		hub := newHub(t, append(opts, chat.WithStore(store), chat.WithCluster(r.bus.Node()), chat.WithNodeAddress(address, ringKey))...)
		r.hubs, r.servers = append(r.hubs, hub), append(r.servers, s)
		s.Start()
		t.Cleanup(func() { // after the Hub's Shutdown
			s.CloseClientConnections()
			s.Close()
		})
	}
	for _, hub := range r.hubs {
		eventually(t, func() bool { return hub.Stats().Nodes == nodes })
	}
	return r
}

// do sends a request to a node.
func (r *ring) do(node int, method, query, body string, header ...string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.servers[node].URL+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := r.servers[node].Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, string(b)
}

// open opens a polling session at a node.
func (r *ring) open(node int) (sid string) {
	r.t.Helper()
	_, body := r.do(node, "GET", "", "")
	_, sid, _ = strings.Cut(body, `"sid":"`)
	sid, _, _ = strings.Cut(sid, `"`)
	if sid == "" {
		r.t.Fatal(body)
	}
	return sid
}

func TestPollingWithoutStickiness(t *testing.T) {
	t.Parallel()
	const clients, messages = 4, 60
	r := newRing(t, 3, chat.WithRooms("r"))
	var wg sync.WaitGroup
	var all []*chattest.Client
	for range clients {
		all = append(all, chattest.Dial(t, r, chattest.Polling(), chattest.Timeout(30*time.Second)))
	}
	for i, c := range all {
		wg.Go(func() {
			for k := range messages {
				c.Emit("chat_message", map[string]any{"room": "r", "text": fmt.Sprintf("%d %d", i, k)})
			}
			next := make([]int, clients)   // of each sender
			for range clients * messages { // its own too, which it has asked no ack for
				var m struct{ Text string }
				c.Expect("new_message").Decode(0, &m)
				var from, k int
				if _, err := fmt.Sscanf(m.Text, "%d %d", &from, &k); err != nil || k != next[from] {
					t.Errorf("client %d: %q, want number %d", i, m.Text, next[from])
					return
				}
				next[from]++
			}
		})
	}
	wg.Wait()
	var s chat.Stats
	for _, hub := range r.hubs {
		one := hub.Stats()
		s.Forwarded, s.NotForwarded, s.Forged = s.Forwarded+one.Forwarded, s.NotForwarded+one.NotForwarded, s.Forged+one.Forged
	}
	if s.Forwarded < clients || s.NotForwarded != 0 || s.Forged != 0 {
		t.Errorf("%d forwarded, %d not, %d forged", s.Forwarded, s.NotForwarded, s.Forged)
	}
}

// What proves that a request was passed on is good for nothing else.
func TestForgedForward(t *testing.T) {
	t.Parallel()
	const forbidden, unknown = `{"code":4,"message":"Forbidden"}`, `{"code":1,"message":"Session ID unknown"}`
	r := newRing(t, 3)
	var proof atomic.Pointer[string]
	r.passed = func(node int, req *http.Request) {
		if h := req.Header.Get(forwardedHeader); node == 0 {
			proof.Store(&h)
		}
	}
	sid := "&sid=" + r.open(0)
	if res, body := r.do(1, "POST", sid, "40"); res.StatusCode != 200 || body != "ok" {
		t.Fatal(res, body)
	}
	header := *proof.Load()
	for name, c := range map[string]struct {
		node                  int
		method, query, header string
		status                int
		body                  string
	}{
		"made up":            {0, "POST", sid, "1.a.b.1.c.d", 403, forbidden},
		"at a handshake":     {0, "GET", "", header, 403, forbidden},
		"another method":     {0, "GET", sid, header, 403, forbidden},
		"another session":    {0, "POST", sid + "x", header, 403, forbidden},
		"another node":       {2, "POST", sid, header, 400, unknown},
		"the one it came by": {1, "POST", sid, header, 400, unknown},
	} {
		before := r.hubs[c.node].Stats()
		res, body := r.do(c.node, c.method, c.query, "40", forwardedHeader, c.header)
		after := r.hubs[c.node].Stats()
		if res.StatusCode != c.status || body != c.body || after.Forged != before.Forged+1 || after.Forwarded != before.Forwarded {
			t.Errorf("%s: %d %s, %d forged", name, res.StatusCode, body, after.Forged-before.Forged)
		}
	}
}

// A Hub that passes nothing on has nothing to do with the header.
func TestForwardHeaderWithoutCluster(t *testing.T) {
	t.Parallel()
	if res := get(t, newHub(t), "GET", handshakeURL, forwardedHeader, "1.a.b.1.c.d"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

// The client's address is the one that the first node has found, at the other one too.
func TestForwardedAddress(t *testing.T) {
	t.Parallel()
	seen := &limits{}
	r := newRing(t, 2, chat.WithTrustedProxies("127.0.0.1"), chat.WithLimits(chat.Limits{Upgrades: 1}), chat.WithObserver(seen))
	for range 2 {
		r.upgrade(1, r.open(0), "X-Forwarded-For", "192.0.2.7")
	}
	var hits []chat.LimitHit
	eventually(t, func() bool { hits = append(hits, seen.take()...); return len(hits) > 0 })
	if hit := hits[0]; hit.Limit != "Upgrades" || hit.Address != "192.0.2.7" {
		t.Errorf("%+v", hit)
	}
}

// A page of another origin is refused, or let in with one set of headers, whichever node it asks.
func TestForwardedOrigin(t *testing.T) {
	t.Parallel()
	r := newRing(t, 2, chat.WithOrigins("https://app.example"))
	sid := "&sid=" + r.open(0)
	if res, _ := r.do(1, "POST", sid, "40", "Origin", "https://evil.example"); res.StatusCode != 403 {
		t.Error(res.Status)
	}
	for range 2 {
		res, body := r.do(1, "POST", sid, "40", "Origin", "https://app.example")
		if h := res.Header.Values("Access-Control-Allow-Origin"); res.StatusCode != 200 || len(h) != 1 || h[0] != "https://app.example" {
			t.Error(res.Status, body, h)
		}
		sid = "&sid=" + r.open(0)
		req, _ := http.NewRequestWithContext(t.Context(), "OPTIONS", r.servers[1].URL+"/socket.io/?EIO=4&transport=polling"+sid, nil)
		req.Header.Set("Origin", "https://app.example")
		req.Header.Set("Access-Control-Request-Method", "POST")
		res, err := r.servers[1].Client().Do(req)
		if err != nil || res.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
			t.Error(res, err)
		}
		_ = res.Body.Close()
	}
	if n := r.hubs[1].Stats().Forwarded; n != 2 {
		t.Errorf("%d were passed on", n)
	}
}

// While a node does not answer its clients are told to come again; when it is known to be gone, that their sessions are.
func TestForwardToDeadNode(t *testing.T) {
	t.Parallel()
	r := newRing(t, 2, chat.WithOrigins("https://app.example"))
	sid := r.open(0)
	waiting := make(chan string)
	arrived := make(chan struct{})
	r.passed = func(int, *http.Request) { close(arrived) }
	go func() {
		_, body := r.do(1, "GET", "&sid="+sid, "")
		waiting <- body
	}()
	<-arrived
	_ = r.servers[0].Listener.Close()
	res, _ := r.do(1, "POST", "&sid="+sid, "40", "Origin", "https://app.example") // by the connection that the handshake of this test has left
	for res.StatusCode == 200 {
		res, _ = r.do(1, "POST", "&sid="+sid, "3", "Origin", "https://app.example")
	}
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" || len(res.Header.Values("Access-Control-Allow-Origin")) != 1 {
		t.Error(res.Status, res.Header)
	}
	r.bus.Lease = time.Millisecond
	r.bus.Kill(strings.Split(sid, ".")[0])
	const unknown = `{"code":1,"message":"Session ID unknown"}`
	if body := <-waiting; body != unknown && !strings.HasPrefix(body, "40") {
		t.Error(body)
	}
	eventually(t, func() bool { return r.hubs[1].Stats().Nodes == 1 })
	if res, body := r.do(1, "GET", "&sid="+sid, ""); res.StatusCode != 400 || body != unknown {
		t.Error(res.Status, body)
	}
}

// Shutdown waits for nobody who is a client of another node: a poll is answered, and its session lives on; a WebSocket is cut.
func TestShutdownWhileForwarding(t *testing.T) {
	t.Parallel()
	r := newRing(t, 2)
	sid, other := "&sid="+r.open(0), r.open(0)
	arrived := make(chan struct{}, 10)
	r.passed = func(int, *http.Request) { arrived <- struct{}{} }
	answer := make(chan string)
	go func() {
		res, body := r.do(1, "GET", sid, "")
		answer <- res.Status + " " + body
	}()
	<-arrived
	ws := r.upgrade(1, other)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.hubs[1].Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if a := <-answer; a != "200 OK 6" {
		t.Error(a)
	}
	_, _ = io.Copy(io.Discard, ws.Body) // until it is cut, by whichever end
	if res, body := r.do(0, "POST", sid, "40"); res.StatusCode != 200 {
		t.Error(res.Status, body)
	}
	if res, _ := r.do(1, "GET", sid, ""); res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" {
		t.Error(res.Status)
	}
}

// upgrade asks a node for a session's WebSocket.
func (r *ring) upgrade(node int, sid string, header ...string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", r.servers[node].URL+"/socket.io/?EIO=4&transport=websocket&sid="+sid, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	header = append(header, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", strings.Repeat("k", 22)+"==")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := r.servers[node].Client().Transport.RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		r.t.Fatal(res, err)
	}
	r.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}
