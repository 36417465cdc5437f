package chat

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/forward"
)

// forwarding passes requests on to the node that has their session, and takes those that other nodes pass on. nil: the Hub does neither.
type forwarding struct {
	*forward.Forwarder
	hub   *core
	tells seldom
}

func newForwarding(h *core) *forwarding {
	if h.nodes == nil || len(h.set.nodeKey) == 0 {
		return nil
	}
	heartbeat := h.set.pingInterval + h.set.pingTimeout
	cors := h.newCORS()
	f := &forwarding{hub: h}
	f.Forwarder = forward.New(forward.Config{
		Tag: h.nodes.ownTag(), Key: h.set.nodeKey, Client: h.addressOf,
		Answer: heartbeat + h.set.timeouts.Write, Body: heartbeat, Write: h.set.timeouts.Write, Logger: h.log(),
		Release: func(tag, sid string) { f.releaseSoon(tag, sid) },
		Failed: func(w http.ResponseWriter, r *http.Request, err error) {
			cors.Handler(refusalOf(err)).ServeHTTP(w, r) // the other node would have said so
		},
	})
	return f
}

// refusalOf is the answer to a request that was not passed on. A client begins anew after any of them; where it is known that its session is gone it hears so.
func refusalOf(err error) *engineio.Refusal {
	switch {
	case errors.Is(err, forward.ErrGone), errors.Is(err, forward.ErrOtherNode):
		return engineio.ErrUnknownSession
	case errors.Is(err, forward.ErrClosed):
		return refusalDraining
	}
	return refusalUnreachable
}

var refusalUnreachable = &engineio.Refusal{
	Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"1"}}, Code: 3, Message: "The session's server does not answer",
}

// received tells whether another node has passed r on, which then has its client's address. Not ok: it was refused.
func (f *forwarding) received(w http.ResponseWriter, r *http.Request) (_ *http.Request, passed, ok bool) {
	if f == nil {
		return r, false, true
	}
	client, passed, err := f.Verify(r)
	switch {
	case err == nil && passed:
		r = r.WithContext(r.Context()) // a copy: the host's middleware may look at its own once more
		r.RemoteAddr = client
		return r, true, true
	case err == nil:
		return r, false, true
	case errors.Is(err, forward.ErrOtherNode):
		engineio.ErrUnknownSession.ServeHTTP(w, r)
	default:
		refusalForged.ServeHTTP(w, r)
	}
	if untold, now := f.tells.now(); now {
		f.hub.log().WarnContext(r.Context(), "chat: a request was refused that claims to be passed on by a node",
			"error", err, "remote", f.hub.addressOf(r), "refusals_not_logged", untold)
	}
	return nil, true, false
}

var refusalForged = &engineio.Refusal{Status: http.StatusForbidden, Code: 4, Message: "Forbidden"}

// passOn passes r on to the node that has its session. false: it is for this node, if for anybody.
func (f *forwarding) passOn(w http.ResponseWriter, r *http.Request) bool {
	if f == nil || r.Method != http.MethodGet && r.Method != http.MethodPost {
		return false
	}
	tag := engineio.TagOf(r)
	if tag == "" || tag == f.hub.nodes.tag {
		return false
	}
	other, _ := f.hub.nodes.node(tag)
	if other.Address == "" { // it is not known, or passes nothing on
		return false
	}
	f.hub.log().LogAttrs(r.Context(), slog.LevelDebug, "chat: passed on", slog.String("method", r.Method), slog.String("node", tag))
	f.Serve(w, r, tag, other.Address)
	return true
}

// down ends what is under way to a node that is gone: its clients begin anew elsewhere.
func (f *forwarding) down(tag string) {
	if f != nil {
		f.Cut(tag)
	}
}

// tunnels are what cuts each of the WebSockets that are passed on.
func (f *forwarding) tunnels() []func() {
	if f == nil {
		return nil
	}
	return f.Tunnels()
}

// cutAtPace cuts tunnels one after the other within a time: they are clients to Shutdown's pace. The channel is closed when that is done, or ctx has ended.
func cutAtPace(ctx context.Context, tunnels []func(), window time.Duration) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		begin := time.Now()
		for i, cut := range tunnels {
			if wait := window*time.Duration(i)/time.Duration(len(tunnels)) - time.Since(begin); wait > 0 && !sleep(ctx, max(wait, drainTick)) {
				return
			}
			cut()
		}
	}()
	return done
}

const (
	releaseTick   = 100 * time.Millisecond
	releaseRounds = 10
	releaseWithin = 500 * time.Millisecond // for a node to answer
)

// close ends all that is under way. The nodes are asked to answer the polls that wait at them, whose clients then go another way and have lost nothing; what is
// under way after a second is cut. false: ctx has ended before.
func (f *forwarding) close(ctx context.Context) bool {
	if f == nil {
		return true
	}
	for range releaseRounds {
		polls := f.Polls()
		if len(polls) == 0 {
			break
		}
		f.release(ctx, polls)
		if !sleep(ctx, releaseTick) {
			break
		}
	}
	return f.Close(ctx.Done())
}

// releaseSoon has one poll answered.
func (f *forwarding) releaseSoon(tag, sid string) {
	if n := f.hub.nodes; n.tasks.enter() {
		defer n.tasks.leave()
		f.release(n.life, map[string][]string{tag: {sid}})
	}
}

func (f *forwarding) release(ctx context.Context, polls map[string][]string) {
	ctx, cancel := context.WithTimeout(ctx, releaseWithin)
	defer cancel()
	var wg sync.WaitGroup
	for tag, sids := range polls {
		wg.Go(func() { _, _ = ask[bool](ctx, f.hub.nodes, tag, "release", sids) }) // where it fails they are cut
	}
	wg.Wait()
}

// answerRelease answers the polls of these sessions, which another node has passed on.
func (n *nodes) answerRelease(_ context.Context, sids []string) (bool, error) {
	for _, sid := range sids {
		n.hub.engine.Release(sid)
	}
	return true, nil
}

// counts are those of Stats.
func (f *forwarding) counts(s *Stats) {
	if f != nil {
		s.Forwarded, s.NotForwarded, s.Forged = f.Counts()
	}
}
