package redis_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/cluster/redis"
	"github.com/parleychat/chat/internal/redistest"
)

func server(t *testing.T, settings ...string) *redistest.Server {
	t.Helper()
	s, err := redistest.Start(settings...)
	must(t, err)
	endsWith(t, s)
	return s
}

func tlsServer(t *testing.T) (*redistest.Server, *tls.Config) {
	t.Helper()
	s, config, err := redistest.StartTLS()
	must(t, err)
	endsWith(t, s)
	return s, config
}

func endsWith(t *testing.T, s *redistest.Server) {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// leavesInVain: the cluster cannot be told, and Leave does not wait for that.
func leavesInVain(t *testing.T, p *peer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	within(t, 5*time.Second, "Leave", func() {
		if p.Leave(ctx) == nil {
			t.Error("Leave has no error")
		}
	})
}

func numbered(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("0 %d", i))
	}
	return all
}

func publishNumbered(p *peer, from, to int) {
	p.t.Helper()
	for i := from; i < to; i++ {
		p.publish(0, fmt.Sprint(i))
	}
}

func TestCutOffForLong(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, shared.of(t).Addr())
	peer := peers(t)
	a := peer("aaaaaa", toShared(t))
	a.until(0, "joined aaaaaa.1")
	b := peer("bbbbbb", at(proxy.addr()))
	a.until(0, "up bbbbbb.1")
	b.setMark("room", "ann", "1")
	equal(t, a.marks("room"), "bbbbbb.1 ann=1")
	publishNumbered(a, 0, 10)
	start := b.until(0, "0 9")

	proxy.sever()
	within(t, 5*time.Second, "Away", func() { b.until(start, "away") })
	publishNumbered(a, 10, 300)
	var down int
	within(t, 15*time.Second, "a lease of 2 s", func() { down = a.until(0, "down bbbbbb.1") })
	equal(t, a.marks("room"))
	if _, err := a.Ask(t.Context(), "bbbbbb", nil); err != chat.ErrNoNode {
		t.Errorf("Ask: %v", err)
	}
	client := toShared(t)
	defer client.Close() //nolint:errcheck // of a test
	prefix := prefixOf(t)
	eventually(t, "a dead node's marks are removed", func() bool {
		return client.Exists(t.Context(), prefix+":m:room", prefix+":k:bbbbbb.1", prefix+":{nodes}:graves").Val() == 0
	})

	proxy.mend()
	back := b.until(start, "back")
	equal(t, b.between(start, back, "joined"), "joined bbbbbb.2")
	equal(t, b.between(start, back, "lost"))
	equal(t, b.between(start, back, "0 "), numbered(10, 300)...)
	a.until(down, "up bbbbbb.2")
	b.setMark("room", "ann", "2")
	equal(t, a.marks("room"), "bbbbbb.2 ann=2")
	publishNumbered(b, 300, 301)
	a.until(0, "0 300")
	b.until(back, "0 300")
	if got, err := a.Ask(t.Context(), "bbbbbb", []byte("?")); err != nil || string(got) != "?" {
		t.Errorf("Ask: %q, %v", got, err)
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, shared.of(t).Addr())
	peer := peers(t, redis.WithLease(time.Minute))
	a, b := peer("aaaaaa", toShared(t)), peer("bbbbbb", at(proxy.addr()))
	a.until(0, "up bbbbbb.1")
	b.until(0, "up aaaaaa.1")
	start := b.mark()
	proxy.hush()
	within(t, 12*time.Second, "Away", func() { b.until(start, "away") })
	within(t, 12*time.Second, "Publish", func() {
		if b.tryPublish(time.Second, 0, "x") == nil {
			t.Error("Publish has no error")
		}
	})
	publishNumbered(a, 0, 20)
	proxy.mend()
	back := b.until(start, "back")
	equal(t, b.between(start, back, "joined"))
	if got := b.between(start, back, "0 "); len(got) < 20 { // x may have come
		t.Errorf("received %q before Back", got)
	}
	if got := a.between(0, a.mark(), "down"); len(got) > 0 {
		t.Errorf("%q within the lease", got)
	}
}

func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	s := server(t)
	peer := peers(t)
	a, b := peer("aaaaaa", at(s.Addr())), peer("bbbbbb", at(s.Addr()))
	a.until(0, "up bbbbbb.1")
	b.until(0, "up aaaaaa.1")
	for i := range 100 {
		if i%20 == 10 {
			before := b.mark()
			for _, kind := range []string{"normal", "pubsub"} {
				_, err := s.Do("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
				must(t, err)
			}
			b.until(before, "back") // what the streams may have lost meanwhile the Hub looks for in the store
		}
		a.publishUntil(0, fmt.Sprint(i))
	}
	end := b.until(0, "0 99")
	got := b.between(0, end, "0 ")
	last := -1
	for _, line := range got {
		var n int
		if _, err := fmt.Sscanf(line, "0 %d", &n); err != nil || n > last+1 {
			t.Fatalf("%q after %d", line, last)
		}
		last = max(last, n)
	}
	if away := b.between(0, end, "away"); len(away) > 0 {
		t.Errorf("%q, although Redis was there", away)
	}
}

func TestTrimmed(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, shared.of(t).Addr())
	peer := peers(t, redis.WithTrim(1, time.Hour))
	a, b := peer("aaaaaa", toShared(t)), peer("bbbbbb", at(proxy.addr()))
	a.until(0, "up bbbbbb.1")
	publishNumbered(a, 0, 1)
	a.publish(1, "x")
	b.until(0, "0 0")
	start := b.until(0, "1 x")
	proxy.sever()
	b.until(start, "away")
	publishNumbered(a, 1, 1001)
	proxy.mend()
	back := b.until(start, "back")
	equal(t, b.between(start, back, "lost"), "lost 0")
	received := b.between(start, back, "0 ")
	if n := len(received); n == 0 || n > 300 || received[n-1] != "0 1000" {
		t.Errorf("received %d of 1000: %q", n, received)
	}
	if lost := b.until(start, "lost 0"); lost > b.until(start, "0 ") {
		t.Error("Lost came after what followed")
	}
}

func TestTrimmedByAge(t *testing.T) {
	t.Parallel()
	client := toShared(t)
	defer client.Close() //nolint:errcheck // of a test
	key := prefixOf(t) + ":s:0"
	pipe := client.Pipeline()
	for i := range 450 {
		pipe.XAdd(t.Context(), &goredis.XAddArgs{Stream: key, ID: fmt.Sprintf("1-%d", i+1), Values: []any{"p", ""}})
	}
	_, err := pipe.Exec(t.Context())
	must(t, err)
	peers(t)("aaaaaa", toShared(t)).until(0, "joined")
	eventually(t, "old entries are removed", func() bool { return client.XLen(t.Context(), key).Val() < 100 })
}

// A stream that begins anew with lower ids was lost with its server, whose replacement's clock is behind.
func TestStreamBeginsAnew(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, shared.of(t).Addr())
	peer := peers(t)
	a, b := peer("aaaaaa", toShared(t)), peer("bbbbbb", at(proxy.addr()))
	a.until(0, "up bbbbbb.1")
	a.publish(0, "x")
	start := b.until(0, "0 x")
	proxy.sever()
	b.until(start, "away")
	client := toShared(t)
	defer client.Close() //nolint:errcheck // of a test
	key := prefixOf(t) + ":s:0"
	must(t, client.Del(t.Context(), key).Err())
	for i := range 150 {
		must(t, client.XAdd(t.Context(), &goredis.XAddArgs{Stream: key, ID: fmt.Sprintf("1-%d", i+1), Values: []any{"p", fmt.Sprintf("\x03%03d", i)}}).Err())
	}
	proxy.mend()
	back := b.until(start, "back")
	if got := b.between(start, back, "0 "); len(got) != 150 || got[0] != "0 000" || got[149] != "0 149" {
		t.Errorf("received %q", got)
	}
	equal(t, b.between(start, back, "lost"), "lost 0")
}

func TestRestartEmpty(t *testing.T) {
	t.Parallel()
	s := server(t)
	peer := peers(t)
	a, b := peer("aaaaaa", at(s.Addr())), peer("bbbbbb", at(s.Addr()))
	a.until(0, "up bbbbbb.1")
	b.until(0, "up aaaaaa.1")
	a.setMark("room", "ann", "1")
	a.publish(0, "before")
	b.until(0, "0 before")
	startA, startB := a.mark(), b.mark()
	must(t, s.Kill())
	within(t, 8*time.Second, "Away", func() {
		a.until(startA, "away")
		b.until(startB, "away")
	})
	if a.tryPublish(time.Second, 0, "x") == nil {
		t.Error("Publish has no error")
	}
	must(t, s.Serve())
	a.until(startA, "joined aaaaaa.2")
	b.until(startB, "joined bbbbbb.2")
	a.until(startA, "up bbbbbb.2")
	b.until(startB, "up aaaaaa.2")
	a.until(startA, "back")
	b.until(startB, "back")
	equal(t, b.marks("room"))
	a.setMark("room", "ann", "2")
	equal(t, b.marks("room"), "aaaaaa.2 ann=2")
	a.publish(0, "after")
	b.until(startB, "0 after")
	a.until(startA, "0 after")
}

func TestRestartOnDisk(t *testing.T) {
	t.Parallel()
	s := server(t, "appendonly yes")
	peer := peers(t, redis.WithLease(time.Minute))
	a, b := peer("aaaaaa", at(s.Addr())), peer("bbbbbb", at(s.Addr()))
	a.until(0, "up bbbbbb.1")
	b.until(0, "up aaaaaa.1")
	a.setMark("room", "ann", "1")
	publishNumbered(a, 0, 5)
	must(t, s.Kill())
	a.until(0, "away")
	must(t, s.Serve())
	a.until(0, "back")
	a.publishUntil(0, "5")
	end := b.until(0, "0 5")
	equal(t, b.between(0, end, "0 "), numbered(0, 6)...)
	equal(t, b.between(0, end, "lost"))
	equal(t, b.marks("room"), "aaaaaa.1 ann=1")
}

func TestFrozen(t *testing.T) {
	t.Parallel()
	s := server(t, "requirepass secret")
	a := peers(t)("aaaaaa", goredis.NewClient(&goredis.Options{Addr: s.Addr(), Password: "secret", DB: 3, ReadTimeout: time.Hour, MaxRetries: 50, Protocol: 3}))
	a.until(0, "joined aaaaaa.1")
	must(t, s.Freeze())
	within(t, 12*time.Second, "Away", func() { a.until(0, "away") })
	away := a.mark()
	<-time.After(2 * time.Second) // longer than the lease, altogether
	must(t, s.Thaw())
	back := a.until(away, "back")
	equal(t, a.between(away, back, "joined"), "joined aaaaaa.2")
}

func TestLeaveWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, shared.of(t).Addr())
	a, b := peers(t)("aaaaaa", toShared(t)), peers(t)("bbbbbb", at(proxy.addr()))
	a.until(0, "up bbbbbb.1")
	proxy.hush()
	leavesInVain(t, b)
	a.until(0, "down bbbbbb.1")
}

// go-redis goes on with a TLS handshake for as long as the host's options say, whatever becomes of who asked for it.
func TestHandshakeThatHangs(t *testing.T) {
	t.Parallel()
	s, config := tlsServer(t)
	proxy := newProxy(t, s.Addr())
	toProxy := goredis.NewClient(&goredis.Options{Addr: proxy.addr(), TLSConfig: config, DialTimeout: time.Hour})
	a, b := peers(t)("aaaaaa", goredis.NewClient(&goredis.Options{Addr: s.Addr(), TLSConfig: config})), peers(t)("bbbbbb", toProxy)
	a.until(0, "up bbbbbb.1")
	proxy.hush()
	before := proxy.accepted()
	eventually(t, "b tries again and again", func() bool { return proxy.accepted() > before+8 })
	b.until(0, "away")
	leavesInVain(t, b)
	a.until(0, "down bbbbbb.1")
}

func TestRedisComesLater(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, shared.of(t).Addr())
	proxy.sever()
	a := peers(t)("aaaaaa", at(proxy.addr()))
	a.until(0, "away")
	if a.tryPublish(time.Second, 0, "x") == nil {
		t.Error("Publish has no error")
	}
	proxy.mend()
	back := a.until(0, "back")
	if joined := a.until(0, "joined "); joined > back {
		t.Error("Back came before Joined")
	}
	a.publish(0, "x")
	a.until(back, "0 x")
}

func TestOtherStreams(t *testing.T) {
	t.Parallel()
	a := peers(t)("aaaaaa", toShared(t))
	a.until(0, "joined")
	b := peers(t, redis.WithStreams(3))("bbbbbb", toShared(t))
	b.until(0, `away chat/redis: this node has 3 streams, and the cluster "2"`)
	if b.tryPublish(time.Second, 2, "x") == nil {
		t.Error("Publish has no error")
	}
	equal(t, a.between(0, a.mark(), "up"))
}

func TestFailover(t *testing.T) {
	t.Parallel()
	s, err := redistest.StartSentinel()
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	peer := peers(t)
	a, b := peer("aaaaaa", toSentinels(s)), peer("bbbbbb", toSentinels(s))
	a.until(0, "up bbbbbb.1")
	b.until(0, "up aaaaaa.1")
	a.setMark("room", "ann", "1")
	a.publish(0, "before")
	b.until(0, "0 before")
	startA, startB := a.mark(), b.mark()
	must(t, s.Primary.Kill())
	a.until(startA, "away")
	b.until(startB, "away")
	a.publishUntil(0, "after")
	b.until(startB, "0 after")
	backA := a.until(startA, "back")
	b.until(startB, "back")
	names := a.between(startA, backA, "joined") // or it has kept its lease
	a.setMark("room", "ann", "2")
	name := "aaaaaa.1"
	if len(names) > 0 {
		name = strings.TrimPrefix(names[len(names)-1], "joined ")
	}
	eventually(t, "marks", func() bool {
		got := b.marks("room")
		return len(got) == 1 && got[0] == name+" ann=2"
	})
	if role, err := s.Replica.Do("ROLE"); err != nil || !strings.HasPrefix(role, "master") {
		t.Errorf("the replica was not promoted: %q, %v", role, err)
	}
}

func TestServerOfClusterRestarts(t *testing.T) {
	t.Parallel()
	s, err := redistest.StartCluster("appendonly yes")
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	client := func() goredis.UniversalClient { return toCluster(s) }
	peer := peers(t, redis.WithStreams(8))
	a, b := peer("aaaaaa", client()), peer("bbbbbb", client())
	a.until(0, "up bbbbbb.1")
	b.until(0, "up aaaaaa.1")
	for i := range s.Servers {
		startA, startB := a.mark(), b.mark()
		must(t, s.Servers[i].Kill())
		a.until(startA, "away")
		must(t, s.Servers[i].Serve())
		a.until(startA, "back")
		for stream := range 8 {
			data := fmt.Sprint("after ", i)
			a.publishUntil(stream, data)
			b.until(startB, fmt.Sprint(stream, " ", data))
			a.until(startA, fmt.Sprint(stream, " ", data))
		}
	}
}
