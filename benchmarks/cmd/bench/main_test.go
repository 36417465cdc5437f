package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestBench runs all of the bench, small and short, against the bare server.
func TestBench(t *testing.T) {
	b := &bench{root: "../..", bin: t.TempDir(), began: time.Now(), sizes: sizes{
		IdleMembers: 20, IdleFlight: 4, IdlePairs: 1,
		SaturatedMembers: 10, SaturatedFlight: 4, SaturatedTime: time.Second, Rounds: 1,
		PacedMembers: 10, PacedRate: 20, PacedTime: 300 * time.Millisecond, PacedPairs: 1,
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := b.build(ctx, "./cmd/load", "load"); err != nil {
		t.Fatal(err)
	}
	chosen, err := choose(servers, "bare")
	if err != nil {
		t.Fatal(err)
	}
	r := b.measure(ctx, chosen, false, false)
	f := r.find("bare")
	if len(f.Failed) > 0 {
		t.Fatal(f.Failed)
	}
	if len(f.Idle) != 1 || len(f.Saturated) != 1 || len(f.Paced) != 1 {
		t.Fatalf("runs: %d idle, %d saturated, %d paced; want one each", len(f.Idle), len(f.Saturated), len(f.Paced))
	}
	if n := f.Saturated[0].Deliveries; n < 100 {
		t.Errorf("%d deliveries in a second, want more", n)
	}
	if md := r.markdown(); !strings.Contains(md, "| bare Go server |") {
		t.Errorf("no bare server in the report:\n%s", md)
	}
}

func TestRatioIsOfNeighbours(t *testing.T) {
	t.Parallel()
	// The second pair met a machine that was twice as slow.
	if got := ratio([]float64{11, 22, 11}, []float64{10, 20, 10}); got != "1.10" {
		t.Errorf("ratio of equal runs = %s, want 1.10", got)
	}
	if got := ratio([]float64{30}, []float64{10, 20, 10}); got != "3.00" {
		t.Errorf("ratio of one run = %s, want 3.00", got)
	}
	if got := ratio(nil, []float64{10}); got != "n/a" {
		t.Errorf("ratio of nothing = %s, want n/a", got)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v      float64
		digits int
		want   string
	}{{692000, 0, "692,000"}, {1234567, 0, "1,234,567"}, {5.34, 1, "5.3"}, {999, 0, "999"}, {1000.5, 2, "1,000.50"}} {
		if got := number(c.v, c.digits); got != c.want {
			t.Errorf("number(%v, %d) = %s, want %s", c.v, c.digits, got, c.want)
		}
	}
}
