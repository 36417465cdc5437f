package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A trial is one run: a server under a schedule of faults.
type trial struct {
	name     string
	backend  string // see openBackend
	schedule schedule
	seed     uint64
	rate     float64 // messages a second, of all clients
	lobby    float64 // the share of them that goes to the lobby, where everybody is
	dir      string  // for logs, records and data; kept where something was wrong
}

// An outcome is what a trial has shown.
type outcome struct {
	trial   trial
	began   time.Time
	lasted  time.Duration
	verdict *verdict
	marks   []mark
	series  []int // deliveries in each second from began
	left    error // of ending: clients that did not get everything in time, a server that did not end by itself
}

// A mark is a fault as it happened.
type mark struct {
	from, to time.Duration // since began
	fault    fault
}

const (
	readyLimit = 30 * time.Second
	drainLimit = 75 * time.Second // longer than the 45 s of a heartbeat, by which a page finds that its connection was cut on the server's side alone
)

// stage is what a trial plays on.
type stage struct {
	*trial
	backend backend
	server  *server
	gates   []*gate
	pages   *pages
	began   time.Time
	alive   sync.Mutex // one kill and restart at a time

	mu    sync.Mutex // guards marks and errs
	marks []mark
	errs  []error
}

func (t *trial) run() (*outcome, error) {
	s, err := t.set()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	o, err := s.play()
	return o, errors.Join(err, s.clear())
}

// set starts all that takes part.
func (t *trial) set() (s *stage, err error) {
	s = &stage{trial: t}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.clear())
		}
	}()
	if s.backend, err = openBackend(t.backend, t.dir); err != nil {
		return nil, err
	}
	if s.server, err = s.backend.server(); err != nil {
		return nil, err
	}
	if s.server.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if s.server.log, err = os.Create(filepath.Join(t.dir, "server.log")); err != nil {
		return nil, err
	}
	if err = s.server.start(); err != nil {
		return nil, err
	}
	for range t.schedule.groups {
		g, err := newGate(s.server.addr)
		if err != nil {
			return nil, err
		}
		s.gates = append(s.gates, g)
	}
	return s, nil
}

func (s *stage) clear() error {
	var errs []error
	if s.pages != nil {
		s.pages.end()
	}
	for _, g := range s.gates {
		g.close()
	}
	if s.server != nil {
		if s.server.cmd != nil {
			errs = append(errs, s.server.kill())
		}
		if s.server.log != nil {
			errs = append(errs, s.server.log.Close())
		}
	}
	if s.backend != nil {
		errs = append(errs, s.backend.close())
	}
	return errors.Join(errs...)
}

// play lets the clients talk through the faults, and then until each has everything.
func (s *stage) play() (*outcome, error) {
	clients := cast(func(group int) string { return "http://" + s.gates[group].addr() })
	var err error
	if s.pages, err = startPages(s.dir, "", s.seed, s.lobby, 0, clients); err != nil {
		return nil, err
	}
	settled := func(r record, _ *record) bool {
		return r.Connected == len(clients) && r.Behind == 0 && r.Queued == 0
	}
	if err := s.pages.wait(readyLimit, "all clients connected", settled); err != nil {
		return nil, err
	}
	s.began = time.Now()
	if err := s.pages.tell("talk", s.rate); err != nil {
		return nil, err
	}
	s.harm()
	o := &outcome{trial: *s.trial, began: s.began, marks: s.marks}
	ending := []func() error{
		func() error { return s.pages.tell("quiet") },
		func() error { return s.pages.wait(drainLimit, "everything sent and received", settled) },
		func() error { return s.pages.tell("close") }, // the last message of a room shows whoever lacks one before it
		func() error {
			return s.pages.wait(drainLimit, "the last messages received", func(r record, read *record) bool { return r.Closed > 0 && settled(r, read) })
		},
		func() error { return s.pages.tell("read", "http://"+s.server.addr) },
		func() error {
			return s.pages.wait(drainLimit, "the log read", func(_ record, read *record) bool { return read != nil })
		},
	}
	o.left = errors.Join(s.errs...)
	for _, step := range ending {
		o.left = errors.Join(o.left, step())
	}
	o.lasted = time.Since(s.began)
	o.left = errors.Join(o.left, s.server.stop())
	log, errLog := s.backend.log(rooms(clients))
	ev := &evidence{clients: clients, log: log, lasting: s.backend.lasting()}
	for _, m := range s.marks {
		if m.fault.kind == killFault {
			ev.kills = append(ev.kills, s.began.Add(m.from).UnixMilli())
		}
	}
	told := map[string][]entry{}
	for _, r := range s.pages.taken() {
		if r.Kind == "log" {
			told[r.Room] = append(told[r.Room], r.entry)
		} else {
			ev.records = append(ev.records, r)
		}
	}
	if ev.log == nil {
		ev.log = told
	} else if err := sameLogs(ev.log, told); err != nil {
		o.left = errors.Join(o.left, err)
	}
	o.verdict = check(ev)
	o.series = series(ev.records, s.began, o.lasted)
	return o, errLog
}

// harm does what the schedule says, and ends with everything in order again.
func (s *stage) harm() {
	var under sync.WaitGroup
	for i, f := range s.schedule.plan(s.seed) {
		time.Sleep(time.Until(s.began.Add(f.at)))
		under.Go(func() {
			from := time.Since(s.began)
			if err := s.do(f, rand.New(rand.NewPCG(s.seed, uint64(i)+2))); err != nil {
				s.fail(fmt.Errorf("%v: %w", f, err))
			}
			s.mu.Lock()
			s.marks = append(s.marks, mark{from, time.Since(s.began), f})
			s.mu.Unlock()
		})
	}
	time.Sleep(time.Until(s.began.Add(s.schedule.lasts)))
	for _, g := range s.gates {
		g.flows()
	}
	under.Wait()
	for _, g := range s.gates {
		g.refuse(false)
		g.flows()
	}
}

func (s *stage) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

func (s *stage) do(f fault, r *rand.Rand) error {
	switch f.kind {
	case cutFault:
		g := s.gates[f.group]
		g.refuse(true)
		kinds := int(cutKinds)
		if s.schedule.orderly {
			kinds = int(abandoned)
		}
		g.cut(func() cutKind { return cutKind(r.IntN(kinds)) })
		time.Sleep(f.lasts)
		g.refuse(false)
	case stall:
		g := s.gates[f.group]
		g.stall(f.ways...)
		time.Sleep(min(f.lasts, time.Until(s.began.Add(s.schedule.lasts))))
		g.flows()
	case killFault:
		s.alive.Lock()
		defer s.alive.Unlock()
		if err := s.server.kill(); err != nil {
			return err
		}
		time.Sleep(f.lasts)
		return s.server.start()
	case dbFault:
		return s.backend.restart(f.crash, f.lasts)
	}
	return nil
}

// series counts deliveries in each second.
func series(records []record, began time.Time, lasted time.Duration) []int {
	counts := make([]int, int(lasted/time.Second)+1)
	for _, r := range records {
		if r.Kind == "live" {
			if i := int((r.T - began.UnixMilli()) / 1000); i >= 0 && i < len(counts) {
				counts[i]++
			}
		}
	}
	return counts
}

func rooms(clients []client) []string {
	var names []string
	seen := map[string]bool{}
	for _, c := range clients {
		for _, r := range c.Rooms {
			if !seen[r] {
				seen[r] = true
				names = append(names, r)
			}
		}
	}
	return names
}

// sameLogs compares the database with what the server tells a newcomer.
func sameLogs(stored, told map[string][]entry) error {
	for room, log := range stored {
		if len(log) != len(told[room]) {
			return fmt.Errorf("%s has %d entries in the database, and %d for a newcomer", room, len(log), len(told[room]))
		}
		for i, e := range log {
			if e != told[room][i] {
				return fmt.Errorf("%s has %+v in the database, and %+v for a newcomer", room, e, told[room][i])
			}
		}
	}
	return nil
}
