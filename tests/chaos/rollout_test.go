package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The short form of the restart under load.
func TestRollout(t *testing.T) {
	for _, store := range []string{"postgres", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			r := &rollout{name: "rollout-" + store, backend: store, clients: 200, rate: 20, restarts: 1, steady: 2 * time.Second, nodes: 1, seed: seedOf(t)}
			if _, err := r.conduct(t.Output(), false); err != nil {
				t.Error(err)
			}
		})
	}
}

// doctored is a restart from the 10th to the 12th second, with everybody back in the 15th. What happened is by milliseconds since the talk began.
func doctored(records []record, log ...entry) *rolled {
	began := time.UnixMilli(1_000_000)
	at := func(s time.Duration) time.Time { return began.Add(s * time.Second) }
	ended := logged{down: true}
	o := &rolled{
		rollout: rollout{name: "doctored", clients: 2},
		began:   began, lasted: 20 * time.Second, backs: []time.Time{at(15)},
		lives: []*life{{term: at(10), exit: at(12), said: ended}, {term: at(20), exit: at(20), said: ended}},
	}
	ev := &evidence{log: map[string][]entry{"r": log}, lasting: true}
	for i := range 2 {
		ev.clients = append(ev.clients, client{User: fmt.Sprint("u", i), Version: 4, Rooms: []string{"r"}})
	}
	for _, r := range records {
		r.T += began.UnixMilli()
		if r.Kind == "live" {
			r.At += began.UnixMilli()
		}
		ev.records = append(ev.records, r)
	}
	for i := range log {
		log[i].At += began.UnixMilli()
	}
	o.verdict = check(ev)
	o.figures = measure(ev, o.verdict, o.began, o.lasted, o.spans())
	return o
}

// good has nothing to complain of: both go and come back, and one of them hears of something that was written meanwhile.
func good() ([]record, entry) {
	e := entry{Seq: 1, ID: "id1", User: "host", Message: "m1", At: 11_000}
	r := []record{
		{Kind: "draining", T: 10_000, Client: 0}, {Kind: "draining", T: 10_000, Client: 1},
		{Kind: "disconnect", T: 10_500, Client: 0}, {Kind: "disconnect", T: 11_500, Client: 1},
		{Kind: "connect", T: 11_700, Client: 0, Recovered: true}, {Kind: "connect", T: 12_100, Client: 1},
		{Kind: "live", T: 12_000, Client: 0, Room: "r", entry: e}, {Kind: "live", T: 12_050, Client: 1, Room: "r", entry: e},
	}
	return r, e
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	records, e := good()
	o := doctored(append(records, record{Kind: "late", T: 10_200, MS: 300}, record{Kind: "late", T: 9_000, MS: 800}, record{Kind: "failed", T: 11_000, Code: "timeout"},
		record{Kind: "disconnect", T: 18_000, Client: 1}, record{Kind: "disconnect", T: 18_500, Client: 1, Reason: "transport error"}), e)
	f := o.figures
	r := f.restarts[0]
	if r.went != 2 || r.hints != 2 || r.recovered != 1 || r.lateMS != 300 || r.peakAway != 1 || r.peakBack != 2 || f.strays != 1 || f.failed["timeout"] != 1 || f.failed["transport error"] != 1 {
		t.Errorf("%+v", f)
	}
	if got := fmt.Sprint(r.connectMS, r.caughtUpMS); got != "[600 1200] [600 1500]" {
		t.Errorf("outages %s", got)
	}
	if got := r.comeAnew(); got != "1 (1)" {
		t.Errorf("rejoined: %s", got)
	}
	if s := f.series; s.connected[9] != 2 || s.connected[10] != 1 || s.connected[12] != 2 || s.back[11] != 1 || s.away[18] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestPeak(t *testing.T) {
	t.Parallel()
	for want, times := range map[int][]int64{0: nil, 1: {1}, 2: {0, 999, 1000, 1999}, 4: {0, 500, 600, 700, 1000, 1600}} {
		if got := peak(times); got != want {
			t.Errorf("%v: %d, want %d", times, got, want)
		}
	}
}

// Each promise, broken, makes the run fail.
func TestRolloutPromises(t *testing.T) {
	t.Parallel()
	records, e := good()
	if err := doctored(records, e).judge(); err != nil {
		t.Fatal(err)
	}
	var rush []record
	for range int(paceSlack*drainPace) + 1 {
		rush = append(rush, record{Kind: "disconnect", T: 10_600, Client: 0}, record{Kind: "connect", T: 11_650, Client: 0})
	}
	for name, c := range map[string]struct {
		want string
		o    *rolled
	}{
		"an entry never came":      {"lost", doctored(records[:7], e)},
		"an entry came twice":      {"lost, doubled", doctored(append(records, records[6]), e)},
		"one did not come back":    {"1 clients went", doctored(append(append([]record{}, records[:5]...), records[6:]...), e)},
		"one was not told":         {"1 were told", doctored(records[1:], e)},
		"all came back at once":    {"back in one second", doctored(append(rush, records...), e)},
		"the process did not stop": {"status -1", with(doctored(records, e), func(l *life) { l.code = -1 })},
		"clients were cut off":     {"3 clients cut off", with(doctored(records, e), func(l *life) { l.said.cut = 3 })},
		"it broke off":             {"shut down false", with(doctored(records, e), func(l *life) { l.said.down = false })},
	} {
		if err := c.o.judge(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func with(o *rolled, change func(*life)) *rolled {
	change(o.lives[0])
	return o
}

func TestReadLogged(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	text := `{"level":"INFO","msg":"chat: draining","clients":7,"over":35000000}
{"level":"WARN","msg":"chat: clients cut off","clients":2}
panic: something
{"level":"INFO","msg":"chat: shut down","took":1}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readLogged(file)
	if err != nil || got.clients != 7 || got.over != 35*time.Millisecond || got.cut != 2 || !got.down || len(got.alarms) != 2 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestRolloutCast(t *testing.T) {
	t.Parallel()
	ways, members, from := map[string]int{}, map[string]int{}, map[string]int{}
	for _, c := range rolloutCast(2000, "") {
		ways[strings.Join(c.Transports, "+")]++
		members[c.Rooms[0]]++
		from[c.Address]++
		if strings.Count(c.Token, ".") != 2 {
			t.Fatalf("token %q", c.Token)
		}
	}
	if ways["polling"] != 100 || ways["polling+websocket"] != 900 || ways["websocket"] != 1000 || len(members) != 50 || len(from) != addresses {
		t.Errorf("%v, %d rooms, %d addresses", ways, len(members), len(from))
	}
}
