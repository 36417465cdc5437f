package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

const (
	readMost = 64 // entries of a stream that are read at once
	// readPause is how long a reader waits before it asks again, where so many entries come that some more are to be expected meanwhile. Each answer wakes it, and those
	// that write to the clients, on every node; entries that come in a pause share one. But a pause's end wakes it as well: where fewer come than one in a rushGap it would cost
	// more than it saves, and who waits would notice more of it.
	readPause = 10 * time.Millisecond
	rushGap   = 5 * time.Millisecond // between entries
	// gapMost is what a gap between entries counts for at most, so that a rush after a silence is noticed soon.
	gapMost = 8 * rushGap
)

// A reader reads some streams of one server: all of them, or one where keys are on several servers.
type reader struct {
	c       *Cluster
	part    string
	streams []int
	keys    []string
	cursors []id
	placed  bool // the cursors have been set
	block   []any
	at      int // of the first cursor in block
	look    []any
	buffer  []byte
	all     [][]byte      // publications, in buffer
	got     time.Time     // when entries came last
	gap     time.Duration // between entries, of late
	came    int           // entries in the last answer
}

func (c *Cluster) readers() []*reader {
	var all []*reader
	if !c.isCluster() {
		r := &reader{c: c, part: partReader(0)}
		for i := range c.keys.streams {
			r.streams = append(r.streams, i)
		}
		all = append(all, r)
	} else {
		for i := range c.keys.streams {
			all = append(all, &reader{c: c, part: partReader(i), streams: []int{i}})
		}
	}
	for _, r := range all {
		r.init()
	}
	return all
}

func (c *Cluster) parts() []string {
	parts := []string{partSetup, partListen, partLease}
	for _, r := range c.readers() {
		parts = append(parts, r.part)
	}
	return parts
}

func (r *reader) init() {
	wait := block
	if !r.c.ours {
		wait /= 2 // nobody here can close a client that is the host's: Leave waits for its readers
	}
	r.block = []any{"xread", "count", readMost, "block", wait.Milliseconds(), "streams"}
	r.look = []any{"xread", "count", readMost, "streams"}
	for _, s := range r.streams {
		key := r.c.keys.streams[s]
		r.keys = append(r.keys, key)
		r.block, r.look = append(r.block, key), append(r.look, key)
	}
	r.cursors = make([]id, len(r.keys))
	r.at = len(r.block)
	r.block = append(r.block, make([]any, len(r.keys))...)
	r.look = append(r.look, make([]any, len(r.keys))...)
}

func (r *reader) run(ctx context.Context) error {
	conn, err := r.c.connTo(ctx, r.keys[0])
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the pool takes it back, or is closed itself
	if err := r.place(ctx, conn); err != nil {
		return err
	}
	behind := true
	for first := true; ; {
		if behind {
			behind, err = r.readBehind(ctx, conn)
		} else {
			behind, err = r.read(ctx, conn)
			if !behind && err == nil && r.hurried(time.Now()) {
				sleep(ctx, readPause)
			}
		}
		if err != nil {
			return err
		}
		if first && !behind {
			first = false
			r.c.works(r.part)
		}
	}
}

// hurried tells, after an answer, whether entries come so quickly that a pause is worth it.
func (r *reader) hurried(now time.Time) bool {
	if r.came == 0 {
		return false
	}
	gap := now.Sub(r.got) / time.Duration(r.came)
	r.got = now
	r.gap = (3*r.gap + min(gap, gapMost)) / 4
	return r.gap < rushGap
}

// place sets the cursors to the streams' ends, the first time, and reads what is before them. Later it finds out which streams have lost their end, and reads those again
// from the start: the Hub passes over what it has.
func (r *reader) place(ctx context.Context, conn conn) error {
	ends := make([]id, len(r.keys))
	for i, key := range r.keys {
		info, err := conn.XInfoStream(ctx, key).Result()
		if err != nil && !strings.Contains(err.Error(), "no such key") {
			return err
		}
		if err == nil {
			if ends[i], err = parseID(info.LastGeneratedID); err != nil {
				return err
			}
		}
	}
	for i, end := range ends {
		switch {
		case !r.placed:
			if err := r.history(ctx, conn, i, end); err != nil {
				return err
			}
			r.cursors[i] = end
		case end.before(r.cursors[i]):
			r.cursors[i] = id{}
			r.c.call(func(h chat.ClusterHandler) { h.Lost(r.streams[i]) })
		}
	}
	r.placed = true
	return nil
}

// What a node that begins reads of a stream's past: less, where one of these is reached.
const (
	historyAge   = 2 * time.Minute // before the stream's end
	historyMost  = 2000            // entries
	historyBytes = 4 << 20
	historyPage  = 250 // entries at once
)

// history reads backwards from a stream's end, and hands over what it has found in its order.
func (r *reader) history(ctx context.Context, conn conn, i int, end id) error {
	if end == (id{}) {
		return nil
	}
	oldest := id{ms: end.ms - min(end.ms, uint64(historyAge.Milliseconds()))}
	var found []any
	size := 0
	for at := end.String(); len(found) < historyMost && size < historyBytes; {
		cmd := redis.NewCmd(ctx, "xrevrange", r.keys[i], at, oldest.String(), "count", historyPage)
		if err := conn.Process(ctx, cmd); err != nil {
			return err
		}
		page, _ := cmd.Val().([]any)
		for _, e := range page {
			first, value, err := readEntry(e)
			if err != nil {
				return err
			}
			size += len(value)
			at = "(" + first.String()
		}
		found = append(found, page...)
		if len(page) < historyPage {
			break
		}
	}
	slices.Reverse(found)
	if _, err := r.decode(i, found); err != nil {
		return err
	}
	r.c.calls.RLock()
	defer r.c.calls.RUnlock()
	if r.c.hasLeft() {
		return errLeft
	}
	r.c.h.History(r.streams[i], r.all...)
	r.buffer, r.all = nil, nil
	return nil
}

// read waits for entries. behind: there are more.
func (r *reader) read(ctx context.Context, conn conn) (behind bool, err error) {
	r.setCursors(r.block)
	cmd := redis.NewCmd(ctx, r.block...)
	r.came = 0
	if err := conn.Process(ctx, cmd); errors.Is(err, redis.Nil) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return r.receive(cmd.Val(), nil)
}

// readBehind does not wait. It finds out whether entries were removed before they were read: then the one that was read last is gone too, since the oldest go first.
func (r *reader) readBehind(ctx context.Context, conn conn) (behind bool, err error) {
	r.setCursors(r.look)
	pipe := conn.Pipeline()
	cmd := pipe.Do(ctx, r.look...)
	last := make([]*redis.XMessageSliceCmd, len(r.keys))
	for i, at := range r.cursors {
		if at != (id{}) {
			last[i] = pipe.XRangeN(ctx, r.keys[i], at.String(), at.String(), 1)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return false, err
	}
	gone := make([]bool, len(r.keys))
	for i, l := range last {
		gone[i] = l != nil && len(l.Val()) == 0
	}
	if errors.Is(cmd.Err(), redis.Nil) {
		return false, nil
	}
	return r.receive(cmd.Val(), gone)
}

func (r *reader) setCursors(args []any) {
	at := len(args) - len(r.cursors)
	for i, c := range r.cursors {
		args[at+i] = c.String()
	}
}

// receive hands out what XREAD has returned: for each stream its name and its entries, as a list, or, from protocol 3, as a map. gone: of which streams entries were
// lost, if there are any.
func (r *reader) receive(reply any, gone []bool) (behind bool, err error) {
	var pairs []any
	switch reply := reply.(type) {
	case []any:
		pairs = reply
	case map[any]any:
		for key, entries := range reply {
			pairs = append(pairs, []any{key, entries})
		}
	default:
		return false, fmt.Errorf("chat/redis: XREAD returned a %T", reply)
	}
	r.came = 0
	for _, p := range pairs {
		pair, _ := p.([]any)
		if len(pair) != 2 {
			return false, errReply
		}
		key, _ := pair[0].(string)
		entries, _ := pair[1].([]any)
		i := r.index(key)
		if i < 0 {
			return false, errReply
		}
		if gone != nil && gone[i] && len(entries) > 0 {
			r.c.call(func(h chat.ClusterHandler) { h.Lost(r.streams[i]) })
		}
		if err := r.entries(i, entries); err != nil {
			return false, err
		}
		r.came += len(entries)
		behind = behind || len(entries) == readMost
	}
	return behind, nil
}

func (r *reader) index(key string) int {
	for i, k := range r.keys {
		if k == key {
			return i
		}
	}
	return -1
}

func (r *reader) entries(i int, entries []any) error {
	c := r.c
	c.calls.RLock()
	defer c.calls.RUnlock()
	if c.hasLeft() {
		return errLeft
	}
	last, err := r.decode(i, entries)
	if err != nil {
		return err
	}
	c.h.Receive(r.streams[i], r.all...)
	r.cursors[i] = last
	clear(r.all)
	if cap(r.buffer) > bufferMost {
		r.buffer = nil
	}
	return nil
}

// decode puts the publications of entries into all.
func (r *reader) decode(i int, entries []any) (last id, err error) {
	r.buffer, r.all = r.buffer[:0], r.all[:0]
	last = r.cursors[i]
	for _, e := range entries {
		name, value, err := readEntry(e)
		if err != nil {
			return id{}, err
		}
		begin := len(r.buffer)
		r.buffer = append(r.buffer, value...)
		if r.all, err = appendPublications(r.all, r.buffer[begin:]); err != nil {
			r.c.log.Error("chat/redis: an entry cannot be read", "stream", r.keys[i], "error", err)
		}
		last = name
	}
	return last, nil
}

// readEntry gives the value of an entry's field, empty where it has none that is known.
func readEntry(entry any) (at id, value string, err error) {
	pair, _ := entry.([]any)
	if len(pair) != 2 {
		return id{}, "", errReply
	}
	name, _ := pair[0].(string)
	if at, err = parseID(name); err != nil {
		return id{}, "", err
	}
	fields, _ := pair[1].([]any)
	for i := 0; i+1 < len(fields); i += 2 {
		if f, _ := fields[i].(string); f == entryField {
			value, _ = fields[i+1].(string)
		}
	}
	return at, value, nil
}

// id is that of an entry: when it was added, in ms, and which one of that time.
type id struct{ ms, n uint64 }

func parseID(s string) (id, error) {
	ms, n, ok := strings.Cut(s, "-")
	a, errA := strconv.ParseUint(ms, 10, 64)
	b, errB := strconv.ParseUint(n, 10, 64)
	if !ok || errA != nil || errB != nil {
		return id{}, fmt.Errorf("chat/redis: %q is not the id of an entry", s)
	}
	return id{a, b}, nil
}

func (i id) before(other id) bool {
	return i.ms < other.ms || i.ms == other.ms && i.n < other.n
}

func (i id) String() string {
	return strconv.FormatUint(i.ms, 10) + "-" + strconv.FormatUint(i.n, 10)
}
