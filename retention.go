package chat

import (
	"context"
	"time"
)

// Retention is how much of a room's log is kept: entries that are younger than Age, and of those the newest Count. A zero field sets no bound.
type Retention struct {
	Age   time.Duration
	Count int
}

// retentionEvery is how often the logs are trimmed by default.
const retentionEvery = time.Hour

// WithRetention trims the rooms' logs from their start, to what keep says of each room; it is asked anew each time, on a goroutine of the Hub's. The logs are gone through
// every so often (zero: each hour), so that a room may hold more than keep says until then, and once soon after New. A MessageID outlives its entry by
// KeysKept; those past it are forgotten on the same round, also where keep bounds nothing. The store must be a Trimmer. Of several nodes with one store each goes
// through its logs, which does no harm.
func WithRetention(every time.Duration, keep func(room string) Retention) Option {
	return optionFunc(func(b *builder) {
		if keep == nil || every < 0 {
			b.fail("WithRetention needs a function, and a time that is not negative")
			return
		}
		if b.space.keep != nil {
			b.fail("WithRetention given twice")
			return
		}
		if every == 0 {
			every = retentionEvery
		}
		b.space.keep, b.space.keepEvery = keep, every
	})
}

// retain trims a namespace's logs until Shutdown.
func (sp *space) retain() {
	j := &sp.hub.journal
	defer j.tasks.leave()
	for pause := min(sp.set.keepEvery, time.Minute); sleep(j.life, pause); pause = sp.set.keepEvery {
		if removed, err := sp.trim(j.life); j.life.Err() == nil {
			if err != nil {
				sp.hub.log().Error("chat: retention failed", "error", err, "namespace", sp.name, "removed", removed)
			} else if removed > 0 {
				sp.hub.log().Info("chat: retention", "namespace", sp.name, "removed", removed)
			}
		}
	}
}

// trim goes through the rooms once.
func (sp *space) trim(ctx context.Context) (removed int, err error) {
	const step = 500
	for after := ""; ; {
		rooms, err := sp.hub.logsAfter(ctx, sp.name, after, step)
		if err != nil || len(rooms) == 0 {
			return removed, err
		}
		for _, room := range rooms {
			keep := sp.set.keep(room)
			q := TrimQuery{Namespace: sp.name, Room: room, Keep: keep.Count}
			if keep.Age > 0 {
				q.Before = time.Now().Add(-keep.Age)
			}
			n, err := sp.hub.trimLog(ctx, q)
			if removed += n; err != nil {
				return removed, err
			}
		}
		after = rooms[len(rooms)-1]
	}
}

func (h *core) logsAfter(ctx context.Context, namespace, after string, limit int) (rooms []string, err error) {
	defer h.observed(&ctx, "rooms", &err)()
	defer recovered("the store", &err)
	return h.set.store.(Trimmer).Rooms(ctx, namespace, after, limit)
}

func (h *core) trimLog(ctx context.Context, q TrimQuery) (removed int, err error) {
	defer h.observed(&ctx, "trim", &err)()
	defer recovered("the store", &err)
	return h.set.store.(Trimmer).Trim(ctx, q)
}
