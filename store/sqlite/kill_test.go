package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/sqlite"
)

// childFile names the file that this program writes to until it is killed, where it is run by TestKill.
const childFile = "SQLITE_TEST_CHILD_FILE"

// writeUntilKilled says on standard output what is saved, once it is.
func writeUntilKilled(path string, opts ...sqlite.Option) {
	s, err := sqlite.Open(context.Background(), path, opts...)
	for i := 0; err == nil; i += 2 {
		if _, err = s.Append(context.Background(), []chat.Entry{message(i), message(i + 1)}); err == nil {
			_, err = fmt.Println(i + 1)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// What was acked outlives SIGKILL, with either kind of commit; a batch is there whole or not at all.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, sync := range []string{"full", "normal"} {
		path := filepath.Join(t.TempDir(), sync)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childFile+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := 0
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 100 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := fmt.Sscan(lines.Text(), &said); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatal(err)
		}
		s := open(t, path)
		first, last, err := s.Bounds(t.Context(), "/", "lobby")
		if first != 1 || int(last) <= said || last%2 != 0 || err != nil {
			t.Errorf("%s: from %d to %d after %d was acked, %v", sync, first, last, said+1, err)
		}
		again := make([]chat.Entry, last)
		for i := range again {
			again[i] = message(i)
		}
		for i, a := range save(t, s, again...) {
			if !a.Repeated || a.Entry.Seq != uint64(i+1) {
				t.Fatalf("%s: the key of entry %d is not known: %+v", sync, i+1, a)
			}
		}
		var rows int
		if err := raw(t, path).QueryRowContext(t.Context(), "SELECT count(*) FROM entries").Scan(&rows); err != nil || rows != int(last) {
			t.Errorf("%s: %d entries, want %d; %v", sync, rows, last, err)
		}
	}
}
