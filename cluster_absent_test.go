package chat_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat/chattest"
)

// Who is away when a session goes to a node that had nobody in the room is not marked by any node. The session's page takes them for present, and is told when they do not
// come back.
func TestClusterAbsentAtHandover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 2)
		ann, bob := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[0], as("bob"))
		join(t, ann, "r")
		join(t, bob, "r")
		settle(t, time.Second)
		ann.Drop()
		settle(t, time.Second)
		pid, offset := bob.Session()
		bob.Drop()
		back := chattest.Dial(t, hubs[1], as("bob"), chattest.Recover(pid, offset))
		if !back.Recovered() {
			t.Fatal("not recovered")
		}
		settle(t, 10*time.Second)
		if m := back.Expect("user_left"); fmt.Sprint(m.Args.Values()[0]) != "map[room:r user_id:ann]" {
			t.Error(m.Args.Values())
		}
		back.None("user_left")
		back.None("user_joined")
		if m, err := hubs[1].Room("r").Members(t.Context()); err != nil || len(m) != 1 {
			t.Error(m, err)
		}
	})
}
