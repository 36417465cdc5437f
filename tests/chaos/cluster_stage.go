package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// clusterStage is what a clustered plays on: nodes on one PostgreSQL and one Redis, each with a way of its own to Redis, behind nginx with the file that is deployed.
type clusterStage struct {
	*clustered
	random  *rand.Rand
	backend backend
	redis   redisStack
	binary  string
	addrs   []string
	nginx   *nginx
	fleet   fleet
	probes  *probes

	mu    sync.Mutex // guards both below
	alive []*life    // by node
	lives []*life    // all
}

func (s *clusterStage) set() (err error) {
	if s.backend, err = openBackend("postgres", s.dir); err != nil {
		return err
	}
	if s.redis, err = openRedis(s.clustered.redis); err != nil {
		return err
	}
	if s.binary, err = buildProduction(s.dir); err != nil {
		return err
	}
	s.alive = make([]*life, clusterNodes)
	for range clusterNodes {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		s.addrs = append(s.addrs, addr)
	}
	for i := range s.addrs {
		if err = s.start(i); err != nil {
			return err
		}
	}
	if s.nginx, err = startNginx(s.dir, "nginx-cluster.conf.template", s.addrs...); err != nil {
		return err
	}
	s.probes = probe(s.addrs)
	return nil
}

// start runs a node at its address.
func (s *clusterStage) start(node int) error {
	s.mu.Lock()
	number := len(s.lives) + 1
	s.lives = append(s.lives, nil)
	s.mu.Unlock()
	addr := s.addrs[node]
	l, err := startLife(s.binary, s.dir, number, node, addr, "DATABASE_URL="+databaseURL(s.backend), "JWT_SECRET="+jwtSecret, "TRUSTED_PROXIES=127.0.0.1",
		"REDIS_URL="+s.redis.url(node), "NODE_ADDRESS=http://"+addr, "CLUSTER_KEY="+clusterKey)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive[node], s.lives[number-1] = l, l
	return nil
}

func (s *clusterStage) life(node int) *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alive[node]
}

// stopAll asks all nodes to end; each has to, by itself and with status 0.
func (s *clusterStage) stopAll() error {
	var errs []error
	for i := range s.alive {
		if l := s.life(i); l != nil && l.cmd != nil {
			errs = append(errs, l.end())
		}
	}
	return errors.Join(errs...)
}

func (s *clusterStage) clear() error {
	s.fleet.end()
	s.probes.end()
	for _, l := range s.lives {
		if l != nil {
			l.kill()
		}
	}
	s.nginx.end()
	var errs []error
	if s.redis != nil {
		errs = append(errs, s.redis.close())
	}
	if s.backend != nil {
		errs = append(errs, s.backend.close())
	}
	return errors.Join(errs...)
}

// take does the faults of a step, all at once, and waits until everything is well again.
func (s *clusterStage) take(st step) (stepDone, error) {
	d := stepDone{step: st.on(s.random.Perm(clusterNodes)), from: time.Now()}
	news := s.fleet.state().News
	var under sync.WaitGroup
	errs := make([]error, len(d.step.faults))
	for i, h := range d.step.faults {
		if h.kind == drainNode {
			d.drained = append(d.drained, s.life(h.node))
		}
		under.Go(func() {
			if errs[i] = s.do(h); errs[i] != nil {
				errs[i] = fmt.Errorf("%v: %w", h, errs[i])
			}
		})
	}
	under.Wait()
	d.over = time.Now()
	errs = append(errs, s.ready(), s.fleet.wait(comeBack, "after "+d.step.String(), func(r record) bool { return recovered(r, d.over) }))
	d.back = time.Now()
	d.unready = s.probes.unready(d.from, d.back)
	d.news = s.fleet.state().News - news
	return d, errors.Join(errs...)
}

func (s *clusterStage) ready() error {
	for _, addr := range s.addrs {
		if err := answers("http://"+addr+"/readyz", comeBack); err != nil {
			return err
		}
	}
	return nil
}

func (s *clusterStage) do(h harm) error {
	switch h.kind {
	case killNode:
		s.life(h.node).kill()
		time.Sleep(h.lasts)
		return s.start(h.node)
	case drainNode:
		if err := s.life(h.node).end(); err != nil {
			return err
		}
		return s.start(h.node)
	case freezeNode:
		process := s.life(h.node).cmd.Process
		if err := process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		time.Sleep(h.lasts)
		return process.Signal(syscall.SIGCONT)
	case stopDB, crashDB:
		return s.backend.restart(h.kind == crashDB, h.lasts)
	}
	return s.redis.do(h)
}

// probes ask each node again and again whether it is ready.
type probes struct {
	stop chan struct{}
	all  sync.WaitGroup

	mu   sync.Mutex   // guards bad
	bad  [][]span     // by node: when it was not ready
	open []*time.Time // by node: since when it is not
}

const probeEvery = 200 * time.Millisecond

func probe(addrs []string) *probes {
	p := &probes{stop: make(chan struct{}), bad: make([][]span, len(addrs)), open: make([]*time.Time, len(addrs))}
	for i, addr := range addrs {
		p.all.Go(func() { p.watch(i, "http://"+addr+"/readyz") })
	}
	return p
}

func (p *probes) watch(node int, url string) {
	client := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			res, err := client.Get(url)
			if err == nil {
				_ = res.Body.Close() // only its status matters
			}
			p.note(node, now, err == nil && res.StatusCode == http.StatusOK)
		}
	}
}

func (p *probes) note(node int, now time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := p.open[node]
	switch {
	case !ok && since == nil:
		p.open[node] = &now
	case ok && since != nil:
		p.bad[node] = append(p.bad[node], span{*since, now})
		p.open[node] = nil
	}
}

// unready is for how long each node was not ready between two times, of which the second one is now.
func (p *probes) unready(from, to time.Time) []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	sums := make([]time.Duration, len(p.bad))
	for i, list := range p.bad {
		if since := p.open[i]; since != nil {
			list = append(list[:len(list):len(list)], span{*since, to})
		}
		for _, b := range list {
			if b.from.Before(from) {
				b.from = from
			}
			sums[i] += max(0, b.to.Sub(b.from))
		}
	}
	return sums
}

func (p *probes) end() {
	if p != nil {
		close(p.stop)
		p.all.Wait()
	}
}
