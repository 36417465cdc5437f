package nodewire

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/parleychat/chat"
)

// adapter is the wire of @socket.io/redis-adapter.
type adapter struct{ b *Bridge }

// Types of its requests.
const (
	typeSockets = iota
	typeAllRooms
	typeJoin
	typeLeave
	typeDisconnect
	typeFetch
	typeServerSide
	typeBroadcast
	typeCount
	typeAck
)

func (a *adapter) requests(namespace string) string  { return a.b.key + "-request#" + namespace + "#" }
func (a *adapter) responses(namespace string) string { return a.b.key + "-response#" + namespace + "#" }
func (a *adapter) events(namespace string) string    { return a.b.key + "#" + namespace + "#" }

func (a *adapter) countChannel(namespace string) string { return a.requests(namespace) }

func (a *adapter) start() error {
	if a.b.streams != 1 {
		return fmt.Errorf("nodewire: WithStreamCount is an option of Streams")
	}
	var channels, patterns []string
	handlers := map[string]func(data []byte){}
	for _, ns := range a.b.hub.Namespaces() {
		handlers[a.requests(ns)] = func(data []byte) { a.request(ns, data) }
		handlers[a.responses(ns)] = func(data []byte) { a.response(ns, data) }
		handlers[a.responses(ns)+a.b.uid+"#"] = handlers[a.responses(ns)]
		channels = append(channels, a.requests(ns), a.responses(ns), a.responses(ns)+a.b.uid+"#")
		patterns = append(patterns, globEscape(a.events(ns))+"*")
	}
	a.b.listen(channels, patterns, func(channel string, data []byte) {
		if f := handlers[channel]; f != nil {
			f(data)
			return
		}
		a.event(channel, data)
	})
	return nil
}

// globEscape makes a pattern that is this very text.
func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// event takes a broadcast: [uid, packet, opts]. Its namespace is the packet's, since one's name may be the beginning of another's channel.
func (a *adapter) event(channel string, data []byte) {
	m, err := a.decodeEvent(data)
	if err != nil {
		a.b.invalid(err, channel, data)
		return
	}
	if m != nil && strings.HasPrefix(channel, a.events(m.Namespace)) {
		a.b.told(m, channel, data)
	}
}

// decodeEvent gives nil for what a Hub of the same group has sent.
func (a *adapter) decodeEvent(data []byte) (*chat.BridgeMessage, error) {
	var parts []json.RawMessage
	attachments, err := decode(data, &parts)
	if err != nil {
		return nil, err
	}
	if len(parts) < 3 {
		return nil, fmt.Errorf("a broadcast of %d parts", len(parts))
	}
	var uid string
	if err := json.Unmarshal(parts[0], &uid); err != nil {
		return nil, err
	}
	if a.b.ours(uid) {
		return nil, nil
	}
	var p packet
	if err := json.Unmarshal(parts[1], &p); err != nil {
		return nil, err
	}
	var t target
	if err := json.Unmarshal(parts[2], &t); err != nil {
		return nil, err
	}
	if p.NSP == "" { // as old emitters have it
		p.NSP = "/"
	}
	return t.emit(p.NSP, p.Data, attachments)
}

func (a *adapter) request(ns string, data []byte) {
	e := envelope{Type: -1}
	var err error
	if e.attachments, err = decode(data, &e); err == nil {
		err = a.serve(ns, &e)
	}
	if err != nil {
		a.b.invalid(err, a.requests(ns), data)
	}
}

func (a *adapter) serve(ns string, e *envelope) error {
	b := a.b
	if b.ours(e.UID) {
		if e.Type == typeBroadcast && e.UID != b.uid { // the asker counts all servers
			a.count(ns, e, 0)
		}
		return nil
	}
	switch e.Type {
	case typeSockets:
		var ids []string
		for _, c := range b.hub.Clients(ns, names(e.Rooms), nil) {
			ids = append(ids, c.ID)
		}
		a.answer(ns, e, "sockets", appendNames(nil, ids))
	case typeAllRooms:
		a.answer(ns, e, "rooms", appendNames(nil, b.roomsOf(ns)))
	case typeFetch:
		m := e.Opts.about(0, ns)
		a.answer(ns, e, "sockets", mustJSON(b.socketsOf(ns, m.Rooms, m.Except)))
	case typeJoin:
		return a.move(ns, e, chat.BridgeJoin)
	case typeLeave:
		return a.move(ns, e, chat.BridgeLeave)
	case typeDisconnect:
		return a.move(ns, e, chat.BridgeDisconnect)
	case typeServerSide:
		return a.serverSide(ns, e)
	case typeBroadcast:
		return a.broadcast(ns, e)
	}
	return nil // what a later version may have beside these is not for us
}

// answer publishes {requestId, name: value}.
func (a *adapter) answer(ns string, e *envelope, name string, value []byte) {
	if e.RequestID == nil {
		return
	}
	text := append(append([]byte(`{"requestId":`), mustJSON(*e.RequestID)...), `,"`+name+`":`...)
	a.b.reply(a.responses(ns), append(append(text, value...), '}'))
}

// move is a join, leave or disconnect: of all who are in rooms, or in the form of before version 7, which is answered, of one client.
func (a *adapter) move(ns string, e *envelope, kind chat.BridgeKind) error {
	if e.Opts != nil {
		m := e.Opts.about(kind, ns)
		m.Names, m.Close = names(e.Rooms), e.Close
		return a.b.hub.Told(m)
	}
	if e.SID == "" || len(a.b.hub.Clients(ns, []string{e.SID}, nil)) == 0 {
		return nil
	}
	m := &chat.BridgeMessage{Kind: kind, Namespace: ns, Rooms: []string{e.SID}, Close: e.Close}
	if e.Room != nil {
		m.Names = []string{string(*e.Room)}
	}
	err := a.b.hub.Told(m)
	if e.RequestID != nil {
		a.b.reply(a.responses(ns), append(append([]byte(`{"requestId":`), mustJSON(*e.RequestID)...), '}'))
	}
	return err
}

func (a *adapter) serverSide(ns string, e *envelope) error {
	var data []json.RawMessage
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return err
	}
	m, err := (*target)(nil).emit(ns, data, e.attachments)
	if err != nil {
		return err
	}
	if e.RequestID == nil {
		a.b.serverSide(m, nil)
		return nil
	}
	a.b.serverSide(m, func(value []byte) {
		text := fmt.Appendf(nil, `{"type":%d,"requestId":%s,"data":`, typeServerSide, mustJSON(*e.RequestID))
		a.b.reply(a.responses(ns), append(append(text, value...), '}'))
	})
	return nil
}

func (a *adapter) broadcast(ns string, e *envelope) error {
	var p packet
	if err := json.Unmarshal(e.Packet, &p); err != nil {
		return err
	}
	m, err := e.Opts.emit(ns, p.Data, e.attachments)
	if err != nil {
		a.count(ns, e, 0)
		return err
	}
	a.b.callHere(m, e.Opts, func(n int) { a.count(ns, e, n) }, func(args chat.BridgeArgs) { a.ack(ns, e, args) })
	return nil
}

func (a *adapter) count(ns string, e *envelope, n int) {
	if e.RequestID != nil {
		a.b.reply(a.responses(ns), fmt.Appendf(nil, `{"type":%d,"requestId":%s,"clientCount":%d}`, typeCount, mustJSON(*e.RequestID), n))
	}
}

func (a *adapter) ack(ns string, e *envelope, args chat.BridgeArgs) {
	if e.RequestID == nil {
		return
	}
	value, attachments := firstOf(args)
	text := fmt.Appendf(nil, `{"type":%d,"requestId":%s,"packet":`, typeAck, mustJSON(*e.RequestID))
	payload, err := toMsgpack(append(append(text, value...), '}'), attachments)
	if err != nil {
		a.b.invalid(err, "a client's ack", value)
		return
	}
	a.b.reply(a.responses(ns), payload)
}

func (a *adapter) response(ns string, data []byte) {
	var e envelope
	attachments, err := decode(data, &e)
	if err != nil {
		a.b.invalid(err, a.responses(ns), data)
		return
	}
	if e.RequestID == nil {
		return
	}
	switch e.Type {
	case typeCount:
		a.b.calls.asked(*e.RequestID, e.Count)
	case typeAck:
		a.b.calls.acked(*e.RequestID, e.Packet, attachments)
	}
}

func (a *adapter) encode(m *chat.BridgeMessage) (command, error) {
	switch m.Kind {
	case chat.BridgeJoin, chat.BridgeLeave:
		kind := typeJoin
		if m.Kind == chat.BridgeLeave {
			kind = typeLeave
		}
		return a.roomRequest(m, kind, "rooms", appendNames(nil, m.Names)), nil
	case chat.BridgeDisconnect:
		return a.roomRequest(m, typeDisconnect, "close", mustJSON(m.Close)), nil
	}
	text := append(append(append([]byte{'['}, mustJSON(a.b.uid)...), ','), a.packet(m)...)
	text = append(appendTarget(append(text, ','), m, 0), ']')
	payload, err := toMsgpack(text, m.Args.Attachments)
	channel := a.events(m.Namespace)
	if len(m.Rooms) == 1 {
		channel += m.Rooms[0] + "#"
	}
	return command{channel: channel, payload: payload}, err
}

func (a *adapter) packet(m *chat.BridgeMessage) []byte {
	text := appendData([]byte(`{"type":2,"data":`), m)
	return append(append(append(text, `,"nsp":`...), mustJSON(m.Namespace)...), '}')
}

func (a *adapter) roomRequest(m *chat.BridgeMessage, kind int, name string, value []byte) command {
	text := fmt.Appendf(nil, `{"uid":%s,"type":%d,"opts":`, mustJSON(a.b.uid), kind)
	text = append(appendTarget(text, m, 0), `,"`+name+`":`...)
	return command{channel: a.requests(m.Namespace), payload: append(append(text, value...), '}')}
}

func (a *adapter) ask(id string, m *chat.BridgeMessage, timeout time.Duration) (command, error) {
	text := fmt.Appendf(nil, `{"uid":%s,"requestId":%s,"type":%d,"packet":`, mustJSON(a.b.uid), mustJSON(id), typeBroadcast)
	text = append(append(text, a.packet(m)...), `,"opts":`...)
	payload, err := toMsgpack(append(appendTarget(text, m, timeout), '}'), m.Args.Attachments)
	return command{channel: a.requests(m.Namespace), payload: payload}, err
}
