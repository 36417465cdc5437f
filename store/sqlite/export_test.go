package sqlite

import "fmt"

// Queries are those whose plans a test looks at.
var Queries = map[string]string{"up": pageUp, "down": pageDown, "of a user": written}

// Version1 makes the tables of that version.
const Version1 = version1

// Hold runs f while nobody can write.
func Hold(s *Store, f func()) {
	w := <-s.writer
	defer func() { s.writer <- w }()
	f()
}

// PutOff changes how many keys are put off, how many of them leave at once, and after how many transactions; with collide all keys have one of two hashes.
func PutOff(s *Store, most, step, after int, collide bool) {
	w := <-s.writer
	defer func() { s.writer <- w }()
	w.keys.most, w.keys.step, w.keys.after = most, step, after
	if collide {
		w.keys.hash = func(_ []byte, _ int64, _, messageID string) int64 { return int64(len(messageID) % 2) }
	}
}

// Pending is how many keys are put off.
func Pending(s *Store) int {
	w := <-s.writer
	defer func() { s.writer <- w }()
	return len(w.keys.pending)
}

// HoldWriter keeps everybody from writing until release is called. waiting is how many calls of Take wait for it, transactions how many there have been since.
func HoldWriter(s *Store) (waiting func() int, release func(), transactions func() int) {
	w := <-s.writer
	before := w.alone
	waiting = func() int {
		s.takes.mu.Lock()
		defer s.takes.mu.Unlock()
		return len(s.takes.waiting)
	}
	transactions = func() int {
		w := <-s.writer
		defer func() { s.writer <- w }()
		return w.alone - before
	}
	return waiting, func() { s.writer <- w }, transactions
}

// SmallSieve makes a sieve of 32 keys, which grows soon.
func SmallSieve(s *Store) {
	w := <-s.writer
	defer func() { s.writer <- w }()
	w.keys.sieve = sieve{first: 1}
	w.keys.sieve.reset()
	for hash := range w.keys.pending {
		w.keys.sieve.add(hash)
	}
}

// Sieved is how many of n hashes that no key has need no looking up, and whether the sieve has learned the whole table.
func Sieved(s *Store, n int) (spared int, whole bool) {
	w := <-s.writer
	defer func() { s.writer <- w }()
	for i := range n {
		if w.keys.sieve.lacks(hashKey(nil, 0, "nobody", fmt.Sprint(i))) {
			spared++
		}
	}
	return spared, w.keys.sieve.whole
}
