package limit

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names are the keys by last use, the oldest first.
func (t *table) names() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.recent.next; e != &t.recent; e = e.next {
		names = append(names, e.key)
	}
	if len(names) != len(t.keys) {
		panic("the ring and the map differ")
	}
	return names
}

func (t *table) sweeping() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sweep != nil
}

func TestTableIsBounded(t *testing.T) {
	t.Parallel()
	s := newSomeone(t, per(Address, 1e-3, 1))
	table := s.l.groups[Address].table
	table.most = 3
	for _, address := range []string{"a", "b", "c", "a", "d", "e"} {
		s.d.Address = address
		s.l.Take(s.now, &s.d)
	}
	if got := table.names(); !slices.Equal(got, []string{"a", "d", "e"}) {
		t.Fatal(got)
	}
	s.d.Address = "a" // is remembered
	s.refused(Refused, false, 1000*time.Second)
	s.d.Address = "b" // is not
	s.passes(1)
}

func TestTableForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New([]Rate{per(User, 1, 10)})
		defer l.Close()
		table := l.groups[User].table
		take := func(user string, times int) {
			for range times {
				l.Take(time.Now(), &Doing{User: user})
			}
		}
		if table.sweeping() {
			t.Fatal("a timer, and nothing to forget")
		}
		take("ann", 10) // full in 10 s
		take("ben", 2)  // full in 2 s, and waits for ann
		take("cid", 12) // full in 10 s
		time.Sleep(10*time.Second - 1)
		if got := table.names(); len(got) != 3 {
			t.Fatal(got)
		}
		take("ann", 1) // one second more, and the last one used
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		time.Sleep(sweepLeast)
		synctest.Wait()
		if got := table.names(); len(got) != 0 || table.sweeping() {
			t.Fatal(got, table.sweeping())
		}
		take("ann", 1)
		if !table.sweeping() {
			t.Fatal("nothing will forget her")
		}
	})
}

// In a cool-down nobody is forgotten, though the bucket is full.
func TestTableKeepsCoolDowns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New([]Rate{per(User, 1, 1)})
		defer l.Close()
		for range 1 + strikes {
			l.Take(time.Now(), &Doing{User: "ann"})
		}
		time.Sleep(coolDown - 1)
		synctest.Wait()
		if v := l.Take(time.Now(), &Doing{User: "ann"}); v.Hits == nil || v.Retry != 1 {
			t.Fatal(v)
		}
		time.Sleep(1 + sweepLeast)
		synctest.Wait()
		if got := l.groups[User].table.names(); len(got) != 0 {
			t.Fatal(got)
		}
	})
}

// A sweep holds up everybody: it does not forget all at once.
func TestTableForgetsInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New([]Rate{per(User, 1, 1)})
		defer l.Close()
		for i := range 2*sweepBatch + 1 {
			l.Take(time.Now(), &Doing{User: fmt.Sprint(i)})
		}
		table := l.groups[User].table
		table.mu.Lock()
		table.sweep.Stop()
		table.mu.Unlock()
		time.Sleep(2 * time.Second)
		table.sweepOut()
		if got := len(table.names()); got != sweepBatch+1 {
			t.Fatal(got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := len(table.names()); got != 0 {
			t.Fatal(got)
		}
	})
}

func TestCloseEndsTheTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New([]Rate{per(User, 1, 1)})
		l.Take(time.Now(), &Doing{User: "ann"})
		l.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(l.groups[User].table.names()) != 1 {
			t.Fatal("swept after Close")
		}
		l.groups[User].table.sweepOut() // one that had begun
		l.Take(time.Now(), &Doing{User: "ben"})
		time.Sleep(time.Minute)
	})
}

// A key costs what the comment says.
func TestKeyCost(t *testing.T) {
	var before, after runtime.MemStats
	l := New([]Rate{per(Address, 1e-3, 1)})
	defer l.Close()
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range keysMost + 1000 {
		l.Take(l.begun, &Doing{Address: AddressKey(fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff))})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := len(l.groups[Address].table.keys); n != keysMost {
		t.Fatal(n)
	}
	each := (after.HeapAlloc - before.HeapAlloc) / keysMost
	t.Logf("%d bytes a key", each)
	if each > 300 {
		t.Error("too many")
	}
}
