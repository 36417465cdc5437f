package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/proc"
)

// Stats is what the log's server tells of its store.
type Stats struct {
	Appends int64 `json:"appends"`
	Entries int64 `json:"entries"`
	// Nanos is how long the calls took together.
	Nanos int64 `json:"nanos"`
	// Last has the last seq of each room that was asked for.
	Last []uint64 `json:"last,omitempty"`
}

// Acked is what a run of saved and acked messages came to.
type Acked struct {
	Acks      int     `json:"acks"`
	PerSecond float64 `json:"per_s"`
	// Micros is CPU of the server's process an acked message, of which User is
	// not the kernel's; DBMicros is of the database's processes.
	Micros   float64 `json:"us_per_message"`
	User     float64 `json:"user_us_per_message"`
	DBMicros float64 `json:"db_us_per_message,omitempty"`
	// Batch is how many entries the store was given at a time; 0: not known.
	Batch float64 `json:"batch,omitempty"`
	// Append is the mean time of the store's Append in ms, Busy how many of
	// those calls were under way at a time on average: what 1 is short of is
	// time in which nothing was being saved.
	Append float64 `json:"append_ms,omitempty"`
	Busy   float64 `json:"store_busy,omitempty"`
	// Wait is from the call that sent a message to its ack.
	Wait Spread `json:"wait"`
	// LoadCores is the load's own CPU divided by time.
	LoadCores float64 `json:"load_cores"`
}

// Spread is of durations, in milliseconds.
type Spread struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// SpreadOf sorts d.
func SpreadOf(d []time.Duration) Spread {
	if len(d) == 0 {
		return Spread{}
	}
	slices.Sort(d)
	ms := func(i int) float64 { return float64(d[i]) / float64(time.Millisecond) }
	return Spread{N: len(d), P50: ms(len(d) / 2), P99: ms(min(len(d)*99/100, len(d)-1)), Max: ms(len(d) - 1)}
}

// book is what is known of the messages sent. Ids count from 1.
type book struct {
	sentAt []time.Time // by id
	waits  []time.Duration
	acks   int
	base   []uint64 // the rooms' last seq before the run
	sent   []uint64 // messages to each room
	size   []int    // members of each room
	again  bool     // an acked sender says its next
}

// acked has everybody say chat_messages with acks: InFlight at a time, the next when one
// is acked, or Rate a second in all. Every client must hear its room's entries
// one by one in the log's order, its own in the acks.
func (l *Load) acked(p Plan) (Result, error) {
	b, err := l.openBook(p)
	if err != nil {
		return Result{}, err
	}
	l.onEntry = func(c *conn, payload []byte) error { return l.hear(b, c, payload) }
	body := func(end time.Time) error { return l.talkAcked(b, p.Rate, end) }
	if p.Mode == "acked" {
		b.again, body = true, l.run
		for i := range max(p.InFlight, 1) * len(l.conns) {
			if err := l.sayAcked(b, l.conns[i%len(l.conns)]); err != nil {
				return Result{}, err
			}
		}
	}
	if err := body(time.Now().Add(p.Warm)); err != nil {
		return Result{}, err
	}
	a, err := l.ackedWindow(b, p, body)
	if err != nil {
		return Result{}, err
	}
	b.again = false
	return Result{Members: p.Members, Acked: a}, l.settle(b, p)
}

func (l *Load) openBook(p Plan) (*book, error) {
	l.strict = true
	if err := l.Connect(p.Members, connectFlight, connectLimit); err != nil {
		return nil, err
	}
	if err := l.run(time.Now().Add(joinPause)); err != nil {
		return nil, err
	}
	b := &book{sentAt: make([]time.Time, 1), base: make([]uint64, p.Rooms), sent: make([]uint64, p.Rooms), size: make([]int, p.Rooms)}
	for _, c := range l.conns {
		b.base[c.room] = c.seq
		b.size[c.room]++
	}
	return b, nil
}

func (l *Load) sayAcked(b *book, c *conn) error {
	l.sent++
	b.sent[c.room]++
	text := fmt.Sprintf("%-*d", textSize, l.sent)
	b.sentAt = append(b.sentAt, time.Now())
	return l.send(c, opText, l.dialect.event(text, l.sent))
}

func (l *Load) talkAcked(b *book, rate int, end time.Time) error {
	gap := time.Second / time.Duration(rate)
	for next := time.Now().Add(gap); next.Before(end); next = next.Add(gap) {
		if err := l.run(next); err != nil {
			return err
		}
		if err := l.sayAcked(b, l.conns[l.sent%len(l.conns)]); err != nil {
			return err
		}
	}
	return l.run(end)
}

// hear checks an entry's place, and of an ack what it acks.
func (l *Load) hear(b *book, c *conn, p []byte) error {
	seq, ok := seqOf(p)
	if !ok || seq != c.seq+1 {
		return fmt.Errorf("load: a client of %s heard %d after %d: %.120q", Room(c.room), seq, c.seq, p)
	}
	c.seq = seq
	if bytes.HasPrefix(p, newMessage) {
		return nil
	}
	id, args := ackID(p)
	if !bytes.HasPrefix(args, ackedEntry) || id == 0 || id >= len(b.sentAt) || b.sentAt[id].IsZero() {
		return fmt.Errorf("load: not the ack of a message under way: %.120q", p)
	}
	if !bytes.Contains(args, []byte(Key(id))) {
		return fmt.Errorf("load: the ack of %s acks another: %.300q", Key(id), p)
	}
	b.waits = append(b.waits, time.Since(b.sentAt[id]))
	b.sentAt[id] = time.Time{}
	b.acks++
	if b.again {
		return l.sayAcked(b, c)
	}
	return nil
}

// ackedWindow measures while body runs.
func (l *Load) ackedWindow(b *book, p Plan, body func(end time.Time) error) (*Acked, error) {
	before, err := l.sample(p)
	if err != nil {
		return nil, err
	}
	b.waits, b.acks = b.waits[:0], 0
	if err := body(before.at.Add(p.Time)); err != nil {
		return nil, err
	}
	waits, n := b.waits, float64(b.acks)
	b.waits = nil
	after, err := l.sample(p)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("load: no ack in %s", p.Time)
	}
	took := after.at.Sub(before.at).Seconds()
	a := &Acked{
		Acks: int(n), PerSecond: n / took, Wait: SpreadOf(waits),
		Micros: micros(after.cpu-before.cpu) / n, User: micros(after.user-before.user) / n, DBMicros: micros(after.db-before.db) / n,
		LoadCores: (after.own - before.own).Seconds() / took,
	}
	if calls := after.stats.Appends - before.stats.Appends; calls > 0 {
		a.Batch = float64(after.stats.Entries-before.stats.Entries) / float64(calls)
		busy := time.Duration(after.stats.Nanos - before.stats.Nanos)
		a.Append = micros(busy) / 1000 / float64(calls)
		a.Busy = busy.Seconds() / took
	}
	return a, nil
}

// sample is what has been used until now.
type sample struct {
	at                 time.Time
	cpu, user, db, own time.Duration
	stats              Stats
}

func (l *Load) sample(p Plan) (s sample, err error) {
	if s.stats, err = stats(p.Addr, 0); err != nil {
		return s, err
	}
	if s.cpu, err = proc.CPU(p.PID); err != nil {
		return s, err
	}
	if s.user, err = proc.User(p.PID); err != nil {
		return s, err
	}
	if s.own, err = proc.Self(); err != nil {
		return s, err
	}
	if p.DB != 0 {
		s.db, err = proc.Family(p.DB)
	}
	s.at = time.Now()
	return s, err
}

func stats(addr string, rooms int) (s Stats, err error) {
	resp, err := http.Get(fmt.Sprintf("http://%s/stats?rooms=%d", addr, rooms))
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("load: stats: %s", resp.Status)
	}
	err = json.NewDecoder(resp.Body).Decode(&s)
	return s, err
}

// settle waits until every client has heard all that was sent to its room, and
// looks whether the store has that much and no more.
func (l *Load) settle(b *book, p Plan) error {
	for end := time.Now().Add(drainLimit); !l.settled(b); {
		if time.Now().After(end) {
			return fmt.Errorf("load: not everything that was sent was heard in %s", drainLimit)
		}
		if err := l.poll(100 * time.Millisecond); err != nil {
			return err
		}
	}
	want := 0
	for room, n := range b.sent {
		want += int(n) * (b.size[room] - 1)
	}
	if l.deliveries != want {
		return fmt.Errorf("load: %d deliveries of new_message, want %d", l.deliveries, want)
	}
	for id, at := range b.sentAt {
		if !at.IsZero() {
			return fmt.Errorf("load: message %d was not acked", id)
		}
	}
	s, err := stats(p.Addr, p.Rooms)
	if err != nil {
		return err
	}
	for room, last := range s.Last {
		if last != b.base[room]+b.sent[room] {
			return fmt.Errorf("load: the last of %s is %d, want %d and %d more", Room(room), last, b.base[room], b.sent[room])
		}
	}
	return nil
}

func (l *Load) settled(b *book) bool {
	for _, c := range l.conns {
		if c.seq < b.base[c.room]+b.sent[c.room] {
			return false
		}
	}
	return true
}

// Inserted is what the bare loop came to, which inserts the same rows.
type Inserted struct {
	Rows      int     `json:"rows"`
	Batch     int     `json:"batch"`
	PerSecond float64 `json:"per_s"`
	Micros    float64 `json:"us_per_row"`
	DBMicros  float64 `json:"db_us_per_row,omitempty"`
}
