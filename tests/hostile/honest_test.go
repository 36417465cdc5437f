package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// sees is what an honest client that joined at entry 4 says to packets that come.
func sees(t *testing.T, packets ...string) *honest {
	t.Helper()
	mine, its := net.Pipe()
	defer its.Close()
	defer mine.Close()
	go func() {
		for b := make([]byte, 64); ; {
			if _, err := its.Read(b); err != nil {
				return
			}
		}
	}()
	h := &honest{user: "ann", conn: &webSocket{Conn: mine}, crowd: &crowd{}, open: map[int]pending{}, news: make(chan struct{}), pinged: time.Now()}
	h.own, h.open[1] = 1, pending{first: time.Now(), last: time.Now()}
	for _, p := range append([]string{`430[{"ok":true,"room":"chat","seq":4,"members":[],"member_count":2}]`}, packets...) {
		if err := h.takeLocked([]byte(p)); err != nil {
			h.failLocked(err)
		}
	}
	return h
}

func entry(seq int, text string) string {
	return fmt.Sprintf(`42["new_message",{"kind":"message","room":"chat","seq":%d,"id":"x","user_id":"ben","text":"%s","timestamp":"2026"}]`, seq, text)
}

func TestHonestClientNotices(t *testing.T) {
	t.Parallel()
	ack := `431[{"ok":true,"message":{"kind":"message","room":"chat","seq":6,"text":"honest ann 1 5."}}]`
	for name, c := range map[string]struct {
		packets []string
		wrong   string // empty: nothing
	}{
		"all in order":      {[]string{entry(5, "honest ben 1 5."), ack, "2", entry(7, "flood")}, ""},
		"an ack again":      {[]string{entry(5, "a"), ack, ack, entry(7, "b")}, ""},
		"try again":         {[]string{`431[{"ok":false,"error":{"code":"UNAVAILABLE","message":"x"}}]`, entry(5, "a"), ack}, ""},
		"presence":          {[]string{`42["user_joined",{"room":"chat","user_id":"x"}]`, entry(5, "a")}, ""},
		"one is lost":       {[]string{entry(6, "b")}, "6 after 4"},
		"one comes twice":   {[]string{entry(5, "a"), entry(5, "a")}, "5 after 5"},
		"out of order":      {[]string{entry(6, "b"), entry(5, "a")}, "6 after 4"},
		"its ack too early": {[]string{ack, entry(5, "a")}, "6 after 4"},
		"refused":           {[]string{`431[{"ok":false,"error":{"code":"RATE_LIMITED","message":"x"}}]`}, "refused"},
		"error":             {[]string{`42["error",{"code":"UNAVAILABLE","event":"new_message","after":4}]`}, "error event"},
		"disconnected":      {[]string{"41"}, "disconnected"},
	} {
		h := sees(t, c.packets...)
		if c.wrong == "" && h.wrong != nil || c.wrong != "" && (h.wrong == nil || !strings.Contains(h.wrong.Error(), c.wrong)) {
			t.Errorf("%s: %v, want %q", name, h.wrong, c.wrong)
		}
	}
}

// good is an outcome in which nothing is wrong.
func good() *outcome {
	c := client{Name: "ann", First: 4, Seq: 10, View: 7, Heard: 6, Own: 3, Gap: heartbeat}
	d := c
	d.Name = "ben"
	f := feeling{Deliveries: 1000, Ack: spread{N: 10, Worst: time.Second}, Delay: spread{N: 10, Worst: time.Second}}
	s := shares{Honest: time.Second, Save: time.Second, Samples: 400}
	use := usage{Goroutines: 100, Files: 100, RSS: 50 << 20, Heap: 10 << 20}
	quiet := phase{Name: "quiet", Felt: f, Shares: s, Before: use, After: use, Settled: use}
	flood := quiet
	flood.Name, flood.attacks = "flood", []attack{{name: "flood", must: []string{"429"}}}
	flood.Told = []told{{Counts: map[string]int{"429": 3}}}
	again, pause := quiet, quiet
	again.Name, pause.Name = "quiet again", "pause"
	return &outcome{Phases: []phase{quiet, flood, again}, Pauses: []phase{pause}, Clients: []client{c, d}, First: use, Left: []left{{use, use}, {use, use}}, long: true, patience: 2 * time.Second}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	if wrong := good().verdict(); len(wrong) != 0 {
		t.Fatalf("%q", wrong)
	}
	for want, harm := range map[string]func(o *outcome){
		"no honest clients":     func(o *outcome) { o.Clients = nil },
		"entry 6 after 4":       func(o *outcome) { o.Clients[1].Wrong = "ben: entry 6 after 4" },
		"disconnects":           func(o *outcome) { o.Clients[1].Disconnects = 1 },
		"were not acked":        func(o *outcome) { o.Clients[0].Open = 1 },
		"sees another room":     func(o *outcome) { o.Clients[1].View++ },
		"they sent 6":           func(o *outcome) { o.Clients[1].Heard++ },
		"was not pinged":        func(o *outcome) { o.Clients[1].Gap = pingMost + 1 },
		"an ack took 3s":        func(o *outcome) { o.Phases[1].Felt.Ack.Worst = 3 * time.Second },
		"a delivery 3s":         func(o *outcome) { o.Phases[1].Felt.Delay.Worst = 3 * time.Second },
		"of CPU a delivery":     func(o *outcome) { o.Phases[1].Shares.Honest *= 3 },
		"2.333333ms in quiet":   func(o *outcome) { o.Phases[1].Shares.Honest, o.Phases[2].Shares.Honest = 4*time.Second, 2*time.Second },
		"pause: an ack took 3s": func(o *outcome) { o.Pauses[0].Felt.Ack.Worst = 3 * time.Second },
		"pause: 3 newcomers":    func(o *outcome) { o.Pauses[0].Felt.Newcomers, o.Pauses[0].Felt.Refused = 3, map[string]int{"503": 2} },
		"quiet again: 2.8ms":    func(o *outcome) { o.Phases[2].Shares.Honest = 1800 * time.Millisecond },
		"a minute later":        func(o *outcome) { o.Phases[1].Settling = settle + 1 },
		"2 were answered": func(o *outcome) {
			o.Phases[1].attacks[0].never, o.Phases[1].Told[0].Counts["alg none: ok"] = takenIn(), 2
		},
		"nothing was answered":   func(o *outcome) { delete(o.Phases[1].Told[0].Counts, "429") },
		"no attacks were made":   func(o *outcome) { o.Left = nil },
		"more live at the end":   func(o *outcome) { o.Left[0].Soon.Heap += heapMore + 1<<20 },
		"6 MB more live 2m0s":    func(o *outcome) { o.Left[0].Later.Heap += heapPart + 1<<20 },
		"3 MB more live 2m0s":    func(o *outcome) { o.Left[1].Later.Heap += heapOnce + 1<<20 },
		"100 MB resident later":  func(o *outcome) { o.Left[0].Later.RSS *= 2 },
		"60 MB resident later":   func(o *outcome) { o.Left[1].Later.RSS = 60 << 20 },
		"150 MB resident at the": func(o *outcome) { o.Left[0].Soon.RSS *= 3 },
		"56 MB resident at the":  func(o *outcome) { o.Left[1].Soon.RSS = 56 << 20 },
		"refused map[503:2]":     func(o *outcome) { o.Phases[1].Felt.Refused = map[string]int{"503": 2} },
		"goroutines and 100 fi":  func(o *outcome) { o.Left[0].Soon.Goroutines *= 2 },
	} {
		o := good()
		harm(o)
		if wrong := strings.Join(o.verdict(), "\n"); !strings.Contains(wrong, want) {
			t.Errorf("not %q but %q", want, wrong)
		}
	}
}

// An attack's CPU is compared with the quiet around it, and quiet behind attacks with that before them: a machine that has become slower since is no attack's doing, and a
// server that has become dearer is.
func TestQuietNear(t *testing.T) {
	t.Parallel()
	o := good()
	cost := func(p *phase, from, each time.Duration) {
		p.From, p.To = from, from+10*time.Second
		p.Shares.Honest, p.Shares.Save = each*time.Duration(p.Felt.Deliveries), 0
	}
	cost(&o.Phases[0], 0, time.Millisecond)
	cost(&o.Pauses[0], 10*time.Minute, 2*time.Millisecond)
	cost(&o.Phases[1], 11*time.Minute, 2*time.Millisecond)
	o.Pauses = append(o.Pauses, o.Pauses[0])
	cost(&o.Pauses[1], 12*time.Minute+30*time.Second, 3*time.Millisecond) // 80 s behind it
	cost(&o.Phases[2], 20*time.Minute, 2*time.Millisecond)
	if x, _ := o.times(&o.Phases[1]); x != .8 {
		t.Errorf("an attack beside its pauses: %v", x)
	}
	if x, _ := o.times(&o.Phases[2]); x != 2 {
		t.Errorf("quiet behind attacks: %v", x)
	}
	if wrong := o.verdict(); len(wrong) != 1 || !strings.Contains(wrong[0], "quiet again: 2ms of CPU") {
		t.Errorf("%q", wrong)
	}
	o.Phases[1].Shares.Honest *= 2
	if x, _ := o.times(&o.Phases[1]); x != 1.6 {
		t.Errorf("an attack that costs more: %v", x)
	}
}

// The memory of a moment is that of the half minute before it: the second in the middle, by what is resident. What lives is known better.
func TestEven(t *testing.T) {
	t.Parallel()
	o := good()
	o.First.At, o.Left[0].Soon.At, o.Left[0].Later.At = 100*time.Second, 200*time.Second, 300*time.Second
	o.Left = o.Left[:1]
	for at := 60; at < 200; at++ {
		s := second{usage: usage{At: time.Duration(at) * time.Second, RSS: int64(40+at%11) << 20, Heap: 14 << 20, Unused: 1 << 20, Free: 2 << 20, Mapped: 9, Runtime: 8, Profiler: 7}}
		if at < 70 || at >= 100 && at < 170 { // of other times
			s.RSS = 1 << 40
		}
		o.Seconds = append(o.Seconds, s)
	}
	o.even()
	for _, u := range []usage{o.First, o.Left[0].Soon} {
		if u.RSS < 44<<20 || u.RSS > 46<<20 || u.Heap != 10<<20 || u.Free+u.Unused != 7<<20 || u.Mapped != 9 || u.Runtime != 8 || u.Profiler != 7 || u.Goroutines != 100 {
			t.Errorf("%+v", u)
		}
	}
	if later := o.Left[0].Later; later.RSS != 50<<20 || later.Free != 0 {
		t.Errorf("of a time without seconds: %+v", later)
	}
}
