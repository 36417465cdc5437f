package sqlite_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/sqlite"
)

// Whatever programs do to a file, of either version and in turn, a key is answered as the store in memory answers it.
func TestKeysAgainstMemory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, seed)
			for range 120 {
				m.step()
			}
		})
	}
}

type model struct {
	t      *testing.T
	rng    *rand.Rand
	path   string
	stores []*sqlite.Store
	old    version1
	memory chat.Store
	n      int
	alone  bool // the first store has the file to itself

	collide bool // most keys have another's hash
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 0)), path: filepath.Join(t.TempDir(), "chat.db"), memory: chat.NewMemoryStore(0, 0)}
	m.alone, m.collide = seed%2 == 0, seed%4 > 1
	m.open()
	run(t, m.old.db, "CREATE TRIGGER broken BEFORE INSERT ON entries WHEN new.text = 'break' BEGIN SELECT raise(ABORT, 'broken'); END")
	return m
}

func (m *model) open() {
	m.stores = m.stores[:0]
	for range 2 {
		s := open(m.t, m.path, sqlite.WithNormalSync())
		sqlite.PutOff(s, 1+m.rng.IntN(60), 1+m.rng.IntN(8), m.rng.IntN(3), m.collide)
		sqlite.SmallSieve(s)
		m.stores = append(m.stores, s)
	}
	m.old = version1{raw(m.t, m.path+"?_pragma=busy_timeout(5000)&_pragma=synchronous(NORMAL)")}
}

func (m *model) store() *sqlite.Store {
	if m.alone {
		return m.stores[0]
	}
	return m.stores[m.rng.IntN(2)]
}

func (m *model) room() string { return fmt.Sprint("room", m.rng.IntN(3)) }
func (m *model) user() string { return fmt.Sprint("user", m.rng.IntN(3)) }

func (m *model) entry() chat.Entry {
	m.n++
	e := chat.Entry{Kind: chat.KindMessage, Namespace: "/", Room: m.room(), ID: fmt.Sprint("id", m.n), UserID: m.user(), Text: fmt.Sprint("text", m.n)}
	if k := m.rng.IntN(40); k > 0 {
		e.MessageID = fmt.Sprint("k", k)
	}
	return e
}

func (m *model) step() {
	m.t.Helper()
	switch op := m.rng.IntN(100); {
	case op < 60:
		m.append()
	case op < 68:
		m.fail()
	case op < 76:
		m.trim(chat.TrimQuery{Namespace: "/", Room: m.room(), Keep: m.rng.IntN(20)})
	case op < 80:
		m.erase(m.user())
	case op < 86:
		m.path = crash(m.t, m.stores[0], m.path)
		m.open()
	case op < 88:
		m.alone = !m.alone
	case !m.alone:
		m.oldStep()
	}
}

func (m *model) append() {
	m.t.Helper()
	batch := make([]chat.Entry, 1+m.rng.IntN(12))
	for i := range batch {
		batch[i] = m.entry()
	}
	want := save(m.t, m.memory, batch...)
	for i, got := range save(m.t, m.store(), batch...) {
		m.compare(got, want[i])
	}
}

func (m *model) compare(got, want chat.Appended) {
	m.t.Helper()
	for _, a := range []*chat.Appended{&got, &want} {
		a.Entry.Timestamp = time.Time{}
		if a.Entry.Deleted { // the stub of one that was erased before it was trimmed says what the sender said, or does not
			a.Entry.UserID, a.Entry.MessageID = "", ""
		}
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		m.t.Fatalf("got  %+v,\nwant %+v", got, want)
	}
}

// fail is a batch that breaks off at its last entry.
func (m *model) fail() {
	m.t.Helper()
	bad := m.entry()
	bad.Text, bad.MessageID = "break", ""
	if _, err := m.store().Append(m.t.Context(), []chat.Entry{m.entry(), m.entry(), bad}); err == nil {
		m.t.Fatal("no error")
	}
}

func (m *model) trim(q chat.TrimQuery) {
	m.t.Helper()
	for _, s := range []chat.Trimmer{m.store(), m.memory.(chat.Trimmer)} {
		if _, err := s.Trim(m.t.Context(), q); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *model) erase(user string) {
	m.t.Helper()
	for _, s := range []chat.Eraser{m.store(), m.memory.(chat.Eraser)} {
		if _, err := s.EraseUser(m.t.Context(), user); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *model) oldStep() {
	m.t.Helper()
	switch op := m.rng.IntN(10); {
	case op < 7:
		e := m.entry()
		want := save(m.t, m.memory, e)[0]
		if seq, repeated := m.old.append(m.t, e); seq != int64(want.Entry.Seq) || repeated != want.Repeated {
			m.t.Fatalf("the older program got %d, %v, want %+v", seq, repeated, want)
		}
	case op < 9:
		q := chat.TrimQuery{Namespace: "/", Room: m.room(), Keep: 1 + m.rng.IntN(20)}
		m.old.trim(m.t, q.Room, int64(q.Keep))
		if _, err := m.memory.(chat.Trimmer).Trim(context.WithoutCancel(m.t.Context()), q); err != nil {
			m.t.Fatal(err)
		}
	default:
		user := m.user()
		for i := range 3 {
			m.old.erase(m.t, fmt.Sprint("room", i), user)
		}
		if _, err := m.memory.(chat.Eraser).EraseUser(m.t.Context(), user); err != nil {
			m.t.Fatal(err)
		}
	}
}
