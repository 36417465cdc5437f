package legacy

import (
	"testing"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

func TestCall(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin")
	r, s := connect(t, hub)
	replies := make(chan socketio.Args, 10)
	reply := func(a socketio.Args) { replies <- a }

	s.link.Call("none", encode(t), reply)
	r.expect(`21["none"]`)
	r.text(`31[]`)
	if a := recv(t, replies, "reply"); len(a.Values) != 0 {
		t.Errorf("answered %v", a)
	}
	s.link.Call("some", encode(t, 1, nil, "a,b]", map[string]any{"x": []int{1, 2}}, "<&>é"), reply)
	r.expect(`22["some",1,null,"a,b]",{"x":[1,2]},"\u003c\u0026\u003eé"]`)
	r.text(`32["fine",{"a":[1,2]}]`)
	if a := recv(t, replies, "reply"); joinValues(a) != `"fine"|{"a":[1,2]}` {
		t.Errorf("answered %s", joinValues(a))
	}
	r.text(`32["fine"]`) // again: nobody waits
	s.link.Call("bin", encode(t, []byte("one"), map[string]any{"b": []byte("two")}, []byte{}), reply)
	r.expect(`53-3["bin",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":2}]`, "one", "two", "")
	r.text(`61-3[{"_placeholder":true,"num":0}]`)
	r.binary([]byte("back"))
	if a := recv(t, replies, "reply"); len(a.Attachments) != 1 || string(a.Attachments[0]) != "back" {
		t.Errorf("answered %+v", a)
	}

	r.text("0/admin")
	r.expect("0/admin,")
	admin := r.socket()
	admin.link.Call("there", encode(t, true), reply)
	r.expect(`2/admin,4["there",true]`)
	r.text(`34[]`) // of another namespace
	cancel := s.link.Call("given up", encode(t), reply)
	r.expect(`25["given up"]`)
	cancel()
	r.text(`35["late"]`)
	r.text(`3/admin,4["yes"]`)
	if a := recv(t, replies, "reply"); joinValues(a) != `"yes"` {
		t.Errorf("answered %s", joinValues(a))
	}
	r.text(`2["sync"]`)
	s.expect(t, "sync")
	if len(replies) != 0 {
		t.Error("a reply to a call that was given up")
	}
	if got := hub.drops(); len(got) != 2 {
		t.Errorf("dropped %q", got)
	}
}

// A call keeps the arguments that it was given, whatever the event is called.
func TestCallShared(t *testing.T) {
	t.Parallel()
	hub := newHub()
	srv := newServer(t, hub)
	shared := encode(t, []byte("shared"))
	var rigs []*rig
	for range 20 {
		r := open(t, srv, hub)
		r.expect("0")
		s := r.socket()
		rigs = append(rigs, r)
		go s.link.Call(`a,"b]`, shared, func(socketio.Args) {})
	}
	for _, r := range rigs {
		r.expect(`51-1["a,\"b]",{"_placeholder":true,"num":0}]`, "shared")
		r.finish(engineio.ReasonTransportClose)
	}
	shut(t, srv)
}

// A client that never answers is closed before go-socket.io holds much for it.
func TestCallsUnanswered(t *testing.T) {
	t.Parallel()
	r, s := connect(t, newHub())
	for range maxCalls {
		s.link.Call("x", encode(t), func(socketio.Args) {})()
	}
	select {
	case <-r.out.closed:
		t.Fatal("closed within the bound")
	default:
	}
	s.link.Call("x", encode(t), func(socketio.Args) {})
	if reason := recv(t, r.out.closed, "Close"); reason != engineio.ReasonSlowConsumer {
		t.Errorf("closed with %q", reason)
	}
}
