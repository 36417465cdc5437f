package simulation_test

import (
	"math/rand/v2"
	"time"
)

// act is one step: some things at once, and then some time. What a step does depends on the seed and its
// number alone; what comes of it, also on what has come before.
func (w *world) act() {
	w.rng = rand.New(rand.NewPCG(w.seed, uint64(w.step)))
	w.stats.steps++
	w.turn()
	for range 1 + w.rng.IntN(4) {
		w.doOne(w.rng)
	}
	w.advance(w.someTime())
}

// someTime is mostly short.
func (w *world) someTime() time.Duration {
	switch n := w.rng.IntN(200); {
	case n < 60:
		return 0
	case n < 140:
		return w.between(w.rng, 1, 50)
	case n < 185:
		return w.between(w.rng, 50, 1000)
	case n < 199:
		return w.between(w.rng, 1000, 10_000)
	default:
		return w.between(w.rng, 60_000, 200_000)
	}
}

// advance lets time pass, with turns in between.
func (w *world) advance(d time.Duration) {
	const most = 2 * time.Second
	for ; d > most; d -= most {
		time.Sleep(most)
		w.turn()
	}
	if d > 0 {
		time.Sleep(d)
	}
}

// an action and how often it is drawn.
type action struct {
	weight int
	do     func(w *world, rng *rand.Rand, p *page, v *view)
}

var actions = []action{
	{100, func(_ *world, rng *rand.Rand, p *page, v *view) { p.say(v.name, rng.IntN(3) > 0, rng.IntN(2) == 0) }},
	{12, func(w *world, rng *rand.Rand, p *page, v *view) {
		for range 2 + rng.IntN(8) {
			p.say(v.name, true, true)
		}
	}},
	{15, func(w *world, _ *rand.Rand, _ *page, v *view) { w.newPost(v.name) }},
	{20, func(w *world, _ *rand.Rand, _ *page, v *view) { w.emit(v.name) }},
	{10, func(w *world, _ *rand.Rand, _ *page, v *view) { w.emit("") }},
	{15, func(w *world, _ *rand.Rand, _ *page, v *view) {
		if w.kinds.foreign {
			w.append(v.name)
		}
	}},
	{15, drop},
	{20, cutSoon},
	{10, vanish},
	{12, stall},
	{25, func(w *world, _ *rand.Rand, _ *page, _ *view) { w.resumeAll() }},
	{10, func(_ *world, _ *rand.Rand, _ *page, v *view) { v.want = !v.want }},
	{12, func(_ *world, rng *rand.Rand, _ *page, v *view) { v.look(uint64(rng.IntN(20)), 1+rng.IntN(30)) }},
	{20, func(_ *world, rng *rand.Rand, p *page, v *view) { p.typing(v, rng.IntN(2) == 0) }},
	{25, func(w *world, rng *rand.Rand, _ *page, _ *view) {
		if !w.set.raw {
			to := weather(rng.IntN(int(weathers)))
			w.note("weather: %v", to)
			w.db.setWeather(to)
		}
	}},
	{15, func(w *world, _ *rand.Rand, _ *page, _ *view) { w.db.setWeather(calm) }},
	{6, ban},
	{3, func(w *world, _ *rand.Rand, _ *page, _ *view) { w.rest() }},
	{2, func(w *world, rng *rand.Rand, _ *page, _ *view) { w.killOne(rng) }},
	{1, func(w *world, rng *rand.Rand, _ *page, _ *view) { w.endOne(rng) }},
	{2, func(_ *world, _ *rand.Rand, p *page, _ *view) { p.reload() }},
}

func weight(actions []action) (n int) {
	for _, a := range actions {
		n += a.weight
	}
	return n
}

func (w *world) doOne(rng *rand.Rand) {
	actions := w.actions()
	n, p := rng.IntN(weight(actions)), pick(rng, w.pages)
	v := p.views[pick(rng, w.rooms)]
	own := rand.New(rand.NewPCG(rng.Uint64(), 0)) // so that the next action does not depend on this one
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			a.do(w, own, p, v)
			return
		}
	}
}

// drop cuts the connection; the page comes back soon, late, or too late, with what recovery needs or without.
func drop(w *world, rng *rand.Rand, p *page, _ *view) {
	if p.sock == nil {
		return
	}
	p.sock.cut()
	p.disconnect("dropped")
	p.away(rng)
}

func (p *page) away(rng *rand.Rand) {
	p.plain = rng.IntN(5) == 0
	switch rng.IntN(12) {
	case 0:
		p.comeAt = time.Now().Add(p.w.between(rng, 5_000, 60_000))
	case 1:
		p.comeAt = time.Now().Add(p.w.between(rng, 100_000, 200_000))
	case 2, 3, 4:
		p.comeAt = time.Now()
	}
}

// cutSoon cuts it between two frames that are still to come, in one of the directions.
func cutSoon(_ *world, rng *rand.Rand, p *page, _ *view) {
	if p.sock == nil {
		return
	}
	n := rng.IntN(6)
	if rng.IntN(2) == 0 {
		p.note("is cut after %d frames to it", n)
		p.sock.cutAfter(n, -1)
	} else {
		p.note("is cut after %d frames from it", n)
		p.sock.cutAfter(-1, n)
	}
	p.disturbed()
}

// vanish: the network is gone without a word, and the page comes back over another one.
func vanish(_ *world, rng *rand.Rand, p *page, _ *view) {
	if p.sock == nil {
		return
	}
	p.sock.stall(true)
	p.disconnect("the network vanished")
	p.away(rng)
}

func stall(_ *world, _ *rand.Rand, p *page, _ *view) {
	if p.sock == nil {
		return
	}
	p.note("stops reading")
	p.disturbed()
	p.stalled, p.slow, p.hasStalled = true, true, true
	p.sock.stall(true)
}

func (w *world) resumeAll() {
	for _, p := range w.pages {
		if p.stalled && p.sock != nil {
			p.stalled = false
			p.sock.stall(false)
		}
	}
}

func ban(w *world, _ *rand.Rand, p *page, v *view) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]string{p.user, v.name}
	w.ban[key] = !w.ban[key]
	w.bans++
	w.note("%s banned from %s: %v", p.user, v.name, w.ban[key])
}

// rest: the store is well for a while; then what it was in doubt about has come.
func (w *world) rest() {
	w.note("rests")
	w.db.setWeather(calm)
	w.bus.healAll()
	w.resumeAll()
	w.advance(45 * time.Second)
	w.turn()
	for _, p := range w.pages {
		w.checkOwn(p)
	}
}

func (p *page) reload() {
	if p.sock != nil {
		p.sock.cut()
		p.disconnect("reloads")
	}
	p.forget()
}

func (w *world) killOne(rng *rand.Rand) {
	i := rng.IntN(len(w.servers))
	if s := w.servers[i]; s != nil && !s.ending && w.kinds.kill {
		w.note("server %d is killed", s.n)
		w.stats.kills++
		w.kill(s)
		w.servers[i] = w.newServer()
	}
}

// endOne shuts a server down; the next one comes after it, or with it.
func (w *world) endOne(rng *rand.Rand) {
	i := rng.IntN(len(w.servers))
	if s := w.servers[i]; s != nil && !s.ending && w.kinds.kill {
		w.stats.shutdowns++
		w.note("server %d is shut down", s.n)
		w.end(s)
		if rng.IntN(2) == 0 && w.kinds.foreign {
			w.servers[i] = w.newServer()
		}
	}
}
