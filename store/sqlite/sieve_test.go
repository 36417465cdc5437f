package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/parleychat/chat/store/sqlite"
)

// New keys are not looked up, and old ones are found: written since the file was opened, before it, by another process, and while the sieve grows.
func TestSieve(t *testing.T) {
	t.Parallel()
	const hashes = 1000
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path, sqlite.WithNormalSync())
	sqlite.PutOff(s, 1, 1000, 0, false)
	sqlite.SmallSieve(s)
	for i := 1; i <= 300; i++ {
		save(t, s, message(i))
	}
	wantRepeats(t, s, 300)
	if spared, whole := sqlite.Sieved(s, hashes); spared < hashes*9/10 || !whole {
		t.Errorf("%d of %d new keys need not be looked up, whole %v", spared, hashes, whole)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, path, sqlite.WithNormalSync())
	save(t, s, message(301))
	if spared, whole := sqlite.Sieved(s, hashes); spared == 0 || spared > hashes/2 || whole {
		t.Errorf("after an entry %d of %d new keys need not be looked up, whole %v", spared, hashes, whole)
	}
	wantRepeats(t, s, 301)
	if spared, whole := sqlite.Sieved(s, hashes); spared < hashes*9/10 || !whole {
		t.Errorf("in the end %d of %d new keys need not be looked up, whole %v", spared, hashes, whole)
	}

	other := open(t, path, sqlite.WithNormalSync())
	save(t, other, message(302))
	wantRepeats(t, s, 302)
	wantRepeats(t, other, 302)
}
