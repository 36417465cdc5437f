package faults_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A socket is a WebSocket client that writes whatever frames it is told to.
type socket struct {
	*net.TCPConn
	p  protocol
	r  *bufio.Reader
	mu sync.Mutex // of writes

	code int // of the close frame that came
}

// dialWS opens a WebSocket: for a session of its own, or for the upgrade of one.
func dialWS(t testing.TB, addr string, p protocol, sid string) *socket {
	t.Helper()
	w, resp, err := tryWS(addr, p.query(), sid)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("WebSocket: status %d", resp.StatusCode)
	}
	w.p = p
	t.Cleanup(w.close)
	return w
}

func tryWS(addr, query, sid string) (*socket, *http.Response, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, nil, err
	}
	if sid != "" {
		query += "&sid=" + sid
	}
	_, _ = fmt.Fprintf(conn, "GET /socket.io/?%s&transport=websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", query, addr)
	w := &socket{TCPConn: conn.(*net.TCPConn), r: bufio.NewReader(conn), p: modern}
	_ = w.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	_ = w.SetReadDeadline(time.Time{})
	return w, resp, nil
}

// Opcodes.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
	fin            = 0x80
)

// header is the header of a masked frame with a mask of zeros, whatever the length.
func header(first byte, n uint64) []byte {
	b := []byte{first}
	switch {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), n)
	}
	return append(b, 0, 0, 0, 0)
}

func wsFrame(first byte, payload string) []byte {
	return append(header(first, uint64(len(payload))), payload...)
}

func (w *socket) write(frames ...frame) (int, error) {
	var b []byte
	for _, f := range frames {
		switch {
		case !f.binary:
			b = append(b, wsFrame(fin|opText, f.data)...)
		case w.p == legacy:
			b = append(b, wsFrame(fin|opBinary, "\x04"+f.data)...)
		default:
			b = append(b, wsFrame(fin|opBinary, f.data)...)
		}
	}
	return 0, w.raw(b)
}

// raw writes bytes; it gives up when the other side does not take them for long.
func (w *socket) raw(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.SetWriteDeadline(time.Now().Add(patience))
	_, err := w.Write(b)
	return err
}

func (w *socket) read() ([]frame, error) {
	for {
		op, data, err := w.readFrame()
		if err != nil {
			return nil, err
		}
		switch op {
		case opText:
			return []frame{{data: data}}, nil
		case opBinary:
			return []frame{{binary: true, data: data}}, nil
		case opClose:
			if len(data) >= 2 {
				w.mu.Lock()
				w.code = int(binary.BigEndian.Uint16([]byte(data)))
				w.mu.Unlock()
			}
			return nil, fmt.Errorf("close frame %d", []byte(data))
		}
	}
}

func (w *socket) readFrame() (op byte, data string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return 0, "", err
	}
	n := uint64(head[1] & 0x7f)
	var ext [8]byte
	switch n {
	case 126:
		_, err = io.ReadFull(w.r, ext[6:])
		n = binary.BigEndian.Uint64(ext[:])
	case 127:
		_, err = io.ReadFull(w.r, ext[:])
		n = binary.BigEndian.Uint64(ext[:])
	}
	if err != nil {
		return 0, "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(w.r, b)
	return head[0] & 0xf, string(b), err
}

func (w *socket) closeCode() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.code
}

func (w *socket) close() { _ = w.Close() }

// reset breaks the connection off with a RST.
func (w *socket) reset() {
	_ = w.SetLinger(0)
	_ = w.Close()
}
