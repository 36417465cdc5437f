package sqlite

import (
	"context"
	"math"
)

// Sizes of a sieve, in blocks of 64 bytes, which are 32 keys each at 16 bits.
const (
	sieveFirst  = 1 << 10 // 64 KiB, for 32,768 keys
	sieveMost   = 1 << 17 // 8 MiB, for 4 million; beyond, more and more keys are looked up in vain
	sieveGrowth = 4
	blockKeys   = 32
)

// How many hashes a transaction has the sieve learn: one takes a third of looking up one.
const (
	learnedFor   = 8 // each of its entries
	learnedLeast = 32
)

// sieve tells of most hashes that entry_keys does not have them, which spares looking them up: a Bloom filter, in blocks of a cache line. It is for the
// time in which nobody else writes. It learns what the table has in the table's order, some with each transaction, and beside that all that is added; what has
// been removed it goes on taking for there.
type sieve struct {
	blocks [][8]uint64
	keys   int   // learned or added since blocks were made
	next   int64 // hashes below have been learned
	whole  bool  // all have
	first  int   // sieveFirst
}

// reset forgets all.
func (s *sieve) reset() {
	if s.keys > 0 || s.blocks == nil {
		s.blocks = make([][8]uint64, s.first)
	}
	s.keys, s.next, s.whole = 0, math.MinInt64, false
}

// bits are a hash's block, and four bits of it. Hashes are random in all their bits.
func (s *sieve) bits(hash int64) (block *[8]uint64, bits [4]uint) {
	h := uint64(hash)
	for i := range bits {
		bits[i] = uint(h>>(9*i)) & 511
	}
	return &s.blocks[h>>36&uint64(len(s.blocks)-1)], bits
}

func (s *sieve) add(hash int64) {
	s.keys++
	block, bits := s.bits(hash)
	for _, b := range bits {
		block[b>>6] |= 1 << (b & 63)
	}
}

// lacks tells that the table surely does not have a hash.
func (s *sieve) lacks(hash int64) bool {
	if !s.whole && hash >= s.next {
		return false
	}
	block, bits := s.bits(hash)
	for _, b := range bits {
		if block[b>>6]&(1<<(b&63)) == 0 {
			return true
		}
	}
	return false
}

// full tells that it should be larger.
func (s *sieve) full() bool { return s.keys > len(s.blocks)*blockKeys && len(s.blocks) < sieveMost }

// grow starts anew with more room; what the table is yet to get must be added again.
func (s *sieve) grow() {
	s.blocks = make([][8]uint64, len(s.blocks)*sieveGrowth)
	s.keys, s.next, s.whole = 0, math.MinInt64, false
}

// learnKeys has the sieve learn n more of the table's hashes.
func (w *writer) learnKeys(ctx context.Context, n int) error {
	s := &w.keys.sieve
	if s.full() {
		s.grow()
		for hash := range w.keys.pending {
			s.add(hash)
		}
	}
	if s.whole || w.alone < w.keys.after {
		return nil
	}
	rows, err := w.hashesFrom.QueryContext(ctx, s.next, n)
	if err != nil {
		return err
	}
	defer rows.Close()
	found, last := 0, int64(0)
	for ; rows.Next(); found++ {
		if err := rows.Scan(&last); err != nil {
			return err
		}
		s.add(last)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if s.whole = found < n || last == math.MaxInt64; !s.whole {
		s.next = last + 1
	}
	return nil
}
