package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"
)

// PageSize is how many entries a page of the history runs has.
const PageSize = 50

// A Place is a page of a room's log: after or before a seq, or the newest.
type Place struct {
	After, Before *uint64
	First         uint64 // seq of its first entry
}

// Places are the pages that are read of a room with n entries: those at the
// start, in the middle and at the end, the newest, and random ones, the same
// each time; each by after and by before.
func Places(n uint64, random int) []Place {
	firsts := []uint64{1, n / 2, n - PageSize + 1}
	r := rand.New(rand.NewPCG(1, 2))
	for range random {
		firsts = append(firsts, 1+r.Uint64N(n-PageSize+1))
	}
	places := []Place{{First: n - PageSize + 1}}
	for _, first := range firsts {
		after, before := first-1, first+PageSize
		places = append(places, Place{After: &after, First: first}, Place{Before: &before, First: first})
	}
	return places
}

// RandomPlaces is how many of the places are random ones.
const RandomPlaces = 200

func (p Place) query() string {
	switch {
	case p.After != nil:
		return fmt.Sprintf(`"after":%d,`, *p.After)
	case p.Before != nil:
		return fmt.Sprintf(`"before":%d,`, *p.Before)
	}
	return ""
}

// Readings is how often each place is read; one reading alone may be the
// machine's mood.
const Readings = 5

// PageTimes are of places. A place counts with the median of its readings;
// Longest is the longest reading of all, in ms.
type PageTimes struct {
	Spread
	Longest float64 `json:"longest_reading_ms"`
}

// ReadPlaces reads every place Readings times, round by round, after one page
// beforehand that does not count.
func ReadPlaces(places []Place, read func(Place) (time.Duration, error)) (t PageTimes, err error) {
	if _, err := read(places[0]); err != nil {
		return t, err
	}
	took := make([][]time.Duration, len(places))
	for range Readings {
		for i, p := range places {
			d, err := read(p)
			if err != nil {
				return t, err
			}
			took[i] = append(took[i], d)
		}
	}
	medians := make([]time.Duration, len(places))
	for i, d := range took {
		s := SpreadOf(d)
		medians[i] = d[len(d)/2] // SpreadOf has sorted it
		t.Longest = max(t.Longest, s.Max)
	}
	t.Spread = SpreadOf(medians)
	return t, nil
}

// history has one client ask for pages one after the other.
func (l *Load) history(p Plan) (Result, error) {
	l.strict = true
	if err := l.Connect(1, 1, connectLimit); err != nil {
		return Result{}, err
	}
	id := 0
	times, err := ReadPlaces(Places(p.Entries, RandomPlaces), func(place Place) (time.Duration, error) {
		id++
		return l.page(l.conns[0], id, place)
	})
	return Result{Members: 1, Pages: &times}, err
}

func (l *Load) page(c *conn, id int, p Place) (time.Duration, error) {
	answered := false
	l.onEntry = func(_ *conn, frame []byte) error {
		got, args := ackID(frame)
		if got != id {
			return nil
		}
		answered = true
		if seq, _ := seqOf(args); seq != p.First || bytes.Count(args, seqField) != PageSize || !bytes.HasPrefix(args, []byte(`[{"ok":true,`)) {
			return fmt.Errorf("load: not the page from %d: %.120q", p.First, args)
		}
		return nil
	}
	start := time.Now()
	if err := l.send(c, opText, fmt.Appendf(nil, `42%d["history",{%s"room":"%s","limit":%d}]`, id, p.query(), Room(c.room), PageSize)); err != nil {
		return 0, err
	}
	for !answered {
		if time.Since(start) > drainLimit {
			return 0, fmt.Errorf("load: no page from %d in %s", p.First, drainLimit)
		}
		if err := l.poll(100 * time.Millisecond); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
