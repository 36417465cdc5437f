package faults_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/parleychat/chat"
)

// sockets runs f for both protocols over WebSocket.
func sockets(t *testing.T, f func(t *testing.T, p protocol)) {
	for _, p := range []protocol{modern, legacy} {
		t.Run(p.String(), func(t *testing.T) { f(t, p) })
	}
}

func rawOf(c *peer) *socket { return c.wire.(*socket) }

func TestGiantCountsFromManyClients(t *testing.T) {
	sockets(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, 6*mega, func(t *testing.T) {
			var all []*peer
			for range 20 {
				all = append(all, dial(t, s, p, overWS))
			}
			for _, c := range all {
				c.send(t, text4(`4550000000-["x"]`))
			}
			for _, c := range all {
				c.closed(t)
				c.close()
			}
		})
	})
}

func TestFrameLengths(t *testing.T) {
	for _, c := range []struct {
		name string
		n    uint64
		code int
	}{
		{"2^64-1", math.MaxUint64, 1002},
		{"2^63", 1 << 63, 1002},
		{"2^63-1", math.MaxInt64, 1009},
		{"2^62", 1 << 62, 1009},
		{"2^40", 1 << 40, 1009},
		{"the limit and one", 1_000_001, 1009},
	} {
		t.Run(c.name, func(t *testing.T) {
			sockets(t, func(t *testing.T, p protocol) {
				s := newSite(t)
				s.survives(t, mega, func(t *testing.T) {
					bad := dial(t, s, p, overWS)
					defer bad.close()
					_ = rawOf(bad).raw(append(header(fin|opText, c.n), "42["...))
					bad.closed(t)
					if code := rawOf(bad).closeCode(); code != c.code {
						t.Errorf("close code %d, want %d", code, c.code)
					}
				})
			})
		})
	}
}

func TestGiantMessages(t *testing.T) {
	for _, size := range []uint64{64 << 20, 256 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			sockets(t, func(t *testing.T, p protocol) {
				s := newSite(t)
				s.survives(t, 2*mega, func(t *testing.T) {
					bad := dial(t, s, p, overWS)
					defer bad.close()
					err := rawOf(bad).raw(header(fin|opText, size))
					chunk := bytes.Repeat([]byte("x"), 64<<10)
					for sent := uint64(0); err == nil && sent < size; sent += uint64(len(chunk)) {
						err = rawOf(bad).raw(chunk)
					}
					bad.closed(t)
				})
			})
		})
	}
}

// A message in fragments has no length in its head. One that stays within the limit is waited for until the
// heartbeat fails.
func TestFragmentsWithoutEnd(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 64 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			sockets(t, func(t *testing.T, p protocol) {
				s := newHastySite(t)
				s.survives(t, 8*mega, func(t *testing.T) {
					bad := dial(t, s, p, overWS)
					defer bad.close()
					err := rawOf(bad).raw(wsFrame(opText, "42[\"echo\",\""))
					chunk := bytes.Repeat(wsFrame(opContinuation, strings.Repeat("x", size)), max(1, 64<<10/(size+6)))
					for sent := 0; err == nil && sent < 8*mega; sent += len(chunk) {
						err = rawOf(bad).raw(chunk)
					}
					bad.closed(t)
				})
			})
		})
	}
}

// A message that is begun and not ended is waited for until the heartbeat fails.
func TestFragmentNeverFinished(t *testing.T) {
	sockets(t, func(t *testing.T, p protocol) {
		s := newHastySite(t)
		s.survives(t, mega, func(t *testing.T) {
			bad := dial(t, s, p, overWS)
			defer bad.close()
			_ = rawOf(bad).raw(wsFrame(opText, "42[\"echo\""))
			bad.closed(t)
		})
	})
}

func TestFramesAgainstTheRules(t *testing.T) {
	frames := []struct {
		name string
		data []byte
		code int
	}{
		{"not masked", []byte{fin | opText, 1, '3'}, 1002},
		{"reserved bit", wsFrame(fin|0x40|opText, "3"), 1002},
		{"reserved opcode", wsFrame(fin|3, "3"), 1002},
		{"continuation of nothing", wsFrame(fin|opContinuation, "3"), 1002},
		{"message within a message", append(wsFrame(opText, "42"), wsFrame(fin|opText, "3")...), 1002},
		{"ping in fragments", wsFrame(opPing, "x"), 1002},
		{"ping of 126 bytes", wsFrame(fin|opPing, strings.Repeat("x", 126)), 1002},
		{"close with one byte", wsFrame(fin|opClose, "x"), 1002},
		{"text that is not UTF-8", wsFrame(fin|opText, "42[\"echo\",\"\xff\"]"), 1007},
		{"text cut within a rune", wsFrame(fin|opText, "42[\"echo\",\"\xe2\x82"), 1007},
		{"text of a surrogate", wsFrame(fin|opText, "42[\"echo\",\"\xed\xa0\x80\"]"), 1007},
	}
	sockets(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		for _, c := range frames {
			t.Run(c.name, func(t *testing.T) {
				s.survives(t, mega, func(t *testing.T) {
					bad := dial(t, s, p, overWS)
					defer bad.close()
					_ = rawOf(bad).raw(c.data)
					bad.closed(t)
					if code := rawOf(bad).closeCode(); code != c.code {
						t.Errorf("close code %d, want %d", code, c.code)
					}
				})
			})
		}
	})
}

// Of a client that sends a flood and reads what it gets, it is enough that nobody else suffers; it may be cut off.
func TestFloods(t *testing.T) {
	const many = 200_000 / slow
	floods := []struct {
		name  string
		frame []byte
		n     int
	}{
		{"pings", wsFrame(fin|opText, "2"), many},
		{"pings with data", wsFrame(fin|opText, "2hello"), many},
		{"pongs", wsFrame(fin|opText, "3"), many},
		{"noops", wsFrame(fin|opText, "6"), many},
		{"pings of the WebSocket", wsFrame(fin|opPing, ""), many},
		{"pongs of the WebSocket", wsFrame(fin|opPong, ""), many},
		{"unknown acks", wsFrame(fin|opText, "431[]"), many},
		{"reserved events", wsFrame(fin|opText, `42["connect"]`), many},
		{"unknown events", wsFrame(fin|opText, `42["x"]`), many / 10},
		{"events with acks", wsFrame(fin|opText, `421["echo"]`), many / 10},
		{"connects and disconnects", append(wsFrame(fin|opText, "40/admin,"), wsFrame(fin|opText, "41/admin,")...), many / 20},
	}
	sockets(t, func(t *testing.T, p protocol) {
		for _, flood := range floods {
			t.Run(flood.name, func(t *testing.T) {
				s := newSite(t)
				s.survives(t, 400*mega, func(t *testing.T) {
					bad := dial(t, s, p, overWS)
					defer bad.close()
					var err error
					for sent := 0; err == nil && sent < flood.n; sent += 1000 {
						err = rawOf(bad).raw(bytes.Repeat(flood.frame, 1000))
					}
					// It has been through all of it when it answers, or has been cut off.
					_ = rawOf(bad).raw(wsFrame(fin|opText, `4277["echo","still here"]`))
					wantSoon(t, "an answer or the end", func() bool {
						return bad.in.has(`4377[`) || bad.in.ended() != nil
					})
				})
			})
		}
	})
}

func TestNamespaces(t *testing.T) {
	ways(t, func(t *testing.T, p protocol, w way) {
		s := newSite(t)
		s.survives(t, 100*mega, func(t *testing.T) {
			bad := dial(t, s, p, w)
			defer bad.close()
			for i := 0; i < 20_000; i += 500 {
				var frames []frame
				for j := range 500 {
					frames = append(frames, text4(fmt.Sprintf("40/namespace-%d,", i+j)))
				}
				bad.send(t, frames...)
				bad.expect(t, fmt.Sprintf("44/namespace-%d,", i+499))
				bad.in.clear()
			}
			bad.alive(t)
		})
	})
}

func TestResets(t *testing.T) {
	sockets(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, 4*mega, func(t *testing.T) {
			for i := range 30 {
				bad := dial(t, s, p, overWS)
				bad.send(t, text4(`421["bcast","x"]`))
				_ = rawOf(bad).raw(header(fin|opText, uint64(i*1000)))
				rawOf(bad).reset()
				bad.close()
			}
		})
	})
}

// Sessions that are opened and left end by their timeouts.
func TestSessionsLeft(t *testing.T) {
	s := newHastySite(t, chat.WithRecovery(0, 0))
	s.survives(t, 400*mega, func(t *testing.T) {
		before := s.hub.Stats().Sessions
		for range 300 / 4 {
			for _, p := range []protocol{modern, legacy} {
				dialWS(t, s.addr, p, "")
				left := newPollWire(s.addr, p)
				if _, err := left.read(); err != nil {
					t.Fatal(err)
				}
				left.http.CloseIdleConnections()
			}
		}
		wantSoon(t, "the sessions are gone", func() bool { return s.hub.Stats().Sessions == before })
	})
}
