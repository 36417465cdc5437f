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
	"time"
)

// A socket is one connection of a client: WebSocket frames with Engine.IO messages over a link. One goroutine
// reads; it answers pings, sends CONNECT, and puts all else where the driver finds it.
type socket struct {
	l       *link
	connect string // the CONNECT packet
	mutant  *mutant
	work    sync.WaitGroup

	mu       sync.Mutex // guards what follows
	resumed  *sync.Cond
	in       []arrival // what the driver has not taken yet
	ended    bool
	stalled  bool
	readCut  int // frames after which the link is cut; negative: never
	writeCut int
}

// An arrival is a Socket.IO packet and when it came.
type arrival struct {
	at     time.Time
	packet string
}

func openSocket(h http.Handler, buffer int, connect string, m *mutant) *socket {
	s := &socket{l: newLink(buffer), connect: connect, mutant: m, readCut: -1, writeCut: -1}
	s.resumed = sync.NewCond(&s.mu)
	u, _ := url.Parse("http://chat.test/socket.io/?EIO=4&transport=websocket")
	r := &http.Request{
		Method: http.MethodGet, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: u.Host, RequestURI: u.RequestURI(),
		RemoteAddr: "192.0.2.1:1234", Body: http.NoBody, Header: http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
		},
	}
	s.work.Go(func() {
		w := &upgrade{l: s.l, header: http.Header{}}
		if h.ServeHTTP(w, r); w.status != 0 {
			s.l.cut()
		}
	})
	s.work.Go(s.readAll)
	return s
}

func (s *socket) readAll() {
	defer func() {
		s.l.cut()
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
	}()
	r := bufio.NewReaderSize(s.l.down, 512)
	if status, err := http.ReadResponse(r, nil); err != nil || status.StatusCode != http.StatusSwitchingProtocols {
		return
	}
	for {
		text, err := readFrame(r)
		if err != nil || !s.arrived(text) {
			return
		}
	}
}

// arrived takes a frame as soon as the client reads.
func (s *socket) arrived(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.stalled {
		s.resumed.Wait()
	}
	if s.readCut == 0 {
		return false
	}
	if s.readCut > 0 {
		s.readCut--
	}
	switch {
	case text == "":
		return false
	case text[0] == '0':
		s.writeLocked("4" + s.connect)
	case text[0] == '2':
		s.writeLocked("3")
	case text[0] == '4':
		for _, packet := range s.mutant.pass(text[1:]) {
			s.in = append(s.in, arrival{time.Now(), packet})
		}
	}
	return true
}

// send sends a Socket.IO packet, or loses it.
func (s *socket) send(packet string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeLocked("4" + packet)
}

func (s *socket) writeLocked(text string) {
	if s.writeCut == 0 {
		s.l.cut()
		return
	}
	if s.writeCut > 0 {
		s.writeCut--
	}
	_, _ = s.l.up.Write(frameOf(text))
}

// take gives what has come, and whether more may come.
func (s *socket) take() (packets []arrival, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	packets, s.in = s.in, nil
	return packets, !s.ended
}

func (s *socket) stall(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = on
	s.resumed.Broadcast()
}

func (s *socket) cutAfter(read, write int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readCut, s.writeCut = read, write
}

func (s *socket) cut() {
	s.l.cut()
	s.stall(false)
}

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
