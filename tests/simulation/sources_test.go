package simulation_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What is taken out of the root package's part in a cluster is missed: MUTANTS=1 builds it so, one by one, and has TestCluster find it, or a test of the root package for what
// only shows when two things fail. It takes minutes; without it is seen whether there still is what would be taken out.
func TestClusterMutants(t *testing.T) {
	for _, m := range []struct{ name, file, old, new, test string }{
		{"what comes twice is taken twice", "nodes_streams.go", "if p != nil && number <= p.last {", "if p != nil && number == 0 {", ""},
		{"a session does not wait for what its node has seen", "handover.go", "|| !n.waitReceived(ctx, s, p)", "", ""},
		{"a session misses what its node had not seen", "revive.go", "missed, ok := sp.sinceLocked(r.missed, r)", "missed, ok := r.missed, true", ""},
		{"a dead node's users stay", "nodes.go", "sp.withoutNode(other.Name)", "_ = sp", ""},
		{"a dead node is waited for", "nodes_streams.go", "p.Over = true", "p.Over = false", ""},
		{"a dead node's events are forgotten", "nodes_streams.go", "st.from[to.Tag] = p", "", ""},
		{"of a new node's events all are old", "handover.go", "!known && old(from, k.number, k.at)", "!known", ""},
		{"what a node emits itself has the stream's order", "handover.go", "; ok && from.tag != sp.hub.nodes.tag {", "; ok {", ""},
		{"who is in a room on the next node is not told", "revive.go", "missed, ok = sp.comersLocked(missed, &r.rooms[i], r.User)", "_ = sp.comersLocked", ""},
		{"a lease's users are those of its name alone", "nodes_presence.go", "strings.HasPrefix(node, tag+\".\")", "node == c.node && tag != \"\"", ""},
		{"entries are not published", "journal.go", "\t\tj.publish(parts)\n", "", ""},
		{"a loss is not looked for", "nodes_streams.go", "n.missed(stream, tag, missing)", "_ = missing", ""},
		{"logs are not looked at", "nodes.go", "n.hub.journal.checkWritten(checked.Add(-checkWritten))", "_ = checkWritten", "TestClusterLogsAreLookedAt"},
		{"the store is not read when the cluster is back", "nodes.go", "\t}\n\tn.resync(-1)\n", "\t}\n", "TestClusterBackReadsTheStore"},
		{"the store is not read when a node is gone", "nodes.go", "\tn.hub.journal.grown(\"\", \"\")\n\tn.mu.Lock()", "\tn.mu.Lock()", "TestClusterDownReadsTheStore"},
		{"a dead node's last transaction is not waited for", "nodes.go", "n.again = time.Now().Add(doubtLasts)", "", "TestClusterDownReadsTheStore"},
		{"what may be lost is kept without end", "relay.go", "if done == nil && r.bytes > relayHolds {", "if done == nil && r.bytes < 0 {", "TestClusterDropsEmits"},
		{"entries are kept without end", "relay.go", "\tif r.bytes > relayHolds {", "\tif r.bytes < 0 {", "TestClusterQueueIsBounded"},
		{"questions have no exceptions", "nodes_ask.go", "a.clients, a.notRooms, a.notUsers, a.notClients}", "a.clients, nil, nil, nil}", "TestClusterQuestionsHaveExceptions"},
		{"a node answers when it is too late", "call.go", "time.Until(deadline) * 9 / 10", "time.Until(deadline)", "TestClusterSilentClient"},
		{"a dead node's last words count", "nodes.go", "if slices.Contains(n.fenced, name) {", "if name == \"\" {", "TestClusterLastWordsAreFenced"},
	} {
		t.Run(m.name, func(t *testing.T) {
			path, mutant := mutate(t, m.file, m.old, m.new)
			if os.Getenv("MUTANTS") == "" { // make simulate sets it
				return
			}
			shows, args := `seed \d+: .*`, []string{"-run", "^TestCluster$", "."}
			if m.test != "" {
				shows, args = `--- FAIL: `+m.test, []string{"-run", "^" + m.test + "$", "../.."}
			}
			out, err := testWith(t, path, mutant, args...)
			found := regexp.MustCompile(shows).FindString(out)
			if err == nil || found == "" {
				t.Errorf("not found: %v\n%s", err, out)
			}
			t.Log(found)
		})
	}
}

// mutate is the path of a file of the root package, and its text in which old is new.
func mutate(t *testing.T, file, was, is string) (path, text string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), was); n != 1 {
		t.Fatalf("%s has %q %d times", file, was, n)
	}
	return path, strings.Replace(string(source), was, is, 1)
}

// testWith runs tests with a file that has another text.
func testWith(t *testing.T, path, text string, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	mutant, overlay := filepath.Join(dir, filepath.Base(path)), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{mutant: []byte(text), overlay: replace} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-overlay", overlay, "-count=1"}, args...)...)
	cmd.Env = append(os.Environ(), "MUTANTS=", "FAILURES=1", "TRACE=0", "SEED=", "FIRST=1", "SEEDS=8000")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
