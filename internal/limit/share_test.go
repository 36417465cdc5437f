package limit

import (
	"fmt"
	"testing"
	"time"
)

// two are processes that tell each other what was done.
type two struct {
	*someone
	there *someone
	due   int
}

func newTwo(t *testing.T, rates ...Rate) *two {
	p := &two{someone: newSomeone(t, rates...), there: newSomeone(t, rates...)}
	p.l.Share(func() { p.due++ })
	p.there.l.Share(func() {})
	p.now = time.Now()
	p.there.now = p.now
	return p
}

// tell brings the news there.
func (p *two) tell() (news []News) {
	news = p.l.News(1000)
	for _, n := range news {
		p.there.l.Learn(n)
	}
	p.there.now = time.Now()
	return news
}

func TestShare(t *testing.T) {
	t.Parallel()
	for _, scope := range []Scope{User, Address} {
		t.Run(fmt.Sprint(scope), func(t *testing.T) {
			t.Parallel()
			p := newTwo(t, per(Client, 1e-3, 1000), per(scope, 1e-3, 10))
			p.passes(7)
			if news := p.tell(); p.due != 1 || len(news) != 1 || news[0].Scope != scope || news[0].Rates[0] != (RateNews{Taken: 7}) {
				t.Fatal(p.due, news)
			}
			p.there.passes(3)
			if v := p.there.l.Take(p.now, &p.there.d); len(v.Hits) != 1 || v.Hits[0].Step != Refused {
				t.Fatalf("%+v", v)
			}
			if news := p.tell(); len(news) != 0 {
				t.Error(news)
			}
			p.passes(1)
			if news := p.there.l.News(1000); len(news) != 1 || news[0].Rates[0].Taken != 3 { // what it has learnt it does not tell
				t.Error(news)
			}
			if p.due != 2 {
				t.Error(p.due)
			}
		})
	}
}

// Of a large burst little is kept back, so that not each event is news.
func TestShareKeepsBack(t *testing.T) {
	t.Parallel()
	p := newTwo(t, per(User, 1e-3, 160))
	p.passes(9)
	if news := p.tell(); len(news) != 0 || p.due != 0 {
		t.Fatal(news)
	}
	p.passes(1)
	if news := p.tell(); len(news) != 1 || news[0].Rates[0].Taken != 10 {
		t.Fatal(news)
	}
}

func TestShareOfMany(t *testing.T) {
	t.Parallel()
	p := newTwo(t, per(User, 1e-3, 10), per(Address, 1e-3, 10))
	for i := range 10 {
		p.d.User = fmt.Sprint(i)
		p.passes(1)
	}
	if news := p.l.News(4); len(news) != 4 || news[0].Key != "0" || news[3].Key != "3" {
		t.Fatal(news)
	}
	if news := p.l.News(100); len(news) != 7 || news[0].Key != "4" || news[6].Scope != Address || news[6].Rates[0].Taken != 10 {
		t.Fatal(news)
	}
	p.passes(0)
	if p.l.News(100) != nil {
		t.Error("told twice")
	}
}

// A cool-down here is one there, for as long as is left of it.
func TestShareCoolDown(t *testing.T) {
	t.Parallel()
	p := newTwo(t, per(User, 1, 1))
	p.passes(1)
	p.refused(Refused, true, time.Second)
	p.refused(Refused, false, time.Second)
	p.refused(CoolDown, false, coolDown)
	news := p.tell()
	if len(news) != 1 || news[0].Rates[0].Cool <= 0 || news[0].Rates[0].Cool > coolDown {
		t.Fatal(news)
	}
	p.there.now = time.Now().Add(2 * time.Second) // the bucket is full
	v := p.there.l.Take(p.there.now, &p.there.d)
	if len(v.Hits) != 1 || v.Retry <= time.Second || v.Retry > coolDown {
		t.Fatalf("%+v", v)
	}
}

// News that cannot be of these rates change nothing.
func TestLearnOfOthers(t *testing.T) {
	t.Parallel()
	p := newTwo(t, per(User, 1, 1))
	for _, n := range []News{
		{Scope: Client, Key: "ann", Rates: []RateNews{{Taken: 1}}},
		{Scope: Address, Key: "ann", Rates: []RateNews{{Taken: 1}}},
		{Scope: 77, Key: "ann", Rates: []RateNews{{Taken: 1}}},
		{Scope: User, Key: "ann"},
		{Scope: User, Key: "ann", Rates: []RateNews{{Taken: 1}, {Taken: 1}}},
		{Scope: User, Key: "ann", Rates: []RateNews{{Taken: -5, Cool: -5}}},
	} {
		p.l.Learn(n)
	}
	p.passes(1)
	for range 1000 {
		p.l.Learn(News{Scope: User, Key: "ann", Rates: []RateNews{{Taken: 1 << 62, Cool: 1 << 62}}})
	}
	if v := p.l.Take(time.Now(), &p.d); len(v.Hits) != 1 || v.Retry > longest {
		t.Fatalf("%+v", v)
	}
}
