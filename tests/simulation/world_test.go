package simulation_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
)

// kinds of faults that may be left out.
type kinds struct {
	unknown bool // appends that fail, and are saved all the same
	foreign bool // appends behind the Hub's back
	cut     bool // nodes that are cut off from the cluster
	lose    bool // publications that are lost
	kill    bool // servers that are killed
}

// settings of a world, drawn from its seed.
type settings struct {
	raw      bool // the Hub has its own memory store, which nothing ails
	memory   bool // or that one under a node
	watch    bool // the store tells what has grown
	servers  int
	window   time.Duration
	outbox   int // 0: the default
	buffer   int // of a link
	everyone bool
	shared   bool // two pages are one user
	pages    int
	rooms    int
	steps    int
	streams  int  // of the cluster; 0: the servers are in none
	local    bool // traffic goes on without the cluster
	lossy    bool // the cluster loses publications
}

func drawSettings(rng *rand.Rand, k kinds) settings {
	s := settings{
		raw: rng.IntN(4) == 0, memory: rng.IntN(2) == 0, watch: rng.IntN(3) == 0, servers: 1, window: 2 * time.Minute, buffer: 64 << 10,
		everyone: rng.IntN(3) == 0, shared: rng.IntN(2) == 0, pages: 3 + rng.IntN(6), rooms: 1 + rng.IntN(3), steps: 60 + rng.IntN(120),
	}
	switch rng.IntN(8) {
	case 0:
		s.window = 10 * time.Second
	case 1:
		s.window = 0
	case 2, 3:
		s.outbox, s.buffer = 8<<10, 2<<10
	}
	if rng.IntN(4) == 0 && k.foreign {
		s.servers = 2
	}
	s.watch = s.watch && !s.raw && k.foreign
	return s
}

// A world is a run of one seed. All but what is said to be guarded belongs to the driver's goroutine.
type world struct {
	*trace
	seed  uint64
	kinds kinds
	set   settings
	step  int
	rng   *rand.Rand // of the step
	rooms []string
	pages []*page

	mutant  *mutant // nil: none
	db      *database
	bus     *bus      // nil: there is no cluster
	servers []*server // slots; nil: down
	past    []*server
	sockets []*socket

	messages map[string]*message // by text
	known    map[string][]chat.Entry
	posts    []*post
	hosted   int
	all      map[int]uint64            // events that a server has emitted to everybody
	ticks    map[string]map[int]uint64 // and to a room
	foreign  int
	work     sync.WaitGroup // posts
	stats    stats
	closing  bool // no server comes after those that end

	mu   sync.Mutex // guards what follows
	ban  map[[2]string]bool
	bans int // changes of ban
}

type stats struct {
	seeds, steps, acked, heard, recovered, fresh, told, history, kills, shutdowns, foreign, cuts, lost, moved int
}

// A post is a message of the host's.
type post struct {
	room, text string
	done       chan error
	entry      chat.Entry
	saved      bool
	next       time.Time
	tries      int
}

func newWorld(seed uint64, k kinds, b bug, clustered bool) *world {
	rng := rand.New(rand.NewPCG(seed, 0))
	set := drawSettings(rng, k)
	if clustered {
		set = drawCluster(rng, k, set)
	}
	w := &world{
		trace: &trace{began: time.Now()}, seed: seed, kinds: k, set: set,
		messages: map[string]*message{}, known: map[string][]chat.Entry{}, ban: map[[2]string]bool{},
		all: map[int]uint64{}, ticks: map[string]map[int]uint64{},
	}
	var base chat.Store = newModel(b)
	if b >= bugLose {
		w.mutant = &mutant{bug: b}
	} else if b != noBug {
		w.set.raw = false
	} else if w.set.raw || w.set.memory {
		base = chat.NewMemoryStore(0, 0)
	}
	w.db = &database{base: base, seed: seed, kinds: k, nodes: map[*node]func(string, string){}, by: map[string]*node{}, note: w.note}
	for i := range w.set.rooms {
		w.rooms = append(w.rooms, string(rune('a'+i)))
		w.ticks[w.rooms[i]] = map[int]uint64{}
	}
	w.note("%+v", w.set)
	if clustered {
		w.bus = newBus(w)
	}
	w.servers = make([]*server, w.set.servers)
	for i := range w.servers {
		w.servers[i] = w.newServer()
	}
	for i := range w.set.pages {
		p := &page{w: w, name: fmt.Sprintf("p%d", i), user: fmt.Sprintf("u%d", i), rng: rand.New(rand.NewPCG(seed, 3<<40|uint64(i))), views: map[string]*view{}, all: tally{}}
		if w.set.shared && i == 1 {
			p.user = "u0"
		}
		p.polls = rng.IntN(4) == 0
		for _, name := range w.rooms {
			p.views[name] = newView(p, name)
			p.views[name].want = rng.IntN(4) > 0
		}
		w.pages = append(w.pages, p)
	}
	return w
}

func (w *world) mayJoin(_ context.Context, c *chat.Client, room string) error {
	if w.banned(c.User().ID, room) && (w.mutant == nil || w.mutant.bug != bugPolicy) {
		return chat.Errorf(chat.Forbidden, "not you")
	}
	return nil
}

func (w *world) banned(user, room string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ban[[2]string{user, room}]
}

// bansNow is another number after each change of a ban.
func (w *world) bansNow() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bans
}

func (w *world) between(rng *rand.Rand, from, to int) time.Duration {
	return time.Duration(from+rng.IntN(to-from)) * time.Millisecond
}

// entry is the store's entry, or none.
func (w *world) entry(room string, seq uint64) chat.Entry {
	if uint64(len(w.known[room])) < seq {
		w.known[room] = whole(w.db.base, room)
	}
	if seq == 0 || uint64(len(w.known[room])) < seq {
		return chat.Entry{}
	}
	return w.known[room][seq-1]
}

func (w *world) lastOf(room string) uint64 {
	_, last, _ := w.db.base.Bounds(context.Background(), "/", room)
	return last
}

// fail ends the run.
func (w *world) fail(invariant, format string, args ...any) {
	test := "TestSimulation"
	if w.bus != nil {
		test = "TestCluster"
	}
	panic(&failure{seed: w.seed, test: test, invariant: invariant, what: fmt.Sprintf(format, args...)})
}

// run lives a seed through, within a bubble.
func (w *world) run() (f *failure) {
	func() {
		defer func() {
			if p := recover(); p != nil {
				var ok bool
				if f, ok = p.(*failure); !ok {
					panic(p)
				}
				f.trace = w.last(shown())
			}
		}()
		for w.step = 1; w.step <= w.set.steps; w.step++ {
			w.act()
		}
		w.settle()
		w.check()
		w.endAll()
	}()
	w.release()
	return f
}

// turn lets everybody take what has come, and do what is due.
func (w *world) turn() {
	synctest.Wait()
	w.bus.turn()
	w.hosts()
	for i, s := range w.servers {
		if s != nil && s.ended != nil && s.over() && !w.closing {
			w.servers[i] = w.newServer()
			w.note("server %d in place of %d", w.servers[i].n, s.n)
		}
	}
	for _, p := range w.pages {
		p.receive()
		p.tend()
	}
}

// hosts goes on with the host's posts.
func (w *world) hosts() {
	for _, p := range w.posts {
		select {
		case err := <-p.done:
			p.done = nil
			p.saved = err == nil
			p.next = time.Now().Add(time.Second)
		default:
		}
		if s := w.hostsServer(p); p.done == nil && !p.saved && s != nil && !s.ending && !time.Now().Before(p.next) {
			w.post(p, s)
		}
	}
}

// hostsServer is where the host tries next: in a cluster any server will do.
func (w *world) hostsServer(p *post) *server {
	if w.bus == nil {
		return w.servers[0]
	}
	return w.servers[p.tries%len(w.servers)]
}

func (w *world) post(p *post, s *server) {
	p.tries++
	done := make(chan error, 1)
	p.done = done
	w.work.Go(func() {
		e, err := s.hub.Room(p.room).Post(context.Background(), chat.Post{Text: p.text, UserID: "host", MessageID: "m" + p.text})
		if err == nil {
			p.entry = e // before done: the driver reads it after
		}
		done <- err
	})
}

func (w *world) newPost(room string) {
	w.hosted++
	w.posts = append(w.posts, &post{room: room, text: fmt.Sprintf("host-%d", w.hosted)})
	w.note("host posts %s in %s", w.posts[w.hosted-1].text, room)
}

// append is another program's message.
func (w *world) append(room string) {
	w.foreign++
	w.stats.foreign++
	e := chat.Entry{Kind: chat.KindMessage, Namespace: "/", Room: room, UserID: "other", ID: fmt.Sprintf("foreign-%d", w.foreign), Text: fmt.Sprintf("foreign-%d", w.foreign)}
	saved, err := w.db.commit(nil, []chat.Entry{e})
	if err != nil {
		panic(err)
	}
	w.note("another program appends %s/%d %s", room, saved[0].Entry.Seq, e.Text)
}

// emit is the host's event to a room, or to everybody.
func (w *world) emit(room string) {
	for _, s := range w.servers {
		if s == nil || s.ending {
			continue
		}
		var err error
		if room == "" {
			w.all[s.n]++
			w.note("server %d emits %d to everybody", s.n, w.all[s.n])
			err = s.hub.Emit("all", tick{By: s.n, N: w.all[s.n]})
		} else {
			w.ticks[room][s.n]++
			w.note("server %d emits %d in %s", s.n, w.ticks[room][s.n], room)
			err = s.hub.Room(room).Emit("tick", tick{Room: room, By: s.n, N: w.ticks[room][s.n]})
		}
		if err != nil {
			w.fail(goesOn, "emit: %v", err)
		}
	}
}

// release ends what a failure has left, so that the bubble can end.
func (w *world) release() {
	w.db.setWeather(calm)
	w.bus.healAll()
	for _, s := range w.sockets {
		s.cut()
	}
	for _, s := range w.past {
		if s.ended == nil {
			s.ended = make(chan error, 1)
			if s.node != nil {
				s.node.die()
			}
			w.work.Go(func() { s.ended <- s.shutdown(time.Second) })
		}
	}
	w.work.Wait()
	for _, s := range w.sockets {
		s.work.Wait()
	}
	w.db.work.Wait()
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }
