// Command coder is a minimal broadcast server on coder/websocket. It has no
// frame that is made once for all, nor a write of several messages.
package main

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"github.com/parleychat/chat/benchmarks/peers/libs/room"
)

func main() {
	room.Serve(func(r *room.Room[[]byte]) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			c, err := websocket.Accept(w, req, nil)
			if err != nil {
				return
			}
			m := r.Join([]byte("hi"), func(queue [][]byte) error {
				for _, p := range queue {
					if err := c.Write(context.Background(), websocket.MessageText, p); err != nil {
						return err
					}
				}
				return nil
			})
			go read(c, r, m)
		})
	})
}

func read(c *websocket.Conn, r *room.Room[[]byte], m *room.Member[[]byte]) {
	defer c.CloseNow()
	defer r.Leave(m)
	for {
		_, payload, err := c.Read(context.Background())
		if err != nil {
			return
		}
		r.Broadcast(payload)
	}
}
