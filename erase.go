package chat

import (
	"context"
	"errors"
	"fmt"

	"github.com/parleychat/chat/internal/socketio"
)

// EraseUser removes what a user wrote, in all namespaces: from the store (see Eraser), and from what the Hub, on all nodes of a cluster, keeps for recoveries, where tombstones take the
// entries' places too. Nobody who was away recovers the user's own session. It does not stop the user from writing anew. n counts the store's entries;
// after an error it may be called again. The error is errors.ErrUnsupported where the store is no Eraser.
func (h *Hub) EraseUser(ctx context.Context, userID string) (n int, err error) {
	e, ok := h.core.set.store.(Eraser)
	if !ok {
		return 0, fmt.Errorf("chat: the store cannot erase: %w", errors.ErrUnsupported)
	}
	if userID == "" {
		return 0, nil
	}
	n, err = h.core.eraseUser(ctx, e, userID)
	h.core.eraseKept(userID)
	return n, errors.Join(err, h.core.nodes.tell(ctx, noticeErased, appendStrings(nil, userID)))
}

// eraseKept erases what this node keeps for recoveries.
func (h *core) eraseKept(userID string) {
	for _, sp := range h.spaces {
		sp.mu.Lock()
		sp.recovery.eraseLocked(userID)
		sp.mu.Unlock()
	}
}

// ExportUser calls yield with each entry of the user that the store keeps, room by room and ascending by Seq in each, until yield returns an
// error, which it returns. What is kept for recoveries are copies of the same entries. The error is errors.ErrUnsupported where the store is no Exporter.
func (h *Hub) ExportUser(ctx context.Context, userID string, yield func(Entry) error) error {
	x, ok := h.core.set.store.(Exporter)
	if !ok {
		return fmt.Errorf("chat: the store cannot export: %w", errors.ErrUnsupported)
	}
	return h.core.exportUser(ctx, x, userID, yield)
}

func (h *core) eraseUser(ctx context.Context, e Eraser, userID string) (n int, err error) {
	defer h.observed(&ctx, "eraseuser", &err)()
	return e.EraseUser(ctx, userID)
}

func (h *core) exportUser(ctx context.Context, x Exporter, userID string, yield func(Entry) error) (err error) {
	defer h.observed(&ctx, "exportuser", &err)()
	return x.ExportUser(ctx, userID, yield)
}

// eraseLocked puts tombstones in the places of a user's entries, and forgets the user's lost sessions and, since nothing says whose entries they have, all replays.
func (r *recovery) eraseLocked(userID string) {
	for i := range r.events {
		k := &r.events[i]
		if k.event.author != userID {
			continue
		}
		var e Entry
		if err := e.UnmarshalJSON(k.event.args.JSON); err != nil {
			e = Entry{Kind: KindMessage}
		}
		left, err := socketio.Encode(tombstone(&e))
		if err != nil {
			continue // it holds nothing that does not encode
		}
		to := *k.to // it may be one piece with the event
		k.to, k.event = &to, &outgoing{space: k.event.space, name: k.event.name, args: left, number: k.event.number, seq: k.event.seq, origin: k.event.origin}
	}
	for p, s := range r.lost {
		if s.userID == userID {
			r.removeLocked(p, s)
		}
		s.came.forget()
	}
	for _, c := range r.space.clients {
		if c.rare != nil {
			c.rare.came.forget()
		}
	}
}
