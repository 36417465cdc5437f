package simulation_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

// A bug is what a mutant does, to show that the invariants find it: a model that breaks the contract of chat.Store, or a
// connection that does to packets what a Hub must not.
type bug int

const (
	noBug     bug = iota
	bugDrop       // an entry is answered as saved, and is not
	bugTwice      // a seq is given twice
	bugForget     // a message_id is forgotten
	bugPage       // a page leaves its first entry out
	bugLose       // a new_message does not come
	bugDouble     // it comes twice
	bugLate       // it comes after the next packet
	bugDeaf       // a host's emit does not come
	bugSilent     // an ack does not come
	bugLie        // an ack has another seq
	bugPolicy     // the room policy is not asked
)

const bugEvery = 5 // every fifth entry, page or packet of the kind has the bug

// A model is the simplest correct chat.Store.
type model struct {
	bug bug

	mu    sync.Mutex // guards what follows
	rooms map[string]*modelRoom
	calls int
	pages int
}

type modelRoom struct {
	last    uint64
	entries []chat.Entry
	keys    map[[2]string]chat.Entry
}

func newModel(b bug) *model { return &model{bug: b, rooms: map[string]*modelRoom{}} }

func (m *model) room(namespace, name string) *modelRoom {
	key := namespace + " " + name
	if m.rooms[key] == nil {
		m.rooms[key] = &modelRoom{keys: map[[2]string]chat.Entry{}}
	}
	return m.rooms[key]
}

func (m *model) Append(_ context.Context, entries []chat.Entry) ([]chat.Appended, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]chat.Appended, len(entries))
	for i, e := range entries {
		out[i] = m.append(e)
	}
	return out, nil
}

func (m *model) append(e chat.Entry) chat.Appended {
	r := m.room(e.Namespace, e.Room)
	key := [2]string{e.UserID, e.MessageID}
	if first, ok := r.keys[key]; ok {
		return chat.Appended{Entry: first, Repeated: true}
	}
	m.calls++
	buggy := m.calls%bugEvery == 0
	if !(m.bug == bugTwice && buggy && r.last > 0) {
		r.last++
	}
	e.Seq, e.Timestamp = r.last, time.Now().UTC().Truncate(time.Millisecond)
	if e.MessageID != "" && !(m.bug == bugForget && buggy) {
		r.keys[key] = e
	}
	if !(m.bug == bugDrop && buggy) {
		r.entries = append(r.entries, e)
	}
	return chat.Appended{Entry: e}
}

func (m *model) Page(_ context.Context, q chat.PageQuery) (page []chat.Entry, more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.room(q.Namespace, q.Room).entries {
		if (q.After == nil || e.Seq > *q.After) && (q.Before == nil || e.Seq < *q.Before) {
			page = append(page, e)
		}
	}
	if m.pages++; m.bug == bugPage && m.pages%bugEvery == 0 && len(page) > 1 {
		page = page[1:]
	}
	if more = len(page) > q.Limit; more && q.After != nil {
		page = page[:q.Limit]
	} else if more {
		page = page[len(page)-q.Limit:]
	}
	return page, more, nil
}

func (m *model) Bounds(_ context.Context, namespace, room string) (first, last uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last = m.room(namespace, room).last; last == 0 {
		return 0, 0, nil
	}
	return 1, last, nil
}

// log is a room's log, whatever the bug.
func (m *model) log(room string) []chat.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.room("/", room).entries)
}

// whole reads a room's log as it stands.
func whole(s chat.Store, room string) []chat.Entry {
	if m, ok := s.(*model); ok {
		return m.log(room)
	}
	var all []chat.Entry
	after := uint64(0)
	for {
		page, more, err := s.Page(context.Background(), chat.PageQuery{Namespace: "/", Room: room, After: &after, Limit: 200})
		all = append(all, page...)
		if err != nil || !more || len(page) == 0 {
			return all
		}
		after = page[len(page)-1].Seq
	}
}
