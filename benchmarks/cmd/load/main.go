// Command load puts one load on one server and prints what it cost as JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/load"
)

func main() {
	var p load.Plan
	flag.StringVar(&p.Mode, "mode", "saturated", "idle, saturated, paced, acked, acked-paced or history")
	flag.IntVar(&p.PID, "pid", 0, "the server's process")
	flag.StringVar(&p.Addr, "addr", "", "the server's address, IPv4 loopback")
	flag.StringVar(&p.Dialect, "dialect", "eio4", strings.Join(load.Dialects, ", "))
	flag.IntVar(&p.Members, "members", 200, "connections")
	flag.IntVar(&p.InFlight, "inflight", 8, "handshakes (idle) or messages (saturated, acked: of each) at a time")
	flag.IntVar(&p.Rate, "rate", 20, "messages a second (paced, acked-paced)")
	flag.IntVar(&p.Rooms, "rooms", 1, "rooms that the members are dealt out among (acked, acked-paced)")
	flag.IntVar(&p.DB, "db", 0, "the process of the database's server (acked, acked-paced)")
	flag.Uint64Var(&p.Entries, "entries", 0, "of the room r0 (history)")
	flag.DurationVar(&p.Warm, "warm", time.Second, "before the measurement (saturated, paced)")
	flag.DurationVar(&p.Time, "time", 5*time.Second, "of the measurement (saturated, paced), to settle (idle)")
	flag.Parse()
	r, err := load.Run(p)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
