package chat_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat/chattest"
)

// Whoever joins a node anew while the others are on their way to it hears of them when they come.
func TestClusterJoinsWhileOthersMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 2)
		ann := chattest.Dial(t, hubs[0], as("ann"))
		join(t, ann, "r")
		settle(t, time.Second)
		pid, offset := ann.Session()
		ann.Drop()
		settle(t, time.Second)
		bob := chattest.Dial(t, hubs[1], as("bob"))
		known := map[string]bool{}
		for _, m := range join(t, bob, "r").Members {
			known[m.UserID] = true
		}
		back := chattest.Dial(t, hubs[1], as("ann"), chattest.Recover(pid, offset))
		if !back.Recovered() {
			t.Fatal("not recovered")
		}
		settle(t, 10*time.Second)
		for i := 0; i < 2 && !known["ann"]; i++ { // bob hears of himself, too
			known[bob.Expect("user_joined").Args.Values()[0].(map[string]any)["user_id"].(string)] = true
		}
		if !known["ann"] || !known["bob"] {
			t.Error(known)
		}
		bob.None("user_left")
	})
}

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
