package simulation_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
)

// An own entry whose ack was not written is replayed, also when the connection of the recovery dies before it has read anything.
func TestRecoveryTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub, err := chat.New(chat.WithRooms("r"))
		if err != nil {
			t.Fatal(err)
		}
		open := func(auth string, cut int) *socket {
			s := openSocket(hub, false, 512, "0"+auth, nil)
			s.cutAfter(cut, -1)
			time.Sleep(time.Second)
			return s
		}
		a := open("", -1)
		packets, _ := a.take()
		var session struct{ Pid string }
		if err := json.Unmarshal([]byte(packets[0].packet[1:]), &session); err != nil {
			t.Fatal(packets, err)
		}
		a.stall(true)
		for range 3 { // one is read; the others stand in the way of the ack
			_ = hub.Room("r").Emit("big", strings.Repeat("x", 4096))
		}
		a.send(`21["chat_message","own"]`)
		time.Sleep(time.Second)
		a.cut()
		time.Sleep(time.Second)
		auth, _ := json.Marshal(map[string]string{"pid": session.Pid})
		open(string(auth), 1) // dies with the answer to CONNECT
		c := open(string(auth), -1)
		packets, _ = c.take()
		var got []string
		for _, p := range packets {
			got = append(got, p.packet)
		}
		if !strings.Contains(got[0], session.Pid) || !strings.Contains(strings.Join(got, "\n"), `2["new_message"`) {
			t.Errorf("%d packets, no new_message", len(got))
		}
		c.cut()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}
