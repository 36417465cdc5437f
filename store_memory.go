package chat

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Bounds of the default store.
const (
	DefaultStoreEntries = 10_000    // a room
	DefaultStoreBytes   = 256 << 20 // all rooms
)

// NewMemoryStore makes a Store that forgets: what is over maxEntries in a room, or over maxBytes (estimated) in all, starting
// with the room that was written to least recently. A forgotten entry's MessageID is forgotten with it, so that a retry
// after that is a new message; those of trimmed and erased entries go before any entry of their room does.
// A room's Seq never goes back while the process lives: when even the empty rooms' own records are too many, rooms that come after start
// where the highest forgotten one ended, instead of at 1. Zero or less: the default.
func NewMemoryStore(maxEntries int, maxBytes int64) Store {
	if maxEntries <= 0 {
		maxEntries = DefaultStoreEntries
	}
	if maxBytes <= 0 {
		maxBytes = DefaultStoreBytes
	}
	return &memoryStore{maxEntries: maxEntries, maxBytes: maxBytes, rooms: make(map[roomKey]*memoryRoom), recent: list.New()}
}

type roomKey struct{ namespace, room string }

type entryKey struct{ user, message string }

type memoryRoom struct {
	key     roomKey
	entries []*Entry // entries[0] has Seq first. Pointers, since the slice is copied each time that it has slid through its room
	first   uint64
	last    uint64
	keys    map[entryKey]uint64
	outlive map[entryKey]Entry // keys of what was trimmed or erased: what to answer
	expire  []expiry           // of outlive, in the order of time
	place   *list.Element      // in recent
}

type memoryStore struct {
	maxEntries int
	maxBytes   int64

	mu     sync.Mutex // guards all below; nothing under it blocks
	rooms  map[roomKey]*memoryRoom
	bytes  int64
	recent *list.List // of *memoryRoom, the one written to last in front
	floor  uint64     // the highest last of the rooms that were forgotten whole
}

func (s *memoryStore) Append(ctx context.Context, entries []Entry) ([]Appended, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	out := make([]Appended, len(entries))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range entries {
		s.appendLocked(&entries[i], now, &out[i])
	}
	return out, nil
}

// appendOne is Append for one entry.
func (s *memoryStore) appendOne(e *Entry, to *Appended) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appendLocked(e, now, to)
}

func (s *memoryStore) appendLocked(given *Entry, now time.Time, to *Appended) {
	r := s.roomLocked(roomKey{given.Namespace, given.Room})
	key := entryKey{given.UserID, given.MessageID}
	if key.message != "" {
		if seq, ok := r.keys[key]; ok {
			*to = Appended{Entry: *r.entries[seq-r.first], Repeated: true}
			return
		}
		if first, ok := s.outlivedLocked(r, key, now); ok {
			*to = Appended{Entry: first, Repeated: true}
			return
		}
	}
	e := new(Entry)
	*e = *given
	r.last++
	e.Seq, e.Timestamp = r.last, now
	r.entries = append(r.entries, e)
	if key.message != "" {
		if r.keys == nil {
			r.keys = make(map[entryKey]uint64)
		}
		r.keys[key] = e.Seq
	}
	*to = Appended{Entry: *e}
	s.bytes += entrySize(e)
	s.recent.MoveToFront(r.place)
	if len(r.entries) > s.maxEntries {
		s.dropFirstLocked(r)
	}
	for s.bytes > s.maxBytes && (s.recent.Len() > 1 || len(r.entries) > 1 || len(r.expire) > 0) {
		s.forgetLocked(s.recent.Back().Value.(*memoryRoom))
	}
}

func (s *memoryStore) roomLocked(key roomKey) *memoryRoom {
	r := s.rooms[key]
	if r == nil {
		r = &memoryRoom{key: key, first: s.floor + 1, last: s.floor}
		r.place = s.recent.PushFront(r)
		s.rooms[key] = r
		s.bytes += roomSize(key)
	}
	return r
}

// forgetLocked lets go of a key that outlives its entry, or of a room's first entry, or of the room where it has neither.
func (s *memoryStore) forgetLocked(r *memoryRoom) {
	if len(r.expire) > 0 {
		s.forgetKeyLocked(r)
		return
	}
	if len(r.entries) == 0 {
		s.floor = max(s.floor, r.last)
		s.bytes -= roomSize(r.key)
		s.recent.Remove(r.place)
		delete(s.rooms, r.key)
		return
	}
	s.dropFirstLocked(r)
}

func (s *memoryStore) dropFirstLocked(r *memoryRoom) {
	e := r.entries[0]
	s.bytes -= entrySize(e)
	if e.MessageID != "" {
		delete(r.keys, entryKey{e.UserID, e.MessageID})
	}
	r.entries[0] = nil
	r.entries = r.entries[1:]
	r.first++
	if len(r.entries) == 0 {
		r.entries, r.keys = nil, nil
	}
}

func roomSize(key roomKey) int64 { return int64(256 + len(key.namespace) + len(key.room)) }

// entrySize is an estimate: the struct, its place in the map of keys, and its texts.
func entrySize(e *Entry) int64 {
	return int64(320 + len(e.ID) + len(e.UserID) + len(e.SID) + len(e.Text) + len(e.MessageID) + len(e.ReplyTo) + len(e.Meta))
}

func (s *memoryStore) Page(_ context.Context, q PageQuery) ([]Entry, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[roomKey{q.Namespace, q.Room}]
	if r == nil {
		return nil, false, nil
	}
	lo, hi := 0, len(r.entries) // the range asked for, before the limit
	if q.After != nil && *q.After >= r.first {
		lo = int(min(*q.After-r.first+1, uint64(hi)))
	}
	if q.Before != nil {
		hi = int(min(max(*q.Before, r.first)-r.first, uint64(hi)))
	}
	lo = min(lo, hi)
	more := hi-lo > q.Limit
	if more && q.After != nil {
		hi = lo + q.Limit
	} else if more {
		lo = hi - q.Limit
	}
	page := make([]Entry, 0, hi-lo)
	for _, e := range r.entries[lo:hi] {
		page = append(page, *e)
	}
	return page, more, nil
}

func (s *memoryStore) Bounds(_ context.Context, namespace, room string) (first, last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[roomKey{namespace, room}]
	if r == nil {
		return 0, 0, nil
	}
	return r.first, r.last, nil
}
