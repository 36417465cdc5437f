package storetest

import (
	"encoding/json"
	"strings"

	"github.com/parleychat/chat"
)

var fieldTests = []test{
	{"every field comes back as it was", func(c *check) {
		for _, e := range []chat.Entry{
			{Kind: chat.KindMessage, ID: "id-1", Text: "plain"},
			{Kind: "another kind", ID: "id-2", UserID: "ann", SID: "sid", Text: "all", MessageID: "m-1", ReplyTo: "id-1", Meta: json.RawMessage(`{"a":1}`)},
			{Kind: chat.KindMessage, ID: "id-3", UserID: "anon:ünï", Text: "", MessageID: strings.Repeat("k", 128), ReplyTo: strings.Repeat("r", 128)},
			{Kind: chat.KindMessage, ID: "id-4", Text: "zwölf Boxkämpfer\r\n\t'\"\\%_$1?:; -- /* é e\u0301 \u202e \ufeff \ufffd \u2028 👩‍👩‍👧 x"},
			{Kind: chat.KindMessage, ID: "id-5", Text: strings.Repeat("𝄞", 8000)},
			{Kind: chat.KindMessage, ID: "id-6", Text: "0123"},
			{Kind: chat.KindMessage, ID: "id-7", Meta: json.RawMessage(`{ "z":1, "a":[1e400,0.10,"\u0000\ud800",null], "z":2 }`)},
			{Kind: chat.KindMessage, ID: "id-8", Meta: json.RawMessage(`"` + strings.Repeat("é", 4000) + `"`)},
			{Kind: chat.KindMessage, ID: "id-9", Meta: json.RawMessage(`false`)},
		} {
			e.Namespace, e.Room = "/ünï/#?%", room
			saved := c.append(e)[0].Entry
			e.Seq, e.Timestamp = saved.Seq, saved.Timestamp
			c.same("appended", saved, e)
			before := e.Seq + 1
			read, _ := c.page(chat.PageQuery{Namespace: e.Namespace, Room: room, Before: &before, Limit: 1})
			if len(read) != 1 {
				c.Fatalf("%s is not there", show(e))
			}
			c.same("read", read[0], e)
			if e.MessageID != "" {
				c.same("repeated", c.append(e)[0].Entry, e)
			}
		}
	}},
	{"a text that no store need hold harms no other", func(c *check) {
		s := c.append(c.entry(room, "ann", "k\x00", "a\x00b"), c.entry(room, "bob", "k", "c"))
		if got := s[0].Entry.Text; got != "a\x00b" && got != "a\ufffdb" {
			c.Errorf("NUL became %q", got)
		}
		log := c.all(space, room)
		c.dense(log, 1, 2)
		c.same("read", log[0], s[0].Entry)
		if s := c.append(c.entry(room, "ann", "k\x00", "a\x00b")); !s[0].Repeated {
			c.Error("its key is not known again")
		}
	}},
}
