package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

// revoked asks for what holds at now, and checks that it is want but for the rounding of times.
func (c *check) revoked(now time.Time, want ...chat.Revocation) {
	c.Helper()
	got, err := needs[chat.Revoker](c).Revocations(c.ctx, now)
	if err != nil {
		c.Fatalf("Revocations: %v", err)
	}
	byName := func(x, y chat.Revocation) int { return strings.Compare(nameOf(x), nameOf(y)) }
	slices.SortFunc(got, byName)
	slices.SortFunc(want, byName)
	if !slices.EqualFunc(got, want, func(x, y chat.Revocation) bool { return nameOf(x) == nameOf(y) }) {
		c.Fatalf("Revocations:\n got %v\nwant %v", got, want)
	}
	for i := range got {
		if !roundedUp(got[i].At, want[i].At) || !roundedUp(got[i].Until, want[i].Until) {
			c.Fatalf("Revocations:\n got %v\nwant %v, with times up to 1 ms later", got[i], want[i])
		}
	}
}

func nameOf(r chat.Revocation) string { return fmt.Sprintf("%q %q", r.UserID, r.TokenID) }

// roundedUp allows for a store's clock of milliseconds. An earlier At would let in who got a token just before.
func roundedUp(got, want time.Time) bool {
	return !got.Before(want) && got.Sub(want) < time.Millisecond
}

func (c *check) revoke(rs ...chat.Revocation) {
	c.Helper()
	for _, r := range rs {
		if err := needs[chat.Revoker](c).Revoke(c.ctx, r); err != nil {
			c.Fatalf("Revoke %v: %v", r, err)
		}
	}
}

var revokeTests = []test{
	{"users and tokens", func(c *check) {
		now := time.Now()
		c.revoked(now)
		all := []chat.Revocation{{UserID: "ann"}, {TokenID: "ann"}, {UserID: "Ann"}, {UserID: "ann "}, {TokenID: strings.Repeat("é", 512)}, {UserID: "a'b\"\\%_\U0001f600"}}
		for i := range all {
			all[i].At, all[i].Until = now.Add(time.Duration(i)*time.Second+123456), now.Add(time.Duration(i+1)*time.Hour+999)
		}
		c.revoke(all...)
		c.revoked(now, all...)
	}},
	{"until they are over", func(c *check) {
		now := time.Now().Truncate(time.Millisecond)
		over := chat.Revocation{UserID: "over", At: now.Add(-2 * time.Hour), Until: now.Add(-time.Hour)}
		short := chat.Revocation{UserID: "ann", At: now, Until: now.Add(time.Hour)}
		long := chat.Revocation{TokenID: "t", At: now, Until: now.Add(2 * time.Hour)}
		c.revoke(over, short, long)
		c.revoked(now, short, long)
		c.revoked(short.Until.Add(-time.Millisecond), short, long)
		c.revoked(short.Until, long)
		c.revoked(long.Until)
		c.revoked(now, short, long) // asking forgets nothing that still holds
	}},
	{"a later one replaces", func(c *check) {
		now := time.Now()
		for i := range 3 {
			at := now.Add(time.Duration(i) * time.Minute)
			user, token := chat.Revocation{UserID: "ann", At: at, Until: at.Add(time.Hour)}, chat.Revocation{TokenID: "t", At: at, Until: at.Add(time.Hour)}
			c.revoke(user, token)
			c.revoked(now, user, token)
		}
		over := chat.Revocation{UserID: "bob", At: now.Add(-time.Hour), Until: now.Add(-time.Minute)}
		again := chat.Revocation{UserID: "bob", At: now, Until: now.Add(time.Hour)}
		c.revoke(over, again)
		c.revoked(now.Add(30*time.Minute), again,
			chat.Revocation{UserID: "ann", At: now.Add(2 * time.Minute), Until: now.Add(62 * time.Minute)},
			chat.Revocation{TokenID: "t", At: now.Add(2 * time.Minute), Until: now.Add(62 * time.Minute)})
	}},
	{"one that holds for longer stays", func(c *check) {
		now := time.Now().Truncate(time.Millisecond)
		c.revoke(chat.Revocation{UserID: "ann", At: now.Add(-time.Minute), Until: now.Add(24 * time.Hour)},
			chat.Revocation{UserID: "ann", At: now, Until: now.Add(time.Hour)})
		got, err := needs[chat.Revoker](c).Revocations(c.ctx, now.Add(23*time.Hour))
		if err != nil || len(got) != 1 || got[0].UserID != "ann" || !got[0].Until.Equal(now.Add(24*time.Hour)) {
			c.Fatalf("%v, %v", got, err)
		}
		if at := got[0].At; !roundedUp(at, now) {
			c.Errorf("it was made at %v, neither the one's time nor the other's", at)
		}
	}},
	{"many, by several at once", func(c *check) {
		revoker := needs[chat.Revoker](c)
		now := time.Now()
		var want []chat.Revocation
		for i := range 60 {
			c.revoke(chat.Revocation{TokenID: fmt.Sprint("over", i), At: now.Add(-time.Hour), Until: now.Add(-time.Minute)})
			want = append(want, chat.Revocation{TokenID: fmt.Sprint("t", i), At: now.Add(4 * time.Second), Until: now.Add(time.Hour + 4*time.Second)})
		}
		var all sync.WaitGroup
		for w := range 5 {
			all.Go(func() {
				for i := range want {
					if w%2 == 1 {
						i = len(want) - 1 - i
					}
					at := now.Add(time.Duration(w) * time.Second)
					if err := revoker.Revoke(c.ctx, chat.Revocation{TokenID: want[i].TokenID, At: at, Until: at.Add(time.Hour)}); err != nil {
						c.Errorf("Revoke: %v", err)
					}
				}
			})
		}
		all.Wait()
		c.revoked(now, want...)
	}},
	{"a ctx that has ended", func(c *check) {
		revoker := needs[chat.Revoker](c)
		now := time.Now()
		ctx, cancel := context.WithCancel(c.ctx)
		cancel()
		if err := revoker.Revoke(ctx, chat.Revocation{UserID: "ann", At: now, Until: now.Add(time.Hour)}); err == nil {
			c.Error("Revoke: no error")
		}
		if _, err := revoker.Revocations(ctx, now); err == nil {
			c.Error("Revocations: no error")
		}
		c.revoked(now)
	}},
}
