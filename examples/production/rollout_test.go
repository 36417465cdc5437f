//go:build unix

package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// A roll-out as compose.yaml tells it: the first node is replaced, then the second, with a client on WebSocket and one on polling. Nothing is lost, by the way there
// and the way back.
func TestRollout(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	h := s.handler()
	ann := chattest.Dial(t, h, chattest.Auth(map[string]string{"token": signed(t, "ann")}))
	bob := chattest.Dial(t, h, chattest.Auth(map[string]string{"token": signed(t, "bob")}), chattest.Polling())
	bearer := "Bearer " + signed(t, "ops")
	var said int
	talk := func(where string) {
		t.Helper()
		said++
		var a ack
		ann.Call("chat_message", map[string]string{"text": where, "message_id": fmt.Sprint("m", said)}).Decode(0, &a)
		if !a.OK {
			t.Fatalf("%s: %s", where, a.Error)
		}
		var m chat.Entry
		bob.Expect("new_message").Decode(0, &m)
		if m.Text != where || m.Seq != uint64(said) {
			t.Fatalf("%s: bob heard %+v, want number %d", where, m, said)
		}
	}
	moved := func(from, to int) {
		t.Helper()
		if err := s.nodes[from].end(); err != nil {
			t.Errorf("node %d: %v", from+1, err)
		}
		for _, c := range []*chattest.Client{ann, bob} {
			c.Expect("server_draining")
			c.Reconnect()
		}
		s.nodes[to].wait(`"msg":"listening"`)
	}
	talk("both on the first node")
	moved(0, 1)
	talk("both on the second")
	s.start(0)
	talk("still there, with the first one back") // polling requests find their node
	s.until("the first node is asked again", func() bool { return strings.Contains(s.get("/api/rooms", bearer), `"rooms":[]`) })
	cleo := chattest.Dial(t, h, chattest.Auth(map[string]string{"token": signed(t, "cleo")}))
	var past ack
	cleo.Call("history", map[string]any{"room": room}).Decode(0, &past)
	if len(past.Entries) != said {
		t.Errorf("cleo, on the first node, reads %d of %d", len(past.Entries), said)
	}
	moved(1, 0)
	talk("both on the first one again")
	if line := s.nodes[0].wait(`"msg":"listening"`); strings.Contains(line, "request_id") {
		t.Errorf("a line of no request has an id: %s", line)
	}
}

func TestNginx(t *testing.T) {
	t.Parallel()
	s := startStack(t, "LOG_LEVEL=debug")
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		if res := s.do("GET", path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s from the outside: %s", path, res.Status)
		}
	}
	ann := chattest.Dial(t, s.handler(), chattest.Auth(map[string]string{"token": signed(t, "ann")}))
	res := s.do("POST", "/api/broadcast?message=Deploy+at+noon", "Authorization", "Bearer "+signed(t, "ops"), "X-Request-Id", "find-me-1", "X-Forwarded-For", "203.0.113.9")
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || strings.TrimSpace(string(body)) != `{"status":"broadcast_sent"}` {
		t.Errorf("%s %s %v", res.Status, body, err)
	}
	ann.Expect("alert")

	// One id, from nginx's line to the node's.
	if got := res.Header.Get("X-Request-Id"); got != "find-me-1" {
		t.Errorf("X-Request-Id %q", got)
	}
	if line := s.nginx.wait(`"request_id":"find-me-1"`); strings.Contains(line, "Deploy") {
		t.Errorf("the query is in the access log: %s", line)
	}
	s.nodes[0].wait(`"request_id":"find-me-1"`)
	// What looks like no id is replaced by one.
	if got := s.do("GET", "/api/auth", "X-Request-Id", "<script>").Header.Get("X-Request-Id"); len(got) != 32 {
		t.Errorf("X-Request-Id %q", got)
	}
	// A session that neither node knows: the answer is Engine.IO's own, not nginx's page.
	res = s.do("GET", "/socket.io/?EIO=4&transport=polling&sid=nobody")
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 400 || !strings.Contains(string(body), "Session ID unknown") {
		t.Errorf("%s %s %v", res.Status, body, err)
	}
	for path, encoding := range map[string]string{"/": "gzip", "/socket.io/?EIO=4&transport=polling": ""} {
		if res := s.do("GET", path, "Accept-Encoding", "gzip"); res.Header.Get("Content-Encoding") != encoding && res.StatusCode == 200 {
			t.Errorf("%s comes with Content-Encoding %q", path, res.Header.Get("Content-Encoding"))
		}
	}
}
