package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/parleychat/chat/internal/pgtest"
)

// A siege is one run.
type siege struct {
	lasts    time.Duration // an attack
	long     bool          // attacks that need longer get it
	quiet    time.Duration // before and after
	pause    time.Duration // before each attack, in quiet; 0: none
	warm     time.Duration // before that
	scale    float64       // of the attackers' numbers
	members  int           // honest clients in Go
	pages    int           // and in Node
	connects int           // a second of an address, the server\'s setting; 0: the example\'s own
	pace     time.Duration // between two messages of the former
	only     string
	patience time.Duration // with an ack or a delivery
	together bool          // all attacks of a kind at once
	times    int           // all attacks, one time after the other
	behind   bool          // nginx, and on PostgreSQL
	out      io.Writer

	server *server
	addr   string // where everybody connects
	crowd  *crowd
	nodes  *pages
	began  time.Time
	dir    string
}

// A phase is a time with an attack, with several, or with none.
type phase struct {
	Name     string
	attacks  []attack
	lasts    time.Duration // where the siege does not say
	What     []string
	From, To time.Duration // since the run began
	Before   usage
	After    usage // at its end
	Settled  usage // later, when what was held has been given back, or the wait for that was over
	Settling time.Duration
	Felt     feeling
	Shares   shares
	Told     []told
}

// An outcome is what a run has shown.
type outcome struct {
	Phases   []phase // the first is quiet, and so is the last
	Pauses   []phase // between attacks
	Seconds  []second
	First    usage  // in quiet, before the attacks
	Left     []left // each time that all attacks were made
	Clients  []client
	long     bool
	behind   bool     // nginx: everybody's connections come from there
	Wrong    []string // that stopped the run, or is of no phase
	began    time.Time
	Scale    float64
	patience time.Duration // the longest that an ack or a delivery may take
}

// left is what attacks have left. As First, its memory is that of the half minute up to then (see even).
type left struct {
	Soon  usage // when a minute without attacks has passed
	Later usage // at length: and the recovery window too
}

// A second is what the drawing has a point for.
type second struct {
	usage
	Delay, Ack time.Duration // the worst
	Deliveries int
}

// A client is an honest one at the end.
type client struct {
	Name        string
	Seq, First  uint64
	View        uint32
	Heard, Own  int
	Open        int
	Gap         time.Duration // the longest between two pings
	Retries     int
	Wrong       string
	Disconnects int
}

// settle is how long what an attack held may take to be given back: a minute.
const settle = time.Minute

func (s *siege) run(bin, dir string) (o *outcome, err error) {
	s.dir, s.began = dir, time.Now()
	end, err := s.start(bin)
	defer func() { err = errors.Join(err, end()) }()
	if err != nil {
		return nil, err
	}
	s.crowd, err = newCrowd(s.addr, s.members, s.pace)
	if err != nil {
		return nil, err
	}
	if s.nodes, err = startPages(s.addr, s.pages, &s.crowd.felt); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.nodes.end()) }()
	if err := errors.Join(s.crowd.begin(), s.nodes.tell("talk")); err != nil {
		return nil, err
	}
	o = &outcome{began: s.began, Scale: s.scale, patience: s.patience, long: s.long, behind: s.behind}
	enough, ended := make(chan struct{}), make(chan []second)
	go newcomers(s.addr, &s.crowd.felt, enough)
	go func() { ended <- s.watch(enough) }()
	err = s.phases(o)
	close(enough)
	o.Seconds = <-ended
	o.even()
	if err != nil {
		return o, err
	}
	if err := s.nodes.tell("hush"); err != nil {
		return o, err
	}
	if err := s.crowd.hush(s.nodes.top); err != nil {
		o.Wrong = append(o.Wrong, err.Error())
	}
	time.Sleep(3 * time.Second) // the pages tell of themselves once a second
	o.Clients = s.clients()
	return o, nil
}

// start begins what is under attack. end is to be called in any case.
func (s *siege) start(bin string) (end func() error, err error) {
	var ends []func() error
	end = func() (err error) {
		for _, f := range slices.Backward(ends) {
			err = errors.Join(err, f())
		}
		return err
	}
	// Nobody here is a proxy, unless there is one: what the attackers say in X-Forwarded-For must not count.
	database, proxy := "sqlite:"+filepath.Join(s.dir, "chat.db"), "192.0.2.1/32"
	if s.behind {
		pg, err := pgtest.Start()
		if err != nil {
			return end, err
		}
		ends = append(ends, pg.Close)
		database, proxy = pg.DSN("postgres"), "127.0.0.1/32"
	}
	if s.server, err = startServer(bin, s.dir, s.connects, "DATABASE_URL="+database, "TRUSTED_PROXIES="+proxy); err != nil {
		return end, err
	}
	ends = append(ends, s.server.stop)
	if s.addr = s.server.addr; !s.behind {
		return end, nil
	}
	f, err := startFront(s.server.addr, s.dir)
	if err != nil {
		return end, err
	}
	ends, s.addr = append(ends, f.end), f.addr
	return end, nil
}

func (s *siege) phases(o *outcome) (err error) {
	time.Sleep(s.warm) // caches fill, goroutines start
	s.crowd.felt.take()
	if o.First, err = s.usage(true); err != nil {
		return err
	}
	if err := s.heap("first.heap"); err != nil {
		return err
	}
	if err := s.playAll(o, []phase{{Name: "quiet"}}); err != nil {
		return err
	}
	for i := range s.times {
		if err := s.playAll(o, append(s.chosen(), phase{Name: "quiet again"})); err != nil {
			return err
		}
		l, err := s.left(i + 1)
		if err != nil {
			return err
		}
		o.Left = append(o.Left, l)
	}
	return nil
}

func (s *siege) playAll(o *outcome, list []phase) error {
	for i := range list {
		p := &list[i]
		if len(p.attacks) > 0 && s.pause > 0 {
			q := phase{Name: "pause", lasts: s.pause}
			if err := s.play(&q); err != nil {
				return fmt.Errorf("before %s: %w", p.Name, err)
			}
			o.Pauses = append(o.Pauses, q)
		}
		if err := s.play(p); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		o.Phases = append(o.Phases, *p)
		fmt.Fprintln(s.out, p.line(o.quietNear(p)))
	}
	return nil
}

func (s *siege) left(time int) (l left, err error) {
	if l.Soon, err = s.usage(true); err != nil {
		return l, err
	}
	if err := s.heap(fmt.Sprintf("soon%d.heap", time)); err != nil || !s.long {
		return l, err
	}
	s.sleep(recoveryWindow)
	if l.Later, err = s.usage(true); err != nil {
		return l, err
	}
	return l, s.heap(fmt.Sprintf("later%d.heap", time))
}

// evenOver is longer than a server in quiet takes to give back twice what it has collected: within that its memory goes up and down by a tenth.
const evenOver = 30 * time.Second

// even makes the memory of what was measured in quiet that of the half minute before it, which nothing of ours has collected: the second's whose resident memory is in the
// middle. What lives is known from the collection that ended it; the rest of the heap is room for what comes next.
func (o *outcome) even() {
	all := []*usage{&o.First}
	for i := range o.Left {
		all = append(all, &o.Left[i].Soon, &o.Left[i].Later)
	}
	for _, u := range all {
		var list []second
		for _, at := range o.Seconds {
			if at.At > u.At-evenOver && at.At < u.At {
				list = append(list, at)
			}
		}
		if len(list) == 0 {
			continue
		}
		slices.SortFunc(list, func(a, b second) int { return cmp.Compare(a.RSS, b.RSS) })
		m := list[len(list)/2].usage
		u.Free, u.Unused = m.Heap+m.Unused+m.Free-u.Heap, 0
		u.RSS, u.Mapped, u.Stacks, u.Profiler, u.Runtime = m.RSS, m.Mapped, m.Stacks, m.Profiler, m.Runtime
	}
}

func (s *siege) usage(collect bool) (usage, error) {
	u, err := s.server.usage(collect)
	u.At = time.Since(s.began)
	return u, err
}

// play is one phase, and the wait for what it held.
func (s *siege) play(p *phase) (err error) {
	lasts := cmp.Or(p.lasts, s.quiet)
	if len(p.attacks) > 0 {
		lasts = max(s.lasts, p.lasts)
	}
	var waits []func() (told, error)
	for _, a := range p.attacks {
		p.What = append(p.What, a.what)
		if s.long {
			lasts = max(lasts, a.lasts)
		}
	}
	if p.Before, err = s.usage(false); err != nil {
		return err
	}
	s.crowd.felt.take()
	p.From = time.Since(s.began)
	rec := s.server.record()
	for _, a := range p.attacks {
		wait, err := launch(a, s.addr, lasts, s.scale)
		if err != nil {
			return err
		}
		waits = append(waits, wait)
	}
	s.sleep(lasts - lastMoment)
	if p.After, err = s.usage(false); err != nil {
		return err
	}
	if p.Shares, err = rec.end(); err != nil {
		return err
	}
	p.Felt = s.crowd.felt.take()
	p.To = time.Since(s.began)
	if err := s.keep(p, rec); err != nil {
		return err
	}
	for _, wait := range waits {
		t, err := wait()
		if err != nil {
			return err
		}
		p.Told = append(p.Told, t)
	}
	return s.settle(p)
}

func (s *siege) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.server.exited:
	}
}

// heap keeps a profile of what lives.
func (s *siege) heap(name string) error {
	client := http.Client{Timeout: patience}
	res, err := client.Get("http://" + s.server.probe + "/heap")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return errors.Join(err, os.WriteFile(filepath.Join(s.dir, name), b, 0o600))
}

func (s *siege) keep(p *phase, rec *recording) error {
	return os.WriteFile(filepath.Join(s.dir, fmt.Sprintf("%03.0f.cpu", p.From.Seconds())), rec.data, 0o600)
}

// lastMoment is how long before an attack's end the server is looked at.
const lastMoment = 500 * time.Millisecond

// slack is by how many goroutines and files a quiet server's own numbers vary.
const slack = 25

// settle waits until goroutines and files are back where they were.
func (s *siege) settle(p *phase) (err error) {
	began := time.Now()
	for {
		if p.Settled, err = s.usage(false); err != nil {
			return err
		}
		p.Settling = time.Since(began)
		back := p.Settled.Goroutines <= p.Before.Goroutines+slack && p.Settled.Files <= p.Before.Files+slack
		if back || p.Settling > settle {
			return nil
		}
		s.sleep(500 * time.Millisecond)
	}
}

// watch takes a point each second.
func (s *siege) watch(enough <-chan struct{}) (list []second) {
	each := time.NewTicker(time.Second)
	defer each.Stop()
	for {
		select {
		case <-enough:
			return list
		case <-s.server.exited:
			return list
		case <-each.C:
		}
		u, err := s.usage(false)
		if err != nil {
			continue // the phase finds out what it is
		}
		f := s.crowd.felt.takeSecond()
		list = append(list, second{u, f.Delay.Worst, f.Ack.Worst, f.Deliveries})
	}
}

func (s *siege) clients() (list []client) {
	for _, h := range s.crowd.members {
		h.mu.Lock()
		c := client{Name: h.user, Seq: h.seq, First: h.first, View: h.view, Heard: h.heard, Own: h.own, Open: len(h.open), Gap: h.gap, Retries: h.retries}
		if h.wrong != nil {
			c.Wrong, c.Disconnects = h.wrong.Error(), 1
		}
		h.mu.Unlock()
		list = append(list, c)
	}
	for _, p := range s.nodes.list() {
		list = append(list, client{
			Name: p.User + ", " + p.Transport, Seq: uint64(p.Seq), First: uint64(p.First), View: p.View, Heard: p.Heard, Own: p.Own, Open: p.Open,
			Gap: time.Duration(p.Gap * 1e6), Retries: p.Retries, Wrong: p.Wrong, Disconnects: len(p.Disconnects),
		})
	}
	return list
}
