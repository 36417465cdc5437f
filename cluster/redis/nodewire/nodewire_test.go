package nodewire

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/parleychat/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub records what it is told.
type hub struct {
	mu   sync.Mutex
	told []*chat.BridgeMessage
}

func (h *hub) Namespaces() []string { return []string{"/", "/admin"} }
func (h *hub) Logger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (h *hub) Told(m *chat.BridgeMessage) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, m)
	_, err := m.Args.Decode()
	return err
}

func (h *hub) Called(_ context.Context, m *chat.BridgeMessage, asked func(int), acked func(chat.BridgeArgs)) error {
	asked(1)
	acked(m.Args)
	return nil
}

func (h *hub) Clients(string, []string, []string) []chat.ClientInfo {
	return []chat.ClientInfo{{ID: "sid", UserID: "ann", Rooms: []string{"r"}}}
}
func (h *hub) Rooms(string) []string { return []string{"r"} }

// unstarted is a Bridge that hears of nothing and sends nothing, for what needs no Redis.
func unstarted(t testing.TB, make func(redis.UniversalClient, ...Option) *Bridge) (*Bridge, *hub) {
	h := &hub{}
	b := make(redis.NewClient(&redis.Options{}), OnServerSideEmit(func(context.Context, string, string, chat.Args) (any, error) { return 1, nil }))
	b.hub, b.log = h, h.Logger()
	t.Cleanup(func() {
		b.end()
		b.work.Wait()
		_ = b.client.Close()
	})
	return b, h
}

// sent are the commands that wait, encoded.
func sent(t *testing.T, b *Bridge) (commands []command) {
	t.Helper()
	b.work.Wait()
	for _, it := range b.queue.take() {
		c, err := it.encode(b.dialect)
		if err != nil {
			t.Fatal(err)
		}
		commands = append(commands, c)
	}
	return commands
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// captured is io.emit("ev", 1, "é") of a Node server, as it went through Redis.
const captured = "93 a677646a566957 83 a474797065 02 a464617461 93 a26576 01 a2c3a9 a36e7370 a12f 83 a5726f6f6d73 90 a6657863657074 90 a5666c616773 80"

func TestCapturedBroadcast(t *testing.T) {
	t.Parallel()
	b, h := unstarted(t, Adapter)
	b.dialect.(*adapter).event("socket.io#/#", unhex(t, captured))
	if len(h.told) != 1 || h.told[0].Event != "ev" || string(h.told[0].Args.JSON) != `1,"é"` || h.told[0].Namespace != "/" {
		t.Errorf("told %+v", h.told)
	}
	b.uid = "wdjViW"
	b.Tell(&chat.BridgeMessage{Kind: chat.BridgeEmit, Namespace: "/", Event: "ev", Args: chat.BridgeArgs{JSON: []byte(`1,"é"`)}})
	c := sent(t, b)[0]
	if want := unhex(t, captured); !bytes.Equal(c.payload, want) || c.channel != "socket.io#/#" {
		t.Errorf("%s\n got %x\nwant %x", c.channel, c.payload, want)
	}
}

func TestToJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"c0": "null", "c2": "false", "c3": "true", "ff": "-1", "7f": "127", "cc ff": "255", "d1 ff00": "-256",
		"cf ffffffffffffffff": "18446744073709551615", "d3 8000000000000000": "-9223372036854775808",
		"cb 3ff8000000000000": "1.5", "ca 3fc00000": "1.5", "cb 7ff8000000000000": "null", "cb fff0000000000000": "null",
		"a3 22ff0a": `"\"\ufffd\n"`, "92 01 c4 02 0102": `[1,{"_placeholder":true,"num":0}]`,
		"82 a17a 01 a161 90": `{"z":1,"a":[]}`, "81 05 01": `{"5":1}`,
		"d6 ff 00000001": `"1970-01-01T00:00:01.000Z"`, "d7 ff 0ee6b280 00000001": `"1970-01-01T00:00:01.062Z"`,
		"c7 0c ff 00000000 ffffffffffffffff": `"1969-12-31T23:59:59.000Z"`, "d7 00 00000000000003e8": `"1970-01-01T00:00:01.000Z"`,
		"c7 0c ff 00000000 7fffffffffffffff": "null", "d4 00 00": "null", "c7 03 00 010203": `{"_placeholder":true,"num":0}`,
	} {
		if got, _, err := toJSON(unhex(t, in)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "c1", "92 01", "a5 00", "c6 ffffffff 00", "dd ffffffff", "df ffffffff", "01 01", "81 90 01", "d4 05 00", "c7 05 ff 0000000000"} {
		if got, _, err := toJSON(unhex(t, in)); err == nil {
			t.Errorf("%s: %s without an error", in, got)
		}
	}
	if _, _, err := toJSON(append(bytes.Repeat([]byte{0x91}, depthMost+1), 0x01)); err != errDepth {
		t.Errorf("too deep: %v", err)
	}
}

func TestToMsgpack(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"null": "c0", "1e2": "64", "1.5": "cb3ff8000000000000", "9007199254740993": "cf0020000000000000", "1152921504606846976": "cb43b0000000000000", "1e999": "cb7ff0000000000000", "-129": "d1ff7f",
		`[[],{}]`: "929080", `{"_placeholder":true,"num":0}`: "c4020102", `{"num":0,"_placeholder":true}`: "c4020102",
		`{"_placeholder":true,"num":1}`:         "82ac5f706c616365686f6c646572c3a36e756d01",
		`{"_placeholder":true,"num":0,"x":1}`:   "83ac5f706c616365686f6c646572c3a36e756d00a17801",
		`{"_placeholder":false,"num":0}`:        "82ac5f706c616365686f6c646572c2a36e756d00",
		"[" + strings.Repeat("1,", 15) + "1]":   "dd00000010" + strings.Repeat("01", 16),
		"[" + strings.Repeat("1,", 14) + "[2]]": "9f" + strings.Repeat("01", 14) + "9102",
	} {
		if got, err := toMsgpack([]byte(in), [][]byte{{1, 2}}); err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: %x, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "[", `{"a":}`, "1 2", "[1}", strings.Repeat("[", depthMost+2)} {
		if got, err := toMsgpack([]byte(in), nil); err == nil {
			t.Errorf("%s: %x without an error", in, got)
		}
	}
}

func TestOwnGroupIsNotHeard(t *testing.T) {
	t.Parallel()
	b, h := unstarted(t, Adapter)
	a := b.dialect.(*adapter)
	other := b.groupPrefix() + "other"
	event, _ := toMsgpack([]byte(`["`+other+`",{"type":2,"data":["ev"],"nsp":"/"},{"rooms":[],"except":[],"flags":{}}]`), nil)
	a.event("socket.io#/#", event)
	a.request("/", []byte(`{"uid":"`+other+`","type":2,"opts":{"rooms":[],"except":[]},"rooms":["x"]}`))
	a.request("/", []byte(`{"uid":"`+b.uid+`","requestId":"1","type":7,"packet":{"data":["ev"]},"opts":{"rooms":[]}}`))
	if len(h.told) != 0 || len(sent(t, b)) != 0 {
		t.Errorf("heard: %+v", h.told)
	}
	a.request("/", []byte(`{"uid":"`+other+`","requestId":"1","type":7,"packet":{"data":["ev"]},"opts":{"rooms":[]}}`))
	if got := sent(t, b); len(got) != 1 || string(got[0].payload) != `{"type":8,"requestId":"1","clientCount":0}` {
		t.Errorf("the asker counts this one too: %+v", got)
	}
}

func TestRequestsOfOldServers(t *testing.T) {
	t.Parallel()
	b, h := unstarted(t, Adapter)
	b.dialect.(*adapter).request("/", []byte(`{"type":2,"sid":"sid","room":7,"requestId":"1"}`))
	got := sent(t, b)
	if len(h.told) != 1 || h.told[0].Kind != chat.BridgeJoin || h.told[0].Names[0] != "7" || len(got) != 1 || string(got[0].payload) != `{"requestId":"1"}` {
		t.Errorf("told %+v, sent %+v", h.told, got)
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	b, _ := unstarted(t, Streams)
	big := &chat.BridgeMessage{Kind: chat.BridgeEmit, Namespace: "/", Event: "ev", Args: chat.BridgeArgs{JSON: make([]byte, queueMost/4)}}
	for range 6 {
		b.Tell(big)
	}
	if n := b.Dropped(); n != 3 {
		t.Errorf("dropped %d", n)
	}
	if batch := b.queue.take(); len(batch) != 1 {
		t.Errorf("a batch of %d", len(batch))
	}
	b.Tell(big)
	if n := b.Dropped(); n != 3 {
		t.Errorf("dropped %d though there is room again", n)
	}
}

func TestCallsCount(t *testing.T) {
	t.Parallel()
	var c calls
	c.init()
	k := &call{servers: 2, done: make(chan struct{})}
	c.open["1"] = k
	c.acked("1", json.RawMessage("1"), nil) // may come before the count
	c.asked("1", 1)
	c.asked("2", 9)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k2 := *k
	if acks, silent, err := c.wait(ctx, t.Context(), "1", &k2); len(acks) != 1 || silent != 0 || err == nil {
		t.Errorf("one server is missing: %v %d %v", acks, silent, err)
	}
	c.open["1"] = k
	c.asked("1", 2)
	c.acked("1", json.RawMessage("2"), nil)
	select {
	case <-k.done:
		t.Error("complete, with a client that has not answered")
	default:
	}
	c.acked("1", json.RawMessage("3"), nil)
	if acks, silent, err := c.wait(t.Context(), t.Context(), "1", k); len(acks) != 3 || silent != 0 || err != nil {
		t.Errorf("%v %d %v", acks, silent, err)
	}
}

func TestStreamOfANamespace(t *testing.T) {
	t.Parallel()
	b, _ := unstarted(t, func(c redis.UniversalClient, opts ...Option) *Bridge {
		return Streams(c, append(opts, WithStreamCount(4))...)
	})
	s := b.dialect.(*streams)
	for text, want := range map[string]int32{"/": 47, "/admin": 1438238848, "polygenelubricants": -2147483648} {
		if got := hash(text); got != want {
			t.Errorf("hash of %s: %d", text, got)
		}
		if name := s.stream(text); !slices.Contains([]string{"socket.io-0", "socket.io-1", "socket.io-2", "socket.io-3"}, name) {
			t.Errorf("stream %s", name)
		}
	}
}

func TestAckTimeout(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string]time.Duration{`{}`: defaultTimeout, `{"timeout":1500}`: 1500 * time.Millisecond, `{"timeout":"x"}`: defaultTimeout, `{"timeout":1e300}`: timeoutMost} {
		var g target
		if err := json.Unmarshal([]byte(`{"flags":`+flags+`}`), &g); err != nil || g.ackTimeout() != want {
			t.Errorf("%s: %v, %v", flags, g.ackTimeout(), err)
		}
	}
}

// FuzzWire: whatever comes from Redis neither panics nor reaches the Hub with arguments that it cannot take, and what is sent can be read.
func FuzzWire(f *testing.F) {
	f.Add(unhex(f, captured))
	for _, text := range []string{
		`{"uid":"u","requestId":"1","type":5,"opts":{"rooms":["r"],"except":[]}}`, `{"uid":"u","type":6,"data":["ev",1],"requestId":"1"}`, `{"type":1,"requestId":"1"}`,
		`{"uid":"u","type":4,"opts":{"rooms":[1]},"close":true}`, `{"uid":"u","nsp":"/","type":3,"data":{"requestId":"1","opts":{},"packet":{"type":2,"data":["ev"]}}}`,
		`{"uid":"u","requestId":"1","type":7,"packet":{"data":["ev",{}]},"opts":{"rooms":[],"flags":{"timeout":5}}}`, `{"packet":{"data":["ev"]},"opts":{"rooms":["r"]}}`,
	} {
		f.Add([]byte(text))
		if packed, err := toMsgpack([]byte(text), nil); err == nil {
			f.Add(packed)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, make := range []func(redis.UniversalClient, ...Option) *Bridge{Adapter, Streams} {
			b, h := unstarted(t, make)
			switch d := b.dialect.(type) {
			case *adapter:
				d.event("socket.io#/#", data)
				d.request("/", data)
				d.response("/", data)
			case *streams:
				_ = d.message(data)
				for _, kind := range []string{"3", "4", "6"} {
					d.entry("1-1", map[string]any{"nsp": "/", "uid": "u", "type": kind, "data": string(data)})
					d.entry("1-1", map[string]any{"nsp": "/", "uid": "u", "type": kind, "data": base64.StdEncoding.EncodeToString(data)})
				}
			}
			for _, c := range sent(t, b) {
				var v any
				if _, err := decode(c.payload, &v); err != nil {
					t.Errorf("sent %q: %v", c.payload, err)
				}
			}
			for _, m := range h.told {
				if args, err := m.Args.Decode(); err == nil {
					_ = args.Values()
				}
			}
		}
	})
}

// FuzzTranscode: what goes to MessagePack and back is the same value.
func FuzzTranscode(f *testing.F) {
	f.Add([]byte(`[1,"é",{"a":[{"_placeholder":true,"num":0}]},1.5,null]`), []byte{1, 2})
	f.Fuzz(func(t *testing.T, text, attachment []byte) {
		packed, err := toMsgpack(text, [][]byte{attachment})
		if err != nil {
			return
		}
		back, attachments, err := toJSON(packed)
		if err != nil {
			t.Fatalf("%s: %x: %v", text, packed, err)
		}
		again, err := toMsgpack(back, attachments)
		if err != nil || len(attachments) < 2 && !bytes.Contains(text, []byte("_placeholder")) && !bytes.Contains(back, []byte("null")) && !bytes.Equal(again, packed) {
			t.Fatalf("%s became %s: %x, %x, %v", text, back, packed, again, err)
		}
	})
}
