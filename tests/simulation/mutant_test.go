package simulation_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// A mutant does to a world's packets what a Hub must not do.
type mutant struct {
	bug bug

	mu   sync.Mutex // guards what follows
	seen int
	held string
}

// pass is what becomes of a packet on its way to a page.
func (m *mutant) pass(packet string) []string {
	if m == nil {
		return []string{packet}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held != "" {
		both := []string{packet, m.held}
		m.held = ""
		return both
	}
	if !m.concerns(packet) {
		return []string{packet}
	}
	if m.seen++; m.seen%bugEvery != 0 {
		return []string{packet}
	}
	switch m.bug {
	case bugDouble:
		return []string{packet, packet}
	case bugLate:
		m.held = packet
	case bugLie:
		return []string{strings.Replace(packet, `"seq":`, `"seq":1`, 1)}
	}
	return nil
}

func (m *mutant) concerns(packet string) bool {
	switch m.bug {
	case bugPolicy:
		return false
	case bugDeaf:
		return strings.HasPrefix(packet, `2["tick"`)
	case bugSilent:
		return packet[0] == '3'
	case bugLie:
		return packet[0] == '3' && strings.Contains(packet, `"message":`)
	}
	return strings.HasPrefix(packet, `2["new_message"`)
}

// What breaks a promise is found, on a Hub and a network that are otherwise as they should be.
func TestMutants(t *testing.T) {
	const most = 40 // seeds, by which it must have been found
	for _, m := range []struct {
		name  string
		bug   bug
		wants []string
	}{
		{"an acked entry is not saved", bugDrop, []string{ackedOnce, neverFalse, inOrder}},
		{"a seq is given twice", bugTwice, []string{ackedOnce, neverFalse, inOrder}},
		{"a message_id is forgotten", bugForget, []string{ackedOnce, keyOnce}},
		{"a page begins too late", bugPage, []string{inOrder}},
		{"a message is lost", bugLose, []string{holeTold, inOrder}},
		{"a message comes twice", bugDouble, []string{inOrder}},
		{"a message comes late", bugLate, []string{inOrder, holeTold, nothingMore}},
		{"an emit is lost", bugDeaf, []string{recoveredAll}},
		{"an ack is lost", bugSilent, []string{goesOn, holeTold}},
		{"the policy is not asked", bugPolicy, []string{nothingMore}},
		{"an ack lies", bugLie, []string{ackedOnce, neverFalse, inOrder, holeTold}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(most) {
				f, _, _ := live(t, seed+1, kinds{kill: true}, m.bug, false)
				if f == nil {
					continue
				}
				if !slices.Contains(m.wants, f.invariant) {
					t.Error(f)
				}
				t.Logf("seed %d: %s: %s", f.seed, f.invariant, f.what)
				return
			}
			t.Errorf("%d seeds have not found it", most)
		})
	}
}
