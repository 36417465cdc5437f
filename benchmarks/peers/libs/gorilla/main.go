// Command gorilla is a minimal broadcast server on gorilla/websocket: prepared
// messages, and write buffers from a pool.
package main

import (
	"net/http"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/parleychat/chat/benchmarks/peers/libs/room"
)

func main() {
	up := websocket.Upgrader{ReadBufferSize: 512, WriteBufferSize: 4096, WriteBufferPool: new(sync.Pool)}
	hello := prepare([]byte("hi"))
	room.Serve(func(r *room.Room[*websocket.PreparedMessage]) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			c, err := up.Upgrade(w, req, nil)
			if err != nil {
				return
			}
			m := r.Join(hello, func(queue []*websocket.PreparedMessage) error {
				for _, p := range queue {
					if err := c.WritePreparedMessage(p); err != nil {
						return err
					}
				}
				return nil
			})
			go read(c, r, m)
		})
	})
}

func prepare(payload []byte) *websocket.PreparedMessage {
	p, err := websocket.NewPreparedMessage(websocket.TextMessage, payload)
	if err != nil {
		panic(err) // only for a message type that does not exist
	}
	return p
}

func read(c *websocket.Conn, r *room.Room[*websocket.PreparedMessage], m *room.Member[*websocket.PreparedMessage]) {
	defer c.Close()
	defer r.Leave(m)
	for {
		_, payload, err := c.ReadMessage()
		if err != nil {
			return
		}
		r.Broadcast(prepare(payload))
	}
}
