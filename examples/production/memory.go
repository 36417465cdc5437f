package main

import (
	"context"
	"runtime/debug"
	"time"
)

// gcPercent is how much is allocated between two collections, of what lives: half of Go's default. It costs about one percent of CPU here.
const gcPercent = 50

// spare makes the collector keep less room, unless the environment says otherwise.
func spare(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

const (
	giveBackEvery = 10 * time.Second
	// busyCycles is how many collections a second say that what is free will be used again at once.
	busyCycles = 1
	// giveBackShare bounds what it costs: a collection of a large heap is followed by so many times its length without another. Where the machine is busy its length is mostly
	// waiting, and what came of a peak must not wait for minutes.
	giveBackShare = 50
)

// giveBack returns memory to the system that a peak has left, until ctx ends: by itself the runtime collects every two minutes where little is allocated, and keeps
// room for another peak. Busy, it is left alone.
func giveBack(ctx context.Context, every time.Duration) {
	for wait, seen := every, collections(); ; seen = collections() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		if busy := busyCycles * int64(max(1, wait/time.Second)); collections()-seen <= busy {
			debug.FreeOSMemory()
		}
		wait = max(every, giveBackShare*time.Since(began))
	}
}

// collections is how many there were since the process began.
func collections() int64 {
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	return stats.NumGC
}
