package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleychat/chat/internal/engineio"
)

func TestPolls(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "node11", "node22", "node33")
	for _, eio := range []string{"4", "3"} {
		q := n[0].open(eio)
		for i := range 150 { // each by another node than the one before
			msg := fmt.Sprintf("4message %03d", i)
			if eio == "3" {
				msg = fmt.Sprintf("%d:%s", len(msg), msg)
			}
			n[i%3].want("POST", q, msg, 200, "ok")
			n[(i+1)%3].want("GET", q, "", 200, msg)
		}
	}
	for i, want := range []int64{0, 200, 200} {
		if passed, failed, forged := n[i].forward.Counts(); passed != want || failed != 0 || forged != 0 {
			t.Errorf("node %d: %d %d %d", i, passed, failed, forged)
		}
	}
	n[1].want("GET", "EIO=4&transport=polling&sid=node11.unknown", "", 400, `{"code":1,"message":"Session ID unknown"}`)
	n[1].want("GET", "EIO=4&transport=polling&sid=node44.unknown", "", 400, `{"code":1,"message":"Session ID unknown"}`)
}

func TestManyPollsAtOnce(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "node11", "node22")
	var wg sync.WaitGroup
	for range 20 {
		q := n[0].open("4")
		wg.Go(func() {
			for range 5 {
				text := "4" + strings.Repeat("x", 100_000) // more than the buffers on the way hold
				n[1].want("POST", q, text, 200, "ok")
				n[1].want("GET", q, "", 200, text)
			}
		})
	}
	wg.Wait()
}

func TestPayloadTooLarge(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "node11", "node22")
	q := n[0].open("4")
	n[1].want("POST", q, strings.Repeat("x", 1_200_000), 413, `{"code":3,"message":"Payload too large"}`)
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "node11", "node22")
	for _, eio := range []string{"4", "3"} {
		q := n[0].open(eio)
		waiting := n[1].later(q, n[0])
		c := n[1].dial(q)
		c.send("2probe")
		c.want("3probe")
		if s := receive(t, waiting); s != 200 {
			t.Error(s)
		}
		large := "4" + strings.Repeat("x", 900_000)
		c.send("5")
		for range 3 {
			c.send(large)
			c.want(large)
		}
		if eio == "4" { // ends by the client
			_ = c.conn.Close()
			if r := receive(t, n[0].ended); r != engineio.ReasonTransportClose {
				t.Error(r)
			}
			continue
		}
		n[0].mu.Lock() // ends by the server
		n[0].sessions[1].Close(engineio.ReasonForced)
		n[0].mu.Unlock()
		c.ends()
		_ = c.conn.Close()
		receive(t, n[0].ended)
	}
}

// What is refused there is answered here.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "node11", "node22")
	r := n[1].request(t.Context(), "GET", "EIO=4&transport=websocket&sid=node11.unknown", "")
	for k, v := range map[string]string{"Connection": "keep-alive, upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": strings.Repeat("k", 22) + "=="} {
		r.Header.Set(k, v)
	}
	if res, body := n[1].send(r); res.StatusCode != 400 || body != `{"code":1,"message":"Session ID unknown"}` || res.Header.Get("Content-Type") != "application/json" {
		t.Error(res, body)
	}
	receive(t, n[0].seen)
}

// What the host's mux cuts off of the path, and what its middleware says, at both nodes.
func TestHost(t *testing.T) {
	t.Parallel()
	n := newNodes(t, func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/a%2Fb/", http.StripPrefix("/a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
			h.ServeHTTP(w, r)
		})))
		mux.Handle("/socket.io/", h)
		return mux
	}, "node11", "node22")
	q := n[0].open("4") + "&x=%3B;&y"
	r, err := http.NewRequestWithContext(t.Context(), "POST", n[1].http.URL+"/a%2Fb/%7Esocket.io/?"+q, strings.NewReader("4hello"))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "chat.example"
	for k, v := range map[string]string{
		"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "Forwarded": "for=192.0.2.7", "Origin": "https://app.example", "X-Who": "ann", "Cookie": "a=b",
		"Connection": "keep-alive, " + Header, // which names headers that go no further
	} {
		r.Header.Set(k, v)
	}
	res, body := n[1].send(r)
	if res.StatusCode != 200 || body != "ok" || len(res.Header.Values("Access-Control-Allow-Origin")) != 1 || len(res.Header.Values("Date")) != 1 {
		t.Fatal(res, body)
	}
	got := receive(t, n[0].seen)
	if got.RequestURI != "/a%2Fb/%7Esocket.io/?"+q || got.Host != "chat.example" || got.RemoteAddr != "client of ann" || got.Header.Get(Header) != "" {
		t.Error(got.RequestURI, got.Host, got.RemoteAddr, got.Header)
	}
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Origin", "Cookie"} {
		if got.Header.Get(name) != r.Header.Get(name) || len(got.Header.Values(name)) != 1 {
			t.Errorf("%s: %q", name, got.Header.Values(name))
		}
	}
}

func TestForged(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "node11", "node22")
	q := n[0].open("4")
	r := n[1].request(t.Context(), "POST", q, "4x")
	r.Header.Set(Header, someProof().sign([]byte("guessed")))
	if res, _ := n[1].send(r); res.StatusCode != 403 {
		t.Error(res.Status)
	}
	r = n[0].request(t.Context(), "POST", q, "4x")
	r.Header[Header] = []string{"1.a.b.1..", ""}
	if res, _ := n[0].send(r); res.StatusCode != 403 {
		t.Error(res.Status)
	}
	for _, node := range n {
		if passed, _, forged := node.forward.Counts(); passed != 0 || forged != 1 {
			t.Error(passed, forged)
		}
	}
}

// A GET that the client gives up is given up at the other node, which ends the session.
func TestClientGone(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "node11", "node22")
	q := n[0].open("4")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := n[1].http.Client().Do(n[1].request(ctx, "GET", q, ""))
		done <- err
	}()
	receive(t, n[0].seen)
	cancel()
	if receive(t, done) == nil {
		t.Error("answered")
	}
	if r := receive(t, n[0].ended); r != engineio.ReasonTransportError {
		t.Error(r)
	}
	if _, failed, _ := n[1].forward.Counts(); failed != 0 {
		t.Errorf("%d failed", failed)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	_ = l.Close()
	n := newNode(t, "node11", func(string) (string, bool) { return address, true }, nil)
	for _, transport := range []string{"polling", "websocket"} {
		r := n.request(t.Context(), "GET", "EIO=4&sid=node22.x&transport="+transport, "")
		if transport == "websocket" {
			for k, v := range map[string]string{"Connection": "upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": strings.Repeat("k", 22) + "=="} {
				r.Header.Set(k, v)
			}
		}
		if res, _ := n.send(r); res.StatusCode != 503 {
			t.Error(res.Status)
		}
	}
	if passed, failed, _ := n.forward.Counts(); passed != 2 || failed != 2 {
		t.Error(passed, failed)
	}
}

// What is under way to a node ends with the node, and with this one.
func TestCut(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(f *Forwarder) error{
		"node gone": func(f *Forwarder) error { f.Cut("node11"); return ErrGone },
		"closed": func(f *Forwarder) error {
			if !f.Close(t.Context().Done()) {
				t.Error("goes on")
			}
			return ErrClosed
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNodes(t, nil, "node11", "node22", "node33")
			q, other, third := n[0].open("4"), n[0].open("4"), n[2].open("4")
			polling := n[1].later(q, n[0])
			unharmed := n[1].later(third, n[2])
			c := n[1].dial(other)
			c.send("2probe")
			c.want("3probe")
			if polls, tunnels := n[1].forward.Polls(), n[1].forward.Tunnels(); len(polls["node11"]) != 1 || len(polls["node33"]) != 1 || len(tunnels) != 1 {
				t.Error(polls, len(tunnels))
			}
			want := cut(n[1].forward)
			c.ends()
			if s := receive(t, polling); s != 503 {
				t.Error(s)
			}
			n[1].wantWrong(want)
			if want == ErrGone {
				n[2].want("POST", third, "4x", 200, "ok")
				if s := receive(t, unharmed); s != 200 {
					t.Error(s)
				}
				return
			}
			receive(t, unharmed)
			if s, _ := n[1].do("GET", q, ""); s != 503 || !n[1].forward.Close(nil) {
				t.Error(s)
			}
		})
	}
}

// While nothing comes a tunnel waits; then the last bytes of each end come through.
func TestTunnelHalfClosed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		r, _ := http.ReadRequest(bufio.NewReader(c))
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX-Host: %s\r\n\r\nfirst", r.Host)
		far <- c
	}()
	n := newNode(t, "node11", func(string) (string, bool) { return "http://" + l.Addr().String(), true }, nil)
	near, err := net.Dial("tcp", n.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	fmt.Fprintf(near, "GET /?sid=node22.x HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s==\r\n\r\n", strings.Repeat("k", 22))
	b := bufio.NewReader(near)
	res, err := http.ReadResponse(b, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("X-Host") != "chat.example" {
		t.Fatal(res, err)
	}
	c := receive(t, far)
	fmt.Fprint(near, "last of the client")
	_ = near.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "last of the client" {
		t.Errorf("%q %v", got, err)
	}
	fmt.Fprint(c, ", last of the server")
	_ = c.Close()
	if got, err := io.ReadAll(b); err != nil || string(got) != "first, last of the server" {
		t.Errorf("%q %v", got, err)
	}
}

// Where a middleware hides the deadlines of its connection a poll is answered in half of what the host gives it.
func TestHiddenDeadlines(t *testing.T) {
	t.Parallel()
	n := newNodes(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(Header) == "" {
				w = struct{ http.ResponseWriter }{w}
				r = r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{WriteTimeout: 20 * time.Millisecond}))
			}
			h.ServeHTTP(w, r)
		})
	}, "node11", "node22")
	q := n[0].open("4")
	waiting := n[1].later(q, n[0])
	sid := receive(t, n[1].released)
	for deadline := time.Now().Add(patience); ; {
		n[0].engine.Release(sid) // the GET has been seen there, but may not wait yet: a host's limit is longer than this one's 20 ms
		select {
		case s := <-waiting:
			if s != 200 {
				t.Error(s)
			}
			return
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("no answer")
		}
	}
}

// Between the nodes there may be TLS.
func TestTLS(t *testing.T) {
	t.Parallel()
	far := newNode(t, "node11", nil, nil)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(far.serve))
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	secure.StartTLS()
	t.Cleanup(func() {
		secure.CloseClientConnections()
		secure.Close()
	})
	near := newNode(t, "node22", func(string) (string, bool) { return secure.URL + "/", true }, nil)
	q := far.open("4")
	near.want("POST", q, "4x", 503, "") // nobody knows who signed that
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	near.forward.tls = &tls.Config{RootCAs: pool}
	near.forward.transport.TLSClientConfig = near.forward.tls
	near.want("POST", q, "4hello", 200, "ok")
	near.want("GET", q, "", 200, "4hello")
	c := near.dial(q)
	c.send("2probe")
	c.want("3probe")
	c.send("5")
	c.send("4hello")
	c.want("4hello")
	_ = c.conn.Close()
	receive(t, far.ended)
}

// What a poll costs that comes to the right node, and to another.
func BenchmarkPoll(b *testing.B) {
	n := newNodes(b, nil, "node11", "node22")
	for i, name := range []string{"own", "passed on"} {
		b.Run(name, func(b *testing.B) {
			q := n[0].open("4")
			for b.Loop() {
				n[i].want("POST", q, "4hello", 200, "ok")
				n[i].want("GET", q, "", 200, "4hello")
			}
		})
	}
}
