package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A clustered is a run of several nodes that are one chat, under faults one after the other.
type clustered struct {
	name    string
	redis   string // see openRedis
	clients int
	rooms   int
	rate    float64       // messages a second, of all clients
	steps   []step        // in a run, with nodes that follow from the seed
	steady  time.Duration // before the first, between two, and after the last
	nodes   int           // processes of Node that the clients are in
	seed    uint64
	dir     string
}

const (
	clusterNodes = 3
	clusterKey   = "a key of the cluster test's own, of enough bytes"
	comeBack     = 75 * time.Second // for all clients to have everything after a fault
	presenceTime = 60 * time.Second // for all pages to know who is there: longer than leases and the grace period
	fresh        = 3 * time.Second  // a message that has waited for its ack for longer waits for something to come back
)

// clusterCast is who takes part: stock pages, 3 of 7 of them 2.5 or on polling alone, in rooms whose members are side by side. Every tenth page is a second tab of the user
// before it, and every tenth a guest, of whom half are a second tab, too.
func clusterCast(n, rooms int, url string) []client {
	clients := make([]client, n)
	for i := range clients {
		c := &clients[i]
		c.User, c.URL, c.Version = fmt.Sprintf("u%04d", i), url, 4
		if i%7 == 3 {
			c.Version = 2
		}
		c.Transports = [][]string{{"polling"}, {"websocket"}, {"polling", "websocket"}, {"websocket"}, {"polling", "websocket"}}[i/2%5]
		c.Rooms = []string{fmt.Sprintf("room-%02d", i/(n/rooms))}
		if i%10 == 4 || i%20 == 19 {
			c.Tab, c.User = c.User, clients[i-1].User
		}
		c.Guest = i%10 == 9
		c.Token = signedToken(c.User)
		c.Address = fmt.Sprintf("127.1.0.%d", 1+i%addresses)
		c.After = i * 1000 / comePace
	}
	return clients
}

// A clusterOutcome is what a clustered has shown.
type clusterOutcome struct {
	run      clustered
	began    time.Time
	lasted   time.Duration
	steps    []stepDone
	verdict  *verdict
	presence *presenceVerdict
	figures  *figures
	alarms   map[string]int // of all nodes' logs, by level and message
	broken   int            // lines in their logs that only a crash writes
	left     error
}

// A stepDone is a step as it went.
type stepDone struct {
	step       step
	from, over time.Time // its faults
	back       time.Time // when everybody was back, had everything, and all nodes were ready
	unready    []time.Duration
	drained    []*life
	news       int // user_joined and user_left that all pages have heard
}

func (r *clustered) run() (*clusterOutcome, error) {
	s := &clusterStage{clustered: r, random: rand.New(rand.NewPCG(r.seed, 3))}
	o, err := s.play()
	return o, errors.Join(err, s.clear())
}

func (s *clusterStage) play() (*clusterOutcome, error) {
	if err := s.set(); err != nil {
		return nil, err
	}
	clients := clusterCast(s.clients, s.rooms, "http://"+s.nginx.addr)
	var err error
	if s.fleet, err = startFleet(s.dir, s.seed, s.clustered.nodes, s.clients/s.rooms, clients); err != nil {
		return nil, err
	}
	if err := s.fleet.wait(startLimit, "all clients connected", s.settled); err != nil {
		return nil, err
	}
	o := &clusterOutcome{run: *s.clustered, began: time.Now()}
	if err := errors.Join(s.fleet.tell("watch"), s.fleet.talk(s.rate)); err != nil {
		return nil, err
	}
	time.Sleep(s.steady)
	for i, st := range s.steps {
		if i == 0 {
			o.left = errors.Join(o.left, s.fleet.tell("dodge", 2))
		}
		done, err := s.take(st)
		o.steps = append(o.steps, done)
		if o.left = errors.Join(o.left, err); err != nil {
			break // what comes after it would only be harder to read
		}
		time.Sleep(s.steady)
	}
	o.left = errors.Join(o.left, s.finish(len(rooms(clients))))
	o.lasted = time.Since(o.began)
	s.fleet.end()
	o.left = errors.Join(o.left, s.stopAll())
	return o, s.judge(o, clients)
}

// finish lets everything arrive, the guests leave, and the pages tell who is there.
func (s *clusterStage) finish(rooms int) error {
	var errs []error
	for _, step := range []func() error{
		func() error { return s.fleet.tell("part") },
		func() error { return s.fleet.tell("quiet") },
		func() error { return s.fleet.wait(comeBack, "everything sent and received", s.settled) },
		func() error { return s.fleet.tell("close") }, // the last message of a room shows whoever lacks one before it
		func() error {
			return s.fleet.wait(comeBack, "the last messages received", func(r record) bool { return r.Closed == rooms && s.settled(r) })
		},
		func() error {
			return s.fleet.wait(presenceTime, "all pages know who is there", func(r record) bool { return r.Astray == 0 })
		},
		func() error { return s.fleet.tell("users") },
		func() error {
			return s.fleet.wait(comeBack, "all pages have told", func(record) bool { return s.fleet.told() })
		},
	} {
		errs = append(errs, step())
	}
	return errors.Join(errs...)
}

func (s *clusterStage) judge(o *clusterOutcome, clients []client) error {
	log, err := s.backend.log(rooms(clients))
	ev := &evidence{clients: clients, log: log, lasting: true, records: s.fleet.taken()}
	o.verdict = check(ev)
	o.presence = checkPresence(clients, ev.records)
	var spans []span
	for _, d := range o.steps {
		spans = append(spans, span{d.from, d.back})
	}
	o.figures = measure(ev, o.verdict, o.began, o.lasted, spans)
	o.alarms = map[string]int{}
	for _, l := range s.lives {
		said, readErr := readLogged(l.file)
		err = errors.Join(err, readErr)
		for what, n := range said.alarms {
			o.alarms[what] += n
		}
	}
	o.broken = o.alarms[noJSON]
	return err
}

// settled tells whether all clients that are to be there are, and have everything that they know of.
func (s *clusterStage) settled(r record) bool {
	return r.Here > 0 && r.Connected == r.Here && r.Queued == 0 && r.Behind == 0
}

// recovered is the same while they talk: some message is always under way.
func recovered(r record, since time.Time) bool {
	return r.T > since.UnixMilli() && r.Here > 0 && r.Connected == r.Here && r.Behind == 0 && r.Oldest < int(fresh.Milliseconds())
}

func (f fleet) told() bool {
	for _, p := range f {
		p.mu.Lock()
		told := p.told
		p.mu.Unlock()
		if !told {
			return false
		}
	}
	return true
}
