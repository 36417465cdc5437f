package chat

import (
	"context"
	"time"
)

// What a Store may do besides, each an interface of its own so that a host's store lives on when the library grows. All stores of the
// library have them; storetest has a group for each.

// KeysKept is how long a MessageID is remembered after its entry was removed or erased.
const KeysKept = 30 * 24 * time.Hour

// A Trimmer removes entries from the start of a room's log, and from nowhere else, so that what is kept stays dense.
type Trimmer interface {
	// Trim removes what q says and moves the first Seq of Bounds; the last never changes, and is never given again. For KeysKept a repeated
	// MessageID of what was removed is answered by a stub of the first record: Kind, Namespace, Room, Seq, ID, UserID, MessageID, Timestamp, and
	// Deleted true. It works in steps that other calls get in between; removed counts those done before an error, too.
	Trim(ctx context.Context, q TrimQuery) (removed int, err error)
	// Rooms are names of rooms of the namespace that were written in: at most limit of them, those after after, in ascending order of their bytes.
	Rooms(ctx context.Context, namespace, after string, limit int) ([]string, error)
}

// A TrimQuery asks for the removal of the entries older than Before and of those that are not among the newest Keep. It stops at the
// first entry that is neither. A zero Before, or a Keep of zero or less, removes nothing.
type TrimQuery struct {
	Namespace, Room string // an empty Room: each room of the Namespace
	Before          time.Time
	Keep            int
}

// An Eraser removes what a user wrote.
type Eraser interface {
	// EraseUser turns the user's entries, in all rooms, into tombstones: Kind, Namespace, Room, Seq, ID and Timestamp stay, Deleted is
	// true, all else is gone. A MessageID is still known for KeysKept, so that a retry under way brings nothing back: it is answered by the
	// tombstone. What is saved while EraseUser runs may stay. n counts the entries, those done before an error too; an empty userID is nobody's.
	EraseUser(ctx context.Context, userID string) (n int, err error)
}

// An Exporter reads what a user wrote.
type Exporter interface {
	// ExportUser calls yield with each kept entry of the user, room by room and ascending by Seq in each, on the caller's goroutine and with nothing
	// locked. It ends with the first error of yield, which it returns. An empty userID is nobody's.
	ExportUser(ctx context.Context, userID string, yield func(Entry) error) error
}

// A Watcher is a Store whose logs also grow by other ways than the Hub's own Append: by messages of the host's own transactions, or by another program.
type Watcher interface {
	// Watch calls grown with each room that may have entries which this Hub has not appended, until ctx ends; with an empty room where any room of the namespace
	// may, and with two empty names where any room may (as after a lost connection). It is called from New on, on a goroutine of its own, until Shutdown; when
	// it returns before that it is called again after a pause. grown does not block, and may be called too often.
	Watch(ctx context.Context, grown func(namespace, room string)) error
}

// A Revoker keeps revocations, so that they outlive the process and hold on all nodes.
type Revoker interface {
	// Revoke keeps r until r.Until. Of several of the same user, or of the same token, one is left, with the latest At and the latest Until. Times are kept to
	// the millisecond, and not rounded down.
	Revoke(ctx context.Context, r Revocation) error
	// Revocations are all that are not over at now, in any order. It is called every 10 s at most, while clients come.
	Revocations(ctx context.Context, now time.Time) ([]Revocation, error)
}

// A Keeper keeps small values for a while, for whichever node asks for them first: the sessions of clients that Shutdown has closed, so that they recover elsewhere.
type Keeper interface {
	// Keep keeps values, in one transaction; one of the same key is replaced.
	Keep(ctx context.Context, values []Kept) error
	// Take gives the value of a key and removes it: of several callers one gets it. nil: there is none, or its time is over.
	Take(ctx context.Context, key string) ([]byte, error)
}

// Kept is a value of a Keeper's.
type Kept struct {
	Key   string // at most 128 bytes of ASCII
	Value []byte // some KiB
	Until time.Time
}
