// Command gobwas is a minimal broadcast server on gobwas/ws: frames are
// compiled once for all, and no buffer is held between them.
package main

import (
	"io"
	"net"
	"net/http"

	"github.com/gobwas/ws"

	"github.com/parleychat/chat/benchmarks/peers/libs/room"
)

func main() {
	hello := ws.MustCompileFrame(ws.NewTextFrame([]byte("hi")))
	room.Serve(func(r *room.Room[[]byte]) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			nc, _, _, err := ws.UpgradeHTTP(req, w)
			if err != nil {
				return
			}
			m := r.Join(hello, func(queue [][]byte) error {
				bufs := net.Buffers(queue)
				_, err := bufs.WriteTo(nc)
				return err
			})
			go read(nc, r, m)
		})
	})
}

func read(nc net.Conn, r *room.Room[[]byte], m *room.Member[[]byte]) {
	defer nc.Close()
	defer r.Leave(m)
	for {
		h, err := ws.ReadHeader(nc)
		if err != nil || h.OpCode != ws.OpText || h.Length > 1<<20 {
			return
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(nc, payload); err != nil {
			return
		}
		ws.Cipher(payload, h.Mask, 0)
		r.Broadcast(ws.MustCompileFrame(ws.NewTextFrame(payload)))
	}
}
