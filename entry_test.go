package chat_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// An entry's JSON is valid, and says the same to whoever reads it.
func FuzzEntryJSON(f *testing.F) {
	f.Add("message", "lobby", uint64(1), "id", "ann", "sid", "hello", int64(1_700_000_000_123), "k", "", `{"a":1}`, false)
	f.Add("", "", uint64(1<<63), "\x00\"\\", "ünï\u2028", "\xff", "<b>&\n</b>", int64(0), "", "id", `not JSON`, true)
	f.Fuzz(func(t *testing.T, kind, room string, seq uint64, id, user, sid, text string, ms int64, messageID, replyTo, meta string, deleted bool) {
		at := time.UnixMilli(ms % 200_000_000_000_000).UTC()
		if at.Year() < 0 || at.Year() > 9999 {
			t.Skip()
		}
		e := chat.Entry{Kind: kind, Room: room, Seq: seq, ID: id, UserID: user, SID: sid, Text: text, Timestamp: at, MessageID: messageID, ReplyTo: replyTo, Deleted: deleted}
		if meta != "" {
			e.Meta = json.RawMessage(meta)
		}
		data, err := json.Marshal(e)
		if (err == nil) != (e.Meta == nil || json.Valid(e.Meta)) {
			t.Fatalf("%v for meta %q", err, meta)
		} else if err != nil {
			return
		}
		var back chat.Entry
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		for _, s := range []*string{&e.Kind, &e.Room, &e.ID, &e.UserID, &e.SID, &e.Text, &e.MessageID, &e.ReplyTo} {
			*s = strings.ToValidUTF8(*s, "\ufffd")
			if *s != "" && strings.Contains(*s, "\ufffd") {
				t.Skip() // a run of bad bytes may become one character or several
			}
		}
		var a, b any
		if e.Meta != nil {
			_, _ = json.Unmarshal(e.Meta, &a), json.Unmarshal(back.Meta, &b)
			if !reflect.DeepEqual(a, b) {
				t.Errorf("meta %s came back as %s", e.Meta, back.Meta)
			}
		}
		e.Meta, back.Meta = nil, nil
		if !reflect.DeepEqual(e, back) {
			t.Errorf("%+v came back as %+v", e, back)
		}
	})
}
