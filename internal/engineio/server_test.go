package engineio

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestHandshake(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.LegacyUpgrades = false })
	check := func(open string, upgrades string) {
		t.Helper()
		var got map[string]any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(open, "0")), &got); err != nil {
			t.Fatalf("%q: %v", open, err)
		}
		if len(got) != 5 || got["pingInterval"] != 25000.0 || got["pingTimeout"] != 20000.0 || got["maxPayload"] != 1e6 ||
			fmt.Sprint(got["upgrades"]) != upgrades || len(got["sid"].(string)) != 20 {
			t.Errorf("open packet %q", open)
		}
	}
	r := b.get("EIO=4&transport=polling")
	check(r.body, "[websocket]")
	if r.header.Get("Content-Type") != "text/plain; charset=UTF-8" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", r.header)
	}
	check(b.ws("EIO=4&transport=websocket").read(), "[]")
	check(b.ws("EIO=3&transport=websocket").read(), "[]")
	n, packet, _ := strings.Cut(b.get("EIO=3&transport=polling").body, ":")
	if n != fmt.Sprint(len(packet)) {
		t.Errorf("length %s of %d", n, len(packet))
	}
	check(packet, "[]")
}

func TestErrorBodies(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	q := b.open(4, "")
	for _, c := range []struct {
		method, query string
		status        int
		body          string
	}{
		{"GET", "", 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "EIO=4", 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "EIO=4&transport=carrier-pigeon", 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "EIO=4&transport=polling&sid=x", 400, `{"code":1,"message":"Session ID unknown"}`},
		{"POST", "EIO=4&transport=polling&sid=x", 400, `{"code":1,"message":"Session ID unknown"}`},
		{"POST", "EIO=4&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
		{"PUT", "EIO=4&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
		{"GET", "EIO=4&transport=websocket", 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "EIO=4&transport=polling&j=0", 400, `{"code":3,"message":"Bad request"}`},
		{"GET", strings.Replace(q, "polling", "websocket", 1), 400, `{"code":3,"message":"Bad request"}`},
		{"DELETE", q, 400, `{"code":3,"message":"Bad request"}`},
		{"PUT", q, 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"GET", "EIO=abc&transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"GET", "EIO=2&transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
	} {
		r := b.do(c.method, c.query, "", "")
		if r.status != c.status || r.body != c.body || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.query, r.status, r.body, c.status, c.body)
		}
	}
	b.post(q, "4still here").want(t, 200, "ok")
	b.peer().want(t, "still here")
}

func TestWithoutLegacy(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.Legacy = false })
	b.get("EIO=3&transport=polling").want(t, 400, `{"code":5,"message":"Unsupported protocol version"}`)
	if _, err := b.tryWS("EIO=3&transport=websocket", ws.Dialer{}); !errors.Is(err, ws.StatusError(400)) {
		t.Errorf("error %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) {
		o.accept = func(_ *Session, r *http.Request) error {
			switch r.URL.Query().Get("who") {
			case "banned":
				return &Refusal{Status: 403, Code: 4, Message: "Forbidden", Header: http.Header{"Retry-After": {"7"}}}
			case "bug":
				return errors.New("secret detail")
			}
			return nil
		}
	})
	r := b.get("EIO=4&transport=polling&who=banned")
	r.want(t, 403, `{"code":4,"message":"Forbidden"}`)
	if r.header.Get("Retry-After") != "7" {
		t.Errorf("headers %v", r.header)
	}
	if r := b.get("EIO=4&transport=polling&who=bug"); r.status != 500 || strings.Contains(r.body, "secret") {
		t.Errorf("answer %d %q", r.status, r.body)
	}
	if _, err := b.tryWS("EIO=4&transport=websocket&who=banned", ws.Dialer{}); !errors.Is(err, ws.StatusError(403)) {
		t.Errorf("error %v", err)
	}
	q := b.open(4, "")
	b.srv.Refuse(&Refusal{Status: 503, Code: 4, Message: "Draining"})
	b.get("EIO=4&transport=polling").want(t, 503, `{"code":4,"message":"Draining"}`)
	b.post(q, "4x").want(t, 200, "ok")
	if n := b.srv.Len(); n != 1 {
		t.Errorf("Len is %d", n)
	}
}

// What Accept sends follows the open packet.
func TestSendInAccept(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) {
		o.accept = func(s *Session, _ *http.Request) error { s.Send(textPacket("welcome")); return nil }
	})
	b.openWS(4).want("4welcome")
	b.get(b.open(4, "")).want(t, 200, "4welcome")
	b.get(b.open(3, "")).want(t, 200, "8:4welcome")
}

func TestCloseInAccept(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) {
		o.accept = func(s *Session, _ *http.Request) error {
			s.Send(textPacket("no"))
			s.Close(ReasonForced)
			return nil
		}
	})
	b.openWS(4).want("4no", "close 1000", "end")
	b.peer().wantEnd(t, ReasonForced)
	q := b.open(4, "")
	b.get(q).want(t, 200, "4no\x1e1")
	b.peer().wantEnd(t, ReasonForced)
	b.get(q).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
}
