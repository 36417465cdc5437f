package faults_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// What one client does wrong does not push out what is kept for the recovery of another.
func TestErrorsAndRecovery(t *testing.T) {
	s := newSite(t, chat.WithRecovery(time.Minute, 4*mega))
	victim := dialWS(t, s.addr, modern, "")
	_, _ = victim.read()
	_, _ = victim.write(text4("40"))
	frames, err := victim.read()
	if err != nil {
		t.Fatal(err)
	}
	var session struct{ Pid string }
	if err := json.Unmarshal([]byte(frames[0].data[2:]), &session); err != nil || session.Pid == "" {
		t.Fatal(frames, err)
	}
	before := s.hub.Stats().Clients
	victim.reset()
	wantSoon(t, "it is away", func() bool { return s.hub.Stats().Clients == before-1 })
	if err := s.hub.Emit("missed", 1); err != nil {
		t.Fatal(err)
	}
	bad := dial(t, s, modern, overWS)
	for range 20 {
		bad.send(t, text4(`42["`+strings.Repeat("x", 900_000)+`"]`))
		bad.alive(t)
		bad.in.clear()
	}
	back := open(t, s, modern, overWS)
	back.send(t, text4(`40{"pid":"`+session.Pid+`"}`))
	if got := back.expect(t, "40").data; !strings.Contains(got, session.Pid) {
		t.Fatalf("not recovered: %s", got)
	}
	back.expect(t, `42["missed",1`)
}

// Whatever a client says of its pid and offset, it is at worst a new session.
func TestPidsAndOffsets(t *testing.T) {
	s := newSite(t)
	for _, w := range []way{overWS, overPolling} {
		for _, auth := range []string{
			`{"pid":"x","offset":"y"}`, `{"pid":""}`, `{"pid":1,"offset":2}`, `{"pid":["x"],"offset":{}}`, `{"pid":null,"offset":null}`,
			`{"offset":"epoch.18446744073709551616"}`, `{"pid":"x","offset":"epoch.-1"}`, `{"pid":"x","pid":"y"}`,
			`{"pid":"` + strings.Repeat("x", 500_000) + `"}`,
		} {
			s.survives(t, 16*mega, func(t *testing.T) {
				c := open(t, s, modern, w)
				defer c.close()
				c.send(t, text4("40"+auth))
				c.expect(t, `40{"sid":"`)
				c.alive(t)
			})
		}
	}
}

func TestOffsetsOfALostSession(t *testing.T) {
	s := newSite(t)
	for _, offset := range []string{
		"", ".", "x", "epoch.18446744073709551616", "%s.18446744073709551616", "%s.18446744073709551615", "%s.-1", "%s.", "%s.0", "%s.1e3", "%s.+1", "%s.0x1",
		strings.Repeat("9", 100_000), "%s." + strings.Repeat("9", 100_000),
	} {
		c := open(t, s, modern, overWS)
		c.send(t, text4("40"))
		var session struct{ Pid string }
		if err := json.Unmarshal([]byte(c.expect(t, "40").data[2:]), &session); err != nil {
			t.Fatal(err)
		}
		_ = s.hub.Emit("news", 1)
		news := c.expect(t, `42["news",1,"`).data
		epoch, _, _ := strings.Cut(news[len(`42["news",1,"`):], ".")
		rawOf(c).reset()
		c.close()
		if strings.Contains(offset, "%s") {
			offset = fmt.Sprintf(offset, epoch)
		}
		back := open(t, s, modern, overWS)
		back.send(t, text4(`40{"pid":"`+session.Pid+`","offset":"`+offset+`"}`))
		back.expect(t, `40{"sid":"`)
		back.alive(t)
		back.close()
	}
	s.exchange(t)
}

// Who comes back before the old connection was found dead gets the session, and the old connection ends.
func TestBackBeforeFoundDead(t *testing.T) {
	s := newSite(t)
	old := open(t, s, modern, overWS)
	old.send(t, text4("40"))
	var session struct{ Pid, Sid string }
	if err := json.Unmarshal([]byte(old.expect(t, "40").data[2:]), &session); err != nil {
		t.Fatal(err)
	}
	secret, _, _ := strings.Cut(session.Pid, ".")
	for _, guess := range []string{secret, "." + session.Sid, strings.Repeat("A", len(secret)) + "." + session.Sid} {
		c := open(t, s, modern, overWS)
		c.send(t, text4(`40{"pid":"`+guess+`"}`))
		if got := c.expect(t, "40").data; strings.Contains(got, session.Sid) {
			t.Errorf("pid %q opened the session", guess)
		}
		c.close()
	}
	old.alive(t)
	back := open(t, s, modern, overWS)
	back.send(t, text4(`40{"pid":"`+session.Pid+`"}`))
	if got := back.expect(t, "40").data; !strings.Contains(got, session.Pid) {
		t.Errorf("not recovered: %s", got)
	}
	old.closed(t)
	back.alive(t)
}
