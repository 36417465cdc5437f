package load

import (
	"bytes"
	"strings"
	"testing"
)

func TestFrameLengths(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte("x"), n)
		b := appendFrame(nil, opText, payload)
		// Turn the client's frame into a server's: no mask.
		head := len(b) - n - len(mask)
		b[1] &^= maskBit
		b = append(b[:head:head], payload...)
		op, got, size := frameAt(b)
		if op != opText || size != len(b) || !bytes.Equal(got, payload) {
			t.Errorf("frame of %d: op %d, size %d of %d", n, op, size, len(b))
		}
		if _, _, size := frameAt(b[:len(b)-1]); size != 0 {
			t.Errorf("frame of %d: whole without its last byte", n)
		}
	}
}

func TestTakeCountsAcrossReads(t *testing.T) {
	t.Parallel()
	l := &Load{dialect: eio{version: 4}}
	c := &conn{upgraded: true, joined: true}
	text := `42["msg","` + strings.Repeat("x", textSize) + `"]`
	one := append([]byte{finBit | opText, byte(len(text))}, text...)
	stream := bytes.Repeat(one, 3)
	for at := range stream {
		rest, err := l.take(c, append(c.rest, stream[at]))
		if err != nil {
			t.Fatal(err)
		}
		c.rest = append([]byte(nil), rest...)
	}
	if l.deliveries != 3 || len(c.rest) != 0 {
		t.Errorf("deliveries %d, left over %d bytes; want 3 and none", l.deliveries, len(c.rest))
	}
}

func TestDeliveriesOfDialects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect dialect
		frame   string
		want    int
	}{
		{eio{version: 4}, `42["msg","a"]`, 1},
		{eio{version: 4}, `42["user_joined",{"room":"bench"}]`, 0},
		{eio{version: 3}, `42["msg","a"]`, 1},
		{chatMessage{eio{version: 4}}, `42["new_message",{"seq":1}]`, 1},
		{chatMessage{eio{version: 4}}, `437[{"ok":true,"message":{"seq":1}}]`, 1},
		{chatMessage{eio{version: 4}}, `437[{"ok":false,"error":{}}]`, 0},
		{chatMessage{eio{version: 4}}, `42["msg","a"]`, 1},
		{joiner{eio{version: 4}}, `42["new_message",{"seq":1}]`, 1},
		{joiner{eio{version: 4}}, `437[{"ok":true,"message":{"seq":1}}]`, 0},
		{centrifuge{}, `{"push":{"channel":"bench","pub":{"data":"a"}}}` + "\n" + `{"push":{"channel":"bench","pub":{"data":"b"}}}`, 2},
		{centrifuge{}, `{"id":3,"publish":{}}`, 0},
		{plain{}, "a", 1},
	} {
		if _, got, _ := c.dialect.take(&conn{joined: true}, []byte(c.frame)); got != c.want {
			t.Errorf("%T %s: %d deliveries, want %d", c.dialect, c.frame, got, c.want)
		}
	}
}

func TestNewRefusesOtherHosts(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"10.0.0.1:80", "[::1]:80", "localhost:80", "127.0.0.1"} {
		if _, err := New(addr, "eio4"); err == nil {
			t.Errorf("New(%q) took it", addr)
		}
	}
}
