package faults_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// pollers runs f for both protocols over polling.
func pollers(t *testing.T, f func(t *testing.T, p protocol)) {
	sockets(t, f)
}

func pollOf(c *peer) *pollWire { return c.wire.(*pollWire) }

// A body is what one POST holds.
type body struct {
	name        string
	text        string
	contentType string
	status      int // 200: the connection stays
}

const octets = "application/octet-stream"

var bodies = map[protocol][]body{
	modern: {
		{name: "empty", status: 400},
		{name: "separator alone", text: separator, status: 400},
		{name: "separator at the end", text: "42[\"x\"]" + separator, status: 400},
		{name: "no separator", text: `42["x"]42["y"]`, status: 400},
		{name: "framing of EIO3", text: `7:42["x"]`, status: 400},
		{name: "bad base64", text: "b!!!!", status: 400},
		{name: "base64 cut off", text: "bAAA", status: 400},
		{name: "binary out of turn", text: "bAAAA", status: 400},
		{name: "not UTF-8", text: "42[\"echo\",\"\xff\"]", status: 400},
		{name: "octets", text: "\x00\x01\xff4\x00\xff\xff\x01", contentType: octets, status: 400},
		{name: "octets of zeros", text: strings.Repeat("\x00", 100_000), contentType: octets, status: 400},
		{name: "JSON", text: `{"a":1}`, contentType: "application/json", status: 400},
		{name: "JSONP form", text: "d=42%5B%22x%22%5D", contentType: "application/x-www-form-urlencoded", status: 400},
		{name: "100,000 pongs", text: strings.Repeat("3"+separator, 99_999) + "3", status: 200},
		{name: "100,000 pings", text: strings.Repeat("2"+separator, 99_999) + "2", status: 400},
		{name: "100,000 empty packets", text: strings.Repeat(separator, 100_000), status: 400},
		{name: "100,000 reserved events", text: strings.Repeat(`42["connect"]`[:7]+separator, 100_000) + "6", status: 400},
		{name: "100,000 unknown acks", text: strings.Repeat("431[]"+separator, 100_000) + "6", status: 200},
	},
	legacy: {
		{name: "empty", status: 400},
		{name: "length too short", text: `3:42["x"]`, status: 400},
		{name: "length too long", text: `99:42["x"]`, status: 400},
		{name: "length negative", text: `-1:42["x"]`, status: 400},
		{name: "length giant", text: `999999999999:42["x"]`, status: 400},
		{name: "length 2^63", text: `9223372036854775808:42["x"]`, status: 400},
		{name: "length 2^64+6", text: `18446744073709551623:42["x"]`, status: 400},
		{name: "length of a million digits", text: strings.Repeat("0", 900_000) + `7:42["x"]`, status: 200},
		{name: "length not a number", text: `a:42["x"]`, status: 400},
		{name: "length in hexadecimal", text: `0x7:42["x"]`, status: 400},
		{name: "length missing", text: `:42["x"]`, status: 400},
		{name: "length 0", text: `0:`, status: 400},
		{name: "length alone", text: `7`, status: 400},
		{name: "colon alone", text: `:`, status: 400},
		{name: "length in bytes where it is in UTF-16 units", text: `13:42["echo","é"]`, status: 400},
		{name: "length within a surrogate pair", text: "11:42[\"echo\",\"\U0001f600\"]", status: 400},
		{name: "no length", text: `42["x"]`, status: 400},
		{name: "framing of EIO4", text: `42["x"]` + separator + `42["y"]`, status: 400},
		{name: "bad base64", text: "6:b4!!!!", status: 400},
		{name: "base64 with a bad type", text: "6:b9AAAA", status: 400},
		{name: "binary out of turn", text: "6:b4AAAA", status: 400},
		{name: "not UTF-8", text: "11:42[\"echo\",\"\xff\"]", status: 400},
		{name: "octets of text", text: `7:42["x"]`, contentType: octets, status: 400},
		{name: "octets, bad type", text: "\x02\x01\xff4", contentType: octets, status: 400},
		{name: "octets, no length", text: "\x00\xff4", contentType: octets, status: 400},
		{name: "octets, no end of the length", text: "\x00" + strings.Repeat("\x09", 1000), contentType: octets, status: 400},
		{name: "octets, giant length", text: "\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4", contentType: octets, status: 400},
		{name: "octets, digit 200", text: "\x00\xc8\xff4", contentType: octets, status: 400},
		{name: "octets, binary out of turn", text: "\x01\x02\xff\x04x", contentType: octets, status: 400},
		{name: "octets, binary of a bad type", text: "\x01\x02\xff\x09x", contentType: octets, status: 400},
		{name: "octets of zeros", text: strings.Repeat("\x00", 100_000), contentType: octets, status: 400},
		{name: "100,000 pings", text: strings.Repeat("1:2", 100_000), status: 200},
		{name: "100,000 pongs", text: strings.Repeat("1:3", 100_000), status: 400},
		{name: "100,000 empty packets", text: strings.Repeat("0:", 100_000), status: 400},
		{name: "100,000 unknown acks", text: strings.Repeat("5:431[]", 100_000), status: 200},
	},
}

func TestBodies(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		for _, b := range bodies[p] {
			t.Run(b.name, func(t *testing.T) {
				s.survives(t, uint64(60*mega+16*len(b.text)), func(t *testing.T) {
					c := dial(t, s, p, overPolling)
					defer c.close()
					if b.contentType == "" {
						b.contentType = "text/plain;charset=UTF-8"
					}
					w := pollOf(c)
					status, answer, err := w.do(http.MethodPost, w.url(), b.contentType, strings.NewReader(b.text))
					if err != nil || status != b.status {
						t.Fatalf("status %d %s, %v; want %d", status, answer, err, b.status)
					}
					if status != 200 {
						c.closed(t)
					} else {
						c.alive(t)
					}
				})
			})
		}
	})
}

// zeros is a body that has no end.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	z.n -= n
	return int(n), nil
}

func TestBodyTooLarge(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		for _, announced := range []bool{true, false} {
			t.Run(fmt.Sprintf("announced %v", announced), func(t *testing.T) {
				s := newSite(t)
				s.survives(t, 8*mega, func(t *testing.T) {
					c := dial(t, s, p, overPolling)
					defer c.close()
					status := postGiant(t, s.addr, pollOf(c).url(), announced)
					if status != http.StatusRequestEntityTooLarge {
						t.Errorf("status %d", status)
					}
					c.closed(t)
				})
			})
		}
	})
}

// postGiant sends 20 MB, and reads the answer before the server cuts it off.
func postGiant(t *testing.T, addr, url string, announced bool) int {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r, err := http.NewRequest(http.MethodPost, url, &zeros{20 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if announced {
		r.ContentLength = 20 << 20
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Write(conn) // the server stops reading
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	_ = conn.Close()
	<-done
	return resp.StatusCode
}

// begin sends the head of a request and a part of its body.
func begin(t *testing.T, addr, method, url, part string, length int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	path := url[strings.Index(url, "/socket.io"):]
	_, _ = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", method, path, addr, length, part)
	return conn
}

func TestTwoGets(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, mega, func(t *testing.T) {
			c := dial(t, s, p, overPolling) // a GET waits, or is about to
			defer c.close()
			second := begin(t, s.addr, "GET", pollOf(c).url(), "", 0)
			c.closed(t)
			_ = second.Close()
		})
	})
}

func TestTwoPosts(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, mega, func(t *testing.T) {
			c := dial(t, s, p, overPolling)
			defer c.close()
			first := begin(t, s.addr, "POST", pollOf(c).url(), "4", 100)
			defer func() { _ = first.Close() }()
			// Whichever POST comes second is refused; it may be the one of many that comes after the first's
			// head was read.
			wantSoon(t, "a POST is refused", func() bool {
				status, _, err := pollOf(c).post(encodePayload(p, texts(`42["echo"]`)))
				return err == nil && status == 400
			})
			c.closed(t)
		})
	})
}

func TestOddRequests(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, 2*mega, func(t *testing.T) {
			c := dial(t, s, p, overPolling)
			defer c.close()
			w := pollOf(c)
			for _, method := range []string{"PUT", "DELETE", "PATCH", "HEAD", "TRACE", "BREW"} {
				if status, _, err := w.do(method, w.url(), "", nil); err != nil || status != 400 {
					t.Errorf("%s: status %d, %v", method, status, err)
				}
				if status, _, err := w.do(method, w.base, "", nil); err != nil || status != 400 {
					t.Errorf("%s without sid: status %d, %v", method, status, err)
				}
			}
			for _, c := range []struct{ method, query, code string }{
				{"GET", w.p.query() + "&transport=polling&sid=nobody", `"code":1`},
				{"POST", w.p.query() + "&transport=polling&sid=nobody", `"code":1`},
				{"GET", w.p.query() + "&transport=polling&sid=" + strings.Repeat("x", 10_000), `"code":1`},
				{"GET", w.p.query() + "&transport=websocket&sid=nobody", `"code":1`},
				{"GET", w.p.query(), `"code":0`},
				{"GET", w.p.query() + "&transport=flashsocket", `"code":0`},
				{"GET", w.p.query() + "&transport=", `"code":0`},
				{"POST", w.p.query() + "&transport=polling", `"code":2`},
				{"GET", w.p.query() + "&transport=websocket", `"code":3`},
				{"GET", "transport=polling", `"code":5`},
				{"GET", "EIO=5&transport=polling", `"code":5`},
				{"GET", "EIO=2&transport=polling", `"code":5`},
				{"GET", "EIO=&transport=polling", `"code":5`},
				{"GET", "%zz&EIO=%zz&transport=polling", `"code":5`},
			} {
				status, answer, err := w.do(c.method, "http://"+s.addr+"/socket.io/?"+c.query, "", nil)
				if err != nil || status != 400 || !strings.Contains(answer, c.code) {
					t.Errorf("%s %.80s: status %d %s, %v; want %s", c.method, c.query, status, answer, err, c.code)
				}
			}
			c.alive(t)
		})
	})
}

// A GET that its client gives up ends the session at once, long before the heartbeat.
func TestPollGivenUp(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newSite(t)
		s.survives(t, 2*mega, func(t *testing.T) {
			before := s.hub.Stats().Sessions
			w := newPollWire(s.addr, p)
			defer w.close()
			for quiet := false; !quiet; {
				frames, err := w.read()
				if err != nil {
					t.Fatal(err)
				}
				// A 1.x or 2.x client hears of its own coming last.
				quiet = p == modern || strings.Contains(frames[len(frames)-1].data, "user_joined")
			}
			_ = begin(t, s.addr, "GET", w.url(), "", 0).Close()
			wantSoon(t, "the session is gone", func() bool { return s.hub.Stats().Sessions == before })
		})
	})
}

// A probe that goes no further leaves the session on polling; it ends when a heartbeat is over.
func TestProbeAndSilence(t *testing.T) {
	pollers(t, func(t *testing.T, p protocol) {
		s := newHastySite(t)
		s.survives(t, 4*mega, func(t *testing.T) {
			c := dial(t, s, p, overPolling)
			defer c.close()
			probe := dialWS(t, s.addr, p, c.sid)
			_, _ = probe.write(text4("2probe"))
			if f, err := probe.read(); err != nil || f[0].data != "3probe" {
				t.Fatalf("%v, %v", f, err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = probe.read()
			}()
			for over := false; !over; {
				c.alive(t)
				select {
				case <-ended:
					over = true
				default:
				}
			}
			c.alive(t)
		})
	})
}
