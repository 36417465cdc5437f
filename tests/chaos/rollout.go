package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A rollout is a run in which the server is replaced by a new process, again and again, while its clients talk.
type rollout struct {
	name     string
	backend  string // sqlite or postgres
	clients  int
	rate     float64       // messages a second, of all clients
	restarts int           // how often
	steady   time.Duration // before the first, between two, and after the last
	nodes    int           // processes of Node that the clients are in
	seed     uint64
	dir      string
}

const (
	roomSize   = 40
	addresses  = 40  // that clients come from
	comePace   = 250 // clients a second at the start
	drainPace  = 200 // examples/production leaves chat.WithDrainPace at its default
	jwtSecret  = "a secret of the roll-out test's own, which nobody else uses"
	backLimit  = 60 * time.Second // for all clients to be back and to have everything
	startLimit = 2 * time.Minute  // for all clients to come in the first place
)

// rolloutCast is who takes part: stock pages in rooms of 40, of which 45% begin with polling and upgrade, as is the package's default, half are on WebSocket alone and
// the rest on polling alone. Rooms' members are side by side.
func rolloutCast(n int, url string) []client {
	clients := make([]client, n)
	for i := range clients {
		c := &clients[i]
		c.User, c.URL, c.Version = fmt.Sprintf("u%04d", i), url, 4
		switch {
		case i%20 == 0:
			c.Transports = []string{"polling"}
		case i%2 == 1:
			c.Transports = []string{"websocket"}
		default:
			c.Transports = []string{"polling", "websocket"}
		}
		c.Rooms = []string{fmt.Sprintf("room-%02d", i/roomSize)}
		c.Token = signedToken(c.User)
		c.Address = fmt.Sprintf("127.1.0.%d", 1+i%addresses) // the limits of a node are those of an office or two behind each
		c.After = i * 1000 / comePace
	}
	return clients
}

// signedToken is what the host's own sign-in would give out: RFC 7519 with HS256.
func signedToken(user string) string {
	claims, err := json.Marshal(map[string]any{"sub": user, "name": user, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		panic(err) // strings and numbers
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64(claims)
	mac := hmac.New(sha256.New, []byte(jwtSecret))
	mac.Write([]byte(text))
	return text + "." + b64(mac.Sum(nil))
}

// rolling is a rollout under way.
type rolling struct {
	*rollout
	backend backend
	binary  string
	addrs   [2]string // CHAT_1 and CHAT_2
	lives   []*life
	nginx   *nginx
	fleet   fleet
}

// A rolled is what a rollout has shown.
type rolled struct {
	rollout rollout
	began   time.Time // of the talk
	lasted  time.Duration
	lives   []*life
	backs   []time.Time // when everybody was back and had everything, by restart
	news    []int       // user_joined and user_left that all pages have heard, by restart
	verdict *verdict
	figures *figures
	left    error
}

func (r *rollout) run() (*rolled, error) {
	s := &rolling{rollout: r}
	o, err := s.play()
	return o, errors.Join(err, s.clear())
}

func (s *rolling) set() (err error) {
	if s.backend, err = openBackend(s.rollout.backend, s.dir); err != nil {
		return err
	}
	if s.binary, err = buildProduction(s.dir); err != nil {
		return err
	}
	for i := range s.addrs {
		if s.addrs[i], err = freeAddr(); err != nil {
			return err
		}
	}
	if err = s.start(0); err != nil {
		return err
	}
	s.nginx, err = startNginx(s.dir, "nginx.conf.template", s.addrs[:]...)
	return err
}

// start runs a new process at one of the two addresses.
func (s *rolling) start(slot int) error {
	l, err := startLife(s.binary, s.dir, len(s.lives)+1, slot, s.addrs[slot], "DATABASE_URL="+databaseURL(s.backend), "JWT_SECRET="+jwtSecret, "TRUSTED_PROXIES=127.0.0.1")
	if err == nil {
		s.lives = append(s.lives, l)
	}
	return err
}

func databaseURL(b backend) string {
	switch b := b.(type) {
	case *postgresBackend:
		return b.pg.DSN("postgres")
	case sqliteBackend:
		return "sqlite:" + b.file()
	}
	return ""
}

func (s *rolling) clear() error {
	s.fleet.end()
	for _, l := range s.lives {
		l.kill()
	}
	s.nginx.end()
	if s.backend == nil {
		return nil
	}
	return s.backend.close()
}

func (s *rolling) play() (*rolled, error) {
	if err := s.set(); err != nil {
		return nil, err
	}
	clients := rolloutCast(s.clients, "http://"+s.nginx.addr)
	var err error
	if s.fleet, err = startFleet(s.dir, s.seed, s.nodes, roomSize, clients); err != nil {
		return nil, err
	}
	if err := s.fleet.wait(startLimit, "all clients connected", s.settled); err != nil {
		return nil, err
	}
	o := &rolled{rollout: *s.rollout, began: time.Now()}
	if err := errors.Join(s.fleet.tell("watch"), s.fleet.talk(s.rate)); err != nil {
		return nil, err
	}
	time.Sleep(s.steady)
	for range s.restarts {
		o.left = errors.Join(o.left, s.replace(o))
		time.Sleep(s.steady)
	}
	for _, step := range []func() error{
		func() error { return s.fleet.tell("quiet") },
		func() error { return s.fleet.wait(backLimit, "everything sent and received", s.settled) },
		func() error { return s.fleet.tell("close") }, // the last message of a room shows whoever lacks one before it
		func() error {
			return s.fleet.wait(backLimit, "the last messages received", func(r record) bool { return r.Closed == len(rooms(clients)) && s.settled(r) })
		},
	} {
		o.left = errors.Join(o.left, step())
	}
	o.lasted = time.Since(o.began)
	s.fleet.end()
	o.left = errors.Join(o.left, s.lives[len(s.lives)-1].end())
	o.lives = s.lives
	log, err := s.backend.log(rooms(clients))
	ev := &evidence{clients: clients, log: log, lasting: true, records: s.fleet.taken()}
	o.verdict = check(ev)
	o.figures = measure(ev, o.verdict, o.began, o.lasted, o.spans())
	return o, err
}

// spans are the restarts, each from its beginning until everybody was back.
func (o *rolled) spans() (list []span) {
	for i, back := range o.backs {
		list = append(list, span{o.lives[i].term, back})
	}
	return list
}

// settled tells whether all clients are there and have everything that they know of.
func (s *rolling) settled(r record) bool {
	return r.Connected == s.clients && r.Queued == 0 && r.Behind == 0
}

// replace starts a new process, stops the old one when the new one is ready, and waits until everybody is back. Until the talk ends some message is always queued.
func (s *rolling) replace(o *rolled) error {
	old := s.lives[len(s.lives)-1]
	if err := s.start(1 - old.slot); err != nil {
		return err
	}
	news := s.fleet.state().News
	err := old.end()
	back := s.fleet.wait(backLimit, "all clients back", func(r record) bool {
		return r.T > old.exit.UnixMilli() && r.Connected == s.clients && r.Behind == 0
	})
	o.backs = append(o.backs, time.Now())
	o.news = append(o.news, s.fleet.state().News-news)
	return errors.Join(err, back)
}

// A fleet is all clients, in several processes.
type fleet []*pages

// startFleet keeps rooms whole, whose members are so many clients one after the other.
func startFleet(dir string, seed uint64, n, members int, clients []client) (fleet, error) {
	var f fleet
	share := (len(clients)/members + n - 1) / n * members
	for first := 0; first < len(clients); first += share {
		p, err := startPages(dir, fmt.Sprint("-", len(f)), seed, 1, first, clients[first:min(first+share, len(clients))])
		if err != nil {
			f.end()
			return nil, err
		}
		f = append(f, p)
	}
	return f, nil
}

func (f fleet) tell(command string, args ...any) error {
	var errs []error
	for _, p := range f {
		errs = append(errs, p.tell(command, args...))
	}
	return errors.Join(errs...)
}

// talk has each client write as much as any other, perSecond in all.
func (f fleet) talk(perSecond float64) error {
	total := 0
	for _, p := range f {
		total += p.clients
	}
	var errs []error
	for _, p := range f {
		errs = append(errs, p.tell("talk", perSecond*float64(p.clients)/float64(total)))
	}
	return errors.Join(errs...)
}

// state is the sum of the processes' last ones, as of the earliest of them.
func (f fleet) state() (sum record) {
	for i, p := range f {
		p.mu.Lock()
		if i == 0 || p.state.T < sum.T {
			sum.T = p.state.T
		}
		sum.Queued += p.state.Queued
		sum.Connected += p.state.Connected
		sum.Behind += p.state.Behind
		sum.Closed += p.state.Closed
		sum.News += p.state.News
		sum.Astray += p.state.Astray
		sum.Here += p.state.Here
		sum.Oldest = max(sum.Oldest, p.state.Oldest)
		p.mu.Unlock()
	}
	return sum
}

func (f fleet) wait(limit time.Duration, what string, ok func(record) bool) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		sum := f.state()
		if ok(sum) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not after %v: %d messages queued, %d clients connected, %d rooms behind", what, limit, sum.Queued, sum.Connected, sum.Behind)
		}
	}
}

func (f fleet) taken() (all []record) {
	for _, p := range f {
		all = append(all, p.taken()...)
	}
	return all
}

func (f fleet) end() {
	for _, p := range f {
		p.end()
	}
}

// tidy removes what is of no use any more.
func (r *rollout) tidy() error {
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(r.dir), err)
	}
	return nil
}
