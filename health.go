package chat

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	readyFor  = time.Second     // an answer of the store's is good for so long
	readyWait = 2 * time.Second // for the store
)

// Health is a handler for liveness probes: 200 {"status":"ok"} as long as the process serves requests. A store that is away does not make it fail, since a
// restart would not bring it back.
func (h *Hub) Health() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerHealth(w, http.StatusOK, "ok") })
}

// Ready is a handler for readiness probes: 200 {"status":"ready"} where the Hub takes clients in and its store answers, within 2 s; otherwise 503 with the status
// "draining", from Shutdown on, "store unavailable", or "cluster unavailable" (see WithClusterPatience). The store is asked once a second at most, for the end of a room's log.
func (h *Hub) Ready() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch err := h.core.ready.check(r.Context(), h.core); {
		case h.core.draining.Load():
			answerHealth(w, http.StatusServiceUnavailable, "draining")
		case err != nil:
			answerHealth(w, http.StatusServiceUnavailable, "store unavailable")
		case h.core.nodes.goneFor(h.core.set.patience):
			answerHealth(w, http.StatusServiceUnavailable, "cluster unavailable")
		default:
			answerHealth(w, http.StatusOK, "ready")
		}
	})
}

func answerHealth(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if status != http.StatusOK {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": text}) // the prober may be gone
}

// readiness is the last answer of the store.
type readiness struct {
	mu  sync.Mutex // held while the store is asked: whoever else asks meanwhile gets the same answer
	at  time.Time
	err error
}

// healthRoom is one whose log nobody needs: the question is whether there is an answer.
const healthRoom = "health"

func (r *readiness) check(ctx context.Context, h *core) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && time.Since(r.at) < readyFor || h.draining.Load() {
		return r.err
	}
	ctx, cancel := context.WithTimeout(ctx, min(readyWait, h.set.timeouts.Store))
	defer cancel()
	_, _, err := h.journal.bounds(ctx, "/", healthRoom)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) { // the prober has left, which says nothing of the store
		return err
	}
	if r.err == nil && err != nil {
		h.log().Error("chat: not ready", "error", err)
	}
	r.at, r.err = time.Now(), err
	return err
}
