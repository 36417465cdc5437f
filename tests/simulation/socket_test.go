package simulation_test

import (
	"net/http"
	"sync"
	"time"
)

// A carrier is a transport of Engine.IO.
type carrier interface {
	read(arrived func(text string) bool) // until that is false, or the end
	write(text string)                   // does not wait
	cut()                                // with all that is on its way
	wrote(text string) bool              // by the server, whether it has arrived or not
}

// A socket is one connection of a client. One goroutine reads; it answers pings, sends CONNECT, and puts all else where the driver
// finds it.
type socket struct {
	carrier carrier
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

func openSocket(h http.Handler, polls bool, buffer int, connect string, m *mutant) *socket {
	s := &socket{connect: connect, mutant: m, readCut: -1, writeCut: -1}
	s.resumed = sync.NewCond(&s.mu)
	if polls {
		s.carrier = openPolling(h, &s.work)
	} else {
		s.carrier = openWebSocket(h, buffer, &s.work)
	}
	s.work.Go(s.readAll)
	return s
}

func (s *socket) readAll() {
	s.carrier.read(s.arrived)
	s.carrier.cut()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
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
	case text == "" || text[0] == '1':
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
		s.carrier.cut()
		return
	}
	if s.writeCut > 0 {
		s.writeCut--
	}
	s.carrier.write(text)
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
	s.carrier.cut()
	s.stall(false)
}
