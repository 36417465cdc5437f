package legacy

import (
	"context"
	"sync"
	"testing"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// Close while clients connect: the process dies where go-socket.io is closed too early (trap 11).
func TestCloseWhileClientsConnect(t *testing.T) {
	t.Parallel()
	for range 20 {
		hub := newHub()
		srv := newServer(t, hub)
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range 20 {
			wg.Go(func() {
				<-begin
				out := newSession()
				h, err := srv.accept(out, nil, &socketio.Handshake{})
				if err == nil {
					out.Close(engineio.ReasonShutdown)
					h.Closed(engineio.ReasonShutdown, nil)
				}
			})
		}
		close(begin)
		shut(t, srv)
		wg.Wait()
		shut(t, srv)
		if _, err := srv.accept(newSession(), nil, &socketio.Handshake{}); err == nil {
			t.Error("accepted after Close")
		}
	}
}

func TestCloseWaits(t *testing.T) {
	t.Parallel()
	r, _ := connect(t, newHub())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.srv.Close(ctx); err == nil {
		t.Error("Close did not wait for the session")
	}
	r.text(`2["goes on"]`)
}
