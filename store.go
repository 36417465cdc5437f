package chat

import "context"

// A Store keeps the rooms' logs. The default is NewMemoryStore. Its methods are called from many goroutines
// at once; a ctx carries the deadline of Timeouts.Store. An error that is not nil means that nothing is known
// of what was asked, and reaches the sender as Unavailable. What a Store must do is tested by package
// storetest; what it may do besides: Trimmer, Eraser, Exporter.
type Store interface {
	// Append saves entries, of any rooms and in the order of the slice, or none of them, in one transaction.
	// It gives each its Seq, dense from 1 in (Namespace, Room) in the order of commit, and its Timestamp.
	// Where (Namespace, Room, UserID, MessageID), the last not empty, has been saved before, or stands
	// earlier in the slice, nothing is saved for it: the result is the first record as it now stands, with
	// Repeated. A text that the store cannot hold must not fail the others' entries: a NUL character may
	// become U+FFFD; Meta is kept byte for byte.
	Append(ctx context.Context, entries []Entry) ([]Appended, error)
	// Page reads a room's log. Its entries ascend by Seq; more tells whether there are further ones in the
	// direction asked.
	Page(ctx context.Context, q PageQuery) (entries []Entry, more bool, err error)
	// Bounds are the first Seq that is kept and the last that was given, 0 and 0 for a room that nobody wrote
	// in. Where nothing is kept any more first is last+1.
	Bounds(ctx context.Context, namespace, room string) (first, last uint64, err error)
}

// Appended is what became of one entry.
type Appended struct {
	Entry    Entry
	Repeated bool
}

// A PageQuery asks for at most Limit entries after After (ascending from there), or before Before (the newest of
// those), or the newest of all where both are nil.
type PageQuery struct {
	Namespace, Room string
	After, Before   *uint64
	Limit           int
}
