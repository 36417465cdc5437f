package chat

import (
	"context"
	"slices"
	"strings"
	"time"
)

// expiry is when a key that outlived its entry is forgotten.
type expiry struct {
	key entryKey
	at  time.Time
}

// outlivedLocked answers a key whose entry was trimmed or erased.
func (s *memoryStore) outlivedLocked(r *memoryRoom, key entryKey, now time.Time) (Entry, bool) {
	for len(r.expire) > 0 && !now.Before(r.expire[0].at) {
		s.forgetKeyLocked(r)
	}
	e, ok := r.outlive[key]
	if ok && e.Seq >= r.first {
		return *r.entries[e.Seq-r.first], true
	}
	return e, ok
}

func (s *memoryStore) outliveLocked(r *memoryRoom, stub Entry, key entryKey, now time.Time) {
	if r.outlive == nil {
		r.outlive = make(map[entryKey]Entry)
	}
	key = entryKey{strings.Clone(key.user), strings.Clone(key.message)} // they may be parts of the text
	r.outlive[key] = stub
	r.expire = append(r.expire, expiry{key, now.Add(KeysKept)})
	s.bytes += stubSize(key)
}

func (s *memoryStore) forgetKeyLocked(r *memoryRoom) {
	key := r.expire[0].key
	r.expire[0] = expiry{}
	r.expire = r.expire[1:]
	delete(r.outlive, key)
	s.bytes -= stubSize(key)
	if len(r.expire) == 0 {
		r.expire, r.outlive = nil, nil
	}
}

// stubSize is an estimate: the struct, its places in the map and the queue, the id.
func stubSize(key entryKey) int64 { return int64(512 + len(key.user) + len(key.message)) }

// tombstone is what is left of an erased entry.
func tombstone(e *Entry) Entry {
	return Entry{Kind: e.Kind, Namespace: e.Namespace, Room: e.Room, Seq: e.Seq, ID: e.ID, Timestamp: e.Timestamp, Deleted: true}
}

func (s *memoryStore) Trim(ctx context.Context, q TrimQuery) (removed int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Room != "" {
		if r := s.rooms[roomKey{q.Namespace, q.Room}]; r != nil {
			removed = s.trimLocked(r, q, now)
		}
		return removed, nil
	}
	for key, r := range s.rooms {
		if key.namespace == q.Namespace {
			removed += s.trimLocked(r, q, now)
		}
	}
	return removed, nil
}

func (s *memoryStore) trimLocked(r *memoryRoom, q TrimQuery, now time.Time) (removed int) {
	for len(r.entries) > 0 {
		e := r.entries[0]
		if !e.Timestamp.Before(q.Before) && (q.Keep <= 0 || len(r.entries) <= q.Keep) {
			break
		}
		if e.MessageID != "" {
			stub := tombstone(e)
			stub.UserID, stub.MessageID = strings.Clone(e.UserID), strings.Clone(e.MessageID)
			s.outliveLocked(r, stub, entryKey{stub.UserID, stub.MessageID}, now)
		}
		s.dropFirstLocked(r)
		removed++
	}
	return removed
}

func (s *memoryStore) Rooms(ctx context.Context, namespace, after string, limit int) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	var names []string
	for key := range s.rooms {
		if key.namespace == namespace && key.room > after {
			names = append(names, key.room)
		}
	}
	s.mu.Unlock()
	slices.Sort(names)
	return names[:min(len(names), max(limit, 0))], nil
}

func (s *memoryStore) EraseUser(ctx context.Context, userID string) (n int, err error) {
	if err := ctx.Err(); err != nil || userID == "" {
		return 0, err
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rooms {
		for _, e := range r.entries {
			if e.UserID == userID {
				s.eraseLocked(r, e, now)
				n++
			}
		}
	}
	return n, nil
}

func (s *memoryStore) eraseLocked(r *memoryRoom, e *Entry, now time.Time) {
	s.bytes -= entrySize(e)
	left := tombstone(e)
	if e.MessageID != "" {
		key := entryKey{e.UserID, e.MessageID}
		delete(r.keys, key)
		s.outliveLocked(r, left, key, now)
	}
	*e = left
	s.bytes += entrySize(e)
}

func (s *memoryStore) ExportUser(ctx context.Context, userID string, yield func(Entry) error) error {
	if userID == "" {
		return ctx.Err()
	}
	for _, found := range s.written(userID) {
		for _, e := range found {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := yield(e); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// written are a user's entries, a slice for each room.
func (s *memoryStore) written(userID string) (rooms [][]Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rooms {
		var found []Entry
		for _, e := range r.entries {
			if e.UserID == userID {
				found = append(found, *e)
			}
		}
		if found != nil {
			rooms = append(rooms, found)
		}
	}
	return rooms
}
