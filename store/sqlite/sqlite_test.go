package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/sqlite"
	"github.com/parleychat/chat/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		var opts []sqlite.Option
		if filepath.Base(path) == "normal" {
			opts = append(opts, sqlite.WithNormalSync())
		}
		writeUntilKilled(path, opts...)
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, path string, opts ...sqlite.Option) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) chat.Store { return open(t, filepath.Join(t.TempDir(), "chat.db")) })
}
