package simulation_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// webSocket is frames over a link.
type webSocket struct{ l *link }

func openWebSocket(h http.Handler, buffer int, work *sync.WaitGroup) webSocket {
	c := webSocket{newLink(buffer)}
	r := newRequest("GET", url.Values{"transport": {"websocket"}})
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	work.Go(func() {
		w := &upgrade{l: c.l, header: http.Header{}}
		if h.ServeHTTP(w, r); w.status != 0 {
			c.cut()
		}
	})
	return c
}

// newRequest is one as net/http's server makes it.
func newRequest(method string, query url.Values) *http.Request {
	query.Set("EIO", "4")
	u := &url.URL{Path: "/socket.io/", RawQuery: query.Encode()}
	return &http.Request{
		Method: method, URL: u, RequestURI: u.RequestURI(), Host: "chat.test", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		RemoteAddr: "192.0.2.1:1234", Header: http.Header{}, Body: http.NoBody,
	}
}

func (c webSocket) read(arrived func(text string) bool) {
	r := bufio.NewReaderSize(c.l.down, 512)
	if status, err := http.ReadResponse(r, nil); err != nil || status.StatusCode != http.StatusSwitchingProtocols {
		return
	}
	for {
		text, err := readFrame(r)
		if err != nil || !arrived(text) {
			return
		}
	}
}

func (c webSocket) write(text string) { _, _ = c.l.up.Write(frameOf(text)) }

func (c webSocket) cut() { c.l.cut() }

func (c webSocket) wrote(text string) bool { return c.l.down.wrote(text) }

var errFrame = errors.New("not a text frame")

// readFrame reads a frame of the server's: text, unmasked, in one piece; anything else is the end.
func readFrame(r *bufio.Reader) (string, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	if head[0] != 0x81 {
		return "", errFrame
	}
	n := uint64(head[1])
	var long [8]byte
	switch n {
	case 126:
		if _, err := io.ReadFull(r, long[:2]); err != nil {
			return "", err
		}
		n = uint64(binary.BigEndian.Uint16(long[:2]))
	case 127:
		if _, err := io.ReadFull(r, long[:]); err != nil {
			return "", err
		}
		n = binary.BigEndian.Uint64(long[:])
	}
	var text strings.Builder
	_, err := io.CopyN(&text, r, int64(n))
	return text.String(), err
}

// frameOf is a client's text frame. It is masked, as it must be: with zeros, which change nothing.
func frameOf(text string) []byte {
	const masked = 0x80
	f := []byte{0x81}
	switch n := len(text); {
	case n < 126:
		f = append(f, masked|byte(n))
	default:
		f = append(f, masked|126)
		f = binary.BigEndian.AppendUint16(f, uint16(n))
	}
	f = append(f, 0, 0, 0, 0)
	return append(f, text...)
}
