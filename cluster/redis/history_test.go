package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// A node that begins is told the last of what was published before, in order, however many pages that takes; nothing that is older than two minutes, and
// nothing that it receives as well.
func TestHistory(t *testing.T) {
	t.Parallel()
	client := toShared(t)
	defer client.Close() //nolint:errcheck // of a test
	peer := peers(t)
	a := peer("aaaaaa", toShared(t))
	a.until(0, "joined")
	const many = 600
	var want []string
	for i := range many { // an entry each
		a.publish(0, fmt.Sprint(i))
		want = append(want, fmt.Sprint("past 0 ", i))
	}
	a.until(0, fmt.Sprint("0 ", many-1))
	b := peer("bbbbbb", toShared(t))
	joined := b.until(0, "joined")
	a.publish(0, "new")
	end := b.until(joined, "0 new")
	equal(t, b.between(0, joined, "past 0"), want...)
	equal(t, b.between(0, end, "0 "), "0 new")

	old := peers(t)
	key := prefixOf(t) + ":s:1"
	for _, age := range []time.Duration{3 * time.Minute, time.Minute, 0} {
		id := fmt.Sprint(time.Now().Add(-age).UnixMilli())
		must(t, client.XAdd(t.Context(), &goredis.XAddArgs{Stream: key, ID: id + "-0", Values: []any{"p", "\x02" + id[len(id)-2:]}}).Err())
	}
	c := old("cccccc", toShared(t))
	past := c.between(0, c.until(0, "joined"), "past 1")
	if len(past) != 2 || slices.ContainsFunc(past, func(s string) bool { return len(strings.TrimPrefix(s, "past 1 ")) != 2 }) {
		t.Errorf("%q", past)
	}
}
