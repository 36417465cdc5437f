package main

import (
	"fmt"
	"slices"
)

// A presenceVerdict compares who is in each room with what its pages take for it at the end, once the guests have left.
type presenceVerdict struct {
	Views   int // a page's view of a room that was looked at: by the events that the page has heard, and by the members that its node names
	Astray  int // of them, by the events, others than are there
	Wrong   int // by the node
	Missing int // that no page has told
	Again   int // user_joined of one who was there, by what the page knew, and user_left of one who was not

	problems []finding
}

func (v *presenceVerdict) faultless() bool { return v.Astray+v.Wrong+v.Missing == 0 }

// seat is a page's place in a room.
type seat struct {
	client int
	room   string
	kind   string // "view", "members"
}

func checkPresence(clients []client, records []record) *presenceVerdict {
	v := &presenceVerdict{}
	there := usersOf(clients)
	told := map[seat]*record{} // the last of each
	for i := range records {
		switch r := &records[i]; r.Kind {
		case "view", "members":
			told[seat{r.Client, r.Room, r.Kind}] = r
		case "presence":
			if r.Again {
				v.Again++
			}
		}
	}
	for i, c := range clients {
		if c.Guest {
			continue
		}
		for _, room := range c.Rooms {
			for _, kind := range []string{"view", "members"} {
				v.look(c.User, there[room], told[seat{i, room, kind}], room, kind)
			}
		}
	}
	return v
}

// usersOf are those who stay, by room.
func usersOf(clients []client) map[string][]string {
	there := map[string][]string{}
	for _, c := range clients {
		for _, room := range c.Rooms {
			if !c.Guest {
				there[room] = append(there[room], c.User)
			}
		}
	}
	for room, users := range there {
		slices.Sort(users)
		there[room] = slices.Compact(users)
	}
	return there
}

func (v *presenceVerdict) look(user string, there []string, told *record, room, kind string) {
	v.Views++
	switch {
	case told == nil:
		v.Missing++
		v.problems = append(v.problems, finding{what: "presence", client: user, room: room, detail: "has told no " + kind})
	case !slices.Equal(told.Users, there):
		if kind == "view" {
			v.Astray++
		} else {
			v.Wrong++
		}
		v.problems = append(v.problems, finding{"presence", user, room, 0,
			fmt.Sprintf("by its %s lacks %v and has %v too many", kind, less(there, told.Users), less(told.Users, there)), told.T})
	}
}

// less is what of a is not in b.
func less(a, b []string) (left []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			left = append(left, x)
		}
	}
	return left
}
