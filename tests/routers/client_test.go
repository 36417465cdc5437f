package routers

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

const deadline = 20 * time.Second

// poller is a client of Engine.IO 4 over long polling, as plain as can be.
type poller struct {
	t    *testing.T
	http *http.Client
	url  string
	had  []string // packets that have come and were not asked for yet
}

// poll opens a session; the URL ends with the Hub's path.
func poll(t *testing.T, url string) *poller {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	p := &poller{t: t, http: &http.Client{Transport: transport, Timeout: deadline}, url: url + "?EIO=4&transport=polling"}
	open := p.expect("0")
	var handshake struct{ Sid string }
	if err := json.Unmarshal([]byte(open[1:]), &handshake); err != nil {
		t.Fatalf("%q: %v", open, err)
	}
	p.url += "&sid=" + handshake.Sid
	return p
}

func (p *poller) do(method string, body io.Reader) string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url, body)
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %d %q, %v", method, res.StatusCode, text, err)
	}
	return string(text)
}

func (p *poller) send(packet string) {
	p.t.Helper()
	if got := p.do(http.MethodPost, strings.NewReader(packet)); got != "ok" {
		p.t.Fatalf("POST: %q", got)
	}
}

// expect polls until a packet begins with prefix. Pings are answered.
func (p *poller) expect(prefix string) string {
	p.t.Helper()
	for {
		for len(p.had) > 0 {
			packet := p.had[0]
			p.had = p.had[1:]
			if packet == "2" {
				p.send("3")
			}
			if strings.HasPrefix(packet, prefix) {
				return packet
			}
		}
		p.had = strings.Split(p.do(http.MethodGet, nil), "\x1e")
	}
}

// socket is the same over a WebSocket.
type socket struct {
	t    *testing.T
	conn io.ReadWriteCloser
}

func dial(t *testing.T, url string) *socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	conn, early, _, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"?EIO=4&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(deadline))
	s := &socket{t: t, conn: conn}
	if early != nil {
		sent, _ := early.Peek(early.Buffered())
		s.conn = struct {
			io.Reader
			io.WriteCloser
		}{io.MultiReader(bytes.NewReader(bytes.Clone(sent)), conn), conn}
	}
	s.expect("0")
	return s
}

func (s *socket) send(packet string) {
	s.t.Helper()
	if err := wsutil.WriteClientText(s.conn, []byte(packet)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) expect(prefix string) string {
	s.t.Helper()
	for {
		text, err := wsutil.ReadServerText(s.conn)
		if err != nil {
			s.t.Fatalf("waiting for %q: %v", prefix, err)
		}
		if string(text) == "2" {
			s.send("3")
		}
		if strings.HasPrefix(string(text), prefix) {
			return string(text)
		}
	}
}
