// Package storekit is what the stores of rows, in whatever SQL, do alike.
package storekit

import (
	"context"
	"slices"

	"github.com/parleychat/chat"
)

// Rows are those of a query, of database/sql or of pgx.
type Rows interface {
	Next() bool
	Err() error
}

// Collect reads all rows, each by scan. The caller closes them.
func Collect[T any](rows Rows, scan func(*T) error) (all []T, err error) {
	for rows.Next() {
		var v T
		if err := scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// MaxSeq is more than any log gets to, and leaves room to count from; SQL's numbers are signed.
const MaxSeq = int64(1) << 62

// Range is what a page is asked for: the seqs between after and before, from after on if up, else from before back; and a row more than its Limit, which tells whether
// there are more.
func Range(q chat.PageQuery) (after, before, rows int64, up bool) {
	before = MaxSeq
	if q.After != nil {
		after, up = seqParam(*q.After), true
	}
	if q.Before != nil {
		before = seqParam(*q.Before)
	}
	return after, before, int64(max(q.Limit, 0)) + 1, up
}

func seqParam(seq uint64) int64 { return int64(min(seq, uint64(MaxSeq))) }

// Page makes the page of the rows that Range asked for, in their order.
func Page(q chat.PageQuery, rows Rows, scan func(*chat.Entry) error) (entries []chat.Entry, more bool, err error) {
	if entries, err = Collect(rows, scan); err != nil {
		return nil, false, err
	}
	if limit := max(q.Limit, 0); len(entries) > limit {
		entries, more = entries[:limit], true
	}
	for i := range entries {
		entries[i].Namespace, entries[i].Room = q.Namespace, q.Room
	}
	if q.After == nil {
		slices.Reverse(entries)
	}
	return entries, more, nil
}

// Written is an entry of a user.
type Written struct {
	Room  int64      // its id
	Entry chat.Entry // without the names of its room
}

// Step is how many entries are erased or read at once: others get in between two steps.
const Step = 500

// EachWritten calls f with what a user wrote, a Step at a time. after reads those that come after last, in the order of rooms and seqs, and holds nothing when it returns.
func EachWritten(ctx context.Context, userID string, after func(last Written) ([]Written, error), f func([]Written) error) error {
	if userID == "" { // nobody's
		return ctx.Err()
	}
	for last := (Written{}); ; {
		found, err := after(last)
		if err != nil || len(found) == 0 {
			return err
		}
		last = found[len(found)-1]
		if err := f(found); err != nil || len(found) < Step {
			return err
		}
	}
}

// Export makes what EachWritten calls for an export: yield gets each entry, with the names of its room, which named looks up once a room.
func Export(named func(room int64, e *chat.Entry) error, yield func(chat.Entry) error) func([]Written) error {
	var last Written
	return func(found []Written) error {
		for _, w := range found {
			if w.Room != last.Room {
				last.Room = w.Room
				if err := named(w.Room, &last.Entry); err != nil {
					return err
				}
			}
			w.Entry.Namespace, w.Entry.Room = last.Entry.Namespace, last.Entry.Room
			if err := yield(w.Entry); err != nil {
				return err
			}
		}
		return nil
	}
}
