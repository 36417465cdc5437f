package faults_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// Session ids cannot be guessed: they have nothing in common beyond what chance gives.
func TestSessionIDs(t *testing.T) {
	ways(t, func(t *testing.T, p protocol, w way) {
		s := newEmptySite(t)
		var ids []string
		seen := map[string]bool{}
		for range 50 {
			c := open(t, s, p, w)
			ids = append(ids, c.sid)
			seen[c.sid] = true
			c.close()
		}
		if len(seen) != len(ids) {
			t.Fatal("an id was given twice")
		}
		alphabet := map[rune]bool{}
		for i, id := range ids {
			if len(id) < 20 {
				t.Fatalf("id %q holds too little", id)
			}
			for j := range i {
				same := 0
				for k := range min(len(id), len(ids[j])) {
					if id[k] == ids[j][k] {
						same++
					}
				}
				if same > 10 { // of 20, by chance 0.3
					t.Errorf("ids %q and %q are alike", id, ids[j])
				}
			}
			for _, r := range id {
				alphabet[r] = true
			}
		}
		if bits := math.Log2(float64(len(alphabet))) * 20; bits < 110 {
			t.Errorf("%.0f bits at most in an id", bits)
		}
	})
}

// The sid of the events is public. With 1.x and 2.x clients it must not be the transport's, which is a secret.
func TestPublicIDOpensNothing(t *testing.T) {
	ways(t, func(t *testing.T, p protocol, w way) {
		s := newSite(t)
		victim := dial(t, s, p, w)
		victim.send(t, text4(`421["chat_message","hello"]`))
		entry := victim.expect(t, `431[`).data
		public := sidOf(entry)
		if public == "" || public == victim.sid {
			t.Fatalf("transport %q, public %q in %s", victim.sid, public, entry)
		}
		for _, sid := range []string{public, "1", "0", "2"} {
			for _, transport := range []string{"polling", "websocket"} {
				resp, err := http.Get("http://" + s.addr + "/socket.io/?" + p.query() + "&transport=" + transport + "&sid=" + sid)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != 400 {
					t.Errorf("%s with %q: status %d", transport, sid, resp.StatusCode)
				}
			}
		}
		http.DefaultClient.CloseIdleConnections()
		victim.alive(t)
	})
}

func TestJSONPRefused(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, mega, func(t *testing.T) {
			c := dial(t, s, p, overPolling)
			defer c.close()
			w := pollOf(c)
			for _, url := range []string{w.base, w.url()} {
				for _, method := range []string{"GET", "POST"} {
					for _, j := range []string{"0", "", "alert(1)//", "</script><script>alert(1)"} {
						status, answer, err := w.do(method, url+"&j="+strings.ReplaceAll(j, " ", "+"), "", nil)
						if err != nil || status != 400 || strings.Contains(answer, "___eio") || strings.Contains(answer, "alert") {
							t.Errorf("%s j=%q: status %d, %q, %v", method, j, status, answer, err)
						}
					}
				}
			}
			c.alive(t)
		})
	})
}

// Text is text whatever its alphabet: lengths are in UTF-16 units, and 1.x encodes once more than 2.x.
func TestTextBeyondASCII(t *testing.T) {
	const want = "\u00e9 \u00df \u20ac \u65e5\u672c\u8a9e \U0001f600 \u05e2\u05d1 \u0000 \u2028 \u200d"
	ways(t, func(t *testing.T, p protocol, w way) {
		s := newSite(t)
		s.survives(t, 2*mega, func(t *testing.T) {
			c := dial(t, s, p, w)
			defer c.close()
			text := strings.ReplaceAll(want, "\u0000", `\u0000`)
			c.send(t, text4(`421["chat_message",{"room":"lobby","text":"`+text+`"}]`), text4(`422["echo","`+text+`"]`))
			for _, got := range []string{
				c.expect(t, `432[`).data[len(`432[`):],
				jsonOf(s.near.expect(t, `42["new_message"`).data),
				jsonOf(s.far.expect(t, `42["new_message"`).data),
			} {
				if unquoted := unescape(t, got); !strings.Contains(unquoted, want) {
					t.Errorf("got %q, which does not hold %q", unquoted, want)
				}
			}
			s.near.in.clear()
			s.far.in.clear()
		})
	})
}

func TestEncodedTwice(t *testing.T) {
	s := newSite(t)
	c := dial(t, s, legacy, overPolling)
	twice := func(text string) string {
		var b strings.Builder
		for _, c := range []byte(text) {
			b.WriteRune(rune(c))
		}
		return b.String()
	}
	packet := twice(`421["echo","é 日本 😀"]`)
	if status, _, err := pollOf(c).post(encodePayload(legacy, texts(packet))); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	if got := unescape(t, c.expect(t, "431[").data[4:]); got != "é 日本 😀" {
		t.Errorf("got %q", got)
	}
}

// The open packet of a 1.x or 2.x client is text, whether or not it asks for b64.
func TestOpenPacketIsText(t *testing.T) {
	s := newSite(t)
	for _, query := range []string{"", "&b64=1", "&b64=0"} {
		w := newPollWire(s.addr, legacy)
		_, answer, err := w.do("GET", "http://"+s.addr+"/socket.io/?EIO=3&transport=polling"+query, "", nil)
		if frames, bad := decodePayload(legacy, answer); err != nil || bad != nil || !strings.HasPrefix(frames[0].data, `0{"sid":"`) {
			t.Errorf("%q: %.100q, %v", query, answer, err)
		} else {
			w.sid.Store(sidOf(frames[0].data))
		}
		w.close()
	}
}

// EIO=4 makes a session of version 4 and nothing else.
func TestVersions(t *testing.T) {
	s := newSite(t)
	modern, legacy := open(t, s, modern, overPolling), open(t, s, legacy, overPolling)
	legacy.expect(t, "40") // unasked
	modern.send(t, text4("40"))
	if got := modern.expect(t, "40").data; !strings.HasPrefix(got, `40{"sid":"`) {
		t.Errorf("CONNECT answered %q", got)
	}
}

// Messages both ways while clients change from polling to WebSocket: none is lost, doubled or out of order,
// and no session ends.
func TestUpgradesUnderMessages(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, 60*mega, func(t *testing.T) {
			for range 25 {
				upgradeUnderMessages(t, s, p)
			}
		})
	})
}

// emitTicks emits to all, as fast as a bystander takes it.
func emitTicks(s *site, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			_ = s.hub.Room("lobby").Emit("tick", "last")
			return
		default:
		}
		_ = s.hub.Room("lobby").Emit("tick", i)
		want := fmt.Sprintf(`42["tick",%d,`, i)
		_, _ = s.near.in.wait(func(f frame) bool { return strings.HasPrefix(f.data, want) })
		s.near.in.clear()
	}
}

func upgradeUnderMessages(t *testing.T, s *site, p protocol) {
	const before, during, after = 5, 15, 10
	c := dial(t, s, p, overPolling)
	defer c.close()
	stop := make(chan struct{})
	var emitting sync.WaitGroup
	emitting.Go(func() { emitTicks(s, stop) })
	post := func(from, to int) {
		for i := from; i < to; i++ {
			c.send(t, text4(fmt.Sprintf(`42%d["echo",%d]`, 1000+i, i)))
		}
	}
	post(0, before)
	probe := dialWS(t, s.addr, p, c.sid)
	_, _ = probe.write(text4("2probe"))
	if f, err := probe.read(); err != nil || f[0].data != "3probe" {
		t.Fatalf("probe: %v, %v", f, err)
	}
	post(before, during)
	// As the client does: the poll that is out must come back before it says "upgrade".
	old := c.wire
	pollOf(c).pause()
	c.work.Wait()
	c.wire = probe
	_, _ = probe.write(text4("5"))
	c.in.resume()
	c.work.Go(c.readAll)
	defer func() { old.(*pollWire).cancel(); old.(*pollWire).http.CloseIdleConnections() }()
	for i := during; i < during+after; i++ {
		c.send(t, text4(fmt.Sprintf(`42%d["echo",%d]`, 1000+i, i)))
	}
	close(stop)
	emitting.Wait()
	c.expect(t, `42["tick","last"`)
	c.alive(t)
	next, tick := 0, -1
	for _, f := range c.in.take() {
		var id, n int
		if k, _ := fmt.Sscanf(f.data, `43%d[%d]`, &id, &n); k == 2 {
			if n != next || id != 1000+n {
				t.Errorf("ack %q, want that of %d", f.data, next)
			}
			next = n + 1
		}
		if k, _ := fmt.Sscanf(f.data, `42["tick",%d`, &n); k == 1 {
			if tick >= 0 && n != tick+1 {
				t.Errorf("tick %d after %d", n, tick)
			}
			tick = n
		}
	}
	if next != during+after {
		t.Errorf("%d acks of %d", next, during+after)
	}
	s.near.in.clear()
	s.far.in.clear()
}

// A member that does not read holds nobody up: the rest of the room gets everything, and it is cut off when
// its outbox is full.
func TestPausedReader(t *testing.T) {
	sockets(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		before := s.hub.Stats()
		stuck := dialWS(t, s.addr, p, "") // nobody reads it
		if p == modern {
			_, _ = stuck.write(text4("40"))
		}
		wantSoon(t, "it is in", func() bool { return s.hub.Stats().Clients > before.Clients })
		long := strings.Repeat("x", 8000)
		// Once its outbox is full it has a second to take what it is told last.
		for i, start := 0, time.Now(); s.hub.Stats().Evicted["slow consumer"] == before.Evicted["slow consumer"]; i++ {
			begun := time.Now()
			if i > 5000 && begun.Sub(start) > patience {
				t.Fatalf("%d MB, and it is still there", i*len(long)>>20)
			}
			if err := s.hub.Room("lobby").Emit("news", i, long); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(begun); d > 5*time.Second {
				t.Fatalf("an emit took %v", d)
			}
			want := fmt.Sprintf(`42["news",%d,`, i)
			s.near.expect(t, want)
			s.far.expect(t, want)
			s.near.in.clear()
			s.far.in.clear()
		}
		s.exchange(t)
		wantSoon(t, "it is gone", func() bool { return s.hub.Stats().Sessions == before.Sessions })
	})
}

// Shutdown while clients connect, again and again, and with whatever they are at.
func TestShutdownWhileConnecting(t *testing.T) {
	ways(t, func(t *testing.T, p protocol, w way) {
		rounds := 20
		if w == overPolling {
			rounds = 2 // a session whose client does not ask takes a second to close
		}
		for range rounds {
			hub, err := chat.New(append(handlers(), chat.WithRooms("lobby"), chat.WithLogger(discard))...)
			if err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewServer(hub)
			var clients sync.WaitGroup
			for i := range 8 {
				clients.Go(func() { connectAgain(srv.Listener.Addr().String(), p, w, i) })
			}
			wantSoon(t, "somebody is in", func() bool { return hub.Stats().Clients > 0 })
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if err := hub.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			if n := hub.Stats().Sessions; n != 0 {
				t.Errorf("%d sessions left", n)
			}
			clients.Wait()
			srv.Close()
		}
	})
}

// connectAgain connects until it is refused.
func connectAgain(addr string, p protocol, w way, n int) {
	for {
		var c wire
		if w == overPolling {
			c = newPollWire(addr, p)
		} else {
			ws, resp, err := tryWS(addr, p.query(), "")
			if err != nil {
				return
			}
			if resp.StatusCode != http.StatusSwitchingProtocols {
				ws.close()
				return
			}
			ws.p = p
			c = ws
		}
		_, err := c.read()
		if err == nil && n%2 == 0 {
			_, _ = c.write(texts("40", `421["echo"]`)...)
			_, _ = c.read()
		}
		if poll, ok := c.(*pollWire); ok && n%3 == 0 {
			poll.cancel()
		}
		c.close()
		if err != nil && w == overPolling {
			return
		}
	}
}

func jsonOf(packet string) string { return packet[strings.Index(packet, "["):] }
