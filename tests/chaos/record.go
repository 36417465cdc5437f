package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// A record is one thing that happened to a page, in the order in which it did. See clients/page.mjs.
type record struct {
	Kind      string `json:"kind"`
	T         int64  `json:"t"` // Unix milliseconds
	Client    int    `json:"client"`
	Recovered bool   `json:"recovered,omitempty"`
	SID       string `json:"sid,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Room      string `json:"room,omitempty"`
	Event     string `json:"event,omitempty"`
	Code      string `json:"code,omitempty"`
	entry
	Attempt int      `json:"attempt,omitempty"`
	After   uint64   `json:"after,omitempty"`
	From    uint64   `json:"from,omitempty"`
	To      uint64   `json:"to,omitempty"`
	Entries []entry  `json:"entries,omitempty"`
	Users   []string `json:"users,omitempty"` // of a room, sorted
	Again   bool     `json:"again,omitempty"` // of news of presence that a page knew
	MS      int64    `json:"ms,omitempty"`    // of the kind "late": how long the pages' process did nothing for them

	// of the kind "state"
	Queued    int `json:"queued,omitempty"`
	Connected int `json:"connected,omitempty"`
	Behind    int `json:"behind,omitempty"`
	Closed    int `json:"closed,omitempty"` // rooms that have their last message
	News      int `json:"news,omitempty"`   // user_joined and user_left that pages have heard
	Here      int `json:"here,omitempty"`   // pages that have not gone for good
	Oldest    int `json:"oldest,omitempty"` // since when the oldest message in a queue is there, milliseconds
	Astray    int `json:"astray,omitempty"` // rooms that a page has another view of than it should have, see the command "part"
}

// An entry of a room's log, as the server told it.
type entry struct {
	Boot    string `json:"boot,omitempty"` // of a server whose numbers begin anew with each start
	Seq     uint64 `json:"seq,omitempty"`
	ID      string `json:"id,omitempty"`
	User    string `json:"user,omitempty"`
	Message string `json:"message,omitempty"` // the sender's message_id
	At      int64  `json:"at,omitempty"`      // its timestamp, Unix milliseconds
}

// readRecords gives take each line of in, until its end.
func readRecords(in io.Reader, take func(record)) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("a record: %w: %.200s", err, lines.Bytes())
		}
		take(r)
	}
	return lines.Err()
}
