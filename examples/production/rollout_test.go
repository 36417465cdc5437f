//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// A roll-out without a cluster: the first node is replaced, then the second, with a client on WebSocket and one on polling. Nothing is lost, by the way there and the
// way back.
func TestRollout(t *testing.T) {
	t.Parallel()
	s := startStack(t, aloneConf)
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
	for _, template := range []string{aloneConf, clusterConf} {
		t.Run(template, func(t *testing.T) {
			t.Parallel()
			s := startStack(t, template, "LOG_LEVEL=debug")
			s.checkAnswers()
			s.checkRequestIDs()
			s.checkAddresses()
			if s.isCluster() {
				s.checkPolling()
				s.checkBroadcasts()
			}
		})
	}
}

func (s *stack) dial(id string, opts ...chattest.Option) *chattest.Client {
	s.t.Helper()
	return chattest.Dial(s.t, s.handler(), append(opts, chattest.Auth(map[string]string{"token": signed(s.t, id)}))...)
}

// at is the node that a client's session is on.
func (s *stack) at(c *chattest.Client) int {
	s.t.Helper()
	node, _ := s.where(`"msg":"chat: connected"`, `"client_id":"`+c.ID()+`"`)
	return node
}

func (s *stack) checkAnswers() {
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		if res := s.do("GET", path); res.StatusCode != http.StatusNotFound {
			s.t.Errorf("%s from the outside: %s", path, res.Status)
		}
	}
	// A session that no node knows: the answer is Engine.IO's own, not nginx's page.
	res := s.do("GET", "/socket.io/?EIO=4&transport=polling&sid=nobody")
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 400 || !strings.Contains(string(body), "Session ID unknown") {
		s.t.Errorf("%s %s %v", res.Status, body, err)
	}
	for path, encoding := range map[string]string{"/": "gzip", "/socket.io/?EIO=4&transport=polling": ""} {
		res := s.do("GET", path, "Accept-Encoding", "gzip")
		if got := res.Header.Get("Content-Encoding"); res.StatusCode != 200 || got != encoding {
			s.t.Errorf("%s comes with Content-Encoding %q: %s", path, got, res.Status)
		}
	}
}

func (s *stack) checkRequestIDs() {
	ann := s.dial("ann")
	res := s.do("POST", "/api/broadcast?message=Deploy+at+noon", "Authorization", "Bearer "+signed(s.t, "ops"), "X-Request-Id", "find-me-1")
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || strings.TrimSpace(string(body)) != `{"status":"broadcast_sent"}` {
		s.t.Errorf("%s %s %v", res.Status, body, err)
	}
	ann.Expect("alert")

	// One id, from nginx's line to the node's.
	if got := res.Header.Get("X-Request-Id"); got != "find-me-1" {
		s.t.Errorf("X-Request-Id %q", got)
	}
	if line := s.nginx.wait(`"request_id":"find-me-1"`); strings.Contains(line, "Deploy") {
		s.t.Errorf("the query is in the access log: %s", line)
	}
	if node, _ := s.where(`"msg":"broadcast"`, `"request_id":"find-me-1"`); node != 0 && !s.isCluster() {
		s.t.Errorf("node %d serves, which stands by", node+1)
	}
	// What looks like no id is replaced by one.
	if got := s.do("GET", "/api/auth", "X-Request-Id", "<script>").Header.Get("X-Request-Id"); len(got) != 32 {
		s.t.Errorf("X-Request-Id %q", got)
	}
}

// What a client says of its own address is not passed on, and not in any log.
func (s *stack) checkAddresses() {
	const forged, real = "203.0.113.9", "127.0.0.1"
	for name, opts := range map[string][]chattest.Option{"websocket": nil, "polling": {chattest.Polling()}} {
		c := s.dial("cleo", append(opts, chattest.Header("X-Forwarded-For", forged))...)
		_, line := s.where(`"msg":"chat: connected"`, `"client_id":"`+c.ID()+`"`)
		var l struct{ Remote, Transport string }
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Remote != real || l.Transport != name {
			s.t.Errorf("%s: %s %v", name, line, err)
		}
		c.Close()
	}
	// The API's lines have no address: it is in nginx's, of the same id.
	const id = "whose-address"
	if res := s.do("POST", "/api/broadcast?message=x", "Authorization", "Bearer "+signed(s.t, "ops"), "X-Request-Id", id, "X-Forwarded-For", forged); res.StatusCode != 200 {
		s.t.Errorf("%s: %s", id, res.Status)
	}
	var l struct{ Address string }
	if line := s.nginx.wait(`"request_id":"` + id + `"`); json.Unmarshal([]byte(line), &l) != nil || l.Address != real {
		s.t.Errorf("%s: %s", id, line)
	}
	s.where(`"msg":"broadcast"`, `"request_id":"`+id+`"`)
	for _, p := range []*process{s.nginx, s.nodes[0].process, s.nodes[1].process} {
		if lines := p.with(forged); len(lines) > 0 {
			s.t.Errorf("%s", lines)
		}
	}
}

// Nothing keeps a polling session's requests on its node: the other one passes them on.
func (s *stack) checkPolling() {
	ann := s.dial("ann")
	bob := s.dial("bob", chattest.Polling(), chattest.Header("X-Request-Id", "of-bob"))
	home := s.at(bob)
	s.until("requests of a polling session come to both nodes", func() bool {
		bob.Call("whoami", nil)
		took := func(node int) bool {
			return len(s.nginx.with(`"request_id":"of-bob"`, `"status":200`, `"upstream":"`+s.nodes[node].addr+`"`)) > 0
		}
		return took(0) && took(1)
	})
	if node, line := s.where(`"msg":"chat: passed on"`, `"request_id":"of-bob"`); node == home {
		s.t.Errorf("the session's own node passed it on: %s", line)
	}
	for _, c := range []struct{ from, to *chattest.Client }{{ann, bob}, {bob, ann}} {
		text := "from " + c.from.ID()
		c.from.Call("chat_message", map[string]string{"text": text})
		var m chat.Entry
		if c.to.Expect("new_message").Decode(0, &m); m.Text != text {
			s.t.Errorf("%+v, want %s", m, text)
		}
	}
	ann.Close()
	bob.Close()
}

// Whichever node takes a POST, the clients of both hear of it.
func (s *stack) checkBroadcasts() {
	var clients [len(s.nodes)]*chattest.Client
	var came int
	comes := func() {
		c := s.dial(fmt.Sprint("user-", came))
		clients[s.at(c)] = c
		came++
	}
	s.until("nginx sends clients to both nodes", func() bool {
		comes()
		return !slices.Contains(clients[:], nil)
	})
	var took [len(s.nodes)]bool
	var posts int
	s.until("POSTs come to both nodes", func() bool {
		posts++
		id := fmt.Sprint("post-", posts)
		if res := s.do("POST", "/api/broadcast?message="+id, "Authorization", "Bearer "+signed(s.t, "ops"), "X-Request-Id", id); res.StatusCode != 200 {
			s.t.Errorf("%s: %s", id, res.Status)
		}
		for i, c := range clients {
			var alert struct{ Message string }
			if c.Expect("alert").Decode(0, &alert); alert.Message != id {
				s.t.Errorf("the client of node %d hears %q, want %q", i+1, alert.Message, id)
			}
		}
		node, _ := s.where(`"msg":"broadcast"`, `"request_id":"`+id+`"`)
		took[node] = true
		if posts%2 == 0 {
			comes() // to the node that has fewer, and takes all POSTs until both have as many: then they take turns
		}
		return !slices.Contains(took[:], false)
	})
}

// What the tests run is what compose.yaml deploys.
func TestComposeMountsCluster(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(file), "./deploy/"+clusterConf+":") {
		t.Errorf("compose.yaml does not mount deploy/%s", clusterConf)
	}
}
