package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// The short form of the cluster under faults.
func TestCluster(t *testing.T) {
	for _, name := range programmeNames {
		p := programmes[name]
		t.Run(strings.TrimPrefix(name, "cluster-"), func(t *testing.T) {
			t.Parallel() // most of it is waiting
			r := &clustered{name: name, redis: p.redis, clients: 120, rooms: 6, rate: 20, steps: p.short, steady: time.Second, nodes: 1, seed: seedOf(t)}
			if _, err := r.conduct(t.Output(), false); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClusterCast(t *testing.T) {
	t.Parallel()
	old, guests, tabs, ways, members, users := 0, 0, 0, map[string]int{}, map[string]int{}, map[string]int{}
	names := map[string]bool{}
	clients := clusterCast(600, 20, "")
	for _, c := range clients {
		if c.Version == 2 {
			old++
		}
		if c.Guest {
			guests++
		}
		name := c.User
		if c.Tab != "" {
			name = c.Tab
			tabs++
		}
		if names[name] {
			t.Errorf("%s is there twice", name)
		}
		names[name] = true
		ways[strings.Join(c.Transports, "+")]++
		members[c.Rooms[0]]++
		users[c.User]++
	}
	if old < 80 || guests != 60 || tabs != 90 || len(members) != 20 || ways["polling"] != 120 || ways["websocket"] != 240 || len(users) != 510 {
		t.Errorf("%d of 2.5, %d guests, %d tabs, %d users, %v, %v", old, guests, tabs, len(users), ways, members)
	}
	for room, users := range usersOf(clients) {
		if len(users) != 24 { // of 30: 3 guests, and 3 are there with two tabs
			t.Errorf("%s: %d users stay", room, len(users))
		}
	}
}

func TestProgrammes(t *testing.T) {
	t.Parallel()
	for name, p := range programmes {
		if !slices.Contains(programmeNames, name) {
			t.Errorf("%s is not done", name)
		}
		for _, st := range slices.Concat(p.long, p.short) {
			on := st.on([]int{2, 0, 1})
			nodes := map[int]bool{}
			for i, h := range on.faults {
				if h.node < 0 || h.node >= clusterNodes || h.kind != st.faults[i].kind {
					t.Errorf("%s: %v", name, on)
				}
				nodes[h.node] = true
			}
			if len(nodes) != len(st.faults) {
				t.Errorf("%s: %v: on one node", name, on)
			}
		}
	}
}

// The doctored presence: ann and bob are in the lobby, she with two tabs; guy, a guest, has left.
func present() ([]client, []record) {
	clients := []client{
		{User: "ann", Rooms: []string{"lobby"}}, {User: "ann", Tab: "ann2", Rooms: []string{"lobby"}},
		{User: "bob", Rooms: []string{"lobby"}}, {User: "guy", Rooms: []string{"lobby"}, Guest: true},
	}
	var records []record
	for i := range 3 {
		for _, kind := range []string{"view", "members"} {
			records = append(records, record{Kind: kind, Client: i, Room: "lobby", Users: []string{"ann", "bob"}})
		}
	}
	return clients, records
}

func TestCheckPresence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		doctor func([]record) []record
		want   presenceVerdict
	}{
		"nothing wrong": {func(r []record) []record { return r }, presenceVerdict{}},
		"a guest stays": {func(r []record) []record { r[0].Users = []string{"ann", "bob", "guy"}; return r }, presenceVerdict{Astray: 1}},
		"a node keeps a guest": {func(r []record) []record { r[3].Users = []string{"ann", "bob", "guy"}; return r },
			presenceVerdict{Wrong: 1}},
		"bob is missing":        {func(r []record) []record { r[2].Users = []string{"ann"}; return r }, presenceVerdict{Astray: 1}},
		"nobody is there":       {func(r []record) []record { r[5].Users = nil; return r }, presenceVerdict{Wrong: 1}},
		"a page tells nothing":  {func(r []record) []record { return r[2:] }, presenceVerdict{Missing: 2}},
		"a node says nothing":   {func(r []record) []record { return r[:5] }, presenceVerdict{Missing: 1}},
		"the last word counts":  {func(r []record) []record { r = append(r, r[0]); r[0].Users = nil; return r }, presenceVerdict{}},
		"bob comes twice":       {func(r []record) []record { return append(r, record{Kind: "presence", Again: true}) }, presenceVerdict{Again: 1}},
		"what a guest takes in": {func(r []record) []record { return append(r, record{Kind: "view", Client: 3, Room: "lobby"}) }, presenceVerdict{}},
	} {
		clients, records := present()
		v := checkPresence(clients, c.doctor(records))
		c.want.Views = 6
		c.want.problems = v.problems
		if len(v.problems) != v.Astray+v.Wrong+v.Missing || v.Views != c.want.Views || v.Astray != c.want.Astray || v.Wrong != c.want.Wrong || v.Missing != c.want.Missing || v.Again != c.want.Again {
			t.Errorf("%s: %+v", name, *v)
		}
		if v.faultless() != (v.Astray+v.Wrong+v.Missing == 0) {
			t.Errorf("%s: faultless %v", name, v.faultless())
		}
	}
}

// A guest lacks what came after it had left, and nothing else is forgiven it.
func TestCheckGuest(t *testing.T) {
	t.Parallel()
	ev := sound()
	ev.clients[bob].Guest = true
	ev.without(bob, "live", "b")
	if v := check(ev); !v.faultless() {
		t.Errorf("%s\n%v", counts(v), v.problems)
	}
	ev.add(bob, record{Kind: "live", entry: message(1, "a")})
	if v := check(ev); v.Doubled != 1 {
		t.Errorf("%s\n%v", counts(v), v.problems)
	}
}

func TestUnready(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.UnixMilli(int64(1000 * s)) }
	p := &probes{bad: make([][]span, 2), open: make([]*time.Time, 2)}
	for _, n := range []struct {
		node, at int
		ok       bool
	}{{0, 1, true}, {0, 2, false}, {0, 3, false}, {0, 5, true}, {0, 12, false}, {0, 14, true}, {1, 11, false}} {
		p.note(n.node, at(n.at), n.ok)
	}
	if got := p.unready(at(4), at(20)); got[0] != 3*time.Second || got[1] != 9*time.Second {
		t.Error(got)
	}
}

func TestForNodes(t *testing.T) {
	t.Parallel()
	if got := forNodes("a ${CHAT_1}\nb ${CHAT_2};\nc\n", []string{"x", "y"}); got != "a ${CHAT_1}\nb x;\nb y;\nc\n" {
		t.Errorf("%q", got)
	}
}

// doctoredCluster is a run with one step, a restart of the first node, and nothing to complain of.
func doctoredCluster() *clusterOutcome {
	return &clusterOutcome{
		verdict: &verdict{}, presence: &presenceVerdict{Views: 6},
		steps:   []stepDone{{step: rolling3[0], drained: []*life{{said: logged{down: true}}}, unready: make([]time.Duration, clusterNodes)}},
		figures: &figures{restarts: []restartFigures{{connectMS: []int64{900, 1900}}}},
	}
}

// Each promise, broken, makes the run fail.
func TestClusterPromises(t *testing.T) {
	t.Parallel()
	if err := doctoredCluster().judge(); err != nil {
		t.Fatal(err)
	}
	for want, breaks := range map[string]func(*clusterOutcome){
		"lost, doubled":        func(o *clusterOutcome) { o.verdict.Lost = 1 },
		"1 are wrong by the e": func(o *clusterOutcome) { o.presence.Astray = 1 },
		"1 by the node":        func(o *clusterOutcome) { o.presence.Wrong = 1 },
		"2 are missing":        func(o *clusterOutcome) { o.presence.Missing = 2 },
		"2 holes":              func(o *clusterOutcome) { o.verdict.Holes = 2 },
		"3 lines":              func(o *clusterOutcome) { o.broken = 3 },
		"status 1":             func(o *clusterOutcome) { o.steps[0].drained[0].code = 1 },
		"4 clients cut off":    func(o *clusterOutcome) { o.steps[0].drained[0].said.cut = 4 },
		"away for 5.1 s":       func(o *clusterOutcome) { o.figures.restarts[0].connectMS = []int64{900, 5100} },
		"node 2 was ready all the time": func(o *clusterOutcome) {
			o.steps[0] = stepDone{step: step{[]harm{{kind: cutRedis, node: 1, lasts: 20 * time.Second}}}, unready: []time.Duration{0, 0, 0}}
		},
		"node 3 was ready all the time": func(o *clusterOutcome) {
			o.steps[0] = stepDone{step: one(stopRedis, 20*time.Second), unready: []time.Duration{1, 1, 0}}
		},
	} {
		o := doctoredCluster()
		breaks(o)
		if err := o.judge(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	late := doctoredCluster()
	late.figures.restarts[0].connectMS, late.figures.restarts[0].lateMS = []int64{5100}, 500
	if err := late.judge(); err != nil {
		t.Error(err)
	}
}
