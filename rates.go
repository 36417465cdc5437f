package chat

import "time"

// A Scope says whose doings a Rate counts together.
type Scope string

// The scopes.
const (
	PerClient  Scope = "client"
	PerUser    Scope = "user"    // all clients of a user in a namespace; a user without an id of auth's counts as a client
	PerAddress Scope = "address" // all clients of an address: see WithTrustedProxies
)

// A Counted is what a Rate counts.
type Counted string

// What a Rate may count.
const (
	Events   Counted = "events"   // that come in; the zero Counted
	Connects Counted = "connects" // to a namespace, refused ones too; not PerClient
	Joins    Counted = "joins"    // of rooms that the client was not in, by join_room
	Bytes    Counted = "bytes"    // of the events that come in
)

// A Rate bounds how much of something goes on. What is over it is not done and answered RATE_LIMITED with retry_after_ms: in the ack, as the event "error", as
// the data of connect_error. After Strikes such answers within CoolDown a cool-down begins: for that long all that the Rate counts is refused. After as many
// refusals again the client is disconnected, and stays away until its page connects again; what is refused to an address in its cool-down are handshakes
// (429 with Retry-After). Each step is counted, logged and observed.
type Rate struct {
	Per       Scope         // PerClient where it is empty
	Count     Counted       // Events where it is empty
	Event     string        // of Events: the one that is counted; empty: all of them together
	PerSecond float64       // more than 0
	Burst     int           // that may come at once; PerSecond, at least 1, where it is 0
	Strikes   int           // 10 where it is 0
	CoolDown  time.Duration // 5 s where it is 0
}
