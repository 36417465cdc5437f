package nodewire

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf16"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

// streams is the wire of @socket.io/redis-streams-adapter: what lasts goes by streams, requests and answers by PUB/SUB.
type streams struct{ b *Bridge }

// Types of its messages.
const (
	kindBroadcast  = 3
	kindJoin       = 4
	kindLeave      = 5
	kindDisconnect = 6
	kindFetch      = 7
	kindFetched    = 8
	kindServerSide = 9
	kindAnswered   = 10
	kindCount      = 11
	kindAck        = 12
)

const (
	readCount = 100
	readBlock = time.Second // a blocked read does not end before
)

func (s *streams) channel(namespace string) string { return s.b.key + "#" + namespace + "#" }

func (s *streams) private(namespace, uid string) string { return s.channel(namespace) + uid + "#" }

func (s *streams) countChannel(namespace string) string { return s.channel(namespace) }

func (s *streams) start() error {
	var channels []string
	for _, ns := range s.b.hub.Namespaces() {
		channels = append(channels, s.channel(ns), s.private(ns, s.b.uid))
	}
	s.b.listen(channels, nil, func(channel string, data []byte) {
		if err := s.message(data); err != nil {
			s.b.invalid(err, channel, data)
		}
	})
	for i := range s.b.streams {
		name := s.streamOf(i)
		s.b.work.Go(func() { s.read(name) })
	}
	return nil
}

func (s *streams) streamOf(i int) string {
	if s.b.streams == 1 {
		return s.b.key
	}
	return s.b.key + "-" + strconv.Itoa(i)
}

// hash is the one of Node's adapter, over UTF-16 units.
func hash(text string) (h int32) {
	for _, unit := range utf16.Encode([]rune(text)) {
		h = h*31 + int32(unit)
	}
	return h
}

// stream is where a namespace's messages go; see WithStreamCount.
func (s *streams) stream(namespace string) string {
	n := int32(s.b.streams)
	return s.streamOf(int((hash(namespace)%n + n) % n))
}

// read reads a stream until the Bridge's life ends.
func (s *streams) read(name string) {
	b := s.b
	last, doubt := "", true // where it is; and whether that is still so
	for away := false; b.life.Err() == nil; {
		var err error
		if doubt {
			last, err = s.resume(name, last)
		}
		var got []redis.XStream
		if err == nil {
			doubt = false
			got, err = b.client.XRead(b.life, &redis.XReadArgs{Streams: []string{name, last}, Count: readCount, Block: readBlock}).Result()
		}
		switch {
		case b.life.Err() != nil:
			return
		case errors.Is(err, redis.Nil):
		case err != nil:
			doubt = true
			if !away {
				away = true
				b.log.Warn("nodewire: a stream cannot be read", "stream", name, "error", err)
			}
			b.sleep(retryMost / 4)
			continue
		}
		if away {
			away = false
			b.log.Info("nodewire: a stream is read again", "stream", name, "after", last)
		}
		for i := range got {
			for _, e := range got[i].Messages {
				last = e.ID
				s.entry(e.ID, e.Values)
			}
		}
	}
}

// resume is after which entry to read on: last, or the stream's own end where last is not known, or beyond it, as after the loss of Redis's data.
func (s *streams) resume(name, last string) (string, error) {
	ends, err := s.b.client.XRevRangeN(s.b.life, name, "+", "-", 1).Result()
	if err != nil {
		return last, err
	}
	end := "0-0"
	if len(ends) > 0 {
		end = ends[0].ID
	}
	if last == "" || idBefore(end, last) {
		return end, nil
	}
	firsts, err := s.b.client.XRangeN(s.b.life, name, "-", "+", 1).Result()
	if err == nil && len(firsts) > 0 && last != "0-0" && idBefore(last, firsts[0].ID) {
		s.b.log.Warn("nodewire: entries of a stream were removed before they could be read", "stream", name, "after", last, "before", firsts[0].ID)
	}
	return last, err
}

// idBefore compares ids of entries, which are two numbers with a dash between them.
func idBefore(a, b string) bool {
	a1, a2 := idParts(a)
	b1, b2 := idParts(b)
	return a1 < b1 || a1 == b1 && a2 < b2
}

func idParts(id string) (ms, n uint64) {
	for i := range len(id) {
		if id[i] == '-' {
			ms, _ = strconv.ParseUint(id[:i], 10, 64) // Redis gives no others
			n, _ = strconv.ParseUint(id[i+1:], 10, 64)
		}
	}
	return ms, n
}

// entry takes an entry of a stream. What has no nsp is not ours; nor is a namespace that the Hub does not have.
func (s *streams) entry(id string, values map[string]any) {
	uid, _ := values["uid"].(string)
	ns, _ := values["nsp"].(string)
	if ns == "" || s.b.ours(uid) || !s.known(ns) {
		return
	}
	data, _ := values["data"].(string)
	kind, _ := values["type"].(string)
	if err := s.decodeEntry(ns, kind, data); err != nil {
		s.b.invalid(err, s.b.key+" "+id, []byte(data))
	}
}

func (s *streams) known(namespace string) bool {
	for _, ns := range s.b.hub.Namespaces() {
		if ns == namespace {
			return true
		}
	}
	return false
}

func (s *streams) decodeEntry(ns, kind, data string) error {
	n, err := strconv.Atoi(kind)
	if err != nil {
		return err
	}
	if n < kindBroadcast || n > kindDisconnect { // heartbeats of version 0.2 and the like
		return nil
	}
	raw := []byte(data)
	if len(raw) > 0 && raw[0] != '{' {
		if raw, err = base64.StdEncoding.DecodeString(data); err != nil {
			return err
		}
	}
	var d envelope
	if d.attachments, err = decode(raw, &d); err != nil {
		return err
	}
	return s.durable(ns, n, &d)
}

func (s *streams) durable(ns string, kind int, d *envelope) error {
	if kind == kindBroadcast {
		var p packet
		if err := json.Unmarshal(d.Packet, &p); err != nil {
			return err
		}
		m, err := d.Opts.emit(ns, p.Data, d.attachments)
		if err != nil {
			return err
		}
		return s.b.hub.Told(m)
	}
	kinds := map[int]chat.BridgeKind{kindJoin: chat.BridgeJoin, kindLeave: chat.BridgeLeave, kindDisconnect: chat.BridgeDisconnect}
	if d.Opts == nil {
		return errors.New("nobody is named")
	}
	m := d.Opts.about(kinds[kind], ns)
	m.Names, m.Close = names(d.Rooms), d.Close
	return s.b.hub.Told(m)
}

// message takes what came by PUB/SUB.
func (s *streams) message(data []byte) error {
	var e envelope
	attachments, err := decode(data, &e)
	if err != nil {
		return err
	}
	if !s.known(e.NSP) || e.UID == s.b.uid {
		return nil
	}
	d := envelope{attachments: attachments}
	if len(e.Data) > 0 {
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return err
		}
	}
	if d.RequestID == nil && e.Type != kindServerSide {
		return nil
	}
	switch e.Type {
	case kindCount:
		s.b.calls.asked(*d.RequestID, d.Count)
		return nil
	case kindAck:
		s.b.calls.acked(*d.RequestID, d.Packet, attachments)
		return nil
	}
	if s.b.ours(e.UID) {
		if e.Type == kindBroadcast { // the asker counts all servers
			s.respond(&e, kindCount, *d.RequestID, `"clientCount":0`, nil)
		}
		return nil
	}
	return s.serve(&e, &d)
}

func (s *streams) serve(e *envelope, d *envelope) error {
	switch e.Type {
	case kindFetch:
		m := d.Opts.about(0, e.NSP)
		s.respond(e, kindFetched, *d.RequestID, `"sockets":`+string(mustJSON(s.b.socketsOf(e.NSP, m.Rooms, m.Except))), nil)
	case kindServerSide:
		return s.serverSide(e, d)
	case kindBroadcast:
		return s.broadcast(e, d)
	}
	return nil
}

func (s *streams) serverSide(e *envelope, d *envelope) error {
	var data []json.RawMessage
	if err := json.Unmarshal(d.Packet, &data); err != nil {
		return err
	}
	m, err := (*target)(nil).emit(e.NSP, data, d.attachments)
	if err != nil {
		return err
	}
	if d.RequestID == nil {
		s.b.serverSide(m, nil)
		return nil
	}
	s.b.serverSide(m, func(value []byte) { s.respond(e, kindAnswered, *d.RequestID, `"packet":`+string(value), nil) })
	return nil
}

func (s *streams) broadcast(e *envelope, d *envelope) error {
	asked := func(n int) { s.respond(e, kindCount, *d.RequestID, `"clientCount":`+strconv.Itoa(n), nil) }
	var p packet
	err := json.Unmarshal(d.Packet, &p)
	var m *chat.BridgeMessage
	if err == nil {
		m, err = d.Opts.emit(e.NSP, p.Data, d.attachments)
	}
	if err != nil {
		asked(0)
		return err
	}
	s.b.callHere(m, d.Opts, asked, func(args chat.BridgeArgs) {
		value, attachments := firstOf(args)
		s.respond(e, kindAck, *d.RequestID, `"packet":`+string(value), attachments)
	})
	return nil
}

// respond sends an answer to the asker; member is what its data has beside the request's id.
func (s *streams) respond(e *envelope, kind int, id, member string, attachments [][]byte) {
	data := fmt.Appendf(nil, `{"requestId":%s,%s}`, mustJSON(id), member)
	payload, err := toMsgpack(s.whole(e.NSP, kind, data), attachments)
	if err != nil {
		s.b.invalid(err, "an answer", data)
		return
	}
	s.b.reply(s.private(e.NSP, e.UID), payload)
}

// whole is a message as PUB/SUB has it.
func (s *streams) whole(namespace string, kind int, data []byte) []byte {
	return fmt.Appendf(nil, `{"uid":%s,"nsp":%s,"type":%d,"data":%s}`, mustJSON(s.b.uid), mustJSON(namespace), kind, data)
}

func (s *streams) encode(m *chat.BridgeMessage) (command, error) {
	c := command{stream: s.stream(m.Namespace), ns: m.Namespace}
	opts := appendTarget([]byte(`{"opts":`), m, 0)
	kind := kindBroadcast
	switch m.Kind {
	case chat.BridgeJoin, chat.BridgeLeave:
		kind = kindJoin
		if m.Kind == chat.BridgeLeave {
			kind = kindLeave
		}
		c.payload = append(appendNames(append(opts, `,"rooms":`...), m.Names), '}')
	case chat.BridgeDisconnect:
		kind = kindDisconnect
		c.payload = fmt.Appendf(opts, `,"close":%t}`, m.Close)
	default:
		text := append(s.packet(opts, m), '}')
		if len(m.Args.Attachments) == 0 {
			c.payload = text
			break
		}
		packed, err := toMsgpack(text, m.Args.Attachments)
		if err != nil {
			return c, err
		}
		c.payload = base64.StdEncoding.AppendEncode(nil, packed)
	}
	c.kind = strconv.Itoa(kind)
	return c, nil
}

func (s *streams) packet(dst []byte, m *chat.BridgeMessage) []byte {
	return append(appendData(append(dst, `,"packet":{"type":2,"data":`...), m), '}')
}

func (s *streams) ask(id string, m *chat.BridgeMessage, timeout time.Duration) (command, error) {
	data := append(appendTarget(fmt.Appendf(nil, `{"requestId":%s,"opts":`, mustJSON(id)), m, timeout), s.packet(nil, m)...)
	payload, err := toMsgpack(s.whole(m.Namespace, kindBroadcast, append(data, '}')), m.Args.Attachments)
	return command{channel: s.channel(m.Namespace), payload: payload}, err
}
