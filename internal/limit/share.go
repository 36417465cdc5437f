package limit

import "time"

// tellFrom is the part of a burst that is kept back from other processes at most: news for every event would be as many as the events.
const tellFrom = 16

// News is what somebody has done here that other processes do not know of yet.
type News struct {
	Scope Scope // User or Address
	Key   string
	Rates []RateNews // of the scope's rates, in their order
}

// RateNews is of one rate.
type RateNews struct {
	Taken int64         // of what it counts
	Cool  time.Duration // what is left of a cool-down that has begun; 0: none has
}

// Share makes the Limiter keep News of users and addresses. due is called when there are some and there were none; it holds a lock, and must not call the Limiter.
// Share is called before anything else.
func (l *Limiter) Share(due func()) {
	for s := range l.groups {
		if t := l.groups[s].table; t != nil {
			t.due = due
		}
	}
}

// News takes what there is to tell, of at most so many keys. What is less than a sixteenth of a burst is kept back, and forgotten with its key.
func (l *Limiter) News(most int) []News {
	var news []News
	now := l.now()
	for s := range l.groups {
		if t := l.groups[s].table; t != nil {
			news = t.news(Scope(s), now, most-len(news), news)
		}
	}
	return news
}

// Learn counts what was done in another process. News that do not fit the rates are passed over.
func (l *Limiter) Learn(n News) {
	if n.Scope != User && n.Scope != Address {
		return
	}
	g := &l.groups[n.Scope]
	if g.table == nil || len(n.Rates) != len(g.rates) {
		return
	}
	now := l.now()
	buckets := g.table.lock(n.Key)
	defer g.table.mu.Unlock()
	for i := range buckets {
		g.rates[i].learn(&buckets[i], now, n.Rates[i])
	}
}

func (r *rate) learn(b *bucket, now int64, n RateNews) {
	if n.Taken > 0 {
		r.take(b, now, n.Taken)
		b.owed = min(b.owed, now+int64(longest)) // sums of many
	}
	if cool := min(int64(n.Cool), r.coolDown); cool > 0 && (!b.cooling || b.until < now+cool) {
		b.strikes, b.cooling, b.until = 0, true, now+cool
	}
}

// notedLocked: of a key's buckets there may be something to tell.
func (t *table) notedLocked(key string, rates []rate, b []bucket) {
	if t.due == nil {
		return
	}
	for i := range b {
		if b[i].cooled || b[i].untold > 0 && b[i].untold >= int64(rates[i].Burst)/tellFrom {
			t.dueLocked(key)
			return
		}
	}
}

func (t *table) dueLocked(key string) {
	e := t.keys[key]
	if e == nil || e.due {
		return
	}
	e.due = true
	t.dues = append(t.dues, e)
	if len(t.dues) == 1 {
		t.due()
	}
}

func (t *table) news(s Scope, now int64, most int, news []News) []News {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := max(min(len(t.dues), most), 0)
	for _, e := range t.dues[:n] {
		e.due = false
		rates := make([]RateNews, len(e.buckets))
		for i := range e.buckets {
			b := &e.buckets[i]
			rates[i].Taken = b.untold
			if b.cooled && b.cooling {
				rates[i].Cool = max(time.Duration(b.until-now), 0)
			}
			b.untold, b.cooled = 0, false
		}
		news = append(news, News{Scope: s, Key: e.key, Rates: rates})
	}
	t.dues = append(t.dues[:0], t.dues[n:]...)
	if len(t.dues) == 0 {
		t.dues = nil
	}
	return news
}
