package sqlite

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/parleychat/chat"
)

const (
	// keysPending is how many rows of entry_keys are put off. They go to pages all over the table: written together, many share one.
	keysPending = 64 << 10
	// keysStep is how many of them one transaction writes, in the order of the table, so that none takes long.
	keysStep = 1 << 10
	// aloneAfter is how many transactions without another process's in between let them be put off: that other one would have to read the entries again.
	aloneAfter = 100
)

// keys finds the entry that was saved with a message's key. Its authority is the file: what entry_keys has, and the entries that keys_behind says it lacks.
// Those are kept here too, for as long as nobody else writes. A row of message_keys tells more than the entry and goes before both.
type keys struct {
	salt    []byte
	hash    func(salt []byte, room int64, user, messageID string) int64
	pending map[int64]place // by hash, with no row yet
	leaving []int64         // those that are being written, in order; keys_behind is as it was before them
	behind  map[int64]int64 // rooms of the others: the seq that keys_behind has to have for them once those are written
	unsaved []int64         // of behind, not in keys_behind yet
	exact   bool            // message_keys may have rows
	sieve   sieve
	buf     []byte

	most, step, after int // keysPending, keysStep and aloneAfter
}

// place is where an entry is.
type place struct{ room, seq int64 }

// hashKey is unknown to those who choose the message ids, or they could choose some that collide.
func hashKey(salt []byte, room int64, user, messageID string) int64 {
	b := make([]byte, 0, 256)
	b = binary.BigEndian.AppendUint64(append(b, salt...), uint64(room))
	b = binary.BigEndian.AppendUint32(b, uint32(len(user)))
	sum := sha256.Sum256(append(append(b, user...), messageID...))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// hashes are those of a batch's keys, and the places that entry_keys has for them.
func (w *writer) hashes(ctx context.Context, entries []chat.Entry, rooms []*roomState) (hashes []int64, known map[int64]place, err error) {
	hashes = make([]int64, len(entries))
	list := append(w.keys.buf[:0], '[')
	for i := range entries {
		if entries[i].MessageID == "" {
			continue
		}
		hashes[i] = w.keys.hash(w.keys.salt, rooms[i].id, entries[i].UserID, entries[i].MessageID)
		if _, here := w.keys.pending[hashes[i]]; here || w.keys.sieve.lacks(hashes[i]) {
			continue
		}
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, hashes[i], 10)
	}
	w.keys.buf = list
	if len(list) == 1 {
		return hashes, nil, nil
	}
	rows, err := w.hashed.QueryContext(ctx, string(append(list, ']')))
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var hash int64
		var p place
		if err := rows.Scan(&hash, &p.room, &p.seq); err != nil {
			return nil, nil, err
		}
		if known == nil {
			known = make(map[int64]place)
		}
		known[hash] = p
	}
	return hashes, known, rows.Err()
}

// newKey notes the key of an entry that is about to be saved; where its hash is another's, by its text.
func (w *writer) newKey(ctx context.Context, p place, e *chat.Entry, hash int64, byText bool, now time.Time) error {
	if byText {
		return w.addExact(ctx, p, e.UserID, e.MessageID, now)
	}
	w.keys.pending[hash] = p
	w.keys.sieve.add(hash)
	if _, marked := w.keys.behind[p.room]; !marked {
		w.keys.behind[p.room] = p.seq - 1
		w.keys.unsaved = append(w.keys.unsaved, p.room)
	}
	return nil
}

func (w *writer) addExact(ctx context.Context, p place, user, messageID string, now time.Time) error {
	w.keys.exact = true
	_, err := w.addKey.ExecContext(ctx, p.room, user, messageID, p.seq, now.UnixMilli())
	return err
}

// saveKeys says in the file what it lacks, and brings some of that there when it is much.
func (w *writer) saveKeys(ctx context.Context) error {
	k := &w.keys
	if w.alone < k.after {
		return w.flushKeys(ctx)
	}
	if err := w.saveBehind(ctx); err != nil {
		return err
	}
	if len(k.leaving) == 0 && len(k.pending) >= k.most {
		k.leaving = slices.Sorted(maps.Keys(k.pending))
		clear(k.behind)
	}
	if len(k.leaving) == 0 {
		return nil
	}
	if err := w.writeKeys(ctx, max(k.step, len(k.pending)-k.most)); err != nil || len(k.leaving) > 0 {
		return err
	}
	if _, err := w.noneBehind.ExecContext(ctx); err != nil {
		return err
	}
	k.unsaved = slices.AppendSeq(k.unsaved, maps.Keys(k.behind))
	return w.saveBehind(ctx)
}

// saveBehind leaves a room that keys_behind has as it is: its entries of before are among those that leave.
func (w *writer) saveBehind(ctx context.Context) error {
	k := &w.keys
	if len(k.unsaved) == 0 {
		return nil
	}
	_, err := w.setBehind.ExecContext(ctx, jsonObject(k.unsaved, func(room int64) (int64, int64) { return room, k.behind[room] }))
	k.unsaved = k.unsaved[:0]
	return err
}

// writeKeys gives the first n of those that leave their rows.
func (w *writer) writeKeys(ctx context.Context, n int) error {
	k := &w.keys
	n = min(n, len(k.leaving))
	rows := make([]any, 0, 3*hashRows)
	for _, hash := range k.leaving[:n] {
		p, still := k.pending[hash]
		if !still {
			continue
		}
		delete(k.pending, hash)
		if rows = append(rows, hash, p.room, p.seq); len(rows) < cap(rows) {
			continue
		}
		if _, err := w.addHashes.ExecContext(ctx, rows...); err != nil {
			return err
		}
		rows = rows[:0]
	}
	k.leaving = k.leaving[n:]
	for row := range slices.Chunk(rows, 3) {
		if _, err := w.addHash.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	return nil
}

// flushKeys puts nothing off.
func (w *writer) flushKeys(ctx context.Context) error {
	k := &w.keys
	inFile := len(k.leaving) > 0 || len(k.behind) > len(k.unsaved)
	k.leaving = slices.Sorted(maps.Keys(k.pending))
	if err := w.writeKeys(ctx, len(k.leaving)); err != nil {
		return err
	}
	clear(k.behind)
	k.unsaved = k.unsaved[:0]
	if !inFile {
		return nil
	}
	_, err := w.noneBehind.ExecContext(ctx)
	return err
}

// dropKey forgets the hash of an entry that goes.
func (w *writer) dropKey(ctx context.Context, p place, user, messageID string) error {
	hash := w.keys.hash(w.keys.salt, p.room, user, messageID)
	if w.keys.pending[hash] == p {
		delete(w.keys.pending, hash)
		return nil
	}
	_, err := w.removeHash.ExecContext(ctx, hash, p.room, p.seq)
	return err
}

// loadKeys starts anew from the file: it brings what entry_keys lacks there, since another process has put that off, or this one before it ended.
func (w *writer) loadKeys(ctx context.Context) error {
	w.keys.pending, w.keys.leaving = make(map[int64]place), nil
	w.keys.behind, w.keys.unsaved = make(map[int64]int64), nil
	w.keys.sieve.reset()
	if err := w.anyExact.QueryRowContext(ctx).Scan(&w.keys.exact); err != nil {
		return err
	}
	behind, err := w.placesBehind(ctx)
	if err != nil || len(behind) == 0 {
		return err
	}
	var found []hashedPlace
	for _, p := range behind {
		if found, err = w.hashRoom(ctx, p, found); err != nil {
			return err
		}
	}
	if err := w.hashAll(ctx, found); err != nil {
		return err
	}
	_, err = w.noneBehind.ExecContext(ctx)
	return err
}

func (w *writer) placesBehind(ctx context.Context) (all []place, err error) {
	rows, err := w.allBehind.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p place
		if err := rows.Scan(&p.room, &p.seq); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// hashedPlace is an entry's place, and the hash of its key.
type hashedPlace struct {
	hash int64
	at   place
}

// hashRoom adds a room's entries after a place to those that get their rows of entry_keys, which they do whenever they are many.
func (w *writer) hashRoom(ctx context.Context, after place, all []hashedPlace) ([]hashedPlace, error) {
	for {
		found, err := w.keysAfter(ctx, after)
		if err != nil || len(found) == 0 {
			return all, err
		}
		for _, g := range found {
			all = append(all, hashedPlace{w.keys.hash(w.keys.salt, g.room, g.user, g.messageID), place{g.room, g.seq}})
		}
		if after.seq = found[len(found)-1].seq; len(all) < keysPending {
			continue
		}
		if err := w.hashAll(ctx, all); err != nil {
			return nil, err
		}
		all = all[:0]
	}
}

// hashAll goes by the order of the table, or nearly each row would be on a page that has to be looked for.
func (w *writer) hashAll(ctx context.Context, all []hashedPlace) error {
	slices.SortFunc(all, func(a, b hashedPlace) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.at.room, b.at.room), cmp.Compare(a.at.seq, b.at.seq))
	})
	for _, h := range all {
		added, err := affected(w.addHash.ExecContext(ctx, h.hash, h.at.room, h.at.seq))
		if err == nil && added == 0 {
			err = w.hashAgain(ctx, h)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hashAgain notes a key by its text where its hash is another's.
func (w *writer) hashAgain(ctx context.Context, h hashedPlace) error {
	var there place
	if err := w.hashedOne.QueryRowContext(ctx, h.hash).Scan(&there.room, &there.seq); err != nil || there == h.at {
		return err
	}
	var e chat.Entry
	if err := scanEntry(w.entryAt.QueryRowContext(ctx, h.at.room, h.at.seq), &e, &e.Seq); err != nil {
		return err
	}
	return w.addExact(ctx, h.at, e.UserID, e.MessageID, time.Now())
}

func (w *writer) keysAfter(ctx context.Context, after place) ([]gone, error) {
	rows, err := w.keyed.QueryContext(ctx, after.room, after.seq, trimStep)
	if err != nil {
		return nil, err
	}
	return scanGone(rows, after.room)
}

// known is the first record of a key where there is one. byText says that a new one must be noted by its text.
func (w *writer) known(ctx context.Context, r *roomState, e *chat.Entry, p place, hashed bool, now time.Time) (first *chat.Entry, byText bool, err error) {
	if w.keys.exact {
		var expired bool
		switch first, expired, err = w.firstByText(ctx, r, e, now); {
		case err == nil && !expired:
			return first, false, nil
		case err == nil:
			return nil, true, nil
		case !errors.Is(err, sql.ErrNoRows):
			return nil, false, err
		}
	}
	if !hashed {
		return nil, false, nil
	}
	first, err = w.firstAt(ctx, p, e)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (p.room != r.id || first.UserID != e.UserID || first.MessageID != e.MessageID) {
		return nil, true, nil // the hash is another's, or of an entry that an older program removed
	}
	return first, false, err
}

func (w *writer) firstAt(ctx context.Context, p place, e *chat.Entry) (*chat.Entry, error) {
	if err := w.insertPlain(ctx); err != nil { // it may be of the same batch
		return nil, err
	}
	first := &chat.Entry{Namespace: e.Namespace, Room: e.Room}
	return first, scanEntry(w.entryAt.QueryRowContext(ctx, p.room, p.seq), first, &first.Seq)
}

// firstByText is the entry as it stands, or the stub of one that was removed.
func (w *writer) firstByText(ctx context.Context, r *roomState, e *chat.Entry, now time.Time) (first *chat.Entry, expired bool, err error) {
	first = &chat.Entry{Namespace: e.Namespace, Room: e.Room}
	var kind, id sql.NullString
	var ts, expires sql.NullInt64
	var kept bool
	row := w.first.QueryRowContext(ctx, r.id, e.UserID, e.MessageID)
	if err := scanEntry(row, first, &first.Seq, &kind, &id, &ts, &expires, &kept); err != nil {
		return nil, false, err
	}
	if !kept {
		first.Kind, first.ID, first.Timestamp = kind.String, id.String, time.UnixMilli(ts.Int64).UTC()
		first.UserID, first.MessageID = e.UserID, e.MessageID
	}
	return first, expires.Valid && expires.Int64 <= now.UnixMilli(), nil
}
