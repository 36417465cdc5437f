package chat

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// KindMessage is the Kind of an entry that somebody wrote in a room.
const KindMessage = "message"

// An Entry is one line of a room's log: what lasts. Its JSON is what a page gets, in acks, in the event
// new_message and in history.
type Entry struct {
	Kind      string
	Namespace string // not in the JSON
	Room      string
	Seq       uint64 // place in the room, from 1, given by the Store
	ID        string // of the message, a UUIDv7, made by the Hub
	UserID    string
	SID       string // the client that sent it; empty for a host's Post
	Text      string
	Timestamp time.Time // given by the Store
	MessageID string    // the sender's own key for retries; empty: none
	ReplyTo   string
	Meta      json.RawMessage // valid JSON, or nil
	Deleted   bool            // removed or erased: the place in the log is what is left
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

type entryJSON struct {
	Kind      string          `json:"kind"`
	Room      string          `json:"room"`
	Seq       uint64          `json:"seq"`
	ID        string          `json:"id"`
	UserID    string          `json:"user_id"`
	SID       string          `json:"sid,omitempty"`
	Text      string          `json:"text"`
	Timestamp string          `json:"timestamp"`
	MessageID string          `json:"message_id,omitempty"`
	ReplyTo   string          `json:"reply_to,omitempty"`
	Meta      json.RawMessage `json:"meta,omitempty"`
	Deleted   bool            `json:"deleted,omitempty"`
}

// MarshalJSON has times in UTC with milliseconds (RFC 3339).
func (e Entry) MarshalJSON() ([]byte, error) { return e.appendJSON(nil) }

// appendJSON appends what entryJSON says. Each message is encoded once on its way, by this and not by reflection.
func (e *Entry) appendJSON(dst []byte) ([]byte, error) {
	if len(e.Meta) > 0 && !json.Valid(e.Meta) {
		return dst, errors.New("chat: the Meta of an entry holds no valid JSON")
	}
	const fields = 200 // their names and what is not text
	dst = slices.Grow(dst, fields+len(e.Room)+len(e.ID)+len(e.UserID)+len(e.SID)+len(e.Text)+len(e.MessageID)+len(e.ReplyTo)+len(e.Meta))
	dst = socketio.AppendString(append(dst, `{"kind":`...), e.Kind)
	dst = socketio.AppendString(append(dst, `,"room":`...), e.Room)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), e.Seq, 10)
	dst = socketio.AppendString(append(dst, `,"id":`...), e.ID)
	dst = socketio.AppendString(append(dst, `,"user_id":`...), e.UserID)
	dst = appendOptional(dst, `,"sid":`, e.SID)
	dst = socketio.AppendString(append(dst, `,"text":`...), e.Text)
	dst = e.Timestamp.UTC().AppendFormat(append(dst, `,"timestamp":"`...), timeFormat)
	dst = append(dst, '"')
	dst = appendOptional(dst, `,"message_id":`, e.MessageID)
	dst = appendOptional(dst, `,"reply_to":`, e.ReplyTo)
	if len(e.Meta) > 0 {
		dst = append(append(dst, `,"meta":`...), e.Meta...)
	}
	if e.Deleted {
		dst = append(dst, `,"deleted":true`...)
	}
	return append(dst, '}'), nil
}

func appendOptional(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	return socketio.AppendString(append(dst, name...), text)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (e *Entry) UnmarshalJSON(data []byte) error {
	var w entryJSON
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, w.Timestamp)
	if err != nil && w.Timestamp != "" {
		return err
	}
	*e = Entry{
		Kind: w.Kind, Room: w.Room, Seq: w.Seq, ID: w.ID, UserID: w.UserID, SID: w.SID, Text: w.Text,
		Timestamp: t, MessageID: w.MessageID, ReplyTo: w.ReplyTo, Meta: w.Meta, Deleted: w.Deleted,
	}
	return nil
}
