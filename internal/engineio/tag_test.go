package engineio

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestTag(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.Tag, o.handle = "a1B2c3", echo })
	for _, eio := range []int{4, 3} {
		q := b.open(eio, "")
		sid := q[strings.LastIndexByte(q, '=')+1:]
		if tag, rest, _ := strings.Cut(sid, "."); tag != "a1B2c3" || len(rest) != 20 || b.peer().s.ID() != sid {
			t.Errorf("sid %q", sid)
		}
		c := b.probe(q)
		c.send("5", "4hello")
		c.want("4hello")
	}
	q := b.open(4, "")
	b.get(strings.Replace(q, "a1B2c3", "xxxxxx", 1)).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	b.get(strings.Replace(q, "a1B2c3.", "", 1)).want(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	b.post(q, "4still here").want(t, 200, "ok")
	b.get(q).want(t, 200, "4still here")
	if _, err := b.tryWS("EIO=4&transport=websocket", ws.Dialer{}); err != nil {
		t.Error(err)
	}
}

func TestTagOf(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"sid=a1B2c3.xyz":             "a1B2c3",
		"EIO=4&sid=a1B2c3.xyz.uvw&t": "a1B2c3",
		"sid=a1B2c3%2exyz":           "a1B2c3",
		"sid=a1B2c3xyz":              "",
		"sid=.xyz":                   "",
		"sid=":                       "",
		"":                           "",
		"xsid=a1B2c3.xyz":            "",
	} {
		if got := TagOf(httptest.NewRequest("GET", "/?"+query, nil)); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
}
