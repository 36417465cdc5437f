package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestLog runs all of the log's part, small and short, with each store.
func TestLog(t *testing.T) {
	b := &bench{
		root: "../..", bin: t.TempDir(), began: time.Now(),
		sizes: sizes{
			SaturatedMembers: 10, SaturatedFlight: 4, SaturatedTime: 300 * time.Millisecond, PacedMembers: 10, PacedRate: 20, PacedTime: 300 * time.Millisecond,
			Warm: 100 * time.Millisecond,
		},
		logSizes: logSizes{
			Senders: 12, Rooms: 4, Several: 3, Time: 300 * time.Millisecond, Bare: 200 * time.Millisecond, Rounds: 1, Rate: 100, PacedTime: 300 * time.Millisecond,
			SaturatedPairs: 1, PacedPairs: 1, Entries: 2000,
		},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := b.build(ctx, "./cmd/load", "load"); err != nil {
		t.Fatal(err)
	}
	r := &Results{Log: b.measureLog(ctx), Sizes: b.sizes}
	if f := r.failures(); f != "" {
		t.Fatal(f)
	}
	md := r.markdown()
	for _, want := range []string{
		"| figure | memory | SQLite | PostgreSQL |", "3 in a room, 3 under way each: saved and acked", "**× bare**", "through a client's `history`",
		"SEARCH entries USING PRIMARY KEY (room_id=? AND seq>? AND seq<?)", "Index Scan", "Buffers: shared",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("the report does not have %q", want)
		}
	}
	if t.Failed() {
		t.Log(md)
	}
	if svg := r.logSVG(); !strings.Contains(svg, "PostgreSQL") || strings.Contains(svg, "n/a") {
		t.Errorf("the drawing lacks something:\n%s", svg)
	}
}

func TestChooseLog(t *testing.T) {
	t.Parallel()
	if parts, err := chooseLog("sqlite,delivery"); err != nil || len(parts) != 2 {
		t.Error(parts, err)
	}
	if _, err := chooseLog("mysql"); err == nil {
		t.Error("a part that is none was taken")
	}
}
